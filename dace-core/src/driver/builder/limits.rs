//! The settings of the limits beside `max_open_per_netloc`.

use alloc::boxed::Box;
use alloc::vec::Vec;

use super::DependencyBuilder;
use crate::policy::LimitRules;
use crate::{AdaptiveLimit, ConfigError, HttpBackend, RateLimit, Runtime, SharedLimit, Throttle};

#[derive(Debug, Default)]
pub(super) struct Settings {
    rules: LimitRules,
    pub(super) shared: Vec<SharedLimit>,
}

impl Settings {
    /// What the machines read; `None` if nothing was asked for.
    pub(super) fn rules(&self) -> Result<Option<Box<LimitRules>>, ConfigError> {
        let LimitRules { rate, adaptive, throttle } = &self.rules;
        rate.as_ref().map_or(Ok(()), RateLimit::validate)?;
        adaptive.as_ref().map_or(Ok(()), AdaptiveLimit::validate)?;
        throttle.as_ref().map_or(Ok(()), Throttle::validate)?;
        for (index, limit) in self.shared.iter().enumerate() {
            limit.validate()?;
            if self.shared[..index].iter().any(|other| other.is(limit)) {
                return Err(ConfigError::new("shared_limit", "names one limit twice"));
            }
        }
        let asked = rate.is_some() || adaptive.is_some() || throttle.is_some();
        Ok(asked.then(|| Box::new(self.rules.clone())))
    }
}

impl<R: Runtime, B: HttpBackend> DependencyBuilder<R, B> {
    /// The most attempts that begin at one netloc in a span of time. Default: none.
    #[must_use]
    pub fn rate_limit(mut self, limit: RateLimit) -> Self {
        self.limits.rules.rate = Some(limit);
        self
    }

    /// A limit of open operations at each netloc that finds by itself what the server can do, beside
    /// [`max_open_per_netloc`](Self::max_open_per_netloc): the smaller one binds. Default: none.
    #[must_use]
    pub fn adaptive_limit(mut self, limit: AdaptiveLimit) -> Self {
        self.limits.rules.adaptive = Some(limit);
        self
    }

    /// Refuses attempts here when a server accepts too few of them. Default: none.
    #[must_use]
    pub fn throttle(mut self, throttle: Throttle) -> Self {
        self.limits.rules.throttle = Some(throttle);
        self
    }

    /// A limit that other dependencies have a part in. Any number of them.
    #[must_use]
    pub fn shared_limit(mut self, limit: &SharedLimit) -> Self {
        self.limits.shared.push(limit.clone());
        self
    }
}
