//! Who says what a result means.

use alloc::sync::Arc;
use core::fmt;

use crate::render;
use crate::{Class, Classify};

/// Says what a result means. You need not name it: [`Execution::classify`](crate::Execution::classify)
/// takes a closure.
pub trait Judge<T, E> {
    /// The class of `result`.
    fn judge(&self, result: &Result<T, E>) -> Class;

    /// The error for those who read it.
    fn render(&self, error: &E) -> Arc<str>;
}

/// The error's type says it.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByType;

/// A closure says it.
#[derive(Clone, Copy, Debug)]
pub struct ByFn<F>(pub(crate) F);

/// As another one says it; the error is told with its sources.
#[derive(Clone, Copy, Debug)]
pub struct Sourced<J>(pub(crate) J);

impl<T, E: core::error::Error, J: Judge<T, E>> Judge<T, E> for Sourced<J> {
    fn judge(&self, result: &Result<T, E>) -> Class {
        self.0.judge(result)
    }

    fn render(&self, error: &E) -> Arc<str> {
        render::chain(error)
    }
}

impl<T, E: Classify> Judge<T, E> for ByType {
    fn judge(&self, result: &Result<T, E>) -> Class {
        match result {
            Ok(_) => Class::Success,
            Err(error) => error.class(),
        }
    }

    /// It and its sources.
    fn render(&self, error: &E) -> Arc<str> {
        render::chain(error)
    }
}

impl<T, E: fmt::Display, F: Fn(&Result<T, E>) -> Class> Judge<T, E> for ByFn<F> {
    fn judge(&self, result: &Result<T, E>) -> Class {
        (self.0)(result)
    }

    /// What it shows of itself: it need not be an error, and many that are none show their sources.
    fn render(&self, error: &E) -> Arc<str> {
        render::shown(error)
    }
}
