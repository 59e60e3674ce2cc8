//! The types of a decorated function: what it returns, and what it lends to every attempt.

use core::future::Future;

use crate::Error;

/// What a decorated function returns: any name of `Result`.
#[diagnostic::on_unimplemented(
    message = "a decorated function returns a `Result`, not `{Self}`",
    label = "write `Result<{Self}, E>`, with the error that the function can end in"
)]
pub trait Outcome: Sized {
    /// Of success.
    type Ok;
    /// Of failure.
    type Err;
    /// What callers see.
    type Decorated;
    /// One attempt, which is the same type.
    type Attempt<F: Future<Output = Self>>: Future<Output = Result<Self::Ok, Self::Err>>;
    /// One attempt, whose result is a `Result` from here on.
    fn attempt<F: Future<Output = Self>>(body: F) -> Self::Attempt<F>;
}

#[diagnostic::do_not_recommend]
impl<T, E> Outcome for Result<T, E> {
    type Ok = T;
    type Err = E;
    type Decorated = Result<T, Error<E>>;
    type Attempt<F: Future<Output = Self>> = F;

    fn attempt<F: Future<Output = Self>>(body: F) -> F {
        body
    }
}

/// Says what a block returns, in a `return` that is not reached: `?` and coercions go by it.
///
/// # Panics
/// Always.
#[cold]
pub fn returns<T, E>() -> Result<T, E> {
    returns_as()
}

/// The same, for any name of `Result`.
///
/// # Panics
/// Always.
#[cold]
pub fn returns_as<O>() -> O {
    unreachable!("it stands under `if false`")
}

/// An argument that every attempt can have: a reference, `Copy`, or `Clone`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be lent to every attempt: it is neither a reference nor `Copy` nor `Clone`",
    label = "take `&{Self}` or `Arc<{Self}>`, or derive `Clone`"
)]
pub trait Lend: Sized {
    /// For one attempt.
    #[must_use]
    fn lend(&self) -> Self;
}

impl<T: Clone> Lend for T {
    #[inline]
    fn lend(&self) -> Self {
        self.clone()
    }
}

/// The argument, for one attempt.
#[inline]
pub fn lend<T: Lend>(argument: &T) -> T {
    argument.lend()
}
