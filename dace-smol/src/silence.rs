//! HTTP/2 connections on which nothing comes any more.
//!
//! A connection of HTTP/1.1 that times out is not used again. One of HTTP/2 is: it carries other
//! exchanges too, and libcurl does not ask the other side whether it is still there. So when three
//! exchanges with a netloc in a row ended at their deadline without an answer, its connection is held
//! to be dead. That a slow server costs its connection too, after three timeouts, is the price.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use dace_core::Netloc;

/// How many timeouts in a row are too many.
const TOO_MANY: u32 = 3;

/// How many exchanges in a row no netloc of a client has answered in time.
#[derive(Debug, Default)]
pub(crate) struct Silence {
    /// Bounded by the exchanges that a client may give up before it is replaced.
    in_a_row: Mutex<BTreeMap<Netloc, u32>>,
    too_long: AtomicBool,
}

impl Silence {
    /// An exchange ended at its deadline without an answer.
    pub(crate) fn grows(&self, netloc: Netloc) {
        let mut in_a_row = self.in_a_row.lock().unwrap_or_else(PoisonError::into_inner);
        let count = in_a_row.entry(netloc).or_default();
        *count += 1;
        if *count >= TOO_MANY {
            self.too_long.store(true, Ordering::Relaxed);
        }
    }

    /// An answer came.
    pub(crate) fn ends(&self, netloc: &Netloc) {
        self.in_a_row.lock().unwrap_or_else(PoisonError::into_inner).remove(netloc);
    }

    pub(crate) fn is_too_long(&self) -> bool {
        self.too_long.load(Ordering::Relaxed)
    }
}
