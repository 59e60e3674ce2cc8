//! The settings of the HTTP client: those of the core's part, and those of the backend.

use core::net::SocketAddr;
use core::time::Duration;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use super::DependencyBuilder;
use crate::http::proxy::Proxies;
use crate::http::{
    Certificate, DangerouslyAcceptAnyCertificate, Header, HttpSettings, Identity, Protocol, Proxy,
    header,
};
use crate::policy::{Announced, Fixed, not_zero, positive};
use crate::{ConfigError, DeadlineHeader, Hints, HttpBackend, Runtime};

/// What is said to servers that ask who calls, unless the user says something else.
const USER_AGENT: &str = concat!("dace/", env!("CARGO_PKG_VERSION"));

/// What was set, not checked yet.
pub(super) struct Settings<Tls> {
    backend: HttpSettings<Tls>,
    /// The first setting that concerns the backend alone.
    of_backend: Option<&'static str>,
    head_limit: usize,
    user_agent: String,
    headers: Vec<(String, Bytes, bool)>,
    use_proxy: bool,
    proxy: Option<String>,
    hints: Hints,
    deadline_header: Option<DeadlineHeader>,
    attempt_header: Option<String>,
}

impl<Tls> Settings<Tls> {
    pub(super) fn new() -> Self {
        Self {
            backend: HttpSettings::default(),
            of_backend: None,
            head_limit: HttpSettings::<Tls>::default().head_limit,
            user_agent: USER_AGENT.to_string(),
            headers: Vec::new(),
            use_proxy: false,
            proxy: None,
            hints: Hints::new(),
            deadline_header: None,
            attempt_header: None,
        }
    }

    fn of_backend(&mut self, setting: &'static str) -> &mut HttpSettings<Tls> {
        self.of_backend.get_or_insert(setting);
        &mut self.backend
    }

    /// A backend that is ready cannot be told anything.
    pub(super) fn refuse_backend_settings(&self) -> Result<(), ConfigError> {
        let Some(setting) = self.of_backend else {
            return Ok(());
        };
        let problem = "has no effect on a backend that is ready; set it where the backend is made, \
                       or use `build()`";
        Err(ConfigError::new(setting, problem))
    }

    /// What the backend is made from, checked.
    pub(super) fn backend_settings(
        &mut self,
        pool_size: u32,
    ) -> Result<HttpSettings<Tls>, ConfigError> {
        let mut settings = core::mem::take(&mut self.backend);
        settings.pool_size = pool_size as usize;
        not_zero("head_limit", settings.head_limit, "allow at least one byte")?;
        positive("http_idle_timeout", settings.idle_timeout, "the default is 4 s")?;
        positive("http_max_age", settings.max_age, "the default is 5 minutes")?;
        if let Some((name, _)) = settings.resolve.iter().find(|(_, list)| list.is_empty()) {
            let problem = format!("names no address for {name}; give at least one");
            return Err(ConfigError::new("resolve", problem));
        }
        if settings.accept_any_certificate && !settings.roots.is_empty() {
            let problem = "has no effect where any certificate is accepted; leave one of them out";
            return Err(ConfigError::new("root_certificate", problem));
        }
        if settings.tls.is_some() {
            let beside = [
                ("root_certificate", !settings.roots.is_empty()),
                ("identity", settings.identity.is_some()),
                ("verification", settings.accept_any_certificate),
            ];
            if let Some((setting, _)) = beside.into_iter().find(|(_, given)| *given) {
                let problem = "has no effect beside `tls`; say it in the configuration given there";
                return Err(ConfigError::new(setting, problem));
            }
        }
        Ok(settings)
    }

    /// What the core's part of the client goes by for good, checked.
    pub(super) fn fixed<R: Runtime>(self, runtime: &R) -> Result<Arc<Fixed>, ConfigError> {
        let mut headers = Vec::with_capacity(self.headers.len() + 1);
        for (name, value, sensitive) in self.headers {
            headers.push(default_header(&name, value, sensitive)?);
        }
        if header::find(&headers, "user-agent").is_none() {
            let problem = "must be free of control characters";
            let value = Bytes::from(self.user_agent);
            let header = Header::new("user-agent", value);
            headers.push(header.ok_or_else(|| ConfigError::new("user_agent", problem))?);
        }
        let proxies = proxies(runtime, self.use_proxy, self.proxy.as_deref())?;
        self.hints.validate()?;
        let announced = announced(self.deadline_header, self.attempt_header)?;
        Ok(Arc::new(Fixed {
            head_limit: self.head_limit,
            headers: headers.into(),
            proxies,
            hints: self.hints.is_any().then(|| Box::new(self.hints)),
            announced: announced.map(Box::new),
        }))
    }
}

