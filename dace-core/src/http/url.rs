//! URLs, parsed once and sent as they were parsed.
//!
//! The `url` crate (WHATWG) does the parsing; what is refused here is what two parsers may read
//! differently: backslashes, tabs and line breaks, which WHATWG repairs in silence, and a host that is
//! not right behind two slashes.

use core::fmt;

use alloc::string::String;
use alloc::sync::Arc;

use percent_encoding::percent_decode_str;

use crate::{Netloc, Scheme, Target};

/// An absolute `http` or `https` URL. Cheap to clone.
///
/// `Debug` and `Display` show scheme, netloc and path. Userinfo, query and fragment may hold secrets
/// and are left out; [`as_str`](Self::as_str) has everything.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Url(Arc<Parsed>);

/// A URL with what every exchange asks of it.
#[derive(PartialEq, Eq, Hash)]
struct Parsed {
    url: url::Url,
    netloc: Netloc,
}

/// Why a URL cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// It is relative, and there is no target to put it on.
    #[error("a relative URL needs a target: name one, or use an absolute URL")]
    Relative,
    /// Neither `http` nor `https`.
    #[error("only http and https URLs can be requested")]
    Scheme,
    /// It has no host.
    #[error("the URL has no host")]
    Host,
    /// It holds a backslash, a tab or a line break, which parsers read differently.
    #[error("the URL holds a backslash or a control character")]
    Character,
    /// It cannot be parsed.
    #[error("the URL cannot be parsed")]
    Syntax,
}

impl Url {
    /// Parses an absolute URL.
    ///
    /// # Errors
    /// Every [`UrlError`].
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        check(text)?;
        if text.starts_with('/') {
            return Err(UrlError::Relative);
        }
        if !names_host(text) {
            return Err(UrlError::Host);
        }
        match url::Url::parse(text) {
            Ok(url) => Self::admit(url, None),
            Err(url::ParseError::RelativeUrlWithoutBase) => Err(UrlError::Relative),
            Err(url::ParseError::EmptyHost) => Err(UrlError::Host),
            Err(_) => Err(UrlError::Syntax),
        }
    }

    /// Resolves `reference` against this URL (RFC 3986, 5).
    ///
    /// # Errors
    /// Every [`UrlError`] but `Relative`.
    pub fn join(&self, reference: &str) -> Result<Self, UrlError> {
        check(reference)?;
        let url = self.0.url.join(reference).map_err(|_| UrlError::Syntax)?;
        Self::admit(url, Some(self))
    }

    /// Where a `Location` leads. It brings no userinfo, and has the fragment of this URL unless it has its
    /// own (RFC 9110, 10.2.2).
    pub(crate) fn redirect_to(&self, location: &str) -> Result<Self, UrlError> {
        check(location)?;
        let mut url = self.0.url.join(location).map_err(|_| UrlError::Syntax)?;
        if url.fragment().is_none() {
            url.set_fragment(self.0.url.fragment());
        }
        Ok(Self::admit(url, Some(self))?.without_userinfo())
    }

    /// The same without user and password.
    pub(crate) fn without_userinfo(&self) -> Self {
        self.with(|url| {
            // Both succeed on a URL that has a host.
            let _ = url.set_username("");
            let _ = url.set_password(None);
        })
    }

    /// The same with `pairs` behind what the query holds already.
    pub(crate) fn with_query<K: AsRef<str>, V: AsRef<str>>(&self, pairs: &[(K, V)]) -> Self {
        if pairs.is_empty() {
            return self.clone();
        }
        self.with(|url| {
            url.query_pairs_mut().extend_pairs(pairs);
        })
    }

    /// The same server, otherwise changed.
    fn with(&self, change: impl FnOnce(&mut url::Url)) -> Self {
        let mut url = self.0.url.clone();
        change(&mut url);
        Self(Arc::new(Parsed { url, netloc: self.0.netloc.clone() }))
    }

    /// `base` is what it was resolved against: mostly the same server.
    fn admit(url: url::Url, base: Option<&Self>) -> Result<Self, UrlError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(UrlError::Scheme);
        }
        let host = url.host_str().ok_or(UrlError::Host)?;
        let port = url.port_or_known_default().unwrap_or(0);
        if let Some(base) = base.filter(|base| (host, port) == (base.host(), base.port())) {
            let netloc = base.netloc();
            return Ok(Self(Arc::new(Parsed { url, netloc })));
        }
        // One dot at the end is dropped from the netloc. What is left must be the same host, spelt once.
        let host = host.strip_suffix('.').unwrap_or(host);
        if host.split('.').any(str::is_empty) {
            return Err(UrlError::Syntax);
        }
        let netloc = Netloc::of(host, port);
        Ok(Self(Arc::new(Parsed { url, netloc })))
    }

    /// The whole URL, secrets included.
    pub fn as_str(&self) -> &str {
        self.0.url.as_str()
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> Scheme {
        if self.0.url.scheme() == "https" { Scheme::Https } else { Scheme::Http }
    }

    /// The host, as it was canonicalised: a lower-case name, or an address (IPv6 in brackets).
    pub fn host(&self) -> &str {
        self.0.url.host_str().unwrap_or_default()
    }

    /// The port, the scheme's own if the URL names none.
    pub fn port(&self) -> u16 {
        self.0.url.port_or_known_default().unwrap_or(0)
    }

    /// Host and port, the port only if it is not the scheme's own: what `Host` says.
    pub fn authority(&self) -> &str {
        &self.0.url[url::Position::BeforeHost..url::Position::AfterPort]
    }

    /// Whether the port has to be written: it is not the scheme's own.
    pub fn has_own_port(&self) -> bool {
        self.0.url.port().is_some()
    }

    /// The path.
    pub fn path(&self) -> &str {
        self.0.url.path()
    }

    /// The query, without its `?`.
    pub fn query(&self) -> Option<&str> {
        self.0.url.query()
    }

    /// Path and query: what the request line of HTTP/1.1 holds.
    pub fn path_and_query(&self) -> &str {
        &self.0.url[url::Position::BeforePath..url::Position::AfterQuery]
    }

    /// The canonical `host:port`.
    pub fn netloc(&self) -> Netloc {
        self.0.netloc.clone()
    }

    /// Scheme and netloc.
    pub fn target(&self) -> Target {
        Target::new(self.scheme(), self.netloc())
    }

    /// Whether `target` is the server, and the scheme the same.
    pub(crate) fn is_root_of(&self, target: &Target) -> bool {
        self.scheme() == target.scheme() && self.0.netloc == *target.netloc()
    }

    /// Whether the URL names a user or a password.
    pub fn has_userinfo(&self) -> bool {
        !self.0.url.username().is_empty() || self.0.url.password().is_some()
    }

    /// User and password, decoded. `None` if there is neither, or they are no text.
    pub(crate) fn userinfo(&self) -> Option<(String, String)> {
        if !self.has_userinfo() {
            return None;
        }
        let decoded = |part: &str| percent_decode_str(part).decode_utf8().ok().map(String::from);
        Some((decoded(self.0.url.username())?, decoded(self.0.url.password().unwrap_or_default())?))
    }

    /// The same URL as text without userinfo, query and fragment: fit for logs.
    fn redacted(&self) -> String {
        let mut text = String::from(self.0.url.scheme());
        text.push_str("://");
        text.push_str(&self.0.url[url::Position::BeforeHost..url::Position::AfterPath]);
        text
    }
}

