//! The traffic: a call every few milliseconds, whether earlier ones are done or not.

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use dace::http::{Connect, Head, Header, HttpBackend, HttpSettings, Method, Request, Sent, Url};
use dace::{Adapter, Call, Dependency, Event, HttpError, Instant, Observer, Runtime, What};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::{LENGTH, TIMEOUT};

/// What one client counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) calls: u64,
    pub(crate) good: u64,
    /// Requests that a server answered.
    pub(crate) answered: u64,
    /// Requests that a server may have read, or not: the connection broke, or time was up.
    pub(crate) unknown: u64,
    pub(crate) times: Vec<Duration>,
}

impl Tally {
    pub(crate) fn success_rate(&self) -> f64 {
        self.good as f64 / self.calls.max(1) as f64
    }

    /// The time that so many of a hundred calls took at most.
    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        let index = (times.len() * percent).div_ceil(100).saturating_sub(1);
        times.get(index).copied().unwrap_or_default()
    }

    /// What is known now of a request that was counted as unknown.
    fn learn(&mut self, sent: Sent) {
        match sent {
            Sent::MaybeSent => {}
            Sent::Unsent => self.unknown -= 1,
            Sent::Sent => {
                self.unknown -= 1;
                self.answered += 1;
            }
        }
    }

    fn end(&mut self, good: bool, time: Duration) {
        self.calls += 1;
        self.good += u64::from(good);
        self.times.push(time);
    }
}

/// Starts a pair of calls every so often, for so long, and waits for the last of them.
pub(crate) async fn open_loop<R, A, B>(
    runtime: &R,
    length: Duration,
    every: Duration,
    mut start: impl FnMut(u64) -> (A, B),
) where
    R: Runtime,
    A: Future<Output = ()>,
    B: Future<Output = ()>,
{
    let begin = runtime.now();
    let calls = (length.as_nanos() / every.as_nanos()) as u64;
    let mut plain = FuturesUnordered::new();
    let mut dace = FuturesUnordered::new();
    for number in 0..calls {
        let due = begin.after(every * number as u32);
        let mut tick = pin!(runtime.sleep_until(due));
        poll_fn(|cx| {
            while let Poll::Ready(Some(())) = plain.poll_next_unpin(cx) {}
            while let Poll::Ready(Some(())) = dace.poll_next_unpin(cx) {}
            if runtime.now() >= due { Poll::Ready(()) } else { tick.as_mut().poll(cx) }
        })
        .await;
        let (a, b) = start(number);
        plain.push(a);
        dace.push(b);
    }
    while plain.next().await.is_some() {}
    while dace.next().await.is_some() {}
}

/// A client as many services have it: round robin, a timeout, nothing else.
pub(crate) struct Plain<A: Adapter> {
    backend: A::Backend,
    urls: Vec<Url>,
    tally: RefCell<Tally>,
}

impl<A: Adapter> Plain<A> {
    pub(crate) fn new(targets: Vec<String>) -> Result<Self, Box<dyn std::error::Error>> {
        let urls = targets.iter().map(|target| Url::parse(target)).collect::<Result<_, _>>()?;
        let backend = A::Backend::connect(HttpSettings::default())?;
        Ok(Self { backend, urls, tally: RefCell::default() })
    }

    pub(crate) fn tally(&self) -> &RefCell<Tally> {
        &self.tally
    }

    pub(crate) async fn call<R: Runtime>(&self, runtime: &R, number: u64) {
        let url = self.urls[number as usize % self.urls.len()].clone();
        let begin = runtime.now();
        self.tally.borrow_mut().unknown += 1;
        let fetched = within(runtime, begin.after(TIMEOUT), self.fetch(url)).await;
        let mut tally = self.tally.borrow_mut();
        match fetched {
            None => {}
            Some(Err(sent)) => tally.learn(sent),
            Some(Ok(_)) => tally.learn(Sent::Sent),
        }
        tally.end(fetched == Some(Ok(200)), runtime.now().since(begin));
    }

