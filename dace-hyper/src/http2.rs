//! Connections of HTTP/2: one for all exchanges with an origin, for as long as it is of use.
//!
//! Such a connection can be open and dead: whatever is sent on it vanishes. Two things find that out.
//! While a stream is open and nothing comes, hyper pings. And where exchanges are given up sooner than
//! a ping would tell, [`SILENCES`] of them in a row without a byte from the server retire it.

use std::fmt;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dace_core::Instant;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::TokioIo;

use crate::background::{Executor, Timer};
use crate::pool::Pool;
use crate::route::Route;
use crate::upload::Upload;
use crate::wire::{Gauge, Wire};
use crate::{HyperError, Net};

/// How many exchanges in a row may be given up without a byte from the server.
const SILENCES: u32 = 3;

/// When to ask whether the other side is alive, and how long it may take to answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ping {
    pub(crate) every: Duration,
    pub(crate) patience: Duration,
}

impl Default for Ping {
    /// gRPC's servers close on a client that pings more often than every 5 minutes without a stream
    /// open, and are lenient while there is one; only then does hyper ping.
    fn default() -> Self {
        Self { every: Duration::from_secs(10), patience: Duration::from_secs(10) }
    }
}

/// Where a connection lies when nobody uses it.
type Home<N> = (Arc<Pool<N>>, Route<<N as Net>::Place>);

/// A connection that exchanges share.
pub(crate) struct Shared<N> {
    net: N,
    sender: SendRequest<Upload>,
    gauge: Arc<Gauge>,
    born: Instant,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Exchanges on it.
    open: usize,
    idle_since: Instant,
    /// Exchanges given up in a row with nothing heard.
    silences: u32,
    /// Whether it has carried an answered exchange.
    answered: bool,
    /// Whether an exchange found it broken. hyper may not have noticed by the time of the next.
    broken: bool,
}

impl<N: Net> Shared<N> {
    /// Begins with HTTP/2 on a connected socket.
    pub(crate) async fn open(
        net: N,
        wire: Wire<N::Stream>,
        head_limit: usize,
        ping: Ping,
        born: Instant,
    ) -> Result<Arc<Self>, HyperError> {
        let gauge = wire.gauge.clone();
        let (sender, driver) = http2::Builder::new(Executor(net.clone()))
            .timer(Timer::new(net.clone()))
            .keep_alive_interval(ping.every)
            .keep_alive_timeout(ping.patience)
            .keep_alive_while_idle(false)
            .max_header_list_size(u32::try_from(head_limit).unwrap_or(u32::MAX))
            .handshake(TokioIo::new(wire))
            .await
            .map_err(|error| HyperError::given_back(false, error))?;
        // Its errors reach the exchanges that they concern.
        net.spawn(async move { drop(driver.await) });
        let state =
            State { open: 0, idle_since: born, silences: 0, answered: false, broken: false };
        Ok(Arc::new(Self { net, sender, gauge, born, state: Mutex::new(state) }))
    }

    /// Whether another exchange may begin on it.
    pub(crate) fn is_usable(&self, now: Instant, max_age: Duration) -> bool {
        let young = now.since(self.born) < max_age;
        let state = self.lock();
        young && !self.sender.is_closed() && !state.broken && state.silences < SILENCES
    }

    /// When it will have been idle for too long; none while it is in use.
    pub(crate) fn idle_until(&self, timeout: Duration) -> Option<Instant> {
        let state = self.lock();
        (state.open == 0).then(|| state.idle_since.after(timeout))
    }

