//! Proxies: which one a request goes through, if any.
//!
//! The rules of the environment are those of curl, since there is no standard: `http_proxy`,
//! `https_proxy`, `all_proxy` and `no_proxy`, each also in capitals. `HTTP_PROXY` is not read where
//! `REQUEST_METHOD` is set: in a CGI program a client could set it by a header (CVE-2016-5385).

use core::fmt;
use core::net::IpAddr;

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;

use super::Url;
use crate::Scheme;

/// How a proxy is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProxyKind {
    /// HTTP: `http` requests are forwarded, `https` ones tunnelled (CONNECT).
    Http,
    /// SOCKS 5, names resolved on this side (`socks5://`).
    Socks5,
    /// SOCKS 5, names resolved by the proxy (`socks5h://`).
    Socks5h,
}

/// A proxy. `Debug` and `Display` show neither user nor password.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Proxy {
    kind: ProxyKind,
    host: String,
    port: u16,
    credentials: Option<(String, String)>,
}

impl Proxy {
    /// A proxy by its URL: `http://`, `socks5://` or `socks5h://`, with user and password if it needs
    /// them. Without a scheme it is `http`, without a port 80 or 1080.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let whole = match text.contains("://") {
            true => text.to_string(),
            false => alloc::format!("http://{text}"),
        };
        let url = url::Url::parse(&whole).ok()?;
        let (kind, port) = match url.scheme() {
            "http" => (ProxyKind::Http, 80),
            "socks5" => (ProxyKind::Socks5, 1080),
            "socks5h" => (ProxyKind::Socks5h, 1080),
            _ => return None,
        };
        let host = url.host_str().filter(|host| !host.is_empty())?.to_ascii_lowercase();
        if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
            return None;
        }
        let decoded = |part: &str| percent_decode_str(part).decode_utf8().ok().map(String::from);
        let password = url.password().unwrap_or_default();
        let credentials = match (url.username(), url.password()) {
            ("", None) => None,
            (user, _) => Some((decoded(user)?, decoded(password)?)),
        };
        // What a SOCKS proxy can be told (RFC 1929).
        let told = |text: &str| kind == ProxyKind::Http || (1..=255).contains(&text.len());
        if credentials.as_ref().is_some_and(|(user, password)| !told(user) || !told(password)) {
            return None;
        }
        Some(Self { kind, host, port: url.port().unwrap_or(port), credentials })
    }

    /// How it is spoken to.
    pub fn kind(&self) -> ProxyKind {
        self.kind
    }

    /// Its host: a name or an address (IPv6 in brackets).
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// User and password, for the proxy alone.
    pub fn credentials(&self) -> Option<(&str, &str)> {
        self.credentials.as_ref().map(|(user, password)| (&**user, &**password))
    }

    /// The value of `Proxy-Authorization`, for the proxy alone.
    pub fn basic_authorization(&self) -> Option<String> {
        let (user, password) = self.credentials()?;
        Some(basic(user, password))
    }
}

/// The value of a header for Basic authorization (RFC 7617).
pub(crate) fn basic(user: &str, password: &str) -> String {
    alloc::format!("Basic {}", STANDARD.encode(alloc::format!("{user}:{password}")))
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            ProxyKind::Http => "http",
            ProxyKind::Socks5 => "socks5",
            ProxyKind::Socks5h => "socks5h",
        };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Which proxy is for which URL.
#[derive(Clone, Debug, Default)]
pub(crate) struct Proxies {
    http: Option<Arc<Proxy>>,
    https: Option<Arc<Proxy>>,
    direct: NoProxy,
}

impl Proxies {
    /// One proxy for everything.
    pub(crate) fn all(proxy: Proxy) -> Self {
        let proxy = Arc::new(proxy);
        Self { http: Some(proxy.clone()), https: Some(proxy), direct: NoProxy::default() }
    }