    async fn fetch(&self, url: Url) -> Result<u16, Sent> {
        let mut request = Request::new(Method::GET, url);
        request.headers.extend(Header::new("x-client", "plain"));
        request.options.replay_safe = true;
        let sent = |error: &<A::Backend as HttpBackend>::Error| A::Backend::fault(error).sent;
        let mut response = self.backend.send(request).await.map_err(|error| sent(&error))?;
        while let Some(piece) = response.body.next().await {
            piece.map_err(|_| Sent::Sent)?;
        }
        Ok(response.head.status())
    }
}

/// What dace's protections did, from its events.
#[derive(Clone, Debug, Default)]
pub(crate) struct Story {
    pub(crate) retries: u64,
    pub(crate) rescued: u64,
    pub(crate) refused_by_circuits: u64,
    pub(crate) queued: u64,
    pub(crate) circuits: Vec<(Instant, String)>,
}

impl Story {
    fn see(&mut self, event: &Event) {
        match &event.what {
            What::RetryDecided { .. } => self.retries += 1,
            What::Queued { .. } => self.queued += 1,
            What::CallEnded { outcome: dace::Outcome::Value, attempts, .. } if *attempts > 1 => {
                self.rescued += 1;
            }
            What::Refused { refusal } if refusal.reason() == dace::Reason::CircuitOpen => {
                self.refused_by_circuits += 1;
            }
            What::CircuitChanged { netloc, from, to, .. } => {
                self.circuits
                    .push((event.at, format!("{netloc}: {} → {}", from.name(), to.name())));
            }
            _ => {}
        }
    }
}

/// The same traffic through dace.
pub(crate) struct Protected<A: Adapter> {
    dependency: Dependency<A::Runtime, A::Backend>,
    tally: RefCell<Tally>,
    story: Seen,
}

#[derive(Clone, Default)]
struct Seen(std::sync::Arc<std::sync::Mutex<Story>>);

impl Observer for Seen {
    fn on_event(&self, _: &str, event: &Event) {
        self.0.lock().expect("no panic under it").see(event);
    }
}

impl<A: Adapter> Protected<A> {
    pub(crate) fn new(targets: Vec<String>) -> Result<Self, Box<dyn std::error::Error>> {
        let story = Seen::default();
        let dependency = Dependency::builder("quickstart")
            .targets(targets)
            .timeout(TIMEOUT)
            .attempt_timeout(TIMEOUT / 8)
            .retry_on_timeout(true)
            .queue(100)
            .observer(story.clone())
            .build()?;
        Ok(Self { dependency, tally: RefCell::default(), story })
    }

    pub(crate) fn tally(&self) -> &RefCell<Tally> {
        &self.tally
    }

    pub(crate) fn story(&self) -> Story {
        self.dependency.flush();
        self.story.0.lock().expect("no panic under it").clone()
    }

    pub(crate) async fn call<R: Runtime>(&self, runtime: &R) {
        let begin = runtime.now();
        let tally = &self.tally;
        let fetch = |call: Call<A::Runtime, A::Backend>| async move {
            // Until it is known better: an attempt may be dropped at any await.
            tally.borrow_mut().unknown += 1;
            let sent = call.http().get("/").header("x-client", "dace").send().await;
            tally.borrow_mut().learn(sent.as_ref().map_or_else(HttpError::sent, |_| Sent::Sent));
            sent?.error_for_status()?.text().await
        };
        let result = self.dependency.call(fetch).await;
        tally.borrow_mut().end(result.is_ok(), runtime.now().since(begin));
    }

    pub(crate) async fn close(&self) {
        self.dependency.close(LENGTH).await;
    }
}

/// `work`, unless `until` comes first.
async fn within<R: Runtime, F: Future>(runtime: &R, until: Instant, work: F) -> Option<F::Output> {
    let mut work = pin!(work);
    let mut timer = pin!(runtime.sleep_until(until));
    poll_fn(|cx| {
        if let Poll::Ready(output) = work.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        Pin::as_mut(&mut timer).poll(cx).map(|()| None)
    })
    .await
}
