//! Request headers, checked before any connection is made.

use core::fmt;

use alloc::sync::Arc;

use bytes::Bytes;

/// One header of a request: name in lower case, value without CR, LF and NUL. Cheap to clone.
#[derive(Clone, PartialEq, Eq)]
pub struct Header {
    name: Name,
    value: Bytes,
    sensitive: bool,
}

#[derive(Clone, PartialEq, Eq)]
enum Name {
    Known(&'static str),
    Other(Arc<str>),
}

/// Names that most requests have: they take no memory of their own.
const KNOWN: [&str; 8] = [
    "accept",
    "accept-encoding",
    "authorization",
    "content-type",
    "cookie",
    "idempotency-key",
    "traceparent",
    "user-agent",
];

impl Name {
    fn new(name: &str) -> Self {
        match KNOWN.iter().find(|known| known.eq_ignore_ascii_case(name)) {
            Some(known) => Self::Known(known),
            None => Self::Other(name.to_ascii_lowercase().into()),
        }
    }

    fn as_str(&self) -> &str {
        match self {
            Self::Known(name) => name,
            Self::Other(name) => name,
        }
    }
}

impl Header {
    /// A header, if name and value may be sent: the name a token (RFC 9110, 5.1), the value without
    /// control characters but the tab (RFC 9110, 5.5).
    pub fn new(name: &str, value: impl Into<Bytes>) -> Option<Self> {
        let value = value.into();
        if !is_token(name) || !is_value(&value) {
            return None;
        }
        let name = Name::new(name);
        let sensitive = matches!(name.as_str(), "authorization" | "cookie" | "proxy-authorization");
        Some(Self { name, value, sensitive })
    }

    /// Marks the value as a secret: it appears in no output and stays with its origin.
    #[must_use]
    pub fn sensitive(mut self) -> Self {
        self.sensitive = true;
        self
    }

    /// The name, in lower case.
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// The value.
    pub fn value(&self) -> &Bytes {
        &self.value
    }

    /// Whether the value is a secret.
    pub fn is_sensitive(&self) -> bool {
        self.sensitive
    }
}

/// Shows the name alone: any value may be a secret.
impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: …", self.name())
    }
}

/// The first header called `name` (in lower case).
pub(crate) fn find<'a>(headers: &'a [Header], name: &str) -> Option<&'a Header> {
    headers.iter().find(|header| header.name() == name)
}

/// Headers that say how the message is framed or carried: the client's business alone.
const FRAMING: [&str; 9] = [
    "connection",
    "content-length",
    "expect",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Why a request cannot have a header of this name (in lower case), if it cannot.
pub(crate) fn reserved(name: &str) -> Option<&'static str> {
    if FRAMING.contains(&name) {
        return Some("a header that frames the message cannot be set: the client does that");
    }
    (name == "proxy-authorization")
        .then_some("a proxy's credentials belong into its URL: a server would see them here")
}

/// A token of RFC 9110, 5.6.2.
pub(crate) fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

fn is_value(value: &[u8]) -> bool {
    value.iter().all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_and_nul_never_become_a_header() {
        for bad in ["a\r\nb", "a\nb", "a\rb", "a\0b", "\u{7f}"] {
            assert!(Header::new("x-a", Bytes::from(bad)).is_none(), "{bad:?}");
            assert!(Header::new(bad, Bytes::from_static(b"v")).is_none(), "{bad:?}");
        }
        assert!(Header::new("", Bytes::new()).is_none());
        assert!(Header::new("x-ok", Bytes::from_static(b"tab\tand \xff")).is_some());
    }
}