    /// The proxies that an environment names. `Err` is the variable whose value is no proxy's URL.
    pub(crate) fn from_environment(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, &'static str> {
        let value = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let first = |names: &[&'static str]| {
            let found = names.iter().find_map(|&name| Some((name, value(name)?)));
            found.map(|(name, url)| Proxy::parse(&url).map(Arc::new).ok_or(name)).transpose()
        };
        let http: &[_] = match variable("REQUEST_METHOD") {
            Some(_) => &["http_proxy", "all_proxy", "ALL_PROXY"],
            None => &["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"],
        };
        let https: &[_] = &["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
        let direct = value("no_proxy").or_else(|| value("NO_PROXY")).unwrap_or_default();
        Ok(Self { http: first(http)?, https: first(https)?, direct: NoProxy::parse(&direct) })
    }

    /// The proxy for `url`.
    pub(crate) fn route(&self, url: &Url) -> Option<&Arc<Proxy>> {
        let proxy = match url.scheme() {
            Scheme::Http => self.http.as_ref(),
            Scheme::Https => self.https.as_ref(),
        }?;
        (!self.direct.covers(url.host(), url.port())).then_some(proxy)
    }
}

/// Hosts that are reached without a proxy.
#[derive(Clone, Debug, Default)]
struct NoProxy(Vec<Exception>);

#[derive(Clone, Debug)]
enum Exception {
    All,
    /// The name itself and everything below it, by whole labels.
    Name {
        name: String,
        port: Option<u16>,
    },
    /// Addresses that share the first `bits` with this one.
    Network {
        address: IpAddr,
        bits: u32,
        port: Option<u16>,
    },
}

impl NoProxy {
    /// Entries between commas or blanks. What is none is passed over, as everywhere.
    fn parse(text: &str) -> Self {
        let entries = text.split([',', ' ', '\t']).filter(|entry| !entry.is_empty());
        Self(entries.filter_map(Exception::parse).collect())
    }

    fn covers(&self, host: &str, port: u16) -> bool {
        let host = host.strip_suffix('.').unwrap_or(host);
        let address = address(host);
        self.0.iter().any(|exception| exception.covers(host, address, port))
    }
}

impl Exception {
    fn parse(entry: &str) -> Option<Self> {
        if entry == "*" {
            return Some(Self::All);
        }
        if let Some((network, bits)) = entry.split_once('/') {
            let address = address(network)?;
            let bits: u32 = bits.parse().ok()?;
            return (bits <= width(address)).then_some(Self::Network { address, bits, port: None });
        }
        let (host, port) = with_port(entry)?;
        if let Some(address) = address(host) {
            return Some(Self::Network { address, bits: width(address), port });
        }
        let name = host.trim_start_matches('*').trim_start_matches('.').trim_end_matches('.');
        // As the host of a URL is written: lower case, IDNA.
        let name = url::Host::parse(name).ok()?.to_string();
        Some(Self::Name { name, port })
    }

