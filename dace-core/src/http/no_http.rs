//! The backend of dependencies that use no HTTP at all.

use core::convert::Infallible;
use core::future::{Future, ready};
use core::pin::Pin;
use core::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;

use super::{
    Connect, Fault, FaultKind, Head, HttpBackend, HttpSettings, Request, Response, Sent, Version,
};
use crate::ConfigError;

/// No HTTP: every exchange ends in an error that says so. For dependencies that wrap a database
/// driver, a queue, or anything else.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHttp;

/// What an exchange over [`NoHttp`] ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this dependency was built with `NoHttp`")]
pub struct NoHttpError;

/// What never arrives.
#[derive(Debug)]
pub enum Nothing {}

impl HttpBackend for NoHttp {
    type Tls = Infallible;
    type Head = Nothing;
    type Body = Nothing;
    type Error = NoHttpError;

    fn send(
        &self,
        _request: Request,
    ) -> impl Future<Output = Result<Response<Nothing, Nothing>, NoHttpError>> + Send {
        ready(Err(NoHttpError))
    }

    fn fault(_error: &NoHttpError) -> Fault {
        Fault::new(FaultKind::Unsupported, Sent::Unsent)
    }
}

impl Connect for NoHttp {
    fn connect(_settings: HttpSettings<Infallible>) -> Result<Self, ConfigError> {
        Ok(Self)
    }
}

impl Head for Nothing {
    fn status(&self) -> u16 {
        match *self {}
    }

    fn version(&self) -> Version {
        match *self {}
    }

    fn get(&self, _name: &str) -> Option<&[u8]> {
        match *self {}
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        core::iter::empty()
    }
}

impl Stream for Nothing {
    type Item = Result<Bytes, NoHttpError>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        match *self {}
    }
}
