//! The common form of TLS settings: what every backend can be told, whatever its TLS library.
//!
//! The bytes are handed on as they are; the backend's library parses them, and its complaint is a
//! [`ConfigError`](crate::ConfigError) of `build()`.

use core::fmt;

use bytes::Bytes;

/// The certificate of an authority to trust.
///
/// With any given, they are trusted *in place of* the platform's own.
#[derive(Clone, PartialEq, Eq)]
pub enum Certificate {
    /// One or more in PEM.
    Pem(Bytes),
    /// One in DER.
    Der(Bytes),
}

impl Certificate {
    /// One or more certificates in PEM.
    pub fn pem(pem: impl Into<Bytes>) -> Self {
        Self::Pem(pem.into())
    }

    /// One certificate in DER.
    pub fn der(der: impl Into<Bytes>) -> Self {
        Self::Der(der.into())
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pem(pem) => write!(f, "{} bytes of PEM", pem.len()),
            Self::Der(der) => write!(f, "{} bytes of DER", der.len()),
        }
    }
}

/// A client certificate with its private key, both in PEM: how this side shows who it is.
///
/// `Debug` shows nothing of the key.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    chain: Bytes,
    key: Bytes,
}

impl Identity {
    /// The certificate, followed by those between it and the authority, and its private key (PKCS#8,
    /// PKCS#1 or SEC1, not encrypted).
    pub fn pem(chain: impl Into<Bytes>, key: impl Into<Bytes>) -> Self {
        Self { chain: chain.into(), key: key.into() }
    }

    /// The certificates, in PEM.
    pub fn chain(&self) -> &Bytes {
        &self.chain
    }

    /// The private key, in PEM: a secret.
    pub fn key(&self) -> &Bytes {
        &self.key
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").finish_non_exhaustive()
    }
}

/// Switches the verification of certificates off: anybody between here and the server can read and
/// change everything. For tests against servers whose certificate nobody can check.
#[derive(Clone, Copy, Debug)]
pub struct DangerouslyAcceptAnyCertificate;

/// Which version of HTTP is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Protocol {
    /// HTTP/2 where a TLS server chooses it (ALPN), else HTTP/1.1. Without the feature `http2`,
    /// HTTP/1.1 alone.
    #[default]
    Negotiated,
    /// HTTP/1.1 alone.
    Http1,
    /// HTTP/2 alone, without asking first: also over plain TCP ("h2c with prior knowledge"). Needs the
    /// feature `http2`.
    Http2,
}
