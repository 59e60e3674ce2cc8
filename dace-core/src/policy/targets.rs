//! Targets, and what picks from them, as parts of a policy.

use alloc::vec::Vec;

use super::Policy;
use crate::ConfigError;
use crate::balancer::{self, Member, Place};
use crate::machine::balancer::{Balance, Rendezvous};

/// A list of targets, or why it is none.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Listing(Result<Vec<Place>, ConfigError>);

impl Listing {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        self.0.as_ref().map(drop).map_err(Clone::clone)
    }

    pub(crate) fn places(self) -> Result<Vec<Place>, ConfigError> {
        self.0
    }
}

/// What picks the target of an attempt, as a policy names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Balancing {
    /// [`PeakEwma`](crate::PeakEwma), the default.
    PeakEwma,
    /// [`RoundRobin`](crate::RoundRobin)
    RoundRobin,
    /// [`LeastOpen`](crate::LeastOpen)
    LeastOpen,
    /// [`Rendezvous`](crate::Rendezvous). Without a bound; in a [`reload`](crate::Dependency::reload), with
    /// the bound that it has.
    Rendezvous,
}

impl Balancing {
    #[cfg(feature = "serde")]
    const ALL: [Self; 4] = [Self::PeakEwma, Self::RoundRobin, Self::LeastOpen, Self::Rendezvous];

    /// The name used in files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PeakEwma => "peak_ewma",
            Self::RoundRobin => "round_robin",
            Self::LeastOpen => "least_open",
            Self::Rendezvous => "rendezvous",
        }
    }
}

impl From<Balancing> for Balance {
    fn from(balancing: Balancing) -> Self {
        match balancing {
            Balancing::PeakEwma => Self::PeakEwma,
            Balancing::RoundRobin => Self::RoundRobin,
            Balancing::LeastOpen => Self::LeastOpen,
            Balancing::Rendezvous => Self::Rendezvous(Rendezvous::default()),
        }
    }
}

impl Policy {
    /// The servers to balance over. Default: those that the builder is given, or that there are.
    ///
    /// A dependency takes them out of its policy and keeps them by themselves
    /// ([`Dependency::targets`](crate::Dependency::targets)), so a policy that was read from a dependency
    /// changes no target when it is loaded again.
    #[must_use]
    pub fn targets<I: IntoIterator<Item: Into<Member>>>(mut self, targets: I) -> Self {
        self.targets = Some(Listing(balancer::parse("targets", targets)));
        self
    }

    /// What picks from the targets. Default: what does so already, peak-EWMA at first. It cannot be set
    /// where a balancer of one's own picks.
    #[must_use]
    pub fn balancer(mut self, balancer: Balancing) -> Self {
        self.balancer = Some(balancer);
        self
    }

    /// The highest limit of open operations that a netloc has.
    pub(super) fn max_open_anywhere(&self) -> u32 {
        let places = self.targets.iter().flat_map(|listing| listing.0.iter().flatten());
        let own = places.filter_map(|place| place.options.max_open);
        own.fold(self.max_open_per_netloc, u32::max)
    }
}

#[cfg(feature = "serde")]
mod data {
    //! A member is a text, or a table with `url`; a balancer is its name.

    use core::fmt;

    use alloc::string::{String, ToString};
    use alloc::vec::Vec;

    use serde::de::value::MapAccessDeserializer;
    use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
    use serde::ser::{Error as _, Serialize, Serializer};

    use super::super::data::{Data, table, unknown};
    use super::{Balancing, ConfigError, Listing, Member, Place, balancer};

    /// A member as it stands in a table.
    struct Row {
        url: String,
        weight: u32,
        priority: u32,
        max_open: Option<u32>,
    }

    impl Row {
        const fn new() -> Self {
            Self { url: String::new(), weight: 1, priority: 0, max_open: None }
        }

        fn validate(&self) -> Result<(), ConfigError> {
            self.member().check("targets").map(drop)
        }

        fn member(&self) -> Member {
            let member = Member::new(&self.url).weight(self.weight).priority(self.priority);
            match self.max_open {
                Some(max_open) => member.max_open(max_open),
                None => member,
            }
        }
    }

    table!(Row { url, weight, priority, max_open });

    /// A text, or a table of `url`, `weight`, `priority` and `max_open`.
    impl<'de> Deserialize<'de> for Member {
        fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            struct Either;

            impl<'de> Visitor<'de> for Either {
                type Value = Member;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("a target such as \"http://10.0.0.1:8080\", or a table with `url`")
                }

                fn visit_str<E: Error>(self, text: &str) -> Result<Member, E> {
                    let member = Member::new(text);
                    member.clone().check("targets").map_err(E::custom)?;
                    Ok(member)
                }

                fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Member, A::Error> {
                    Row::deserialize(MapAccessDeserializer::new(map)).map(|row| row.member())
                }
            }

            from.deserialize_any(Either)
        }
    }

    /// A text if it has the defaults, else a table.
    impl Serialize for Member {
        fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            let Place { target, options } =
                self.clone().check("targets").map_err(S::Error::custom)?;
            let url = target.to_string();
            if *self == Self::new(&url) {
                return to.serialize_str(&url);
            }
            let (weight, priority) = (options.weight, options.priority);
            Row { url, weight, priority, max_open: options.max_open }.serialize(to)
        }
    }

    impl Data for Listing {
        fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            let members = Vec::<Member>::deserialize(from)?;
            let places = balancer::parse("targets", members).map_err(D::Error::custom)?;
            Ok(Self(Ok(places)))
        }

        fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            let places = self.0.as_ref().map_err(S::Error::custom)?;
            to.collect_seq(places.iter().map(|place| Member::from(place.clone())))
        }
    }

    impl Data for Balancing {
        fn read<'de, D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
            let name = String::deserialize(from)?;
            let names = Self::ALL.map(Self::name);
            let known = Self::ALL.into_iter().find(|known| known.name() == name);
            known.ok_or_else(|| unknown("balancer", &name, &names))
        }

        fn write<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            to.serialize_str(self.name())
        }
    }
}
