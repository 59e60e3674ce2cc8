//! What happens to a fleet, and what is asked of it then.

use std::time::Duration;

use crate::fleet::{Change, Fleet, Record, Second, Size};
use crate::funding::Kind;
use crate::seconds;
use crate::servers::{Health, TICK};

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Storm {
    /// Every request is answered with 503, for 30 s.
    TotalFailure,
    /// Every server takes twice as long, for 10 s.
    HalvedCapacity,
    /// A tenth of the servers is off the network, for 60 s.
    RackLoss,
    /// Half of all requests are answered with 503, for 10 s.
    BrownOut,
    /// The servers are restarted, a fiftieth of them at a time, each for 3 s.
    RollingRestart,
    /// All names move to other servers; clients hear of it within 15 s, and the old ones are gone after 10.
    Move,
    /// All servers are down, for 5 minutes.
    AllDown,
}

/// Seconds before the storm.
pub(crate) const CALM: u64 = 30;

/// Seconds in which a fleet must be well again.
pub(crate) const WITHIN: u64 = 30;

impl Storm {
    pub(crate) const ALL: [Self; 7] = [
        Self::TotalFailure,
        Self::HalvedCapacity,
        Self::RackLoss,
        Self::BrownOut,
        Self::RollingRestart,
        Self::Move,
        Self::AllDown,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::TotalFailure => "total failure, 30 s",
            Self::HalvedCapacity => "half the capacity, 10 s",
            Self::RackLoss => "a tenth lost, 60 s",
            Self::BrownOut => "brown-out, 10 s",
            Self::RollingRestart => "rolling restart",
            Self::Move => "all names move",
            Self::AllDown => "all down, 5 min",
        }
    }

    /// The name of its plot.
    pub(crate) const fn file(self) -> &'static str {
        match self {
            Self::TotalFailure => "total-failure",
            Self::HalvedCapacity => "halved-capacity",
            Self::RackLoss => "rack-loss",
            Self::BrownOut => "brown-out",
            Self::RollingRestart => "rolling-restart",
            Self::Move => "move",
            Self::AllDown => "all-down",
        }
    }

    /// How long it lasts: then the servers are as they were.
    pub(crate) const fn seconds(self) -> u64 {
        match self {
            Self::TotalFailure => 30,
            Self::HalvedCapacity | Self::BrownOut => 10,
            Self::RackLoss => 60,
            Self::RollingRestart => 150,
            Self::Move => 15,
            Self::AllDown => 300,
        }
    }

    /// Seconds after its begin from which on [`WITHIN`] counts: the end, or the begin where there is enough
    /// left to go on with.
    const fn bearable_from(self) -> u64 {
        match self {
            Self::RackLoss | Self::RollingRestart => 0,
            _ => self.seconds(),
        }
    }

    /// The changes, if it begins at that second.
    pub(crate) fn changes(self, size: Size, begin: u64) -> Vec<(Duration, Change)> {
        let at = |second: u64| Duration::from_secs(begin + second);
        let all = |health| Change::Health(0, size.servers, health);
        let for_all = |health| vec![(at(0), all(health)), (at(self.seconds()), all(Health::Well))];
        match self {
            Self::TotalFailure => for_all(Health::Failing(1.0)),
            Self::HalvedCapacity => {
                let long = Duration::from_secs(self.seconds());
                vec![(at(0), Change::Slow(2, long))]
            }
            Self::BrownOut => for_all(Health::Failing(0.5)),
            Self::AllDown => for_all(Health::Down),
            Self::RackLoss => {
                let rack = |health| Change::Health(0, size.servers / 10, health);
                vec![(at(0), rack(Health::Lost)), (at(self.seconds()), rack(Health::Well))]
            }
            Self::RollingRestart => {
                let group = |number: usize| number * size.servers / 50;
                let restart = |number: usize| {
                    let group = |health| Change::Health(group(number), group(number + 1), health);
                    let begin = 3 * number as u64;
                    [(at(begin), group(Health::Down)), (at(begin + 3), group(Health::Well))]
                };
                (0..50).flat_map(restart).collect()
            }
            Self::Move => vec![(at(0), Change::Move(15)), (at(10), all(Health::Down))],
        }
    }

    /// What it does to a fleet.
    pub(crate) fn run(self, seed: u64, size: Size, kind: &Kind) -> (Record, Verdict) {
        let seconds = CALM + self.seconds() + 2 * WITHIN;
        let record = Fleet::run(seed, size, kind, seconds, &self.changes(size, CALM));
        let verdict = Verdict::of(&record, size, self, CALM, seconds);
        (record, verdict)
    }
}