/// Whether the host, if there is to be one, is where RFC 3986 has it. WHATWG finds one in `http:a` and
/// `http:///a` too.
fn names_host(text: &str) -> bool {
    let Some((scheme, rest)) = text.trim_start_matches(' ').split_once(':') else {
        return true;
    };
    let is_http = ["http", "https"].iter().any(|name| scheme.eq_ignore_ascii_case(name));
    !is_http || rest.starts_with("//") && !rest.starts_with("///")
}

fn check(text: &str) -> Result<(), UrlError> {
    if text.bytes().any(|byte| byte == b'\\' || byte < b' ' || byte == 0x7f) {
        return Err(UrlError::Character);
    }
    Ok(())
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.redacted())
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    #[test]
    fn secrets_of_a_url_are_in_no_output() {
        let url = Url::parse("http://user:pa55@host:81/path?token=s3cret#frag").unwrap();
        for shown in [format!("{url}"), format!("{url:?}")] {
            assert_eq!(shown, "http://host:81/path");
        }
        assert!(url.as_str().contains("s3cret"));
    }

    #[test]
    fn pairs_are_appended_to_a_query_that_stays_as_it_is() {
        let url = Url::parse("http://h/p?a=%7e&b#f").unwrap();
        let all = url.with_query(&[("q", "fault tolerance"), ("q", "ü&=")]);
        assert_eq!(all.as_str(), "http://h/p?a=%7e&b&q=fault+tolerance&q=%C3%BC%26%3D#f");
        assert_eq!(Url::parse("http://h/").unwrap().with_query(&[("k", "")]).query(), Some("k="));
    }

    #[test]
    fn a_url_that_was_joined_has_the_netloc_of_its_own_server() {
        let base = Url::parse("http://a:81/x").unwrap();
        for (reference, netloc) in [
            ("/y", "a:81"),
            ("z?q", "a:81"),
            ("//b/y", "b:80"),
            ("http://a/", "a:80"),
            ("https://a:81/", "a:81"),
            ("https://a/", "a:443"),
            ("http://user@b.:81/", "b:81"),
        ] {
            let url = base.join(reference).unwrap();
            assert_eq!(url.netloc().as_str(), netloc, "{reference}");
            assert_eq!(Url::parse(url.as_str()).unwrap(), url, "{reference}");
        }
    }

    #[test]
    fn userinfo_is_decoded() {
        let url = Url::parse("http://us%65r:p%40ss@h/").unwrap();
        assert_eq!(url.userinfo(), Some(("user".into(), "p@ss".into())));
        assert_eq!(url.without_userinfo().as_str(), "http://h/");
        assert_eq!(Url::parse("http://%ff@h/").unwrap().userinfo(), None);
    }

    #[test]
    fn what_parsers_read_differently_is_refused() {
        for (text, error) in [
            ("http://a\\@b/", UrlError::Character),
            ("http://a/\tb", UrlError::Character),
            ("http://a/\r\nx: y", UrlError::Character),
            ("ftp://a/", UrlError::Scheme),
            ("file:///etc/passwd", UrlError::Scheme),
            ("/relative", UrlError::Relative),
            ("http://", UrlError::Host),
            ("http://[::1/", UrlError::Syntax),
            ("http:a/", UrlError::Host),
            ("http:/a/", UrlError::Host),
            ("HTTPS:///a/", UrlError::Host),
        ] {
            assert_eq!(Url::parse(text).unwrap_err(), error, "{text:?}");
        }
    }

    /// Found by fuzzing: without its last dot, `0x7f..` is an address, and `.` is nothing.
    #[test]
    fn a_host_has_no_empty_label() {
        for text in ["http://0x7f../", "http://a../", "http://./", "http://../", "http://a..b/"] {
            assert_eq!(Url::parse(text).unwrap_err(), UrlError::Syntax, "{text:?}");
            assert!(Url::parse("http://a/").unwrap().join(text).is_err(), "{text:?}");
        }
        assert_eq!(Url::parse("http://a./").unwrap().netloc().as_str(), "a:80");
    }
}
