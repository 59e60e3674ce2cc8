//! Without a TLS feature: every `https` exchange, and every setting for it, says which is missing.

use std::convert::Infallible;
use std::io;

use dace_core::ConfigError;
use dace_core::http::{FaultKind, HttpSettings};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::HyperError;
use crate::socket::Socket;

/// There is no configuration of TLS: no feature brings it.
pub type Tls = Infallible;

#[derive(Debug)]
pub(crate) struct Security;

impl Security {
    pub(crate) fn new(settings: &mut HttpSettings<Tls>) -> Result<Self, ConfigError> {
        let given = [
            ("root_certificate", !settings.roots.is_empty()),
            ("identity", settings.identity.is_some()),
            ("verification", settings.accept_any_certificate),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((setting, _)) => {
                let problem = "needs the feature `rustls` (or `rustls-ring`)";
                Err(ConfigError::new(setting, problem))
            }
            None => Ok(Self),
        }
    }

    /// Whether `https` can be had at all: asked before anything is connected.
    pub(crate) fn check(&self) -> Result<(), HyperError> {
        let what = "https needs the feature `rustls`";
        Err(HyperError::unsent(FaultKind::Unsupported, what))
    }

    pub(crate) async fn secure<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        _: &str,
        _: S,
    ) -> Result<(Socket<S>, bool), HyperError> {
        self.check()?;
        Err(HyperError::unsent(FaultKind::Unsupported, "no TLS"))
    }
}

pub(crate) fn is_alert(_: &io::Error) -> bool {
    false
}
