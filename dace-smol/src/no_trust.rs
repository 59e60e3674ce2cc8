//! Without the feature `rustls`: settings that need it are errors.

use std::convert::Infallible;

use dace_core::ConfigError;
use dace_core::http::HttpSettings;
use isahc::HttpClientBuilder;

/// There is none without the feature `rustls`.
pub type Tls = Infallible;

/// Nothing to trust.
#[derive(Clone, Debug)]
pub(crate) struct Trust;

impl Trust {
    /// Whether `https` can be spoken.
    pub(crate) const SPEAKS_HTTPS: bool = false;

    pub(crate) fn new(settings: &HttpSettings<Tls>) -> Result<Self, ConfigError> {
        let set = [
            ("root_certificate", !settings.roots.is_empty()),
            ("identity", settings.identity.is_some()),
            ("verification", settings.accept_any_certificate),
        ];
        match set.into_iter().find(|(_, set)| *set) {
            Some((setting, _)) => Err(ConfigError::new(setting, "needs the feature `rustls`")),
            None => Ok(Self),
        }
    }

    pub(crate) fn apply(&self, builder: HttpClientBuilder) -> HttpClientBuilder {
        builder
    }
}
