//! Connections between exchanges, per route.
//!
//! One of HTTP/1.1 is here only between exchanges: both directions of the last one are done. The last
//! one parked is the first one taken, so that those beyond the need grow old and go. One of HTTP/2 is
//! here from its beginning, for all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use hyper::client::conn::http1::SendRequest;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::Instant;

#[cfg(feature = "http2")]
use crate::http2::{Shared, Ticket};
use crate::route::Route;
use crate::upload::Upload;
use crate::wire::Gauge;

/// A connection of HTTP/1.1: the sender's end. The task that drives it ends when this is dropped, unless
/// it has yet to write what nobody reads.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<Upload>,
    pub(crate) gauge: Arc<Gauge>,
    pub(crate) driver: AbortHandle,
    /// When it began to be made.
    pub(crate) born: Instant,
    /// Whether it has carried an answered exchange.
    pub(crate) reused: bool,
}

/// How long connections may lie here, and how many.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// The most idle connections of HTTP/1.1 per route.
    pub(crate) size: usize,
    /// The most idle connections over all routes, of each version.
    pub(crate) total: usize,
    pub(crate) idle_timeout: Duration,
    /// How old one may be when an exchange begins on it.
    pub(crate) max_age: Duration,
}

#[derive(Debug)]
pub(crate) struct Pool {
    idle: Mutex<Idle>,
    bounds: Bounds,
}

#[derive(Debug, Default)]
struct Idle {
    routes: HashMap<Route, Vec<Parked>>,
    #[cfg(feature = "http2")]
    shared: HashMap<Route, Arc<Shared>>,
    /// The task that closes what lies too long. It runs only while something lies here.
    reaper: Option<AbortHandle>,
}

impl Idle {
    /// The connection of HTTP/1.1 that has been here longest.
    fn take_oldest(&mut self) -> Option<Parked> {
        let since = |parked: &Vec<Parked>| parked.first().map(|parked| parked.until);
        let firsts = self.routes.iter().filter_map(|(route, parked)| Some((since(parked)?, route)));
        let route = firsts.min_by_key(|(since, _)| *since)?.1.clone();
        let parked = self.routes.get_mut(&route)?;
        let oldest = parked.remove(0);
        if parked.is_empty() {
            self.routes.remove(&route);
        }
        Some(oldest)
    }

    /// The connection of HTTP/2 that nobody has used for longest, if there are too many of those.
    #[cfg(feature = "http2")]
    fn take_oldest_shared(&mut self, bounds: Bounds) -> Option<Arc<Shared>> {
        let since = |shared: &Shared| shared.idle_until(bounds.idle_timeout);
        let idle =
            || self.shared.iter().filter_map(|(route, shared)| Some((since(shared)?, route)));
        let route = match idle().count() > bounds.total {
            true => idle().min_by_key(|(since, _)| *since)?.1.clone(),
            false => return None,
        };
        self.shared.remove(&route)
    }
}

#[derive(Debug)]
struct Parked {
    connection: Connection,
    until: Instant,
}

