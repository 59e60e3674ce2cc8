//! Bodies, in both directions.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use dace_core::http::{BodyStream, BoxError, Payload};
use futures_core::Stream;
use isahc::AsyncBody;
use isahc::AsyncReadExt as _;

use crate::IsahcError;
