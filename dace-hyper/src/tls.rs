//! TLS with rustls. The crypto provider is always named: where two are built in, rustls would panic
//! rather than choose.

use std::io;
use std::sync::{Arc, OnceLock};

use dace_core::ConfigError;
use dace_core::http::{Certificate, FaultKind, HttpSettings, Identity, Protocol};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

use crate::HyperError;
use crate::socket::Socket;

/// The configuration that `tls` takes.
pub type Tls = ClientConfig;

const H2: &[u8] = b"h2";
const HTTP1: &[u8] = b"http/1.1";

/// How `https` is spoken.
#[derive(Debug)]
pub(crate) struct Security {
    /// Made with the first handshake where it needs the platform's roots: to look for them costs
    /// time, and that there are none must not stop a client that speaks no TLS. They may be there later.
    config: OnceLock<Arc<ClientConfig>>,
    protocol: Protocol,
}

impl Security {
    pub(crate) fn new(settings: &mut HttpSettings<Tls>) -> Result<Self, ConfigError> {
        let protocol = settings.protocol;
        let config = OnceLock::new();
        if let Some(made) = configured(settings)? {
            config.get_or_init(|| Arc::new(made));
        }
        Ok(Self { config, protocol })
    }

    /// Whether `https` can be had at all: asked before anything is connected.
    pub(crate) fn check(&self) -> Result<(), HyperError> {
        self.config().map(drop)
    }

    fn config(&self) -> Result<&Arc<ClientConfig>, HyperError> {
        if let Some(config) = self.config.get() {
            return Ok(config);
        }
        let builder = versions().and_then(|versions| versions.with_platform_verifier());
        let builder = builder.map_err(|error| {
            let what = "TLS: the platform's root certificates cannot be loaded; \
                        `root_certificate` names some";
            HyperError::before(FaultKind::Tls, what, error)
        })?;
        let mut config = builder.with_no_client_auth();
        config.alpn_protocols = offered(self.protocol);
        Ok(self.config.get_or_init(|| Arc::new(config)))
    }

    /// Shakes hands with `host`: the secured socket, and whether HTTP/2 is spoken on it.
    pub(crate) async fn secure<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        host: &str,
        socket: S,
    ) -> Result<(Socket<S>, bool), HyperError> {
        let name = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(name).map_err(|error| {
            HyperError::before(FaultKind::Tls, "TLS: the host is no name of a server", error)
        })?;
        let connector = TlsConnector::from(self.config()?.clone());
        let stream = connector.connect(name, socket).await.map_err(|error| {
            let what = format!("TLS handshake with {host}: {}", describe(&error));
            HyperError::before(FaultKind::Tls, what, error)
        })?;
        let http2 = stream.get_ref().1.alpn_protocol() == Some(H2);
        if self.protocol == Protocol::Http2 && !http2 {
            let what = format!("TLS handshake with {host}: the server does not choose HTTP/2");
            return Err(HyperError::unsent(FaultKind::Tls, what));
        }
        Ok((Socket::Secure(Box::new(stream)), http2))
    }
}

/// The configuration that the settings ask for; none if it is the platform's.
fn configured(settings: &mut HttpSettings<Tls>) -> Result<Option<ClientConfig>, ConfigError> {
    if let Some(mut config) = settings.tls.take() {
        if config.alpn_protocols.is_empty() {
            config.alpn_protocols = offered(settings.protocol);
        }
        check_offer(&config.alpn_protocols, settings.protocol)?;
        return Ok(Some(config));
    }
    if settings.roots.is_empty() && settings.identity.is_none() && !settings.accept_any_certificate
    {
        return Ok(None);
    }
    let broken = |error: Error| ConfigError::new("tls", format!("cannot be built: {error}"));
    let builder = versions().map_err(broken)?;
    let builder = if settings.accept_any_certificate {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(AcceptAny(provider())))
    } else if settings.roots.is_empty() {
        builder.with_platform_verifier().map_err(|error| {
            let problem = format!("names none, and the platform's cannot be loaded: {error}");
            ConfigError::new("root_certificate", problem)
        })?
    } else {
        builder.with_root_certificates(roots(&settings.roots)?)
    };
    let mut config = match &settings.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (chain, key) = parse_identity(identity)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| {
                ConfigError::new("identity", format!("holds no usable key: {error}"))
            })?
        }
    };
    config.alpn_protocols = offered(settings.protocol);
    Ok(Some(config))
}

