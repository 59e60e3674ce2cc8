//! Servers by script.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeBounds;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dace_core::http::{Fault, FaultKind, Header, Method, Proxy, Request, Sent};
use dace_core::{Instant, Netloc};

use crate::clock::World;

/// A handle on a scripted server. Settings hold from now on; all of them may be changed while calls
/// run.
#[derive(Clone, Debug)]
pub struct Server {
    world: Arc<World>,
    netloc: Netloc,
}

/// One request, as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Arrival {
    /// When.
    pub at: Duration,
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// The headers, in order.
    pub headers: Vec<Header>,
    /// The body, if it was given as bytes.
    pub body: Option<Bytes>,
    /// The proxy that it came through.
    pub proxy: Option<Arc<Proxy>>,
}

impl Arrival {
    /// The first value of a header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        let found = self.headers.iter().find(|header| header.name() == name);
        found.map(|header| &header.value()[..])
    }
}

/// What a server answers.
#[derive(Clone, Debug)]
pub struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) pieces: Vec<(Duration, Bytes)>,
    pub(crate) trailers: Vec<Header>,
    pub(crate) ending: Ending,
    pub(crate) latency: Duration,
}

/// How the body of an answer ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ending {
    /// As it should.
    #[default]
    Complete,
    /// The connection breaks before the end.
    Truncated,
    /// Nothing more comes.
    Stalled,
}

impl Answer {
    /// An answer with this status and no body.
    pub fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            pieces: Vec::new(),
            trailers: Vec::new(),
            ending: Ending::Complete,
            latency: Duration::ZERO,
        }
    }

    /// 200 with this body.
    pub fn ok(body: impl Into<Bytes>) -> Self {
        Self::status(200).piece(Duration::ZERO, body)
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_ascii_lowercase(), value.as_bytes().to_vec()));
        self
    }

    /// Adds a piece of the body, sent this long after what is before it.
    #[must_use]
    pub fn piece(mut self, after: Duration, piece: impl Into<Bytes>) -> Self {
        self.pieces.push((after, piece.into()));
        self
    }

    /// Adds a field that comes after the body; one that cannot be sent is left out.
    #[must_use]
    pub fn trailer(mut self, name: &str, value: &str) -> Self {
        self.trailers.extend(Header::new(name, value.as_bytes().to_vec()));
        self
    }

    /// How the body ends.
    #[must_use]
    pub fn ending(mut self, ending: Ending) -> Self {
        self.ending = ending;
        self
    }

    /// The time until the head is sent, beside the server's own.
    #[must_use]
    pub fn latency(mut self, latency: Duration) -> Self {
        self.latency = latency;
        self
    }
}

type Handler = Arc<dyn Fn(&Request) -> Answer + Send + Sync>;

/// All servers of a simulation, by name.
#[derive(Debug, Default)]
pub(crate) struct Servers(BTreeMap<Netloc, Script>);

struct Script {
    latency: Duration,
    jitter: Duration,
    failing: Option<(f64, u16)>,
    faults: Vec<(Instant, Instant, Trouble)>,
    handler: Handler,
    arrivals: Vec<Arrival>,
    open: u32,
    peak: u32,
    hanging: BTreeMap<u64, String>,
    hang_count: u64,
    stale: Vec<Sent>,
    /// When each of its workers is free; empty if there are as many as it takes.
    workers: Vec<Instant>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} arrivals, {} open", self.arrivals.len(), self.open)
    }
}

/// What is wrong with a server for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trouble {
    Down,
    Hangs,
    Resets,
    Answers(u16),
}

impl Default for Script {
    fn default() -> Self {
        Self {
            latency: Duration::ZERO,
            jitter: Duration::ZERO,
            failing: None,
            faults: Vec::new(),
            handler: Arc::new(|_| Answer::ok("ok")),
            arrivals: Vec::new(),
            open: 0,
            peak: 0,
            hanging: BTreeMap::new(),
            hang_count: 0,
            stale: Vec::new(),
            workers: Vec::new(),
        }
    }
}

