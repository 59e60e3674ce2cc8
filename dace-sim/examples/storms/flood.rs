//! Somebody else chooses the netlocs, and each is another one.

use std::convert::Infallible;
use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use dace_core::Dependency;
use dace_core::http::{Fault, FaultKind, Head, HttpBackend, Request, Response, Sent, Version};
use dace_sim::{Sim, SimRuntime};
use futures_core::Stream;

/// Netlocs that there may be in the table: the default.
#[cfg(test)]
pub(crate) const CAP: usize = 10_000;

/// Of what is timed, so many calls in a row.
const ROUND: usize = 2_000;

/// What the flood took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Flood {
    /// The most bytes that were held at one time, by the dependency and all calls.
    pub(crate) bytes: u64,
    /// Netlocs in the table at the end.
    pub(crate) table: usize,
    /// Of the calls of one round, the time that 99 % took at most: to ten netlocs, and to ones that are new.
    /// The best round of each, since others use the processor as well.
    pub(crate) known: Duration,
    pub(crate) fresh: Duration,
}

/// Calls to so many netlocs, each answered, or each refused.
pub(crate) fn flood(netlocs: usize, answers: bool) -> Flood {
    let mut flood = Flood { bytes: 0, table: 0, known: Duration::MAX, fresh: Duration::MAX };
    let measured = allocation_counter::measure(|| {
        let sim = Sim::new(1);
        let builder = Dependency::<SimRuntime, Anywhere>::builder("a").retry_attempts(0);
        let dependency = builder.build_with(sim.runtime(), Anywhere { answers });
        let dependency = dependency.expect("the policy is good");
        for round in 0..netlocs / ROUND {
            flood.known = flood.known.min(p99(&sim, &dependency, |call| call % 10));
            flood.fresh = flood.fresh.min(p99(&sim, &dependency, |call| 10 + round * ROUND + call));
            sim.advance(Duration::from_secs(1));
        }
        // Beside those in the table: the dependency's own, and the one that the others share.
        flood.table = dependency.snapshot().endpoints.len() - 1 - usize::from(!answers);
    });
    flood.bytes = measured.bytes_max;
    flood
}

#[expect(clippy::disallowed_methods, reason = "what is measured is real time")]
fn p99(
    sim: &Sim,
    dependency: &Dependency<SimRuntime, Anywhere>,
    netloc: impl Fn(usize) -> usize,
) -> Duration {
    let mut times = Vec::with_capacity(ROUND);
    for call in 0..ROUND {
        let url = &format!("http://n{}.example/", netloc(call));
        let begin = std::time::Instant::now();
        let call = dependency.call(|call| async move { call.http().get(url).send().await });
        let ended = sim.run(call);
        times.push(begin.elapsed());
        black_box(ended).ok();
    }
    times.sort_unstable();
    times[ROUND * 99 / 100]
}

/// Answers, or refuses, everywhere and at once.
#[derive(Debug)]
struct Anywhere {
    answers: bool,
}

/// A connection was refused.
#[derive(Debug)]
struct Refused;

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("refused")
    }
}

impl std::error::Error for Refused {}

impl HttpBackend for Anywhere {
    type Tls = Infallible;
    type Head = Good;
    type Body = Nothing;
    type Error = Refused;

    fn send(
        &self,
        _: Request,
    ) -> impl Future<Output = Result<Response<Good, Nothing>, Refused>> + Send {
        let answer = Response { head: Good, body: Nothing };
        std::future::ready(if self.answers { Ok(answer) } else { Err(Refused) })
    }

    fn fault(_: &Refused) -> Fault {
        Fault::new(FaultKind::ConnectionRefused, Sent::Unsent)
    }
}

/// 200.
#[derive(Debug)]
struct Good;

impl Head for Good {
    fn status(&self) -> u16 {
        200
    }

    fn version(&self) -> Version {
        Version::Http11
    }

    fn get(&self, _: &str) -> Option<&[u8]> {
        None
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        std::iter::empty()
    }
}

/// No byte.
#[derive(Debug)]
struct Nothing;

impl Stream for Nothing {
    type Item = Result<Bytes, Refused>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Ready(None)
    }
}
