//! URLs, sent as they were parsed.
//!
//! The `url` crate (WHATWG) does the parsing; what is kept of it is the text, where its parts are, and what the
//! URLs of a server have in common. Only an absolute path of plain characters is joined without it, which is
//! most of what is asked for. What is refused here is what two parsers may read
//! differently: backslashes, tabs and line breaks, which WHATWG repairs in silence, and a host that is
//! not right behind two slashes.

use core::fmt;
use core::hash::{Hash, Hasher};

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;

use bytes::Bytes;
use percent_encoding::percent_decode_str;
use url::Position;

use crate::{Netloc, Scheme, Target};

/// An absolute `http` or `https` URL. Cheap to clone.
///
/// `Debug` and `Display` show scheme, netloc and path. Userinfo, query and fragment may hold secrets
/// and are left out; [`as_str`](Self::as_str) has everything.
#[derive(Clone)]
pub struct Url(Arc<Parsed>);

/// A URL as text, and where its parts are.
struct Parsed {
    text: Bytes,
    origin: Arc<Origin>,
    /// Where the path begins.
    path: usize,
    /// Where it ends.
    query: usize,
    /// Where the query ends.
    fragment: usize,
}

/// What the URLs of a server have in common, with what every exchange asks of it.
struct Origin {
    scheme: Scheme,
    host: Box<str>,
    port: u16,
    authority: Bytes,
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
        if let Some(path) = plain_path(reference) {
            if reference.as_bytes() == &self.0.text[self.0.path..] {
                return Ok(self.clone());
            }
            let before = &self.0.text[..self.0.path];
            let text = [before, reference.as_bytes()].concat();
            let query = before.len() + path;
            return Ok(self.at(text.into(), before.len(), query, before.len() + reference.len()));
        }
        check(reference)?;
        let url = self.whatwg()?.join(reference).map_err(|_| UrlError::Syntax)?;
        Self::admit(url, Some(self))
    }

    /// Where a `Location` leads. It brings no userinfo, and has the fragment of this URL unless it has its
    /// own (RFC 9110, 10.2.2).
    pub(crate) fn redirect_to(&self, location: &str) -> Result<Self, UrlError> {
        check(location)?;
        let own = self.whatwg()?;
        let mut url = own.join(location).map_err(|_| UrlError::Syntax)?;
        if url.fragment().is_none() {
            url.set_fragment(own.fragment());
        }
        Ok(Self::admit(url, Some(self))?.without_userinfo())
    }

    /// The same without user and password.
    pub(crate) fn without_userinfo(&self) -> Self {
        let Parsed { text, path, query, fragment, .. } = &*self.0;
        let less = self.userinfo_text().len();
        let scheme = self.scheme_text().len();
        let text = [&text[..scheme], &text[scheme + less..]].concat();
        self.at(text.into(), path - less, query - less, fragment - less)
    }

    /// The same with `pairs` behind what the query holds already.
    pub(crate) fn with_query<K: AsRef<str>, V: AsRef<str>>(&self, pairs: &[(K, V)]) -> Self {
        if pairs.is_empty() {
            return self.clone();
        }
        let Parsed { path, query, fragment, .. } = *self.0;
        let mut text = String::from(self.part(0, fragment));
        if query == fragment {
            text.push('?');
        }
        let mut text = form_urlencoded::Serializer::for_suffix(text, query + 1);
        let mut text = text.extend_pairs(pairs).finish();
        let end = text.len();
        text.push_str(self.part(fragment, self.0.text.len()));
        self.at(text.into(), path, query, end)
    }

    /// Another one of the same server.
    fn at(&self, text: Bytes, path: usize, query: usize, fragment: usize) -> Self {
        let origin = self.0.origin.clone();
        Self(Arc::new(Parsed { text, origin, path, query, fragment }))
    }

    fn whatwg(&self) -> Result<url::Url, UrlError> {
        url::Url::parse(self.as_str()).map_err(|_| UrlError::Syntax)
    }

    /// `base` is what it was resolved against: mostly the same server.
    fn admit(url: url::Url, base: Option<&Self>) -> Result<Self, UrlError> {
        let scheme = match url.scheme() {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return Err(UrlError::Scheme),
        };
        let host = url.host_str().ok_or(UrlError::Host)?;
        let port = url.port_or_known_default().unwrap_or(0);
        let known = base.map(|base| &base.0.origin);
        let same = |origin: &&Arc<Origin>| {
            (origin.scheme, &*origin.host, origin.port) == (scheme, host, port)
        };
        let origin = match known.filter(same) {
            Some(origin) => origin.clone(),
            None => {
                // One dot at the end is dropped from the netloc. What is left must be the same host, spelt
                // once.
                let name = host.strip_suffix('.').unwrap_or(host);
                if name.split('.').any(str::is_empty) {
                    return Err(UrlError::Syntax);
                }
                let authority = &url[Position::BeforeHost..Position::AfterPort];
                let authority = Bytes::copy_from_slice(authority.as_bytes());
                let netloc = Netloc::of(name, port);
                Arc::new(Origin { scheme, host: host.into(), port, authority, netloc })
            }
        };
        let path = url[..Position::BeforePath].len();
        let query = url[..Position::AfterPath].len();
        let fragment = url[..Position::AfterQuery].len();
        let text = String::from(url).into();
        Ok(Self(Arc::new(Parsed { text, origin, path, query, fragment })))
    }

    fn part(&self, from: usize, to: usize) -> &str {
        // It was text, and is cut where something ends that is ASCII.
        core::str::from_utf8(&self.0.text[from..to]).unwrap_or_default()
    }

    /// The scheme, up to what comes before the host or its user.
    fn scheme_text(&self) -> &'static str {
        match self.scheme() {
            Scheme::Http => "http://",
            Scheme::Https => "https://",
        }
    }

    /// User and password with what separates them from the host, mostly nothing.
    fn userinfo_text(&self) -> &str {
        self.part(self.scheme_text().len(), self.0.path - self.0.origin.authority.len())
    }

    /// The whole URL, secrets included.
    pub fn as_str(&self) -> &str {
        self.part(0, self.0.text.len())
    }

    /// `http` or `https`.
    pub fn scheme(&self) -> Scheme {
        self.0.origin.scheme
    }

    /// The host, as it was canonicalised: a lower-case name, or an address (IPv6 in brackets).
    pub fn host(&self) -> &str {
        &self.0.origin.host
    }

    /// The port, the scheme's own if the URL names none.
    pub fn port(&self) -> u16 {
        self.0.origin.port
    }

    /// Host and port, the port only if it is not the scheme's own: what `Host` says.
    pub fn authority(&self) -> &str {
        core::str::from_utf8(&self.0.origin.authority).unwrap_or_default()
    }

    /// [`authority`](Self::authority), without a copy of it.
    pub fn shared_authority(&self) -> Bytes {
        self.0.origin.authority.clone()
    }

    /// Whether the port has to be written: it is not the scheme's own.
    pub fn has_own_port(&self) -> bool {
        self.0.origin.authority.len() > self.0.origin.host.len()
    }

    /// The path.
    pub fn path(&self) -> &str {
        self.part(self.0.path, self.0.query)
    }

    /// The query, without its `?`.
    pub fn query(&self) -> Option<&str> {
        let Parsed { query, fragment, .. } = *self.0;
        (query < fragment).then(|| self.part(query + 1, fragment))
    }

    /// Path and query: what the request line of HTTP/1.1 holds.
    pub fn path_and_query(&self) -> &str {
        self.part(self.0.path, self.0.fragment)
    }

    /// [`path_and_query`](Self::path_and_query), without a copy of it.
    pub fn shared_path_and_query(&self) -> Bytes {
        self.0.text.slice(self.0.path..self.0.fragment)
    }

    /// The canonical `host:port`.
    pub fn netloc(&self) -> Netloc {
        self.0.origin.netloc.clone()
    }

    /// Scheme and netloc.
    pub fn target(&self) -> Target {
        Target::new(self.scheme(), self.netloc())
    }

    /// Whether `target` is the server, and the scheme the same.
    pub(crate) fn is_root_of(&self, target: &Target) -> bool {
        self.scheme() == target.scheme() && self.0.origin.netloc == *target.netloc()
    }

    /// Whether the URL names a user or a password.
    pub fn has_userinfo(&self) -> bool {
        !self.userinfo_text().is_empty()
    }

    /// User and password, decoded. `None` if there is neither, or they are no text.
    pub(crate) fn userinfo(&self) -> Option<(String, String)> {
        let both = self.userinfo_text().strip_suffix('@')?;
        let (user, password) = both.split_once(':').unwrap_or((both, ""));
        let decoded = |part: &str| percent_decode_str(part).decode_utf8().ok().map(String::from);
        Some((decoded(user)?, decoded(password)?))
    }

    /// The same URL as text without userinfo, query and fragment: fit for logs.
    fn redacted(&self) -> String {
        let mut text = String::from(self.scheme_text());
        text.push_str(self.authority());
        text.push_str(self.path());
        text
    }
}