impl Server {
    pub(crate) fn new(world: Arc<World>, netloc: Netloc) -> Self {
        world.lock().servers.0.entry(netloc.clone()).or_default();
        Self { world, netloc }
    }

    fn change(&self, change: impl FnOnce(&mut Script)) -> &Self {
        change(self.world.lock().servers.0.entry(self.netloc.clone()).or_default());
        self
    }

    fn read<T>(&self, read: impl FnOnce(&Script) -> T) -> T {
        read(self.world.lock().servers.0.entry(self.netloc.clone()).or_default())
    }

    /// The time from request to answer. Default 0.
    pub fn latency(&self, latency: Duration) -> &Self {
        self.change(|script| script.latency = latency)
    }

    /// A random time added to the latency, uniform up to this. Default 0.
    pub fn jitter(&self, jitter: Duration) -> &Self {
        self.change(|script| script.jitter = jitter)
    }

    /// Works on so many requests at once; the others wait in order of arrival, also those whose clients are
    /// gone. Default: any number. 0 is that too.
    pub fn capacity(&self, requests: usize) -> &Self {
        self.change(|script| {
            // Those that are free last stay: what was begun is finished.
            script.workers.sort_unstable_by_key(|free| std::cmp::Reverse(*free));
            script.workers.resize(requests, Instant::EPOCH);
        })
    }

    /// Answers this share of the requests (0 to 1) with `status`.
    pub fn failing(&self, share: f64, status: u16) -> &Self {
        self.change(|script| script.failing = (share > 0.0).then_some((share, status)))
    }

    /// Refuses connections in this span of virtual time; what is under way when it begins is reset.
    pub fn down(&self, span: impl RangeBounds<Duration>) -> &Self {
        self.trouble(span, Trouble::Down)
    }

    /// Reads requests and never answers them, in this span.
    pub fn hangs(&self, span: impl RangeBounds<Duration>) -> &Self {
        self.trouble(span, Trouble::Hangs)
    }

    /// Reads requests and resets the connection, in this span.
    pub fn resets(&self, span: impl RangeBounds<Duration>) -> &Self {
        self.trouble(span, Trouble::Resets)
    }

    /// Answers everything with `status`, in this span.
    pub fn answers(&self, span: impl RangeBounds<Duration>, status: u16) -> &Self {
        self.trouble(span, Trouble::Answers(status))
    }

    /// The next request finds that its connection, which had been idle, was closed: before anything of it
    /// was sent, or when it may have arrived. Once for each time that this is called.
    pub fn stale(&self, sent: Sent) -> &Self {
        self.change(|script| script.stale.push(sent))
    }

    /// Answers as `handler` says, which must not call back into the simulation.
    pub fn handler(&self, handler: impl Fn(&Request) -> Answer + Send + Sync + 'static) -> &Self {
        self.change(|script| script.handler = Arc::new(handler))
    }

    fn trouble(&self, span: impl RangeBounds<Duration>, trouble: Trouble) -> &Self {
        use std::ops::Bound;
        let start = match span.start_bound() {
            Bound::Included(&start) | Bound::Excluded(&start) => Instant::EPOCH.after(start),
            Bound::Unbounded => Instant::EPOCH,
        };
        let end = match span.end_bound() {
            Bound::Included(&end) | Bound::Excluded(&end) => Instant::EPOCH.after(end),
            Bound::Unbounded => Instant::NEVER,
        };
        self.change(|script| script.faults.push((start, end, trouble)))
    }

    /// Every request that arrived, in order.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.read(|script| script.arrivals.clone())
    }

    /// How many requests arrived.
    pub fn requests(&self) -> usize {
        self.read(|script| script.arrivals.len())
    }

    /// Requests that are being answered now.
    pub fn open(&self) -> u32 {
        self.read(|script| script.open)
    }

    /// The most requests that were being answered at one time.
    pub fn peak(&self) -> u32 {
        self.read(|script| script.peak)
    }
}

