//! Netlocs and targets: the names under which servers are accounted.
//!
//! One server must have one name, or its limits could be doubled by spelling: names are lower case
//! and IDNA-encoded, the port is always there, IPv6 has one form, a trailing dot is dropped.

use core::borrow::Borrow;
use core::fmt;
use core::str::FromStr;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;

use crate::http::{Url, UrlError};

/// A canonical `host:port`. Cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Netloc(Arc<str>);

impl Netloc {
    /// The netloc of a host that a URL parser has canonicalised.
    pub(crate) fn of(host: &str, port: u16) -> Self {
        let host = host.strip_suffix('.').unwrap_or(host);
        Self(format!("{host}:{port}").into())
    }

    /// The name of a dependency, standing for attempts that make no exchange.
    pub(crate) fn of_dependency(id: &Arc<str>) -> Self {
        Self(id.clone())
    }

    /// `host:port`.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Netloc {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Netloc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Netloc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The scheme of a URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// `http`
    Http,
    /// `https`
    Https,
}

impl Scheme {
    /// `http` or `https`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// Where a call can go: a scheme and a netloc.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Target {
    scheme: Scheme,
    netloc: Netloc,
}

impl Target {
    /// The target with this scheme and netloc.
    pub fn new(scheme: Scheme, netloc: Netloc) -> Self {
        Self { scheme, netloc }
    }

    /// The scheme.
    pub fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The netloc.
    pub fn netloc(&self) -> &Netloc {
        &self.netloc
    }

    /// The root URL of the target.
    pub(crate) fn base(&self) -> Result<Url, UrlError> {
        Url::parse(&self.to_string())
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme.as_str(), self.netloc)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a text or a pair is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TargetError {
    /// The URL cannot be used.
    #[error("`{text}` is no target: {error}")]
    Url {
        /// The text, without userinfo and query.
        text: String,
        /// What is wrong with it.
        error: UrlError,
    },
    /// A target is scheme and netloc; this has userinfo, a path, a query or a fragment beside them.
    #[error("`{text}` is no target: a target ends after host and port")]
    More {
        /// The text, without userinfo and query.
        text: String,
    },
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let url =
            Url::parse(text).map_err(|error| TargetError::Url { text: shown(text), error })?;
        let bare = url.path() == "/" && url.query().is_none() && !url.as_str().contains('#');
        if !bare || url.has_userinfo() {
            return Err(TargetError::More { text: url.to_string() });
        }
        Ok(url.target())
    }
}

/// What of an unparsable text can be shown: nothing after a character that may begin a secret.
fn shown(text: &str) -> String {
    if text.contains('@') {
        return String::from("…");
    }
    text.split(['?', '#'])
        .next()
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .take(80)
        .collect()
}

impl TryFrom<&str> for Target {
    type Error = TargetError;

    fn try_from(text: &str) -> Result<Self, TargetError> {
        text.parse()
    }
}

impl TryFrom<String> for Target {
    type Error = TargetError;

    fn try_from(text: String) -> Result<Self, TargetError> {
        text.parse()
    }
}

impl TryFrom<&String> for Target {
    type Error = TargetError;

    fn try_from(text: &String) -> Result<Self, TargetError> {
        text.parse()
    }
}

/// The original's form: `(scheme, netloc)`.
impl<S: AsRef<str>, N: AsRef<str>> TryFrom<(S, N)> for Target {
    type Error = TargetError;

    fn try_from((scheme, netloc): (S, N)) -> Result<Self, TargetError> {
        format!("{}://{}", scheme.as_ref(), netloc.as_ref()).parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_server_is_one_netloc() {
        for (text, netloc) in [
            ("http://EXAMPLE.com", "example.com:80"),
            ("http://example.com.:80/", "example.com:80"),
            ("https://example.com", "example.com:443"),
            ("http://bücher.example", "xn--bcher-kva.example:80"),
            ("http://[0:0:0:0:0:0:0:1]:8080", "[::1]:8080"),
            ("http://0x7f.1", "127.0.0.1:80"),
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!(target.netloc().as_str(), netloc, "{text}");
            let again: Target = target.to_string().parse().unwrap();
            assert_eq!(again, target, "canonical form is a fixed point");
        }
    }

    #[test]
    fn a_target_ends_after_host_and_port() {
        for text in ["http://a/path", "http://a?q", "http://user:secret@a", "http://a/#f"] {
            let error = text.parse::<Target>().unwrap_err().to_string();
            assert!(error.contains("ends after host and port"), "{error}");
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
