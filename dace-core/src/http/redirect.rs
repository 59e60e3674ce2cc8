//! Where a redirect leads, and what of the request goes along (RFC 9110, 15.4).
//!
//! Pure: a request and an answer in, the next request or the reason why there is none out.

use super::request::Again;
use super::{Body, Header, Method, Request, Url};
use crate::Target;

/// A request that was answered with a redirect.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Hop {
    /// The URL that was asked.
    pub url: Url,
    /// What it answered: 301, 302, 303, 307 or 308.
    pub status: u16,
}

/// Why a redirect was not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RedirectError {
    /// It would be one too many.
    #[error("more than {0} redirects")]
    TooMany(u32),
    /// `Location` is no `http` or `https` URL.
    #[error("a redirect to what is no http or https URL")]
    Location,
    /// It leads to plain `http`, and `https_only` is set.
    #[error("a redirect to plain http, and `https_only` is set")]
    Insecure,
    /// The body would have to be sent again, and is a stream that can be read once.
    #[error("a redirect that sends the body again, and it can be read once: use a factory")]
    Body,
}

/// Whether a status says that the answer is elsewhere, if there is a `Location`.
pub(crate) fn is_redirect(status: u16) -> bool {
    matches!(status, 301 | 302 | 303 | 307 | 308)
}

/// The request that follows `sent`, which was answered with `status` and `location`.
pub(crate) fn next(sent: Again, status: u16, location: &[u8]) -> Result<Request, RedirectError> {
    let location = core::str::from_utf8(location).map_err(|_| RedirectError::Location)?;
    let url = sent.url.redirect_to(location).map_err(|_| RedirectError::Location)?;
    let to_get = match status {
        301 | 302 => sent.method == Method::POST,
        303 => sent.method != Method::HEAD,
        _ => false,
    };
    let leaves = target(&url) != target(&sent.url);
    let keeps = |header: &Header| {
        let of_body = to_get && BODY_HEADERS.contains(&header.name());
        let of_origin = header.name() == "host" || header.is_sensitive();
        !(of_body || leaves && of_origin)
    };
    let mut request = Request::new(if to_get { Method::GET } else { sent.method }, url);
    request.headers = sent.headers;
    request.headers.retain(keeps);
    request.options = sent.options;
    request.body = match to_get {
        true => Body::empty(),
        false => sent.body.ok_or(RedirectError::Body)?,
    };
    Ok(request)
}

/// Headers that describe a body, and go with it.
const BODY_HEADERS: [&str; 7] = [
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-location",
    "content-type",
    "digest",
    "last-modified",
];

/// Credentials belong to an origin: scheme, host and port.
fn target(url: &Url) -> Target {
    url.target()
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use bytes::Bytes;

    use super::*;

    fn request(method: Method, url: &str, headers: &[&str]) -> Request {
        let mut request = Request::new(method, Url::parse(url).unwrap());
        for name in headers {
            request.headers.push(Header::new(name, Bytes::from_static(b"v")).unwrap());
        }
        request.body = Body::from("body");
        request
    }

    fn follow(request: &Request, status: u16, location: &str) -> Result<Request, RedirectError> {
        next(Again::of(request), status, location.as_bytes())
    }

    fn names(request: &Request) -> Vec<&str> {
        request.headers.iter().map(Header::name).collect()
    }

    #[test]
    fn the_method_and_the_body_change_as_the_status_says() {
        let cases = [
            (301, Method::POST, Method::GET),
            (302, Method::POST, Method::GET),
            (303, Method::POST, Method::GET),
            (303, Method::PUT, Method::GET),
            (303, Method::HEAD, Method::HEAD),
            (301, Method::PUT, Method::PUT),
            (302, Method::DELETE, Method::DELETE),
            (307, Method::POST, Method::POST),
            (308, Method::POST, Method::POST),
        ];
        for (status, before, after) in cases {
            let sent = request(before.clone(), "http://a/", &["content-type", "x-kept"]);
            let next = follow(&sent, status, "/b").unwrap();
            assert_eq!(next.method, after, "{status} {before:?}");
            let keeps_body = before == after && status != 303;
            assert_eq!(
                names(&next).contains(&"content-type"),
                keeps_body || before == Method::HEAD
            );
            assert!(names(&next).contains(&"x-kept"));
        }
    }

    #[test]
    fn secrets_stay_with_the_origin_for_good() {
        let secret = ["authorization", "cookie", "x-kept"];
        let leaving = ["http://b/", "http://a:81/", "https://a/", "//b/", "http://a.b/"];
        for location in leaving {
            let there = follow(&request(Method::GET, "http://a/", &secret), 302, location).unwrap();
            assert_eq!(names(&there), ["x-kept"], "{location}");
            let back = follow(&there, 302, "http://a/").unwrap();
            assert_eq!(names(&back), ["x-kept"], "and back from {location}");
        }
        for location in ["/path", "http://a:80/", "http://A/", "?q", "http://a./"] {
            let there = follow(&request(Method::GET, "http://a/", &secret), 302, location).unwrap();
            assert_eq!(names(&there), secret, "{location}");
        }
    }

    #[test]
    fn a_location_brings_no_credentials_and_keeps_the_fragment() {
        let sent = request(Method::GET, "http://me:pw@a/x#part", &[]);
        let next = follow(&sent, 302, "http://you:pw2@a/y").unwrap();
        assert_eq!(next.url.as_str(), "http://a/y#part");
        assert_eq!(follow(&sent, 302, "/y#own").unwrap().url.as_str(), "http://a/y#own");
    }

    #[test]
    fn what_is_no_location_is_an_error() {
        let sent = request(Method::GET, "http://a/", &[]);
        for bad in ["ftp://b/", "file:///etc/passwd", "http://", "//\\b", "/a\tb", "data:x"] {
            assert_eq!(follow(&sent, 302, bad).unwrap_err(), RedirectError::Location, "{bad:?}");
        }
        assert_eq!(next(Again::of(&sent), 302, b"\xff").unwrap_err(), RedirectError::Location);
    }

    #[test]
    fn a_body_that_can_be_read_once_is_not_sent_again() {
        let mut sent = request(Method::POST, "http://a/", &[]);
        sent.body = Body::stream(NoPieces, None);
        assert_eq!(follow(&sent, 307, "/b").unwrap_err(), RedirectError::Body);
        assert_eq!(follow(&sent, 303, "/b").unwrap().method, Method::GET);
        assert_eq!(RedirectError::TooMany(10).to_string(), "more than 10 redirects");
    }

    struct NoPieces;

    impl futures_core::Stream for NoPieces {
        type Item = Result<Bytes, crate::http::BoxError>;

        fn poll_next(
            self: core::pin::Pin<&mut Self>,
            _: &mut core::task::Context<'_>,
        ) -> core::task::Poll<Option<Self::Item>> {
            core::task::Poll::Ready(None)
        }
    }
}
