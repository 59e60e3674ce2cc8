//! All storms on one large fleet, one after the other, in an hour.

use crate::fleet::{Change, Fleet, Record, Size};
use crate::funding::Kind;
use crate::storm::{Storm, Verdict, WITHIN};
use std::time::Duration;

/// Which storm begins at which second of an hour. After the last, all servers have moved.
pub(crate) const HOUR: [(u64, Storm); 7] = [
    (300, Storm::RackLoss),
    (600, Storm::BrownOut),
    (900, Storm::RollingRestart),
    (1200, Storm::TotalFailure),
    (1500, Storm::HalvedCapacity),
    (1800, Storm::AllDown),
    (2700, Storm::Move),
];

/// An hour of a fleet, and how it came through each storm of it.
pub(crate) fn run(seed: u64, size: Size) -> (Record, Vec<(Storm, Verdict)>) {
    let mut changes: Vec<(Duration, Change)> = Vec::new();
    for (begin, storm) in HOUR {
        changes.extend(storm.changes(size, begin));
    }
    let record = Fleet::run(seed, size, &Kind::dace(), 3600, &changes);
    let verdict = |(begin, storm): (u64, Storm)| {
        let until = begin + storm.seconds() + 2 * WITHIN;
        (storm, Verdict::of(&record, size, storm, begin, until))
    };
    let verdicts = HOUR.map(verdict).to_vec();
    (record, verdicts)
}
