//! Policies as they stand in a file, with the feature `serde`.
//!
//! A key has its setter's name. A table that lacks a key has the default; a key that is unknown or there
//! twice is an error, and so is a policy that no dependency could be built with.

use core::fmt;
use core::time::Duration;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};

use super::{AdaptiveLimit, Backoff, Breaker, Budget, Hedge, RateLimit, Thousandths, Throttle};

/// A value of a setting.
pub(super) trait Data: Sized {
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error>;

    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error>;

    /// Whether there is something to write.
    fn is_set(&self) -> bool {
        true
    }
}

/// A value that is read by its [`Data`].
pub(super) struct Read<T>(pub(super) T);

impl<'de, T: Data> Deserialize<'de> for Read<T> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        T::read(from).map(Self)
    }
}

/// A value that is written by its [`Data`].
pub(super) struct Written<'a, T>(pub(super) &'a T);

impl<T: Data> Serialize for Written<'_, T> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        self.0.write(to)
    }
}

macro_rules! plain {
    ($($type:ty),*) => {$(
        impl Data for $type {
            fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                Self::deserialize(from)
            }

            fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                self.serialize(to)
            }
        }
    )*};
}

plain!(
    bool,
    u32,
    usize,
    String,
    AdaptiveLimit,
    Backoff,
    Breaker,
    Budget,
    Hedge,
    RateLimit,
    Throttle
);

impl Data for Thousandths {
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        f64::deserialize(from).map(Self::of)
    }

    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(f64::from(self.0) / 1000.0)
    }
}

/// What is not set is not written.
impl<T: Data> Data for Option<T> {
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        T::read(from).map(Some)
    }

    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Some(value) => value.write(to),
            None => to.serialize_none(),
        }
    }

    fn is_set(&self) -> bool {
        self.is_some()
    }
}

const NEVER: &str = "never";

/// From the longest to the shortest.
const UNITS: [(&str, u64); 6] = [
    ("h", 3_600_000_000_000),
    ("m", 60_000_000_000),
    ("s", 1_000_000_000),
    ("ms", 1_000_000),
    ("us", 1_000),
    ("ns", 1),
];

impl Data for Duration {
    fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Text;

        impl Visitor<'_> for Text {
            type Value = Duration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration with a unit, such as \"200ms\", or \"never\"")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Duration, E> {
                duration(text).ok_or_else(|| {
                    let shown: String = text.chars().take(32).collect();
                    E::custom(format!(
                        "`{shown}` is no duration: write a whole number and a unit of `ns`, `us`, `ms`, \
                         `s`, `m`, `h`, such as \"200ms\", or \"never\""
                    ))
                })
            }
        }

        from.deserialize_str(Text)
    }

    fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        if *self == Self::MAX {
            return to.serialize_str(NEVER);
        }
        let nanos = u64::try_from(self.as_nanos()).unwrap_or(u64::MAX);
        let whole = |(_, length): &&(&str, u64)| nanos % length == 0 && nanos >= *length;
        let (unit, length) = UNITS.iter().find(whole).unwrap_or(&("s", 1_000_000_000));
        to.collect_str(&format_args!("{}{unit}", nanos / length))
    }
}

fn duration(text: &str) -> Option<Duration> {
    if text == NEVER {
        return Some(Duration::MAX);
    }
    let end = text.find(|char: char| !char.is_ascii_digit())?;
    let (count, unit) = text.split_at(end);
    let unit = match unit.trim_start() {
        "µs" => "us",
        unit => unit,
    };
    let (_, length) = UNITS.iter().find(|(name, _)| *name == unit)?;
    count.parse::<u64>().ok()?.checked_mul(*length).map(Duration::from_nanos)
}

/// Makes a type with `new` and `validate` a table of its fields.
macro_rules! table {
    ($type:ident { $($key:ident),* $(,)? }) => {
        crate::policy::data::table!($type, $type::new(), { $($key),* });
    };
    // `$start` has what is said by no key.
    ($type:ident, $start:expr, { $($key:ident),* $(,)? }) => {
        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                struct Table;

                impl<'de> serde::de::Visitor<'de> for Table {
                    type Value = $type;

                    fn expecting(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                        f.write_str("a table of settings")
                    }

                    fn visit_map<A>(self, mut map: A) -> Result<$type, A::Error>
                    where
                        A: serde::de::MapAccess<'de>,
                    {
                        use serde::de::Error as _;
                        let mut table = $start;
                        $(let mut $key = false;)*
                        while let Some(key) = map.next_key::<alloc::string::String>()? {
                            match key.as_str() {
                                $(
                                    stringify!($key) if $key => {
                                        return Err(A::Error::duplicate_field(stringify!($key)));
                                    }
                                    stringify!($key) => {
                                        $key = true;
                                        let value: crate::policy::data::Read<_> = map.next_value()?;
                                        table.$key = value.0;
                                    }
                                )*
                                unknown => {
                                    let known = [$(stringify!($key)),*];
                                    return Err(crate::policy::data::unknown("setting", unknown, &known));
                                }
                            }
                        }
                        table.validate().map_err(A::Error::custom)?;
                        Ok(table)
                    }
                }

                from.deserialize_map(Table)
            }
        }

        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                use crate::policy::data::{Data as _, Written};
                use serde::ser::SerializeMap as _;
                let mut map = to.serialize_map(None)?;
                $(
                    if self.$key.is_set() {
                        map.serialize_entry(stringify!($key), &Written(&self.$key))?;
                    }
                )*
                map.end()
            }
        }
    };
}

pub(super) use table;

table!(Backoff { base, cap });
table!(Breaker { consecutive_failures, failure_rate, min_calls, probes, successes, max_open });
table!(Budget { deposit, banked, unlimited });
table!(Hedge { max_extra });
table!(AdaptiveLimit { floor, ceiling, start, smoothing, tolerance });
table!(Throttle { multiplier, allowance, window });
// Nobody guesses a rate: without `permits` and `per` it is none.
table!(RateLimit, RateLimit::new(0, Duration::ZERO), { permits, per, burst });

/// The error for a key, or a name, that there is not.
pub(super) fn unknown<E: Error>(what: &str, key: &str, known: &[&str]) -> E {
    let shown: String = key.chars().take(64).collect();
    let nearest = known.iter().min_by_key(|known| distance(&shown, known));
    match nearest.filter(|near| distance(&shown, near) <= 1 + near.len() / 3) {
        Some(near) => E::custom(format!("unknown {what} `{shown}`; did you mean `{near}`?")),
        None => E::custom(format!("unknown {what} `{shown}`; known are {}", known.join(", "))),
    }
}

/// Edits between two words (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}
