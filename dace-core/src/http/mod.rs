//! HTTP: what requests and answers are, and the seam to the backends that send them.

mod backend;
mod body;
pub(crate) mod error;
mod fault;
pub(crate) mod header;
pub(crate) mod hint;
mod method;
mod no_http;
pub(crate) mod proxy;
mod request;
mod tls;
mod url;

pub use backend::{Connect, Head, HttpBackend, HttpSettings, Response, Version};
pub use body::{Body, BodyStream, BoxError, Payload};
pub use error::{HttpError, HttpErrorKind};
pub use fault::{Fault, FaultKind, Sent};
pub use header::Header;
pub use method::Method;
pub use no_http::NoHttp;
pub use proxy::{Proxy, ProxyKind};
pub use request::{Options, Request};
pub use tls::{Certificate, DangerouslyAcceptAnyCertificate, Identity, Protocol};
pub use url::{Url, UrlError};
