//! Connections between exchanges, per route.
//!
//! One of HTTP/1.1 is here only between exchanges: both directions of the last one are done. The last
//! one parked is the first one taken, so that those beyond the need grow old and go. Nobody drives it here:
//! it is looked at when it is taken, and every now and then. One of HTTP/2 is here from its beginning, for
//! all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use dace_core::Instant;
use foldhash::quality::RandomState;
use tokio::sync::oneshot;

use crate::Net;
use crate::connection::Connection;
#[cfg(feature = "http2")]
use crate::http2::{Shared, Ticket};
use crate::net::within;
use crate::route::Route;

/// So often somebody looks whether what lies here is still of use.
const QUIET: Duration = Duration::from_secs(1);

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
pub(crate) struct Pool<N: Net> {
    net: N,
    idle: Mutex<Idle<N>>,
    bounds: Bounds,
}

#[derive(Debug)]
struct Idle<N: Net> {
    /// The places stay while their connections are away, up to [`Bounds::total`] of them, and until the
    /// reaper has gone round.
    routes: HashMap<Route<N::Place>, Vec<Parked<N>>, RandomState>,
    /// How many connections of HTTP/1.1 lie here.
    count: usize,
    #[cfg(feature = "http2")]
    shared: HashMap<Route<N::Place>, Arc<Shared<N>>, RandomState>,
    /// To the task that closes what lies too long, or ended, and runs only while something lies here. It ends
    /// when this is dropped.
    reaper: Option<oneshot::Sender<()>>,
}

impl<N: Net> Default for Idle<N> {
    fn default() -> Self {
        Self {
            routes: HashMap::default(),
            count: 0,
            #[cfg(feature = "http2")]
            shared: HashMap::default(),
            reaper: None,
        }
    }
}

impl<N: Net> Idle<N> {
    /// Adds a connection of HTTP/1.1. Those that are too many come back.
    fn add(&mut self, route: Route<N::Place>, new: Parked<N>, bounds: Bounds) -> Vec<Parked<N>> {
        let parked = self.routes.entry(route).or_default();
        // Mostly the last, but for one that was taken away to be looked at.
        let at = parked.partition_point(|parked| parked.until <= new.until);
        parked.insert(at, new);
        let surplus = parked.len().saturating_sub(bounds.size);
        let mut closed: Vec<_> = parked.drain(..surplus).collect();
        self.count = self.count + 1 - surplus;
        if self.count > bounds.total {
            closed.extend(self.take_oldest());
        }
        closed
    }

    /// Takes out what is too old, into `closed`, and what something happened to. What is as it was stays: whoever looks for a connection meanwhile finds it.
    fn take_news(
        &mut self,
        now: Instant,
        closed: &mut Vec<Parked<N>>,
    ) -> Vec<(Route<N::Place>, Parked<N>)> {
        let mut news = Vec::new();
        for (route, parked) in &mut self.routes {
            for candidate in std::mem::take(parked) {
                if candidate.until <= now {
                    closed.push(candidate);
                } else if candidate.connection.has_news() {
                    news.push((route.clone(), candidate));
                } else {
                    parked.push(candidate);
                }
            }
        }
        self.count -= closed.len() + news.len();
        news
    }

    /// The connection of HTTP/1.1 that has been here longest.
    fn take_oldest(&mut self) -> Option<Parked<N>> {
        let since = |parked: &Vec<Parked<N>>| parked.first().map(|parked| parked.until);
        let firsts = self.routes.iter().filter_map(|(route, parked)| Some((since(parked)?, route)));
        let route = firsts.min_by_key(|(since, _)| *since)?.1.clone();
        let parked = self.routes.get_mut(&route)?;
        let oldest = parked.remove(0);
        if parked.is_empty() {
            self.routes.remove(&route);
        }
        self.count -= 1;
        Some(oldest)
    }