fn default_header(name: &str, value: Bytes, sensitive: bool) -> Result<Header, ConfigError> {
    let refused = |problem: &str| {
        let shown: String = name.chars().filter(|c| c.is_ascii_graphic()).take(64).collect();
        Err(ConfigError::new("default_header", format!("`{shown}`: {problem}")))
    };
    match Header::new(name, value) {
        None => refused("the name must be a token, and the value free of control characters"),
        Some(header) => match header::reserved(header.name()) {
            Some(problem) => refused(problem),
            None if header.name() == "host" => refused("the URL says it"),
            None if sensitive => Ok(header.sensitive()),
            None => Ok(header),
        },
    }
}

fn announced(
    deadline: Option<DeadlineHeader>,
    attempt: Option<String>,
) -> Result<Option<Announced>, ConfigError> {
    let attempt = attempt.map(|name| name.to_ascii_lowercase().into_boxed_str());
    let checked = |setting, name: &str| match header::reserved(name) {
        _ if name == "host" => {
            Err(ConfigError::new(setting, "must not be `host`: the URL says it"))
        }
        Some(problem) => Err(ConfigError::new(setting, format!("must be another one: {problem}"))),
        None if !header::is_token(name) => {
            let problem = "must be the name of a header, a token such as `x-attempt`";
            Err(ConfigError::new(setting, problem))
        }
        None => Ok(()),
    };
    deadline.as_ref().map_or(Ok(()), |header| checked("deadline_header", header.name()))?;
    attempt.as_deref().map_or(Ok(()), |name| checked("attempt_header", name))?;
    if attempt.is_some() && deadline.as_ref().map(DeadlineHeader::name) == attempt.as_deref() {
        let problem = "must not be the `deadline_header` as well; name another one";
        return Err(ConfigError::new("attempt_header", problem));
    }
    let any = deadline.is_some() || attempt.is_some();
    Ok(any.then_some(Announced { deadline, attempt }))
}

fn proxies<R: Runtime>(
    runtime: &R,
    from_environment: bool,
    named: Option<&str>,
) -> Result<Proxies, ConfigError> {
    match named {
        Some(_) if from_environment => {
            let problem = "beside `use_proxy` says it twice; name the proxy in one place";
            Err(ConfigError::new("proxy", problem))
        }
        Some(url) => Proxy::parse(url).map(Proxies::all).ok_or_else(|| {
            let problem = "must be the URL of a proxy: `http://`, `socks5://` or `socks5h://`, a host, \
                           and a port";
            ConfigError::new("proxy", problem)
        }),
        None if from_environment && !R::HAS_ENVIRONMENT => {
            let problem = "asks for the environment, and this runtime has none; name one by `proxy`";
            Err(ConfigError::new("use_proxy", problem))
        }
        None if from_environment => {
            Proxies::from_environment(|name| runtime.variable(name)).map_err(|variable| {
                let problem = format!(
                    "finds a value in the variable `{variable}` that is no URL of a proxy; `http://`, \
                     `socks5://` and `socks5h://` are known"
                );
                ConfigError::new("use_proxy", problem)
            })
        }
        None => Ok(Proxies::default()),
    }
}

/// # The HTTP client
impl<R: Runtime, B: HttpBackend> DependencyBuilder<R, B> {
    /// The header `User-Agent` of requests that have none. Default `dace/` and its version.
    #[must_use]
    pub fn user_agent(mut self, name: &str) -> Self {
        self.http.user_agent = name.to_string();
        self
    }

