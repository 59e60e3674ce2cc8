//! Request methods.

use core::fmt;

use alloc::boxed::Box;

/// A request method.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Method(Name);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Name {
    Known(&'static str),
    Other(Box<str>),
}

impl Method {
    /// `GET`
    pub const GET: Self = Self(Name::Known("GET"));
    /// `HEAD`
    pub const HEAD: Self = Self(Name::Known("HEAD"));
    /// `POST`
    pub const POST: Self = Self(Name::Known("POST"));
    /// `PUT`
    pub const PUT: Self = Self(Name::Known("PUT"));
    /// `PATCH`
    pub const PATCH: Self = Self(Name::Known("PATCH"));
    /// `DELETE`
    pub const DELETE: Self = Self(Name::Known("DELETE"));
    /// `OPTIONS`
    pub const OPTIONS: Self = Self(Name::Known("OPTIONS"));
    /// `TRACE`
    pub const TRACE: Self = Self(Name::Known("TRACE"));

    const KNOWN: [Self; 8] = [
        Self::GET,
        Self::HEAD,
        Self::POST,
        Self::PUT,
        Self::PATCH,
        Self::DELETE,
        Self::OPTIONS,
        Self::TRACE,
    ];

    /// The method with this name, as it is written: methods are case-sensitive (RFC 9110, 9.1).
    /// `None` if the name is no token, or is `CONNECT`, which is a proxy's business.
    pub fn new(name: &str) -> Option<Self> {
        if let Some(known) = Self::KNOWN.iter().find(|known| known.as_str() == name) {
            return Some(known.clone());
        }
        let valid = super::header::is_token(name) && name != "CONNECT";
        valid.then(|| Self(Name::Other(name.into())))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Name::Known(name) => name,
            Name::Other(name) => name,
        }
    }

    /// Whether doing it twice is as good as once (RFC 9110, 9.2.2).
    pub fn is_idempotent(&self) -> bool {
        matches!(self.as_str(), "GET" | "HEAD" | "OPTIONS" | "TRACE" | "PUT" | "DELETE")
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
