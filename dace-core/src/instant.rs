//! A point in time, as the core knows it.
//!
//! The core has no clock: every [`Instant`] comes from [`Runtime::now`](crate::Runtime::now) and is
//! compared only with others of the same runtime. Nanoseconds in a `u64` reach 584 years, all
//! arithmetic saturates, and a clock that goes back yields a zero duration, never a panic.

use core::fmt;
use core::time::Duration;

/// Nanoseconds since an epoch that the runtime chose.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Instant(u64);

impl Instant {
    /// The runtime's epoch.
    pub const EPOCH: Self = Self(0);
    /// Later than every other instant: what never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// The instant `nanos` nanoseconds after the epoch.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whether this is [`NEVER`](Self::NEVER).
    pub const fn is_never(self) -> bool {
        self.0 == u64::MAX
    }

    /// This instant moved on by `duration`; [`NEVER`](Self::NEVER) where that cannot be written.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(nanos(duration)))
    }

    /// This instant moved on by so many nanoseconds.
    pub(crate) const fn after_nanos(self, nanos: u64) -> Self {
        Self(self.0.saturating_add(nanos))
    }

    /// Nanoseconds from `earlier` to here, zero if `earlier` is later.
    pub(crate) const fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// This instant moved back by `duration`, at most to the epoch. `NEVER` stays `NEVER`.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        if self.is_never() {
            return self;
        }
        Self(self.0.saturating_sub(nanos(duration)))
    }

    /// The time from `earlier` to here, zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_never() {
            return f.write_str("never");
        }
        write!(f, "{:?}", Duration::from_nanos(self.0))
    }
}

/// Nanoseconds of `duration`, saturating.
pub(crate) const fn nanos(duration: Duration) -> u64 {
    let seconds = duration.as_secs().saturating_mul(1_000_000_000);
    seconds.saturating_add(duration.subsec_nanos() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_saturates_in_both_directions() {
        let late = Instant::from_nanos(u64::MAX - 1);
        assert!(late.after(Duration::MAX).is_never());
        assert_eq!(Instant::EPOCH.before(Duration::from_secs(1)), Instant::EPOCH);
        assert_eq!(Instant::EPOCH.since(late), Duration::ZERO);
        assert!(Instant::NEVER.before(Duration::from_secs(1)).is_never());
    }

    #[test]
    fn a_time_is_read_with_no_more_digits_than_matter() {
        for (nanos, text) in [
            (0, "0ns"),
            (999_999, "999.999µs"),
            (1_234_567, "1.235ms"),
            (999_999_499, "999.999ms"),
            (1_234_567_890, "1.235s"),
        ] {
            assert_eq!(std::format!("{}", Short(Duration::from_nanos(nanos))), text);
        }
    }
}

/// A time as people read it: to the millisecond if it is a second or more, to the microsecond if it is a
/// millisecond or more.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Short(pub(crate) Duration);

impl fmt::Display for Short {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let exact = nanos(self.0);
        let unit = match exact {
            0..1_000_000 => 1,
            1_000_000..1_000_000_000 => 1_000,
            _ => 1_000_000,
        };
        let rounded = exact.saturating_add(unit / 2) / unit * unit;
        write!(f, "{:?}", Duration::from_nanos(rounded))
    }
}
