//! Authorities, and the servers and clients that they vouch for, all made on the spot.
//!
//! An authority and a leaf are always two certificates: one that is both is refused by webpki.

use std::sync::Arc;

use dace_core::http::{Certificate, Identity};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

/// A certificate authority.
#[derive(Debug)]
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// What a server needs to speak TLS.
#[derive(Clone, Debug)]
pub struct ServerTls(pub(crate) Arc<ServerConfig>);

/// What a server saw of a handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// The name that the client indicated (SNI).
    pub name: Option<String>,
    /// The protocol that was agreed upon (ALPN).
    pub protocol: Option<String>,
}

impl Authority {
    /// A new one, that nobody trusts yet.
    ///
    /// # Panics
    /// If there is no randomness to be had.
    pub fn new() -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "dace's test authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        Self(CertifiedIssuer::self_signed(params, key()).expect("a certificate"))
    }

    /// Its certificate, to trust.
    pub fn certificate(&self) -> Certificate {
        Certificate::pem(self.0.pem())
    }

    /// The same in DER.
    pub fn certificate_der(&self) -> Certificate {
        Certificate::der(self.0.der().to_vec())
    }

    /// A server of this name or address.
    pub fn server(&self, name: &str) -> ServerTls {
        self.server_from(name, |_| {}, None)
    }

    /// The certificate and the key of a server of this name or address, in PEM: for servers that read
    /// files.
    pub fn server_pem(&self, name: &str) -> (String, String) {
        let (chain, key) = self.issue(name, ExtendedKeyUsagePurpose::ServerAuth, |_| {});
        (chain.pem(), key.serialize_pem())
    }

    /// A server whose certificate's time is over.
    pub fn expired_server(&self, name: &str) -> ServerTls {
        self.server_from(name, |params| params.not_after = date_time_ymd(2020, 1, 1), None)
    }

    /// A server that asks its clients for a certificate by `clients`.
    ///
    /// # Panics
    /// Never: the authority's own certificate is one.
    pub fn asking_server(&self, name: &str, clients: &Self) -> ServerTls {
        self.server_from(name, |_| {}, Some(clients))
    }

    fn server_from(
        &self,
        name: &str,
        set: impl FnOnce(&mut CertificateParams),
        clients: Option<&Self>,
    ) -> ServerTls {
        let (chain, key) = self.issue(name, ExtendedKeyUsagePurpose::ServerAuth, set);
        let versions = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("the provider has them");
        let builder = match clients {
            None => versions.with_no_client_auth(),
            Some(clients) => {
                let mut roots = RootCertStore::empty();
                roots.add(clients.0.der().clone()).expect("an authority's certificate");
                let provider = Arc::new(default_provider());
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
                versions.with_client_cert_verifier(verifier.build().expect("one root"))
            }
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let chain = vec![chain.der().clone()];
        ServerTls(Arc::new(builder.with_single_cert(chain, key).expect("a chain and its key")))
    }

    /// A client that this authority vouches for.
    pub fn client(&self) -> Identity {
        let (chain, key) =
            self.issue("client.invalid", ExtendedKeyUsagePurpose::ClientAuth, |_| {});
        Identity::pem(chain.pem(), key.serialize_pem())
    }

    fn issue(
        &self,
        name: &str,
        usage: ExtendedKeyUsagePurpose,
        set: impl FnOnce(&mut CertificateParams),
    ) -> (rcgen::Certificate, KeyPair) {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name or an address");
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![usage];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        set(&mut params);
        let key = key();
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        (certificate, key)
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

impl ServerTls {
    /// The same, choosing among these protocols.
    #[must_use]
    pub fn speaking(&self, protocols: &[&str]) -> Self {
        let mut config = ServerConfig::clone(&self.0);
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self(Arc::new(config))
    }
}

/// The configuration of a rustls client that trusts nobody.
///
/// # Panics
/// Never: the provider has versions of TLS.
pub fn trusting_nobody() -> ClientConfig {
    ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has them")
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth()
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}
