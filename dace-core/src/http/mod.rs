//! HTTP: what requests and answers are, and the seam to the backends that send them.

mod backend;
mod body;
pub(crate) mod error;
mod fault;
pub(crate) mod header;
pub(crate) mod hint;
mod method;
mod no_http;
mod request;
mod url;

pub use backend::{Connect, Head, HttpBackend, HttpSettings, Response, Version};
pub use body::{Body, BodyStream, BoxError, Payload};
pub use error::{HttpError, HttpErrorKind};
pub use fault::{Fault, FaultKind, Sent};
pub use header::Header;
pub use method::Method;
pub use no_http::NoHttp;
pub use request::{Options, Request};
pub use url::{Url, UrlError};