    /// The connection of HTTP/2 that nobody has used for longest, if there are too many of those.
    #[cfg(feature = "http2")]
    fn take_oldest_shared(&mut self, bounds: Bounds) -> Option<Arc<Shared<N>>> {
        let since = |shared: &Shared<N>| shared.idle_until(bounds.idle_timeout);
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
struct Parked<N: Net> {
    connection: Connection<N>,
    until: Instant,
}

impl<N: Net> Pool<N> {
    pub(crate) fn new(net: N, bounds: Bounds) -> Arc<Self> {
        Arc::new(Self { net, idle: Mutex::default(), bounds })
    }

    /// The connection that was parked last, if one can be used.
    pub(crate) fn take(&self, route: &Route<N::Place>) -> Option<Connection<N>> {
        loop {
            let mut connection = self.pop(route)?;
            if connection.look() {
                return Some(connection);
            }
        }
    }

    /// The connection that was parked last and is not too old. It may have ended.
    fn pop(&self, route: &Route<N::Place>) -> Option<Connection<N>> {
        let now = self.net.now();
        let mut idle = self.lock();
        let places = idle.routes.len();
        let parked = idle.routes.get_mut(route)?;
        let mut found = None;
        let mut closed = Vec::new();
        while let Some(candidate) = parked.pop() {
            let age = now.since(candidate.connection.born());
            if candidate.until > now && age < self.bounds.max_age {
                found = Some(candidate.connection);
                break;
            }
            closed.push(candidate);
        }
        if parked.is_empty() && places > self.bounds.total {
            idle.routes.remove(route);
        }
        idle.count -= usize::from(found.is_some()) + closed.len();
        drop(idle);
        drop(closed);
        found
    }

    /// Keeps `connection` for the next exchange. Of too many, the oldest goes.
    pub(crate) fn park(self: &Arc<Self>, route: Route<N::Place>, connection: Connection<N>) {
        let now = self.net.now();
        let until = now.after(self.bounds.idle_timeout);
        let mut idle = self.lock();
        if !self.watch(&mut idle) {
            return;
        }
        let closed = idle.add(route, Parked { connection, until }, self.bounds);
        drop(idle);
        drop(closed);
    }

    /// A place on the connection that is shared on this route, if there is one.
    #[cfg(feature = "http2")]
    pub(crate) fn join(self: &Arc<Self>, route: &Route<N::Place>) -> Option<Ticket<N>> {
        let now = self.net.now();
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
    pub(crate) fn share(
        self: &Arc<Self>,
        route: &Route<N::Place>,
        shared: &Arc<Shared<N>>,
    ) -> Ticket<N> {
        let replaced = self.lock().shared.insert(route.clone(), shared.clone());
        drop(replaced);
        shared.ticket(Some((self.clone(), route.clone())))
    }

    /// Nobody uses `shared` any more, for now.
    #[cfg(feature = "http2")]
    pub(crate) fn idle(self: &Arc<Self>, route: &Route<N::Place>, shared: &Arc<Shared<N>>) {
        let mut idle = self.lock();
        if !idle.shared.get(route).is_some_and(|kept| Arc::ptr_eq(kept, shared)) {
            return;
        }
        let closed = match self.watch(&mut idle) {
            true => idle.take_oldest_shared(self.bounds),
            false => idle.shared.remove(route),
        };
        drop(idle);
        drop(closed);
    }

    /// Whether there is somebody who closes what lies too long. Outside of a runtime nobody can be found anew.
    fn watch(self: &Arc<Self>, idle: &mut Idle<N>) -> bool {
        if idle.reaper.as_ref().is_some_and(|reaper| !reaper.is_closed()) {
            return true;
        }
        let (reaper, over) = oneshot::channel();
        // Not before: what is parked is mostly taken at once, and the task would end and be needed again.
        let first = self.net.now().after(self.bounds.idle_timeout.min(QUIET));
        let runs = self.net.spawn(reap(self.net.clone(), Arc::downgrade(self), first, over));
        if runs {
            idle.reaper = Some(reaper);
        }
        runs
    }

    /// Closes what is too old or has ended, and says when to look again: `None` if nothing is left.
    fn sweep(&self) -> Option<Instant> {
        let now = self.net.now();
        let mut closed = Vec::new();
        let news = self.lock().take_news(now, &mut closed);
        // Out of the lock, since sockets are read. One that lies here while others come and go is not missed.
        let alive = news
            .into_iter()
            .filter_map(|(route, mut parked)| parked.connection.look().then_some((route, parked)));
        let alive: Vec<_> = alive.collect();
        let mut idle = self.lock();
        for (route, parked) in alive {
            closed.extend(idle.add(route, parked, self.bounds));
        }
        idle.routes.retain(|_, parked| !parked.is_empty());
        let lying = idle.routes.values().flatten();
        let next = lying.map(|parked| parked.until).min().map(|until| until.min(now.after(QUIET)));
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
        idle: &mut Idle<N>,
        now: Instant,
        mut next: Option<Instant>,
    ) -> (Option<Instant>, Vec<Arc<Shared<N>>>) {
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

    fn lock(&self) -> MutexGuard<'_, Idle<N>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn reap<N: Net>(
    net: N,
    pool: Weak<Pool<N>>,
    mut next: Instant,
    mut over: oneshot::Receiver<()>,
) {
    while within(&net, next, &mut over).await.is_none() {
        let Some(then) = pool.upgrade().and_then(|pool| pool.sweep()) else { break };
        next = then;
    }
}

#[cfg(test)]
mod tests {
    use dace_core::Runtime as _;
    use dace_core::http::{Method, Request, Url};
    use tokio::io::{AsyncWriteExt, DuplexStream};

    use super::*;
    use crate::piped::Piped;
    use crate::socket::Socket;
    use crate::wire::{Gauge, Wire};

    /// A pool of so many connections, so many a route, and the servers' ends of those that were made.
    struct Bench {
        pool: Arc<Pool<Piped>>,
        ends: Vec<DuplexStream>,
    }

    impl Bench {
        fn new(size: usize, total: usize) -> Self {
            let idle_timeout = Duration::from_secs(60);
            let bounds = Bounds { size, total, idle_timeout, max_age: Duration::MAX };
            Self { pool: Pool::new(Piped, bounds), ends: Vec::new() }
        }

        /// Parks a new connection to `host`. It is known by its number, as its limit of heads.
        async fn park(&mut self, host: &str) {
            let (near, far) = tokio::io::duplex(64);
            let wire = Wire {
                socket: Socket::Plain(Box::new(near) as _),
                gauge: Gauge::new(self.ends.len()),
                #[cfg(feature = "http2")]
                heads: None,
            };
            let mut connection = Connection::<Piped>::open(wire, 8192, Piped.now()).await.unwrap();
            assert!(connection.look());
            self.ends.push(far);
            self.pool.park(route(host), connection);
        }

        /// Which connection to `host` comes out.
        fn take(&self, host: &str) -> Option<usize> {
            Some(self.pool.take(&route(host))?.gauge().head_limit())
        }
    }

    fn route(host: &str) -> Route<tokio::runtime::Id> {
        let url = Url::parse(&format!("http://{host}/")).unwrap();
        Route::of(&Request::new(Method::GET, url), &Piped).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn the_connection_that_was_parked_last_is_taken_first() {
        let mut bench = Bench::new(9, 9);
        for _ in 0..3 {
            bench.park("a").await;
        }
        let taken: Vec<_> = (0..4).map(|_| bench.take("a")).collect();
        assert_eq!(taken, [Some(2), Some(1), Some(0), None]);
    }

    #[tokio::test(start_paused = true)]
    async fn of_too_many_connections_of_a_route_the_oldest_goes() {
        let mut bench = Bench::new(2, 9);
        for _ in 0..3 {
            bench.park("a").await;
        }
        let taken: Vec<_> = (0..3).map(|_| bench.take("a")).collect();
        assert_eq!(taken, [Some(2), Some(1), None]);
    }

    #[tokio::test(start_paused = true)]
    async fn of_too_many_connections_in_all_the_oldest_goes_whatever_its_route() {
        let mut bench = Bench::new(9, 2);
        for host in ["a", "b", "c"] {
            bench.park(host).await;
            tokio::time::advance(Duration::from_secs(1)).await;
        }
        assert_eq!(["a", "b", "c"].map(|host| bench.take(host)), [None, Some(1), Some(2)]);
        // Those that are away are not counted.
        for host in ["a", "b"] {
            bench.park(host).await;
        }
        assert_eq!(["a", "b"].map(|host| bench.take(host)), [Some(3), Some(4)]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_closed_or_grew_old_makes_room_for_others() {
        let mut bench = Bench::new(9, 3);
        for _ in 0..3 {
            bench.park("a").await;
        }
        bench.ends.clear();
        for _ in 0..9 {
            tokio::task::yield_now().await;
        }
        assert_eq!(bench.take("a"), None, "its servers are gone");
        for round in 0..2 {
            for _ in 0..3 {
                bench.park("a").await;
            }
            let lie = |bench: &Bench| bench.pool.lock().routes.values().flatten().count();
            assert_eq!(lie(&bench), 3, "{round}");
            // They grow old.
            tokio::time::sleep(Duration::from_secs(61)).await;
            assert_eq!(lie(&bench), 0, "{round}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_server_closed_or_spoke_on_unasked_is_not_taken() {
        let mut bench = Bench::new(9, 9);
        for _ in 0..4 {
            bench.park("a").await;
        }
        bench.ends[3].shutdown().await.unwrap();
        bench.ends[2].write_all(b"HTTP/1.1 408 Late\r\n\r\n").await.unwrap();
        bench.ends[0].write_all(b"x").await.unwrap();
        assert_eq!((bench.take("a"), bench.take("a")), (Some(1), None));
    }

    #[tokio::test(start_paused = true)]
    async fn what_ended_does_not_lie_here_until_it_is_old() {
        let mut bench = Bench::new(9, 9);
        for _ in 0..3 {
            bench.park("a").await;
        }
        tokio::time::sleep(QUIET / 2).await;
        bench.park("a").await;
        bench.ends[0].shutdown().await.unwrap();
        bench.ends[2].write_all(b"x").await.unwrap();
        tokio::time::sleep(QUIET).await;
        let mut byte = [0];
        for end in [0, 2] {
            let read = tokio::io::AsyncReadExt::read(&mut bench.ends[end], &mut byte).await;
            assert_eq!(read.unwrap(), 0, "{end} is closed");
        }
        assert_eq!(bench.pool.lock().count, 2);
        // Those that were looked at lie where they lay.
        assert_eq!((bench.take("a"), bench.take("a")), (Some(3), Some(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn one_task_looks_after_connections_however_often_they_come_and_go() {
        let mut bench = Bench::new(9, 9);
        bench.park("a").await;
        let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
        let route = route("a");
        for _ in 0..9 {
            let connection = bench.pool.take(&route).unwrap();
            tokio::task::yield_now().await;
            assert_eq!(tasks(), 1, "it does not end, to begin anew");
            bench.pool.park(route.clone(), connection);
        }
        drop(bench);
        tokio::task::yield_now().await;
        assert_eq!(tasks(), 0);
    }

    #[test]
    fn outside_of_a_runtime_a_connection_stays_only_while_somebody_looks_after_it() {
        let builder = || tokio::runtime::Builder::new_current_thread().enable_all().build();
        let mut bench = Bench::new(9, 9);
        let runtime = builder().unwrap();
        let (kept, route) = runtime.block_on(async {
            bench.park("a").await;
            let route = route("a");
            (bench.pool.take(&route).unwrap(), route)
        });
        bench.pool.park(route.clone(), kept);
        let kept = bench.pool.take(&route).expect("the reaper's runtime is there");
        drop(runtime);
        bench.pool.park(route.clone(), kept);
        assert_eq!(bench.pool.lock().count, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn places_are_kept_for_connections_that_are_away_but_not_without_bound_or_end() {
        let mut bench = Bench::new(9, 3);
        bench.park("kept").await;
        for number in 1..9 {
            bench.park(&format!("a{number}")).await;
            assert_eq!(bench.take(&format!("a{number}")), Some(number));
        }
        assert_eq!(bench.pool.lock().routes.len(), 3);
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(bench.pool.lock().routes.len(), 0);
        assert!(bench.pool.lock().reaper.is_none(), "nothing is left to look at");
    }
}
