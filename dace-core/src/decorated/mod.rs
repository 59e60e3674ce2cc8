//! What the expansion of `#[fault_tolerant]` calls: everything about a decorated function that ordinary
//! code can do is done here, so that the expansion stays small.
//!
//! Not for direct use: names and shapes may change with any release.

mod fallback;
mod name;
mod outcome;
mod site;
mod table;

use alloc::sync::Arc;

use crate::{Adapter, Call, Class, Dependency, DependencyBuilder, HttpBackend, Runtime};

pub use core::option::Option::{None, Some};
pub use core::result::Result::{self, Err, Ok};
pub use core::time::Duration;

pub use fallback::{Rescue, rescue};
pub use outcome::{Lend, Outcome, lend, returns, returns_as};
pub use site::Site;
pub use table::{find, reset};

/// What a decorated function runs on: its `Call` says it.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no call of dace",
    label = "expected `dace::tokio::Call`, `dace::smol::Call` or `dace::Call<Runtime, Backend>`"
)]
pub trait Handle: 'static {
    /// The runtime.
    type Runtime: Runtime;
    /// The HTTP backend.
    type Backend: HttpBackend;
}

#[diagnostic::do_not_recommend]
impl<R: Runtime, B: HttpBackend> Handle for Call<R, B> {
    type Runtime = R;
    type Backend = B;
}

/// The call of an adapter, for functions that take none.
pub type CallOn<A> = Call<<A as Adapter>::Runtime, <A as Adapter>::Backend>;

/// The builder that belongs to a call.
pub type Builder<C> = DependencyBuilder<<C as Handle>::Runtime, <C as Handle>::Backend>;

/// The site that belongs to a call.
pub type SiteOf<C> = Site<<C as Handle>::Runtime, <C as Handle>::Backend>;

/// The dependency that a function was given, whatever it is kept in.
pub fn given<R: Runtime, B>(dependency: &Dependency<R, B>) -> Dependency<R, B> {
    dependency.clone()
}

/// Tells a classifier what it classifies: a closure needs no types then.
pub fn classifier<T, E, F>(classify: F) -> F
where
    F: Fn(&Result<T, E>) -> Class,
{
    classify
}

/// The name of the function that a setting function stands in.
fn name_of<F>() -> Arc<str> {
    name::of_function(core::any::type_name::<F>()).into()
}