/// What becomes of a request that was sent.
pub(crate) enum Reception {
    Refused(Fault),
    Answer(Duration, Answer),
    /// Reset after this time.
    Reset(Duration),
    Hang(u64),
}

impl Servers {
    pub(crate) fn receive(
        &mut self,
        now: Instant,
        rng: &mut fastrand::Rng,
        request: &Request,
    ) -> Reception {
        let Some(script) = self.0.get_mut(&request.url.netloc()) else {
            return Reception::Refused(Fault::new(FaultKind::Dns, Sent::Unsent));
        };
        let trouble = script.trouble(now);
        if trouble == Some(Trouble::Down) {
            return Reception::Refused(Fault::new(FaultKind::ConnectionRefused, Sent::Unsent));
        }
        if let Some(sent) = script.stale.pop() {
            return Reception::Refused(Fault { kind: FaultKind::Closed, sent, reused: true });
        }
        script.arrivals.push(Arrival {
            at: now.since(Instant::EPOCH),
            method: request.method.clone(),
            path: request.url.path_and_query().into(),
            headers: request.headers.clone(),
            body: request.body.as_bytes().cloned(),
            proxy: request.proxy.clone(),
        });
        script.open += 1;
        script.peak = script.peak.max(script.open);
        let jitter = script.jitter.as_nanos() as u64;
        let latency = script.latency + Duration::from_nanos(rng.u64(0..=jitter));
        let reception = script.react(rng, request, trouble, latency);
        script.queued(now, reception)
    }

    /// Whether a connection to the server holds at this instant.
    pub(crate) fn is_down(&self, now: Instant, netloc: &Netloc) -> bool {
        self.0.get(netloc).is_some_and(|script| script.trouble(now) == Some(Trouble::Down))
    }

    /// A request is done with.
    pub(crate) fn leave(&mut self, netloc: &Netloc, hang: Option<u64>) {
        if let Some(script) = self.0.get_mut(netloc) {
            script.open -= 1;
            if let Some(hang) = hang {
                script.hanging.remove(&hang);
            }
        }
    }

    /// Who waits for an answer that does not come.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &String> {
        self.0.values().flat_map(|script| script.hanging.values())
    }
}

impl Script {
    /// What it makes of a request that it works on for `latency`.
    fn react(
        &mut self,
        rng: &mut fastrand::Rng,
        request: &Request,
        trouble: Option<Trouble>,
        latency: Duration,
    ) -> Reception {
        match trouble {
            Some(Trouble::Hangs) => {
                self.hang_count += 1;
                let line = format!("{} {} is never answered", request.method, request.url);
                self.hanging.insert(self.hang_count, line);
                Reception::Hang(self.hang_count)
            }
            Some(Trouble::Resets) => Reception::Reset(latency),
            Some(Trouble::Answers(status)) => Reception::Answer(latency, Answer::status(status)),
            Some(Trouble::Down) | None => match self.failing {
                Some((share, status)) if rng.f64() < share => {
                    Reception::Answer(latency, Answer::status(status))
                }
                _ => {
                    let answer = (self.handler)(request);
                    Reception::Answer(latency + answer.latency, answer)
                }
            },
        }
    }

    /// With the time in which it waits for a worker, and takes one.
    fn queued(&mut self, now: Instant, reception: Reception) -> Reception {
        let Some(worker) = self.workers.iter_mut().min() else {
            return reception;
        };
        let waits = worker.since(now);
        let begins = now.max(*worker);
        match reception {
            Reception::Answer(after, answer) => {
                *worker = begins.after(after);
                Reception::Answer(waits + after, answer)
            }
            Reception::Reset(after) => {
                *worker = begins.after(after);
                Reception::Reset(waits + after)
            }
            other => other,
        }
    }

    fn trouble(&self, now: Instant) -> Option<Trouble> {
        let holds = |&&(start, end, _): &&(Instant, Instant, Trouble)| start <= now && now < end;
        self.faults.iter().rev().find(holds).map(|&(_, _, trouble)| trouble)
    }
}
