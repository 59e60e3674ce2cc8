//! A request in isahc's words. libcurl makes `Host` and the framing itself.

use std::time::Duration;

use dace_core::http::{FaultKind, Proxy, ProxyKind, Request, Url};
use dace_core::{Runtime as _, Scheme};
use http::HeaderValue;
use http::header::{self, HeaderName};
use http::request::Builder;
use isahc::AsyncBody;
use isahc::auth::{Authentication, Credentials};
use isahc::config::Configurable;

use crate::body::{nothing, upload};
use crate::fault::UploadFailure;
use crate::trust::Trust;
use crate::{IsahcError, SmolRuntime};

/// libcurl reads 0 as its own default of five minutes, and counts milliseconds in a C `long`.
const CONNECT_TIMEOUTS: (Duration, Duration) =
    (Duration::from_millis(1), Duration::from_secs(1_000_000));

/// So much later than dace libcurl ends an exchange that is over by its own timeout: it is not told that nobody
/// waits any more, and against a server that hangs it would never know. It counts in milliseconds.
const LATER: Duration = Duration::from_millis(2);

/// `http2_alone` says that it will be sent in HTTP/2, where a body of no bytes need not be announced.
pub(crate) fn message(
    request: Request,
    http2_alone: bool,
    failure: &UploadFailure,
) -> Result<http::Request<AsyncBody>, IsahcError> {
    let Request { method, url, headers, body, proxy, options, .. } = request;
    if url.scheme() == Scheme::Https && !Trust::SPEAKS_HTTPS {
        return Err(unsupported("https needs the feature `rustls`"));
    }
    let mut body = upload(body.into_payload(), failure);
    let has_body = body.is_some();
    if http2_alone && !has_body && !options.replay_safe {
        if method.as_str() == "HEAD" {
            let what = "isahc cannot keep a HEAD in HTTP/2 from arriving twice";
            return Err(unsupported(what));
        }
        body = Some(nothing(failure));
    }
    let (shortest, longest) = CONNECT_TIMEOUTS;
    let mut builder = http::Request::builder()
        .method(method.as_str())
        .uri(without_userinfo(&url))
        .connect_timeout(options.connect_timeout.clamp(shortest, longest));
    if !options.ends.is_never() {
        let left = options.ends.since(SmolRuntime.now()).saturating_add(LATER);
        builder = builder.timeout(left.min(longest));
    }
    if let Some(proxy) = proxy {
        if http2_alone && proxy.kind() == ProxyKind::Http && url.scheme() == Scheme::Http {
            let what = "HTTP/2 alone cannot go through a proxy that forwards";
            return Err(unsupported(what));
        }
        builder = through(builder, &proxy)?;
    }
    let mut message = builder.body(body.unwrap_or_default()).map_err(invalid)?;
    let is_sent = !message.body().is_empty();
    let map = message.headers_mut();
    for header in headers {
        let name = HeaderName::from_bytes(header.name().as_bytes()).map_err(invalid)?;
        let value = HeaderValue::from_maybe_shared(header.value().clone()).map_err(invalid)?;
        // isahc would panic.
        value.to_str().map_err(invalid)?;
        map.append(name, value);
    }
    if !options.persistent {
        map.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if is_sent && method.as_str() == "POST" {
        // Or libcurl would call it a form.
        map.entry(header::CONTENT_TYPE)
            .or_insert(HeaderValue::from_static("application/octet-stream"));
    }
    if !is_sent && matches!(method.as_str(), "POST" | "PUT" | "PATCH") {
        map.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
    }
    Ok(message)
}

/// `http` requests are forwarded by a proxy of HTTP, everything else goes through a tunnel.
fn through(builder: Builder, proxy: &Proxy) -> Result<Builder, IsahcError> {
    // Without the credentials: libcurl gets them apart, and repeats URLs in its messages.
    let url: http::Uri = proxy.to_string().parse().map_err(invalid)?;
    let builder = builder.proxy(url);
    Ok(match proxy.credentials() {
        Some((user, password)) => builder
            .proxy_authentication(Authentication::basic())
            .proxy_credentials(Credentials::new(user, password)),
        None => builder,
    })
}

/// The URL as libcurl gets it: userinfo in it would become a header.
fn without_userinfo(url: &Url) -> String {
    format!("{}://{}{}", url.scheme().as_str(), url.authority(), url.path_and_query())
}

fn unsupported(what: &'static str) -> IsahcError {
    IsahcError::unsent(FaultKind::Unsupported, what)
}

/// The core checks requests, so this is for what it lets through and isahc does not.
fn invalid<E>(_: E) -> IsahcError {
    unsupported("isahc cannot express this method, URL, header or proxy")
}
