//! The fallback that an attribute names: what it must be, said in one line.

use core::future::Future;

use crate::Error;

/// What calling a fallback gives.
#[diagnostic::on_unimplemented(
    message = "a fallback is an `async fn` that returns `Result<{T}, dace::Error<{E}>>`",
    label = "make it `async`, with this return type"
)]
pub trait Rescue<T, E>: Future<Output = Result<T, Error<E>>> {}

#[diagnostic::do_not_recommend]
impl<T, E, F: Future<Output = Result<T, Error<E>>>> Rescue<T, E> for F {}

/// Runs a fallback.
///
/// # Errors
/// What the fallback returns.
pub async fn rescue<T, E, F: Rescue<T, E>>(fallback: F) -> Result<T, Error<E>> {
    fallback.await
}