fn versions() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, Error> {
    ClientConfig::builder_with_provider(provider()).with_safe_default_protocol_versions()
}

#[cfg(feature = "rustls")]
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

#[cfg(not(feature = "rustls"))]
fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The protocols to offer, the preferred one first (ALPN).
fn offered(protocol: Protocol) -> Vec<Vec<u8>> {
    let names: &[&[u8]] = match protocol {
        Protocol::Http2 => &[H2],
        Protocol::Negotiated if cfg!(feature = "http2") => &[H2, HTTP1],
        _ => &[HTTP1],
    };
    names.iter().map(|name| name.to_vec()).collect()
}

/// Whether a configuration of the user's offers what can be spoken.
fn check_offer(offer: &[Vec<u8>], protocol: Protocol) -> Result<(), ConfigError> {
    let http2 = offer.iter().any(|name| name == H2);
    let problem = match protocol {
        _ if http2 && cfg!(not(feature = "http2")) => {
            "offers `h2`, which needs the feature `http2`"
        }
        Protocol::Http1 if http2 => "offers `h2`, and `protocol` is HTTP/1.1 alone",
        Protocol::Http2 if !http2 => "does not offer `h2`, and `protocol` is HTTP/2 alone",
        _ => return Ok(()),
    };
    Err(ConfigError::new("tls", problem))
}

fn roots(certificates: &[Certificate]) -> Result<RootCertStore, ConfigError> {
    let refuse = |problem: String| ConfigError::new("root_certificate", problem);
    let mut store = RootCertStore::empty();
    for certificate in certificates {
        let parsed = match certificate {
            Certificate::Pem(pem) => parse_pem(pem).map_err(refuse)?,
            Certificate::Der(der) => vec![CertificateDer::from(der.to_vec())],
        };
        for der in parsed {
            store.add(der).map_err(|error| refuse(format!("holds no certificate: {error}")))?;
        }
    }
    Ok(store)
}

fn parse_pem(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let parsed = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    match parsed {
        Ok(certificates) if certificates.is_empty() => {
            Err(String::from("holds no certificate in PEM"))
        }
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(format!("is no PEM: {error}")),
    }
}

/// What goes wrong here must not quote what was given: a part of it is a secret.
fn parse_identity(
    identity: &Identity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), ConfigError> {
    let refuse = |problem: &str| ConfigError::new("identity", problem);
    let chain = parse_pem(identity.chain())
        .map_err(|problem| ConfigError::new("identity", format!("chain {problem}")))?;
    let key = PrivateKeyDer::from_pem_slice(identity.key())
        .map_err(|_| refuse("holds no private key in PEM (PKCS#8, PKCS#1 or SEC1)"))?;
    Ok((chain, key))
}

/// What the user can do about a failed handshake.
fn describe(error: &io::Error) -> String {
    let Some(error) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return match error.kind() {
            io::ErrorKind::UnexpectedEof => String::from("the server closed the connection"),
            kind => kind.to_string(),
        };
    };
    match error {
        Error::InvalidMessage(_) => String::from("the server speaks no TLS"),
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => String::from(
            "the certificate's authority is not known; `root_certificate` makes one known",
        ),
        Error::AlertReceived(alert) => format!("the server refused: {alert:?}"),
        other => other.to_string(),
    }
}

/// Whether the other side ended the session with an alert: after TLS 1.3's handshake that is how it
/// refuses this side's certificate.
pub(crate) fn is_alert(error: &io::Error) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    matches!(inner, Some(Error::AlertReceived(_)))
}

/// Any certificate is as good as any other; that the server has its key is still checked.
#[derive(Debug)]
struct AcceptAny(Arc<CryptoProvider>);

impl ServerCertVerifier for AcceptAny {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