/// How a fleet came through a storm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Verdict {
    /// The share of calls that got a value, in the worst second.
    pub(crate) worst: f64,
    /// Seconds until 99 % of the calls succeed from then on, from the end of the storm, or from its
    /// begin, if there is enough left to go on with.
    pub(crate) recovered: Option<u64>,
    /// The most requests a call, in any five seconds.
    pub(crate) amplification: f64,
    /// The most requests that reach the servers in any 100 ms after the storm, to what callers ask for.
    pub(crate) burst: f64,
    /// The most targets passed over at once.
    pub(crate) ejected: u32,
    /// Seconds from the end of the storm until there are as many connections as before it, and a tenth.
    pub(crate) settled: Option<u64>,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { worst, recovered, amplification, burst, ejected, settled } = self;
        let (worst, recovered, settled) = (worst * 100.0, seconds(*recovered), seconds(*settled));
        write!(
            f,
            "{worst:.0} % | {recovered} | {amplification:.2} | {burst:.2} | {ejected} | {settled} |"
        )
    }
}

impl Verdict {
    /// The rest of a table's head, to which its [`Display`](std::fmt::Display) is the rest of a line.
    pub(crate) const HEADER: &str = "worst second | 99 % again after | most requests a call | burst after it | circuits open, at most | connections as before after |\n|---|---|---|---|---|---|---|---|";

    /// On a storm that began at `begin`, and the time up to `until`.
    pub(crate) fn of(record: &Record, size: Size, storm: Storm, begin: u64, until: u64) -> Self {
        let end = begin + storm.seconds();
        let during = &record.seconds[begin as usize..until as usize];
        let after = &record.seconds[(begin + storm.bearable_from()) as usize..until as usize];
        let ill = |second: &Second| second.good * 100 < second.calls * 99;
        let share = |second: &Second| f64::from(second.good) / f64::from(second.calls.max(1));
        let calm = &record.seconds[begin as usize - 10..begin as usize];
        let usual = calm.iter().map(|second| second.connections).max().unwrap_or(0);
        let crowded = |second: &Second| second.connections * 10 > usual * 11;
        Self {
            worst: during.iter().map(share).fold(1.0, f64::min),
            recovered: for_good(after, ill),
            amplification: during.windows(5).map(amplification).fold(0.0, f64::max),
            burst: burst(record, size, end, until),
            ejected: during.iter().map(|second| second.ejected).max().unwrap_or(0),
            settled: for_good(&record.seconds[end as usize..until as usize], crowded),
        }
    }
}

/// Seconds until none is ill from then on, if the last five are not.
pub(crate) fn for_good(seconds: &[Second], ill: impl FnMut(&Second) -> bool) -> Option<u64> {
    let well_from = seconds.iter().rposition(ill).map_or(0, |last| last + 1);
    (well_from + 5 < seconds.len()).then_some(well_from as u64)
}

/// Requests a call in these seconds.
pub(crate) fn amplification(seconds: &[Second]) -> f64 {
    let (calls, requests) =
        seconds.iter().fold((0, 0), |(c, r), second| (c + second.calls, r + second.requests));
    f64::from(requests) / f64::from(calls.max(1))
}

/// The most requests in any 100 ms between these seconds, to what callers ask for. The first 200 ms are
/// not looked at: retries that were decided before the end of the storm wait so long.
fn burst(record: &Record, size: Size, from: u64, until: u64) -> f64 {
    let tick = |millis: u64| (millis / TICK.as_millis() as u64) as usize;
    let until = tick(until * 1000).min(record.ticks.len());
    let ticks = record.ticks.get(tick(from * 1000 + 200)..until).unwrap_or(&[]);
    let most = ticks.windows(tick(100)).map(|window| window.iter().sum::<u32>()).max();
    f64::from(most.unwrap_or(0)) / (size.demand / 10.0)
}
