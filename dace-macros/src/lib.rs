//! `#[fault_tolerant]`: the attribute that wraps an async function in a call.
//!
//! It reads the attribute and the function's signature, and writes a few lines that call ordinary code in
//! the core, `dace::decorated`. The function's body is not parsed: it is passed on as it is.
#![forbid(unsafe_code)]

mod attribute;
mod duration;
mod expand;
mod function;
mod parameters;
mod pattern;
mod place;
mod receiver;
mod scope;
mod signature;
mod suggest;

use proc_macro::TokenStream;

/// Wraps an async function in a call: it gets a timeout, retries, a limit, a circuit breaker and all else
/// that a dependency has. Its return type changes from `Result<T, E>` to `Result<T, dace::Error<E>>`.
///
/// A parameter is called as its setter in `dace::DependencyBuilder` is, which says what it means and what
/// its default is. Beside those:
///
/// | parameter | means |
/// |---|---|
/// | `dependency_id = "users"` | the id, in stats and logs. Functions with one id on one adapter share one dependency, and say the same of it. Default: the function's path |
/// | `runtime = dace::tokio::Tokio` | the adapter, for functions without a call parameter |
/// | `fallback = PATH` | an async function that takes the final error and the arguments, without the call |
/// | `classify = PATH` | what a result means, in place of the error's type |
/// | `dependency = EXPR` | a dependency that is there already, with settings of its own |
/// | `crate = PATH` | where dace is, if it is called something else |
///
/// Durations are literals with a unit (`"10s"`, `"200ms"`, `"500us"`, `"1m"`, `"1h"`) or expressions of type
/// `Duration`. Settings are evaluated once, at the first call, outside of the function. One that cannot be
/// used ends every call with `dace::Error::Config`, fallback or not.
///
/// The call parameter is the one whose type ends in `Call`, or that has the attribute `#[call]`: `&Call`, `Call`,
/// or none at all. Callers do not pass it. The other arguments are lent to every attempt: references and `Copy`
/// values as they are, others cloned.
#[proc_macro_attribute]
pub fn fault_tolerant(attribute: TokenStream, function: TokenStream) -> TokenStream {
    expand::expand(attribute.into(), function.into()).into()
}
