//! Who says what a result means.

use crate::{Class, Classify};

/// Says what a result means. You need not name it: [`Execution::classify`](crate::Execution::classify)
/// takes a closure.
pub trait Judge<T, E> {
    /// The class of `result`.
    fn judge(&self, result: &Result<T, E>) -> Class;
}

/// The error's type says it.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByType;

/// A closure says it.
#[derive(Clone, Copy, Debug)]
pub struct ByFn<F>(pub(crate) F);

impl<T, E: Classify> Judge<T, E> for ByType {
    fn judge(&self, result: &Result<T, E>) -> Class {
        match result {
            Ok(_) => Class::Success,
            Err(error) => error.class(),
        }
    }
}

impl<T, E, F: Fn(&Result<T, E>) -> Class> Judge<T, E> for ByFn<F> {
    fn judge(&self, result: &Result<T, E>) -> Class {
        (self.0)(result)
    }
}
