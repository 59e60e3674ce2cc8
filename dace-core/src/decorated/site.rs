//! One decorated function: where it finds its dependency.

use alloc::sync::Arc;
use std::sync::{Mutex, OnceLock, PoisonError};

use super::table::{self, Claim};
use super::{Builder, DependencyOf, Handle, name_of};
use crate::http::Connect;
use crate::{ConfigError, Error};

/// A static in the expansion of every decorated function that was given no dependency. It builds one, or
/// finds the one that functions with its id share, at its first call, and again after
/// [`reset`](super::reset).
pub struct Site<C: Handle> {
    id: Option<&'static str>,
    settings: &'static str,
    found: Mutex<Option<(u64, Found<C>)>>,
}

type Found<C> = Arc<OnceLock<Result<DependencyOf<C>, ConfigError>>>;

impl<C: Handle> Site<C> {
    /// Of a function whose dependency has this id, or the function's own path; the settings are here as
    /// text, line by line, so that they can be compared.
    pub const fn new(id: Option<&'static str>, settings: &'static str) -> Self {
        Self { id, settings, found: Mutex::new(None) }
    }

    /// The function's dependency. `set` sets what the attribute says; it is called once, if nobody has
    /// built the dependency yet.
    ///
    /// # Errors
    /// A setting that cannot be used, or that another function with the same id has otherwise.
    pub fn dependency<E, F>(&self, set: F) -> Result<DependencyOf<C>, Error<E>>
    where
        F: FnOnce(Builder<C>) -> Builder<C>,
        C::Runtime: Default,
        C::Backend: Connect,
    {
        // Not under the lock: settings are the user's code.
        self.cell().get_or_init(|| self.find(set)).clone().map_err(Error::Config)
    }

    fn cell(&self) -> Found<C> {
        let now = table::generation();
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, cell)) = found.as_ref().filter(|(generation, _)| *generation == now) {
            return cell.clone();
        }
        let fresh = Found::<C>::default();
        let stale = found.replace((now, fresh.clone()));
        drop(found);
        drop(stale);
        fresh
    }

    fn find<F>(&self, set: F) -> Result<DependencyOf<C>, ConfigError>
    where
        F: FnOnce(Builder<C>) -> Builder<C>,
        C::Runtime: Default,
        C::Backend: Connect,
    {
        let function = name_of(&set);
        let name = self.id.map_or_else(|| function.clone(), Arc::from);
        let claim = Claim { name: name.clone(), function, settings: self.settings };
        let shared = table::claim::<C::Runtime, C::Backend>(claim)?;
        shared.get_or_init(|| set(DependencyOf::<C>::builder(&*name)).build()).clone()
    }
}

impl<C: Handle> core::fmt::Debug for Site<C> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Site").field("id", &self.id).finish_non_exhaustive()
    }
}
