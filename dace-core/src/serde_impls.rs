//! How snapshots are serialised, with the feature `serde`.

use core::time::Duration;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::cluster::{ByClass, ByWhy};
use crate::{CircuitState, Netloc};

/// A time in seconds, with a fraction.
#[expect(clippy::ref_option, reason = "serde hands fields over like that")]
pub(crate) fn seconds<S: Serializer>(time: &Option<Duration>, to: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.as_secs_f64()).serialize(to)
}

/// `host:port`
impl Serialize for Netloc {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.as_str())
    }
}

/// Its name.
impl Serialize for CircuitState {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(self.name())
    }
}

/// A map of every name to its count.
impl Serialize for ByClass {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        entries(self.iter(), to)
    }
}

/// A map of every name to its count.
impl Serialize for ByWhy {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        entries(self.iter(), to)
    }
}

fn entries<S: Serializer>(
    counts: impl Iterator<Item = (&'static str, u64)>,
    to: S,
) -> Result<S::Ok, S::Error> {
    let mut map = to.serialize_map(None)?;
    for (name, count) in counts {
        map.serialize_entry(name, &count)?;
    }
    map.end()
}