    fn covers(&self, host: &str, host_address: Option<IpAddr>, host_port: u16) -> bool {
        let meant = |port: &Option<u16>| port.is_none_or(|port| port == host_port);
        match self {
            Self::All => true,
            Self::Name { name, port } => {
                let below = host.strip_suffix(&**name);
                let by_labels = below.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
                meant(port) && host_address.is_none() && by_labels
            }
            Self::Network { address, bits, port } => {
                meant(port) && host_address.is_some_and(|host| share(*address, host, *bits))
            }
        }
    }
}

/// Host and port of an entry; `None` if the port is none.
fn with_port(entry: &str) -> Option<(&str, Option<u16>)> {
    let bare_v6 = !entry.starts_with('[') && entry.matches(':').count() > 1;
    match entry.rsplit_once(':') {
        Some((host, port)) if !bare_v6 && !entry.ends_with(']') => {
            Some((host, Some(port.parse().ok()?)))
        }
        _ => Some((entry, None)),
    }
}

/// The address that a host is, IPv6 with or without brackets. One of IPv4 written as IPv6 is IPv4.
fn address(host: &str) -> Option<IpAddr> {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    host.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

fn width(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn share(network: IpAddr, host: IpAddr, bits: u32) -> bool {
    let high = |value: u128, width: u32| {
        if bits == 0 { 0 } else { value >> (width - bits) }
    };
    match (network, host) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            high(u32::from(a).into(), 32) == high(u32::from(b).into(), 32)
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => high(a.into(), 128) == high(b.into(), 128),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::*;

    fn environment(variables: &[(&str, &str)]) -> Result<Proxies, &'static str> {
        Proxies::from_environment(|name| {
            let found = variables.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.to_string())
        })
    }

    fn route(variables: &[(&str, &str)], url: &str) -> Option<String> {
        let proxies = environment(variables).unwrap();
        proxies.route(&Url::parse(url).unwrap()).map(|proxy| proxy.to_string())
    }

    #[test]
    fn each_scheme_has_its_variables_and_small_letters_go_first() {
        let small_first = [("http_proxy", "a:1"), ("HTTP_PROXY", "b:1"), ("ALL_PROXY", "c:1")];
        assert_eq!(route(&small_first, "http://x/").unwrap(), "http://a:1");
        assert_eq!(route(&small_first, "https://x/").unwrap(), "http://c:1");
        assert_eq!(route(&[("HTTPS_PROXY", "socks5h://d")], "http://x/"), None);
        let socks = route(&[("HTTPS_PROXY", "socks5h://d")], "https://x/");
        assert_eq!(socks.unwrap(), "socks5h://d:1080");
        assert_eq!(route(&[("http_proxy", "  ")], "http://x/"), None);
    }

    #[test]
    fn a_header_of_a_cgi_client_names_no_proxy() {
        let cgi = [("REQUEST_METHOD", "GET"), ("HTTP_PROXY", "evil:1")];
        assert_eq!(route(&cgi, "http://x/"), None);
        let both = [("REQUEST_METHOD", ""), ("HTTP_PROXY", "evil:1"), ("http_proxy", "good:1")];
        assert_eq!(route(&both, "http://x/").unwrap(), "http://good:1");
    }

    #[test]
    fn a_variable_that_is_no_proxy_is_named() {
        for bad in ["ftp://a", "http://", "http://a:b", "http://a/path", "http://a?q"] {
            let error = environment(&[("https_proxy", bad)]).map(|_| ());
            assert_eq!(error, Err("https_proxy"), "{bad}");
        }
    }

    #[test]
    fn what_a_socks_proxy_cannot_be_told_is_no_proxy() {
        let long = "x".repeat(256);
        assert!(Proxy::parse(&format!("socks5://{long}:p@h")).is_none());
        assert!(Proxy::parse(&format!("socks5h://u:{long}@h")).is_none());
        assert!(Proxy::parse("socks5://u@h").is_none(), "no password");
        assert!(Proxy::parse(&format!("http://{long}:p@h")).is_some());
    }

    #[test]
    fn credentials_are_decoded_and_in_no_output() {
        let proxy = Proxy::parse("http://us%40er:s%3Acret@h:3128").unwrap();
        assert_eq!(proxy.credentials(), Some(("us@er", "s:cret")));
        assert_eq!(proxy.basic_authorization().unwrap(), "Basic dXNAZXI6czpjcmV0");
        for shown in [format!("{proxy}"), format!("{proxy:?}")] {
            assert_eq!(shown, "http://h:3128");
        }
    }

    /// K8: a CGI client names no proxy; exceptions match whole labels.
    #[test]
    fn exceptions_match_whole_labels_ports_and_networks() {
        let cases = [
            ("example.com", "http://example.com/", true),
            ("example.com", "http://a.example.com/", true),
            ("example.com", "http://notexample.com/", false),
            ("example.com", "http://example.com.evil/", false),
            (".example.com", "http://example.com/", true),
            ("*.example.com", "http://a.example.com/", true),
            ("EXAMPLE.com.", "http://example.COM./", true),
            ("bücher.example", "http://a.bücher.example/", true),
            ("example.com:8080", "http://example.com/", false),
            ("example.com:8080", "http://example.com:8080/", true),
            ("example.com:no", "http://example.com/", false),
            ("a, b\texample.com", "http://example.com/", true),
            ("*", "http://any/", true),
            ("", "http://any/", false),
            ("10.0.0.0/8", "http://10.255.0.1/", true),
            ("10.0.0.0/8", "http://11.0.0.1/", false),
            ("10.0.0.0/33", "http://10.0.0.1/", false),
            ("0.0.0.0/0", "http://1.2.3.4/", true),
            ("127.0.0.1", "http://127.0.0.1:99/", true),
            ("0.0.1", "http://127.0.0.1/", false),
            ("::1", "http://[::1]/", true),
            ("[::1]:81", "http://[::1]/", false),
            ("fd00::/8", "http://[fd12::1]/", true),
            ("::ffff:10.0.0.1", "http://10.0.0.1/", true),
        ];
        for (exceptions, url, direct) in cases {
            let found = route(&[("http_proxy", "p:1"), ("no_proxy", exceptions)], url);
            assert_eq!(found.is_none(), direct, "{exceptions:?} {url}");
        }
    }

    #[test]
    fn a_proxy_says_where_it_is() {
        let proxies = environment(&[("http_proxy", "a:81")]).unwrap();
        let proxy = proxies.route(&Url::parse("http://x/").unwrap()).unwrap();
        assert_eq!((proxy.host(), proxy.port()), ("a", 81));
    }
}