impl Pool {
    pub(crate) fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self { idle: Mutex::default(), bounds })
    }

    /// The connection that was parked last, if one can be used.
    pub(crate) fn take(&self, route: &Route) -> Option<Connection> {
        let now = Instant::now();
        let mut idle = self.lock();
        let parked = idle.routes.get_mut(route)?;
        let mut found = None;
        let mut closed = Vec::new();
        while let Some(candidate) = parked.pop() {
            let Connection { sender, born, .. } = &candidate.connection;
            let young = now.saturating_duration_since(*born) < self.bounds.max_age;
            if candidate.until > now && young && sender.is_ready() && !sender.is_closed() {
                found = Some(candidate.connection);
                break;
            }
            closed.push(candidate);
        }
        if parked.is_empty() {
            idle.routes.remove(route);
        }
        drop(idle);
        drop(closed);
        found
    }

    /// Keeps `connection` for the next exchange. Of too many, the oldest goes.
    pub(crate) fn park(self: &Arc<Self>, route: Route, connection: Connection) {
        // Without a runtime nothing would ever close it again.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let Some(until) = Instant::now().checked_add(self.bounds.idle_timeout) else {
            return;
        };
        let mut idle = self.lock();
        let parked = idle.routes.entry(route).or_default();
        parked.push(Parked { connection, until });
        let surplus = parked.len().saturating_sub(self.bounds.size);
        let mut closed: Vec<Parked> = parked.drain(..surplus).collect();
        if idle.routes.values().map(Vec::len).sum::<usize>() > self.bounds.total {
            closed.extend(idle.take_oldest());
        }
        self.watch(&mut idle, &runtime);
        drop(idle);
        drop(closed);
    }

    /// A place on the connection that is shared on this route, if there is one.
    #[cfg(feature = "http2")]
    pub(crate) fn join(self: &Arc<Self>, route: &Route) -> Option<Ticket> {
        let now = Instant::now();
        let mut idle = self.lock();
        let shared = idle.shared.get(route)?;
        if shared.is_usable(now, self.bounds.max_age) {
            return Some(shared.ticket(Some((self.clone(), route.clone()))));
        }
        let retired = idle.shared.remove(route);
        drop(idle);
        drop(retired);
        None
    }

    /// Shares `shared` from now on. One that is there already is left to those who use it.
    #[cfg(feature = "http2")]
    pub(crate) fn share(self: &Arc<Self>, route: &Route, shared: &Arc<Shared>) -> Ticket {
        let replaced = self.lock().shared.insert(route.clone(), shared.clone());
        drop(replaced);
        shared.ticket(Some((self.clone(), route.clone())))
    }

    /// Nobody uses `shared` any more, for now.
    #[cfg(feature = "http2")]
    pub(crate) fn idle(self: &Arc<Self>, route: &Route, shared: &Arc<Shared>) {
        let mut idle = self.lock();
        if !idle.shared.get(route).is_some_and(|kept| Arc::ptr_eq(kept, shared)) {
            return;
        }
        let closed = match Handle::try_current() {
            Ok(runtime) => {
                self.watch(&mut idle, &runtime);
                idle.take_oldest_shared(self.bounds)
            }
            // Nothing would ever close it again.
            Err(_) => idle.shared.remove(route),
        };
        drop(idle);
        drop(closed);
    }

    fn watch(self: &Arc<Self>, idle: &mut Idle, runtime: &Handle) {
        if idle.reaper.as_ref().is_none_or(AbortHandle::is_finished) {
            let task = runtime.spawn(reap(Arc::downgrade(self)));
            idle.reaper = Some(task.abort_handle());
        }
    }

    /// Closes what is too old, and says when to look again: `None` if nothing is left.
    fn sweep(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut closed: Vec<Vec<Parked>> = Vec::new();
        let mut idle = self.lock();
        for parked in idle.routes.values_mut() {
            let (stale, fresh) = std::mem::take(parked)
                .into_iter()
                .partition(|parked| parked.until <= now || parked.connection.sender.is_closed());
            *parked = fresh;
            closed.push(stale);
        }
        idle.routes.retain(|_, parked| !parked.is_empty());
        let next = idle.routes.values().flatten().map(|p| p.until).min();
        #[cfg(feature = "http2")]
        let (next, retired) = self.sweep_shared(&mut idle, now, next);
        if next.is_none() {
            // The next one that is idle starts another.
            idle.reaper = None;
        }
        drop(idle);
        drop(closed);
        #[cfg(feature = "http2")]
        drop(retired);
        next
    }

    #[cfg(feature = "http2")]
    fn sweep_shared(
        &self,
        idle: &mut Idle,
        now: Instant,
        mut next: Option<Instant>,
    ) -> (Option<Instant>, Vec<Arc<Shared>>) {
        let mut retired = Vec::new();
        idle.shared.retain(|_, shared| {
            let until = shared.idle_until(self.bounds.idle_timeout);
            let over = until.is_some_and(|until| until <= now);
            if over || !shared.is_usable(now, self.bounds.max_age) {
                retired.push(shared.clone());
                return false;
            }
            next = [next, until].into_iter().flatten().min();
            true
        });
        (next, retired)
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        if let Some(reaper) = self.lock().reaper.take() {
            reaper.abort();
        }
    }
}

async fn reap(pool: Weak<Pool>) {
    while let Some(next) = pool.upgrade().and_then(|pool| pool.sweep()) {
        tokio::time::sleep_until(next).await;
    }
}