    /// The right to have one exchange on it. With a `pool` it lies there afterwards.
    pub(crate) fn ticket(self: &Arc<Self>, pool: Option<Home<N>>) -> Ticket<N> {
        let mut state = self.lock();
        state.open += 1;
        let reused = state.answered;
        self.gauge.open.store(state.open, Ordering::Relaxed);
        if state.open == 1 {
            // What came for those before is theirs.
            self.gauge.unheard.store(0, Ordering::Relaxed);
        }
        drop(state);
        let mark = self.gauge.received();
        Ticket { shared: self.clone(), pool, mark, waiting: true, reused }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One exchange on a shared connection.
pub(crate) struct Ticket<N: Net> {
    shared: Arc<Shared<N>>,
    pool: Option<Home<N>>,
    /// What had come from the server when last something was heard.
    mark: usize,
    /// Whether the exchange waits for the server.
    waiting: bool,
    pub(crate) reused: bool,
}

impl<N: Net> Ticket<N> {
    pub(crate) fn sender(&self) -> SendRequest<Upload> {
        self.shared.sender.clone()
    }

    /// Whether the server ended the TLS session with an alert.
    pub(crate) fn refused(&self) -> bool {
        self.shared.gauge.refused()
    }

    /// The head of the answer came.
    pub(crate) fn answered(&mut self) {
        let mut state = self.shared.lock();
        state.answered = true;
        state.silences = 0;
        drop(state);
        self.shared.gauge.unheard.store(0, Ordering::Relaxed);
        self.waits(false);
    }

    /// The body was asked for more: `waiting` says that there was nothing yet.
    pub(crate) fn waits(&mut self, waiting: bool) {
        self.waiting = waiting;
        if !waiting {
            self.mark = self.shared.gauge.received();
        }
    }

    /// The connection broke: no other exchange is to begin on it.
    pub(crate) fn broke(&mut self) {
        self.shared.lock().broken = true;
    }

    /// The exchange is over, in whatever way, but not given up.
    pub(crate) fn done(&mut self) {
        self.waits(false);
    }
}

impl<N: Net> Drop for Ticket<N> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if self.waiting {
            let silent = self.shared.gauge.received() == self.mark;
            state.silences = if silent { state.silences + 1 } else { 0 };
        }
        state.open -= 1;
        self.shared.gauge.open.store(state.open, Ordering::Relaxed);
        let idle = state.open == 0;
        if idle {
            state.idle_since = self.shared.net.now();
        }
        drop(state);
        if let Some((pool, route)) = self.pool.take().filter(|_| idle) {
            pool.idle(&route, &self.shared);
        }
    }
}

impl<N: Net> fmt::Debug for Shared<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("state", &self.lock()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use dace_core::http::{Connect, FaultKind, HttpSettings, Protocol, Sent};
    use dace_wire::{Gate, Server, Step, get, run, streams};

    use super::*;
    use crate::piped::Piped;

    type HyperBackend = crate::HyperBackend<Piped>;

    /// Nobody gives the exchange up, and the connection stays open: only a ping can tell.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_silent_connection_is_found_by_a_ping() {
        let (done, mut script) = (Gate::new(), streams(&["alive"]));
        script.pop();
        script.extend([Step::ReadStream, Step::Wait(done.clone())]);
        let server = Server::start([script, streams(&["replaced"])]);
        let mut settings = HttpSettings::default();
        settings.protocol = Protocol::Http2;
        let mut backend = HyperBackend::connect(settings).expect("a backend");
        let short = Duration::from_millis(50);
        backend.ping = Ping { every: short, patience: short };
        run(&backend, get(&server.url("/"))).await.expect("an answer");
        let failure = run(&backend, get(&server.url("/"))).await.map(drop).expect_err("silence");
        assert_eq!(failure.fault.kind, FaultKind::Closed, "{failure:?}");
        assert_eq!((failure.fault.sent, failure.fault.reused), (Sent::MaybeSent, true));
        let answer = run(&backend, get(&server.url("/"))).await.expect("an answer");
        assert_eq!(answer.text(), "replaced");
        done.open();
    }

    /// One that answers pings is alive, however long an answer takes.
    #[tokio::test(flavor = "multi_thread")]
    async fn a_slow_connection_is_kept() {
        let (pinged, mut script) = (Gate::new(), streams(&["alive"]));
        script.pop();
        let ping = dace_wire::Step::ReadPing;
        script.extend([Step::ReadStream, ping.clone(), ping.clone(), ping]);
        script.push(Step::Send(dace_wire::frames::answer(3, "late")));
        script.extend([Step::Open(pinged.clone()), Step::AwaitClose]);
        let server = Server::start([script]);
        let mut settings = HttpSettings::default();
        settings.protocol = Protocol::Http2;
        let mut backend = HyperBackend::connect(settings).expect("a backend");
        backend.ping = Ping { every: Duration::from_millis(20), patience: dace_wire::PATIENCE };
        for text in ["alive", "late"] {
            let answer = run(&backend, get(&server.url("/"))).await.expect("an answer");
            assert_eq!(answer.text(), text);
        }
        pinged.wait();
        assert_eq!(server.connections(), 1);
    }
}