    /// A header of every request that has none of this name.
    #[must_use]
    pub fn default_header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let value = Bytes::copy_from_slice(value.as_ref());
        self.http.headers.push((name.to_string(), value, false));
        self
    }

    /// As [`default_header`](Self::default_header), with a value that is a secret: it appears in no
    /// output, and no redirect takes it to another origin.
    #[must_use]
    pub fn default_sensitive_header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let value = Bytes::copy_from_slice(value.as_ref());
        self.http.headers.push((name.to_string(), value, true));
        self
    }

    /// Whether the proxies of the environment are used: `http_proxy`, `https_proxy`, `all_proxy` and
    /// `no_proxy`, also in capitals, as curl reads them. Default `false`. `HTTP_PROXY` is not read where
    /// `REQUEST_METHOD` is set (CVE-2016-5385). They are read once, in `build`.
    #[must_use]
    pub fn use_proxy(mut self, use_proxy: bool) -> Self {
        self.http.use_proxy = use_proxy;
        self
    }

    /// The proxy for every request: `http://user:password@host:port`, `socks5://…` or `socks5h://…`.
    /// Default: none. `https` requests go through a tunnel (CONNECT), so that the proxy sees their host
    /// alone.
    #[must_use]
    pub fn proxy(mut self, url: &str) -> Self {
        self.http.proxy = Some(url.to_string());
        self
    }

    /// What of answers is read beside `Retry-After`: resets of quotas, pushbacks of gRPC, a header that
    /// says not to try again. Default [`Hints::new`]: a pushback of gRPC.
    #[must_use]
    pub fn hints(mut self, hints: Hints) -> Self {
        self.http.hints = hints;
        self
    }

    /// A header of every request that says what is left of its attempt's deadline, so that the server
    /// can give up when its caller has. Default: none. It is written anew for each hop and each retry;
    /// a request, or a default header, of the same name wins.
    #[must_use]
    pub fn deadline_header(mut self, header: DeadlineHeader) -> Self {
        self.http.deadline_header = Some(header);
        self
    }

    /// The name of a header of every request that says which attempt it belongs to, from 1, so that a
    /// server that has too much to do can refuse retries first. Default: none. A request, or a default
    /// header, of the same name wins.
    #[must_use]
    pub fn attempt_header(mut self, name: &str) -> Self {
        self.http.attempt_header = Some(name.to_string());
        self
    }

    /// An authority to trust, in place of the platform's. Any number of them.
    #[must_use]
    pub fn root_certificate(mut self, certificate: Certificate) -> Self {
        self.http.of_backend("root_certificate").roots.push(certificate);
        self
    }

    /// The certificate and key that this side shows to servers that ask for one. Default: none.
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> Self {
        self.http.of_backend("identity").identity = Some(identity);
        self
    }

    /// Switches the verification of certificates off. Default: they are verified.
    #[must_use]
    pub fn verification(mut self, _off: DangerouslyAcceptAnyCertificate) -> Self {
        self.http.of_backend("verification").accept_any_certificate = true;
        self
    }

    /// Which version of HTTP is spoken. Default: HTTP/2 where a TLS server chooses it, if the feature
    /// `http2` is on, else HTTP/1.1.
    #[must_use]
    pub fn protocol(mut self, protocol: Protocol) -> Self {
        self.http.of_backend("protocol").protocol = protocol;
        self
    }

    /// How long a connection may lie idle. Default 4 s, below the keep-alive of common servers; zero is
    /// an error.
    #[must_use]
    pub fn http_idle_timeout(mut self, timeout: Duration) -> Self {
        self.http.of_backend("http_idle_timeout").idle_timeout = timeout;
        self
    }

    /// How old a connection may be when an exchange begins on it. Default 5 minutes; zero is an error.
    /// A change of a name's addresses is seen no later than this.
    #[must_use]
    pub fn http_max_age(mut self, age: Duration) -> Self {
        self.http.of_backend("http_max_age").max_age = age;
        self
    }

    /// The TLS configuration, of the backend's own TLS library.
    #[must_use]
    pub fn tls(mut self, tls: B::Tls) -> Self {
        self.http.of_backend("tls").tls = Some(tls);
        self
    }

    /// Addresses of a name, which is then not looked up. On hyper they are tried in turn, each with its own
    /// port, whatever the URL's. isahc uses the first, and only for URLs with its port; others are an error.
    #[must_use]
    pub fn resolve(mut self, name: &str, addresses: impl IntoIterator<Item = SocketAddr>) -> Self {
        let given = (name.to_ascii_lowercase(), addresses.into_iter().collect());
        self.http.of_backend("resolve").resolve.push(given);
        self
    }

    /// The most bytes that the heads of one answer may have. Default 64 KiB on hyper. isahc has a limit
    /// of its own, 300 KiB, and refuses this setting.
    #[must_use]
    pub fn head_limit(mut self, bytes: usize) -> Self {
        self.http.of_backend("head_limit").head_limit = bytes;
        self.http.head_limit = bytes;
        self
    }
}