/// The same text means the same.
impl PartialEq for Url {
    fn eq(&self, other: &Self) -> bool {
        self.0.text == other.0.text
    }
}

impl Eq for Url {}

impl Hash for Url {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.text.hash(state);
    }
}

/// How long the path of a reference is that needs no parser: an absolute path, perhaps with a query, of
/// characters that stay as they are, and no segment that may be a way up.
fn plain_path(reference: &str) -> Option<usize> {
    let bytes = reference.as_bytes();
    if bytes.first() != Some(&b'/') || bytes.get(1) == Some(&b'/') {
        return None;
    }
    let (mut path, mut before) = (bytes.len(), b' ');
    for (index, &byte) in bytes.iter().enumerate() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'~' | b'/' => {}
            b'!' | b'$' | b'&' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@' => {}
            b'.' if before != b'/' || index > path => {}
            b'?' if index > path => {}
            // An encoded dot is one.
            b'%' if !matches!(bytes.get(index + 1..index + 3), Some([b'2', b'e' | b'E'])) => {}
            b'?' => path = index,
            _ => return None,
        }
        before = byte;
    }
    Some(path)
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

    /// What needs no parser is what the parser would make of it.
    #[test]
    fn a_plain_reference_is_joined_as_any() {
        let mut rng = fastrand::Rng::with_seed(1);
        let bases = ["http://a/x?y#z", "https://u:p@[::1]:81/", "http://b.:8080/?q"];
        let bases = bases.map(|base| Url::parse(base).unwrap());
        let characters = b"//??..%2eE#'\"a~!$&()*+,;=:@ \\^`{|}[]<>-_Z9\x7f";
        let mut plain = 0;
        for _ in 0..60_000 {
            let length = rng.usize(0..7);
            let character = |_| char::from(characters[rng.usize(0..characters.len())]);
            let reference: String =
                core::iter::once('/').chain((0..length).map(character)).collect();
            if plain_path(&reference).is_none() {
                continue;
            }
            plain += 1;
            for base in &bases {
                let joined = base.join(&reference).unwrap();
                let whatwg = base.whatwg().unwrap().join(&reference).unwrap();
                let parts = (whatwg.as_str(), whatwg.path(), whatwg.query());
                assert_eq!((joined.as_str(), joined.path(), joined.query()), parts);
                assert_eq!(joined.path_and_query(), &whatwg[Position::BeforePath..]);
            }
        }
        assert!(plain > 5_000, "{plain}");
        let root = Url::parse("http://a/").unwrap();
        assert!(Arc::ptr_eq(&root.join("/").unwrap().0, &root.0), "what it is already");
        let other = Url::parse("http://a//b").unwrap().join("//b").unwrap();
        assert_eq!(other.as_str(), "http://b/");
        for slow in ["", "a", "//b/", "/a/../b", "/./", "/%2e%2e/", "/#f", "/a b", "/ü", "/a\\b"] {
            assert_eq!(plain_path(slow), None, "{slow:?}");
        }
        for reference in ["/", "/v1/us%20ers/7?sort=name&x=%20", "/a.b//c?../.?"] {
            assert!(plain_path(reference).is_some(), "{reference:?}");
        }
    }

    #[test]
    fn parts_are_those_of_the_text() {
        for text in [
            "http://h/",
            "https://u@h:8443/a/b?c=d#e",
            "http://:p@h/?#",
            "http://u:p@[::1]/p#f?g",
            "http://h:81/?q?r",
        ] {
            let (url, whatwg) = (Url::parse(text).unwrap(), url::Url::parse(text).unwrap());
            let authority = &whatwg[Position::BeforeHost..Position::AfterPort];
            let line = &whatwg[Position::BeforePath..Position::AfterQuery];
            assert_eq!(
                (url.as_str(), url.path(), url.query()),
                (text, whatwg.path(), whatwg.query())
            );
            assert_eq!((url.authority(), url.path_and_query()), (authority, line), "{text}");
            assert_eq!(
                (url.shared_authority(), url.shared_path_and_query()),
                (
                    Bytes::copy_from_slice(authority.as_bytes()),
                    Bytes::copy_from_slice(line.as_bytes())
                )
            );
            assert_eq!(url.has_own_port(), whatwg.port().is_some(), "{text}");
            let named = !whatwg.username().is_empty() || whatwg.password().is_some();
            assert_eq!(url.has_userinfo(), named, "{text}");
            let bare = url.without_userinfo();
            assert_eq!((bare.has_userinfo(), bare.path_and_query()), (false, line), "{text}");
            assert_eq!(Url::parse(bare.as_str()).unwrap(), bare);
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
