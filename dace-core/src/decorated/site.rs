//! One decorated function: where it finds its dependency.

use core::panic::Location;

use alloc::sync::{Arc, Weak};
use std::sync::{Mutex, PoisonError};

use super::name_of;
use super::table::{self, Cell, Claim};
use crate::http::Connect;
use crate::{ConfigError, Dependency, DependencyBuilder, Error, HttpBackend, Runtime};

/// A static in the expansion of every decorated function that was given no dependency. It builds one, or
/// finds the one that functions with its id share, at its first call, and again after
/// [`reset`](super::reset).
pub struct Site<R: Runtime, B> {
    id: Option<&'static str>,
    settings: &'static str,
    place: &'static Location<'static>,
    found: Mutex<Option<Found<R, B>>>,
}

/// What was found, in which generation. The table alone owns it, so that what is forgotten there is gone.
struct Found<R: Runtime, B> {
    generation: u64,
    cell: Result<Weak<Cell<R, B>>, ConfigError>,
}

impl<R: Runtime, B: HttpBackend> Site<R, B> {
    /// Of a function whose dependency has this id, or the function's own path; the settings are here as
    /// text, line by line, so that they can be compared.
    #[track_caller]
    pub const fn new(id: Option<&'static str>, settings: &'static str) -> Self {
        Self { id, settings, place: Location::caller(), found: Mutex::new(None) }
    }

    /// The function's dependency. `set` sets what the attribute says; it is called once, if nobody has
    /// built the dependency yet.
    ///
    /// # Errors
    /// A setting that cannot be used, or that another function with the same id has otherwise.
    pub fn dependency<E, F>(&self, set: F) -> Result<Dependency<R, B>, Error<E>>
    where
        F: FnOnce(DependencyBuilder<R, B>) -> DependencyBuilder<R, B>,
        R: Default,
        B: Connect,
    {
        let cell = self.cell::<F>().map_err(Error::Config)?;
        // Not under a lock: settings are the user's code.
        let built = cell.get_or_init(|| {
            let name = self.id.map_or_else(name_of::<F>, Arc::from);
            set(Dependency::<R, B>::builder(&*name)).build()
        });
        built.clone().map_err(Error::Config)
    }

    fn cell<F>(&self) -> Result<Arc<Cell<R, B>>, ConfigError> {
        let generation = table::generation();
        let found = || self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = found().as_ref().filter(|found| found.generation == generation) {
            match &found.cell {
                Ok(cell) => {
                    if let Some(cell) = cell.upgrade() {
                        return Ok(cell);
                    }
                }
                Err(conflict) => return Err(conflict.clone()),
            }
        }
        let claimed = table::claim(self.claim::<F>());
        let cell = claimed.as_ref().map(Arc::downgrade).map_err(ConfigError::clone);
        *found() = Some(Found { generation, cell });
        claimed
    }

    fn claim<F>(&self) -> Claim {
        let function = name_of::<F>();
        Claim {
            name: self.id.map_or_else(|| function.clone(), Arc::from),
            function,
            settings: self.settings,
            // Functions that one macro wrote have one place, and an address each.
            unnamed: self.id.is_none().then_some(core::ptr::from_ref(self).addr()),
            place: self.place,
        }
    }
}

impl<R: Runtime, B> core::fmt::Debug for Site<R, B> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Site").field("id", &self.id).finish_non_exhaustive()
    }
}
