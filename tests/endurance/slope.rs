//! Whether something grows.
//!
//! Samples are taken while nothing runs, so they have little noise. Of those after the warm-up, the median
//! of the first third is compared with that of the last: what grows by more than is allowed for as many
//! calls as were made between the two has a slope.

use std::fmt;

/// One thing that is measured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Measure {
    pub(crate) name: &'static str,
    /// What may be added by a thousand calls.
    pub(crate) per_thousand: f64,
    /// What may be added in any case.
    pub(crate) at_least: f64,
}

/// What a measure did.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slope {
    pub(crate) measure: Measure,
    pub(crate) first: f64,
    pub(crate) last: f64,
    pub(crate) allowed: f64,
}

impl Slope {
    /// Of samples: how many calls were made when each was taken, and its value.
    pub(crate) fn of(measure: Measure, samples: &[(f64, f64)]) -> Self {
        let steady = &samples[samples.len() / 4..];
        let third = (steady.len() / 3).max(1);
        let (begin, end) = (&steady[..third], &steady[steady.len() - third..]);
        let (calls, values) = (|s: &(f64, f64)| s.0, |s: &(f64, f64)| s.1);
        let (first, last) = (median(begin.iter().map(values)), median(end.iter().map(values)));
        let between = median(end.iter().map(calls)) - median(begin.iter().map(calls));
        let allowed = measure.at_least.max(measure.per_thousand * between / 1000.0);
        Self { measure, first, last, allowed }
    }

    pub(crate) fn grows(&self) -> bool {
        self.last - self.first > self.allowed
    }
}

impl fmt::Display for Slope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { measure, first, last, allowed } = self;
        let word = if self.grows() { "GROWS" } else { "steady" };
        write!(
            f,
            "{:<16} {first:>12.0} {last:>12.0} {:>+10.0} of {allowed:>10.0}  {word}",
            measure.name,
            last - first
        )
    }
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
