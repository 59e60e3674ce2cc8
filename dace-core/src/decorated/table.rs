//! The dependencies of decorated functions, by id: one table for the process.
//!
//! It holds what attributes in the program name, so it is as long as there are such functions. A static
//! cannot be generic, so handles are kept without their type, and asked for by it.

use core::any::{Any, TypeId};
use core::panic::Location;
use core::sync::atomic::{AtomicU64, Ordering};

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::sync::Arc;
use std::sync::{Mutex, OnceLock, PoisonError};

use crate::{ConfigError, Dependency, HttpBackend, Runtime, dependency_id};

/// How often everything was forgotten. A function that found its dependency in an earlier generation
/// looks again.
static GENERATION: AtomicU64 = AtomicU64::new(0);

static TABLE: Mutex<BTreeMap<Key, Entry>> = Mutex::new(BTreeMap::new());

/// On what it runs, and the id as it was sanitised.
type Key = (TypeId, Arc<str>);

/// What is built once, by the first call of all functions that share it.
pub(super) type Cell<R, B> = OnceLock<Result<Dependency<R, B>, ConfigError>>;

struct Entry {
    first: Claim,
    cell: Arc<dyn Any + Send + Sync>,
}

/// What one function says of the dependency that it wants.
#[derive(Clone)]
pub(super) struct Claim {
    /// The id, as it was given.
    pub(super) name: Arc<str>,
    /// The path of the function.
    pub(super) function: Arc<str>,
    /// Settings as text, `name = value`, one a line.
    pub(super) settings: &'static str,
    /// Which function it is, if its path is the id.
    pub(super) unnamed: Option<usize>,
    /// Where it stands.
    pub(super) place: &'static Location<'static>,
}

impl Claim {
    fn settings(&self) -> impl Iterator<Item = (&'static str, &'static str)> {
        self.settings.lines().map(|line| line.split_once(" = ").unwrap_or((line, "")))
    }

    /// What one setting was given, one after the other.
    fn values(&self, setting: &str) -> impl Iterator<Item = &'static str> {
        self.settings().filter(move |(name, _)| *name == setting).map(|(_, value)| value)
    }
}

/// The place of the dependency that the function shares with all that have its id.
pub(super) fn claim<R: Runtime, B: HttpBackend>(
    claim: Claim,
) -> Result<Arc<Cell<R, B>>, ConfigError> {
    let id = dependency_id::sanitise(&claim.name)
        .ok_or_else(|| ConfigError::new("dependency_id", "must not be empty"))?;
    let key = (TypeId::of::<Dependency<R, B>>(), id.clone());
    let mut table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
    let entry = table
        .entry(key)
        .or_insert_with(|| Entry { first: claim.clone(), cell: Arc::new(Cell::<R, B>::new()) });
    let (first, cell) = (entry.first.clone(), entry.cell.clone());
    drop(table);
    agree(&id, &first, &claim)?;
    Ok(cell.downcast().expect("the key holds the type"))
}

fn agree(id: &str, first: &Claim, second: &Claim) -> Result<(), ConfigError> {
    let (one, other) = (&first.function, &second.function);
    if first.name != second.name {
        let problem = format!(
            "`{}` of `{other}` and `{}` of `{one}` would both be `{id}`; rename one of them",
            second.name, first.name,
        );
        return Err(ConfigError::new("dependency_id", problem));
    }
    if let (Some(here), Some(there)) = (first.unnamed, second.unnamed) {
        if here != there {
            let problem = format!(
                "would be `{id}` for two functions, at {} and at {}; give a `dependency_id` to one of them",
                first.place, second.place,
            );
            return Err(ConfigError::new("dependency_id", problem));
        }
    }
    let mut settings = second.settings().chain(first.settings()).map(|(setting, _)| setting);
    let differs = |setting: &&str| second.values(setting).ne(first.values(setting));
    let Some(setting) = settings.find(differs) else {
        return Ok(());
    };
    if !PLAIN.contains(&setting) {
        let problem = format!(
            "differs between `{other}` and `{one}`, which share the dependency `{id}`; say the same in both"
        );
        return Err(ConfigError::new(setting, problem));
    }
    let problem = format!(
        "{} in `{other}` and {} in `{one}`, which share the dependency `{id}`; say the same in both",
        told(second, setting),
        told(first, setting),
    );
    Err(ConfigError::new(setting, problem))
}

/// Settings whose values are numbers, times and switches. Any other may hold what no error shows: a
/// password in a URL, a key that an observer is made with.
const PLAIN: [&str; 24] = [
    "attempt_timeout",
    "body_limit",
    "circuit_reset_timeout",
    "connect_timeout",
    "expected_in",
    "hang_after",
    "head_limit",
    "hint_max",
    "http_idle_timeout",
    "http_max_age",
    "http_pool_size",
    "https_only",
    "idempotent",
    "max_netlocs",
    "max_open_per_netloc",
    "max_redirects",
    "no_timeout",
    "protocol",
    "queue",
    "retry_attempts",
    "retry_on_timeout",
    "stall_timeout",
    "timeout",
    "use_proxy",
];

fn told(claim: &Claim, setting: &str) -> alloc::string::String {
    let values: alloc::vec::Vec<_> =
        claim.values(setting).map(|value| format!("`{value}`")).collect();
    if values.is_empty() {
        return "is not set".into();
    }
    format!("is {}", values.join(" and "))
}

/// The dependency that decorated functions of this id use on one adapter, once one of them was called.
/// `None` before that, and if its settings are wrong.
pub fn find<R: Runtime, B: HttpBackend>(id: &str) -> Option<Dependency<R, B>> {
    let key = (TypeId::of::<Dependency<R, B>>(), dependency_id::sanitise(id)?);
    let table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
    let cell = table.get(&key)?.cell.clone();
    drop(table);
    cell.downcast_ref::<Cell<R, B>>()?.get()?.clone().ok()
}

/// Fresh state for every decorated function, for tests: its next call builds its dependency anew.
///
/// Calls under way end as they would have. Dependencies that were built by hand stay as they are.
pub fn reset() {
    let forgotten = {
        let mut table = TABLE.lock().unwrap_or_else(PoisonError::into_inner);
        GENERATION.fetch_add(1, Ordering::SeqCst);
        core::mem::take(&mut *table)
    };
    // Outside of the lock: the end of a dependency is the end of its observers, the user's code.
    drop(forgotten);
}

pub(super) fn generation() -> u64 {
    GENERATION.load(Ordering::SeqCst)
}
