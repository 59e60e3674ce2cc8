//! Idle connections, per origin.
//!
//! A connection is here only between exchanges: both directions of the last one are done. The last
//! one parked is the first one taken, so that those beyond the need grow old and go.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use dace_core::Target;
use hyper::client::conn::http1::SendRequest;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::body::Upload;
use crate::wire::Gauge;

/// A connection: the sender's end. The task that drives it ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) sender: SendRequest<Upload>,
    pub(crate) gauge: Arc<Gauge>,
    /// Whether it has carried an answered exchange.
    pub(crate) reused: bool,
}

#[derive(Debug)]
pub(crate) struct Pool {
    idle: Mutex<Idle>,
    size: usize,
    timeout: Duration,
}

#[derive(Debug, Default)]
struct Idle {
    origins: HashMap<Target, Vec<Parked>>,
    /// The task that closes what lies too long. It runs only while something is parked.
    reaper: Option<AbortHandle>,
}

#[derive(Debug)]
struct Parked {
    connection: Connection,
    until: Instant,
}

impl Pool {
    /// A pool that keeps at most `size` idle connections per origin, each for at most `timeout`.
    pub(crate) fn new(size: usize, timeout: Duration) -> Arc<Self> {
        Arc::new(Self { idle: Mutex::default(), size, timeout })
    }

    /// The connection that was parked last, if one can be used.
    pub(crate) fn take(&self, origin: &Target) -> Option<Connection> {
        let now = Instant::now();
        let mut idle = self.lock();
        let parked = idle.origins.get_mut(origin)?;
        let mut found = None;
        while let Some(Parked { connection, until }) = parked.pop() {
            if until > now && connection.sender.is_ready() && !connection.sender.is_closed() {
                found = Some(connection);
                break;
            }
        }
        if parked.is_empty() {
            idle.origins.remove(origin);
        }
        found
    }

    /// Keeps `connection` for the next exchange. Of too many, the oldest goes.
    pub(crate) fn park(self: &Arc<Self>, origin: Target, connection: Connection) {
        // Without a runtime nothing would ever close it again.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let Some(until) = Instant::now().checked_add(self.timeout) else {
            return;
        };
        let mut idle = self.lock();
        let parked = idle.origins.entry(origin).or_default();
        parked.push(Parked { connection, until });
        let surplus = parked.len().saturating_sub(self.size);
        let closed: Vec<Parked> = parked.drain(..surplus).collect();
        if idle.reaper.as_ref().is_none_or(AbortHandle::is_finished) {
            let task = runtime.spawn(reap(Arc::downgrade(self)));
            idle.reaper = Some(task.abort_handle());
        }
        drop(idle);
        drop(closed);
    }

    /// Closes what is too old, and says when to look again: `None` if nothing is left.
    fn sweep(&self) -> Option<Instant> {
        let now = Instant::now();
        let mut closed: Vec<Vec<Parked>> = Vec::new();
        let mut idle = self.lock();
        for parked in idle.origins.values_mut() {
            let (stale, fresh) = std::mem::take(parked)
                .into_iter()
                .partition(|parked| parked.until <= now || parked.connection.sender.is_closed());
            *parked = fresh;
            closed.push(stale);
        }
        idle.origins.retain(|_, parked| !parked.is_empty());
        let next = idle.origins.values().flatten().map(|p| p.until).min();
        if next.is_none() {
            // The next one parked starts another.
            idle.reaper = None;
        }
        drop(idle);
        drop(closed);
        next
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
