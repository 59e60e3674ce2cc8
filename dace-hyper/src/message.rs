//! A request in hyper's words.

use dace_core::Scheme;
use dace_core::http::{FaultKind, Proxy, Request, Url};
use http::header::{self, HeaderName};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, HeaderValue, Method, Uri};

use crate::HyperError;
use crate::upload::{Progress, Upload};

/// A request that hyper can express, before it is known on what connection it goes.
pub(crate) struct Message {
    method: Method,
    headers: HeaderMap,
    path: PathAndQuery,
    upload: Upload,
    url: Url,
    persistent: bool,
}

impl Message {
    /// And what will be known of its body.
    pub(crate) fn new(request: Request) -> Result<(Self, Progress), HyperError> {
        let Request { method, url, headers, body, options, .. } = request;
        let mut map = HeaderMap::with_capacity(headers.len() + 3);
        // First, since some servers want to see it first.
        if !headers.iter().any(|header| header.name() == "host") {
            let host = HeaderValue::from_maybe_shared(url.shared_authority()).map_err(invalid)?;
            map.insert(header::HOST, host);
        }
        for header in headers {
            let name = HeaderName::from_bytes(header.name().as_bytes()).map_err(invalid)?;
            let mut value =
                HeaderValue::from_maybe_shared(header.value().clone()).map_err(invalid)?;
            // HTTP/2 then keeps it out of tables that may outlive the request.
            value.set_sensitive(header.is_sensitive());
            map.append(name, value);
        }
        let (upload, progress) = Upload::new(body.into_payload());
        let message = Self {
            method: Method::from_bytes(method.as_str().as_bytes()).map_err(invalid)?,
            headers: map,
            path: PathAndQuery::from_maybe_shared(url.shared_path_and_query()).map_err(invalid)?,
            upload,
            url,
            persistent: options.persistent,
        };
        Ok((message, progress))
    }

    /// For HTTP/1.1: one framing header, a `Host`, and the origin form, or the absolute form with what
    /// `forwarder` has to know.
    pub(crate) fn http1(
        mut self,
        forwarder: Option<&Proxy>,
    ) -> Result<http::Request<Upload>, HyperError> {
        let absolute = match forwarder {
            None => None,
            Some(_) => Some(self.absolute(self.url.authority().parse().map_err(invalid)?)?),
        };
        if let Some(value) = forwarder.and_then(Proxy::basic_authorization) {
            let mut value = HeaderValue::try_from(value).map_err(invalid)?;
            value.set_sensitive(true);
            self.headers.insert(header::PROXY_AUTHORIZATION, value);
        }
        if !self.persistent {
            self.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if self.upload.is_chunked() {
            let chunked = HeaderValue::from_static("chunked");
            self.headers.insert(header::TRANSFER_ENCODING, chunked);
        } else if http_body::Body::is_end_stream(&self.upload)
            && matches!(self.method, Method::POST | Method::PUT | Method::PATCH)
        {
            self.headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        Ok(self.finish(absolute))
    }

    /// For HTTP/2: `Host` is called `:authority` there, and nothing else frames a body.
    #[cfg(feature = "http2")]
    pub(crate) fn http2(mut self) -> Result<http::Request<Upload>, HyperError> {
        let host = self.headers.remove(header::HOST);
        let host = host.as_ref().map_or(&b""[..], HeaderValue::as_bytes);
        let uri = self.absolute(Authority::try_from(host).map_err(invalid)?)?;
        let mut request = self.finish(Some(uri));
        *request.version_mut() = http::Version::HTTP_2;
        Ok(request)
    }

    fn absolute(&self, authority: Authority) -> Result<Uri, HyperError> {
        let scheme = match self.url.scheme() {
            Scheme::Http => "http",
            Scheme::Https => "https",
        };
        let uri = Uri::builder().scheme(scheme).authority(authority);
        uri.path_and_query(self.path.clone()).build().map_err(invalid)
    }

    /// In the origin form, if not in the absolute one.
    fn finish(self, absolute: Option<Uri>) -> http::Request<Upload> {
        let mut request = http::Request::new(self.upload);
        *request.method_mut() = self.method;
        *request.uri_mut() = absolute.unwrap_or_else(|| Uri::from(self.path));
        *request.headers_mut() = self.headers;
        request
    }
}

/// The core checks requests, so this is for what it lets through and `http` does not.
fn invalid<E>(_: E) -> HyperError {
    HyperError::unsent(FaultKind::Unsupported, "hyper cannot express this method, URL or header")
}
