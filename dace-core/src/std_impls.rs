//! Impls for types of the standard library, with the feature `std`.

use std::sync::{Mutex, PoisonError};

use crate::{Class, Classify, Lock};

impl<T> Lock<T> for Mutex<T> {
    fn new(value: T) -> Self {
        Mutex::new(value)
    }

    #[inline]
    fn with<O>(&self, f: impl FnOnce(&mut T) -> O) -> O {
        f(&mut self.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Classify for std::io::Error {}

/// The class of an I/O error by its kind.
pub(crate) fn class_of_io(error: &std::io::Error) -> Class {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::ConnectionRefused
        | ErrorKind::AddrNotAvailable
        | ErrorKind::HostUnreachable
        | ErrorKind::NetworkUnreachable => Class::Unsent,
        ErrorKind::TimedOut => Class::Timeout,
        ErrorKind::InvalidData => Class::Failure,
        _ => Class::Transient,
    }
}
