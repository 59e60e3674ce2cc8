//! TLS settings in isahc's words, checked first: libcurl would complain with the first handshake only.

use std::path::PathBuf;
use std::sync::Arc;

use dace_core::ConfigError;
use dace_core::http::{Certificate, HttpSettings, Identity};
use isahc::HttpClientBuilder;
use isahc::config::Configurable;
use isahc::tls::{self, PrivateKey, TlsConfig, TrustStore};
use rustls::RootCertStore;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

/// The TLS configuration that [`DependencyBuilder::tls`](crate::DependencyBuilder::tls) takes.
pub type Tls = TlsConfig;

/// What is trusted, and who this side says it is.
#[derive(Clone, Debug)]
pub(crate) struct Trust {
    config: TlsConfig,
    /// libcurl reads them with every handshake.
    _identity: Option<Arc<(OwnFile, OwnFile)>>,
}

impl Trust {
    /// Whether `https` can be spoken.
    pub(crate) const SPEAKS_HTTPS: bool = true;

    pub(crate) fn new(settings: &HttpSettings<Tls>) -> Result<Self, ConfigError> {
        if let Some(config) = settings.tls.clone() {
            return Ok(Self { config, _identity: None });
        }
        let mut config = TlsConfig::builder();
        if !settings.roots.is_empty() {
            config = config.trust_store(trust_store(&settings.roots)?);
        }
        if settings.accept_any_certificate {
            config = config.danger_accept_invalid_certs(true).danger_accept_invalid_hosts(true);
        }
        let identity = settings.identity.as_ref().map(files).transpose()?;
        if let Some((chain, key)) = &identity {
            let key = PrivateKey::from_pem_file(key.path(), None);
            config = config.identity(tls::Identity::from_pem_file(chain.path(), Some(key)));
        }
        Ok(Self { config: config.build(), _identity: identity.map(Arc::new) })
    }

    pub(crate) fn apply(&self, builder: HttpClientBuilder) -> HttpClientBuilder {
        builder.tls_config(self.config.clone())
    }
}

fn trust_store(roots: &[Certificate]) -> Result<TrustStore, ConfigError> {
    let bad = |problem: String| ConfigError::new("root_certificate", problem);
    let mut checked = RootCertStore::empty();
    let mut store = TrustStore::builder();
    for root in roots {
        let certificates = match root {
            Certificate::Pem(pem) => certificates(pem).map_err(bad)?,
            Certificate::Der(der) => vec![CertificateDer::from(&der[..]).into_owned()],
        };
        for certificate in certificates {
            store = store.certificate_from_der(&certificate);
            checked
                .add(certificate)
                .map_err(|error| bad(format!("is no certificate of an authority: {error}")))?;
        }
    }
    Ok(store.build())
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("holds PEM that cannot be read: {error}"))?;
    match certificates.is_empty() {
        true => Err(String::from("holds no certificate in PEM")),
        false => Ok(certificates),
    }
}

/// libcurl's rustls takes certificate and key from files alone.
fn files(identity: &Identity) -> Result<(OwnFile, OwnFile), ConfigError> {
    let bad = |problem: String| ConfigError::new("identity", problem);
    let chain = certificates(identity.chain()).map_err(bad)?;
    // Of the key nothing is repeated, not even where it is wrong.
    let key = PrivateKeyDer::from_pem_slice(identity.key())
        .map_err(|_| bad(String::from("holds no private key in PEM that can be read")))?;
    CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
        .map_err(|error| bad(format!("is no certificate with its own key: {error}")))?;
    let file = |content| OwnFile::new(content).map_err(bad);
    Ok((file(identity.chain())?, file(identity.key())?))
}

/// A file in memory, without a name: a private key has no business on a disk.
#[cfg(any(target_os = "linux", target_os = "android"))]
#[derive(Debug)]
struct OwnFile(std::fs::File);

#[cfg(any(target_os = "linux", target_os = "android"))]
impl OwnFile {
    fn new(content: &[u8]) -> Result<Self, String> {
        use rustix::fs::{MemfdFlags, memfd_create};
        use std::io::Write as _;

        let written = || {
            let mut file = std::fs::File::from(memfd_create("dace", MemfdFlags::CLOEXEC)?);
            file.write_all(content)?;
            let file = Self(file);
            // Where `/proc` is not mounted, libcurl would not find it.
            std::fs::metadata(file.path())?;
            Ok(file)
        };
        written().map_err(|error: std::io::Error| {
            format!("cannot be handed to libcurl as a file: {error}; give files with `tls`")
        })
    }

    fn path(&self) -> PathBuf {
        use std::os::fd::AsRawFd as _;

        PathBuf::from(format!("/proc/self/fd/{}", self.0.as_raw_fd()))
    }
}

/// Elsewhere there is none.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
#[derive(Debug)]
enum OwnFile {}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
impl OwnFile {
    fn new(_: &[u8]) -> Result<Self, String> {
        Err(String::from("needs files in memory, which this system has not; give files with `tls`"))
    }

    fn path(&self) -> PathBuf {
        match *self {}
    }
}
