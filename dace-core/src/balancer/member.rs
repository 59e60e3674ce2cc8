//! What a list of targets consists of.

use alloc::format;
use alloc::vec::Vec;

use crate::{ConfigError, Target, TargetError};

/// The most that a target can weigh.
const HEAVIEST: u32 = 1000;

/// A target in a list, with what is to be said of it there.
///
/// Whatever names a [`Target`] is one too, with the defaults.
///
/// ```
/// use dace_core::Member;
///
/// let targets = [
///     Member::new("http://10.0.0.1:8080").weight(3),
///     Member::new(("http", "10.0.0.2:8080")),
///     Member::new("http://10.1.0.1:8080").priority(1).max_open(5),
/// ];
/// # let _ = targets;
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    target: Result<Target, TargetError>,
    options: Options,
}

/// What can be said of a target in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) weight: u32,
    pub(crate) priority: u32,
    pub(crate) max_open: Option<u32>,
}

/// A member that was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) target: Target,
    pub(crate) options: Options,
}

impl Member {
    /// The target named so. If it is none, the list that it is put into is an error.
    pub fn new<T>(target: T) -> Self
    where
        T: TryInto<Target, Error: Into<TargetError>>,
    {
        let options = Options { weight: 1, priority: 0, max_open: None };
        Self { target: target.try_into().map_err(Into::into), options }
    }

    /// Its part of the whole: one of weight 3 gets three times as much as one of weight 1. Default 1; at
    /// least 1, at most 1,000.
    #[must_use]
    pub fn weight(mut self, weight: u32) -> Self {
        self.options.weight = weight;
        self
    }

    /// 0 is a primary; those of a higher number step in as far as those of lower ones are ill. Default 0.
    #[must_use]
    pub fn priority(mut self, priority: u32) -> Self {
        self.options.priority = priority;
        self
    }

    /// Operations open there at a time, in place of
    /// [`max_open_per_netloc`](crate::DependencyBuilder::max_open_per_netloc); zero is an error. It holds
    /// for the netloc: of two targets with the same one, the lower number counts.
    #[must_use]
    pub fn max_open(mut self, max_open: u32) -> Self {
        self.options.max_open = Some(max_open);
        self
    }

    pub(crate) fn check(self, setting: &'static str) -> Result<Place, ConfigError> {
        let target = self.target.map_err(|error| {
            let problem = "must name targets such as `http://10.0.0.1:8080`";
            ConfigError::new(setting, format!("{problem}: {error}"))
        })?;
        check_weight(&target, self.options.weight)?;
        if self.options.max_open == Some(0) {
            let problem = format!("of {target} must not be zero; allow at least 1");
            return Err(ConfigError::new("targets.max_open", problem));
        }
        Ok(Place { target, options: self.options })
    }
}

impl<T> From<T> for Member
where
    T: TryInto<Target, Error: Into<TargetError>>,
{
    fn from(target: T) -> Self {
        Self::new(target)
    }
}

impl From<Place> for Member {
    fn from(Place { target, options }: Place) -> Self {
        Self { target: Ok(target), options }
    }
}

pub(crate) fn check_weight(target: &Target, weight: u32) -> Result<(), ConfigError> {
    if weight == 0 || weight > HEAVIEST {
        let problem = format!(
            "of {target} must be from 1 to {HEAVIEST}, not {weight}; drain a target to give it nothing"
        );
        return Err(ConfigError::new("targets.weight", problem));
    }
    Ok(())
}

/// A checked list from whatever names its members: not empty, none twice.
pub(crate) fn parse<I>(setting: &'static str, members: I) -> Result<Vec<Place>, ConfigError>
where
    I: IntoIterator<Item: Into<Member>>,
{
    let list: Vec<Place> = members
        .into_iter()
        .map(|member| member.into().check(setting))
        .collect::<Result<_, ConfigError>>()?;
    if list.is_empty() {
        return Err(ConfigError::new(setting, "must name at least one target"));
    }
    let mut sorted: Vec<&Target> = list.iter().map(|place| &place.target).collect();
    sorted.sort();
    match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(twice(setting, pair[0])),
        None => Ok(list),
    }
}

pub(crate) fn twice(setting: &'static str, target: &Target) -> ConfigError {
    ConfigError::new(setting, format!("names {target} twice; name every target once"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_weighs_from_one_to_a_thousand() {
        let target = "http://a:80".parse().unwrap();
        let fits =
            [0, 1, HEAVIEST, HEAVIEST + 1].map(|weight| check_weight(&target, weight).is_ok());
        assert_eq!(fits, [false, true, true, false]);
    }
}
