//! The head of an answer, as hyper parsed it.

use dace_core::http::{Head, Version};

/// Status, version and headers of an answer.
#[derive(Debug)]
pub struct HyperHead(pub(crate) http::response::Parts);

impl Head for HyperHead {
    fn status(&self) -> u16 {
        self.0.status.as_u16()
    }

    fn version(&self) -> Version {
        match self.0.version {
            http::Version::HTTP_2 => Version::Http2,
            http::Version::HTTP_3 => Version::Http3,
            http::Version::HTTP_11 => Version::Http11,
            _ => Version::Http10,
        }
    }

    fn get(&self, name: &str) -> Option<&[u8]> {
        self.0.headers.get(name).map(http::HeaderValue::as_bytes)
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()))
    }
}
