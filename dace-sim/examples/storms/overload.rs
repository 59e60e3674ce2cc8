//! One client that makes many calls, and one server: what retries do to a server that has too much to do,
//! and to calls that fail by chance. Each attempt waits 1 s, and there are four at the most.

use std::time::Duration;

use crate::fleet::{Change, Fleet, Second, Size};
use crate::funding::{Funding, Kind};
use crate::servers::Health;
use crate::storm::{amplification, for_good};

/// Every way to pay for retries.
pub(crate) fn kinds() -> [Kind; 5] {
    [
        Kind::alone("no retries", Funding::None),
        Kind::alone("naive, 3 retries", Funding::Naive),
        Kind::alone("20 % of requests + 10/s", Funding::Requests),
        Kind::alone("dace, breaker off", Funding::DaceAlone),
        Kind::alone("dace", Funding::Dace),
    ]
}

/// A server that can do 1,000 requests a second, and callers who ask for so much of it.
fn size(utilisation: f64) -> Size {
    let demand = 1000.0 * utilisation;
    Size { clients: 1, servers: 1, demand, utilisation, by_chance: true }
}

fn failing(share: f64) -> Change {
    Change::Health(0, 1, Health::Failing(share))
}

/// All fail for 30 s after 10 good ones: requests a call in each ten seconds of it.
pub(crate) fn total_failure(kind: &Kind) -> [f64; 3] {
    let changes = [(Duration::from_secs(10), failing(1.0))];
    let seconds = Fleet::run(7, size(0.6), kind, 40, &changes).seconds;
    [10, 20, 30].map(|from| amplification(&seconds[from..from + 10]))
}

/// The capacity is halved for 10 s. Seconds from its return until 99 % of the calls succeed again, `None`
/// if that does not happen in `watched` seconds; and the most requests a call in any five seconds.
pub(crate) fn overload(
    seed: u64,
    kind: &Kind,
    utilisation: f64,
    watched: u64,
) -> (Option<u64>, f64) {
    let halved = Change::Slow(2, Duration::from_secs(10));
    let changes = [(Duration::from_secs(20), halved)];
    let seconds = Fleet::run(seed, size(utilisation), kind, 30 + watched, &changes).seconds;
    let seconds = &seconds[..30 + watched as usize];
    let ill = |second: &Second| second.good * 100 < second.calls * 99;
    let peak = seconds[20..].windows(5).map(amplification).fold(0.0, f64::max);
    (for_good(&seconds[30..], ill), peak)
}

/// Attempts fail by chance, each by itself: the share of calls that succeed, and the attempts of a call.
pub(crate) fn chance(kind: &Kind, share: f64) -> (f64, f64) {
    let changes = [(Duration::ZERO, failing(share))];
    let seconds = Fleet::run(7, size(0.3), kind, 60, &changes).seconds;
    let (calls, good) = seconds.iter().fold((0, 0), |(c, g), s| (c + s.calls, g + s.good));
    (f64::from(good) / f64::from(calls), amplification(&seconds))
}
