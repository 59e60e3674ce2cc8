//! HTTP: what requests and answers are, and the seam to the backends that send them.

pub(crate) mod advice;
mod backend;
mod body;
mod deadline;
pub(crate) mod decoding;
pub(crate) mod error;
mod fault;
#[cfg(feature = "gzip")]
pub(crate) mod gzip;
pub(crate) mod header;
pub(crate) mod hint;
mod method;
mod no_http;
pub(crate) mod proxy;
pub(crate) mod redirect;
pub(crate) mod request;
mod tls;
mod url;

pub use backend::{Connect, Head, HttpBackend, HttpSettings, Response, Version};
pub use body::{Body, BodyStream, BoxError, Payload};
pub use deadline::DeadlineHeader;
pub use error::{HttpError, HttpErrorKind};
pub use fault::{Fault, FaultKind, Sent};
pub use header::Header;
pub use method::Method;
pub use no_http::NoHttp;
pub use proxy::{Proxy, ProxyKind};
pub use redirect::{Hop, RedirectError};
pub use request::{Options, Request};
pub use tls::{Certificate, DangerouslyAcceptAnyCertificate, Identity, Protocol};
pub use url::{Url, UrlError};
