//! The isahc clients, and when they are replaced.
//!
//! libcurl sends a request again by itself when a *reused* connection dies before the first byte of
//! the answer, and isahc has no switch for it. So what must not arrive twice never travels on a
//! connection that was used before, unless it has a body: bodies are given to libcurl as readers
//! that cannot be rewound, and it fails instead. What has no body goes through a second client, whose
//! connections carry one exchange each, and which speaks HTTP/1.1 alone: in HTTP/2 exchanges that
//! run at the same time would share a connection, and refused streams are sent again too.
//!
//! A client is replaced
//! - when it is as old as a connection may be: libcurl knows how long a connection lay idle, not how
//!   old it is. The new one also looks names up again;
//! - when `pool_size` exchanges were given up on it before their answers, or while the bodies of one server's
//!   were read, or four times as many of all servers', that have no end of their own: libcurl learns of that
//!   only when their connection next moves, and against a server that hangs it never does. What has begun to
//!   answer mostly moves at once, and a client that goes takes idle connections to all servers with it;
//! - when an HTTP/2 connection no longer answers (`silence.rs`).
//!
//! The connections of the old one finish what they do, and close with the last of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dace_core::http::{HttpSettings, Protocol, Url};
use dace_core::{ConfigError, Instant, Netloc, Runtime as _};
use isahc::config::{Configurable, RedirectPolicy, VersionNegotiation};
use isahc::net::dns::ResolveMap;
use isahc::{Error, HttpClient};

use crate::SmolRuntime;
use crate::silence::Silence;
use crate::trust::{Tls, Trust};

/// libcurl counts its connections over all netlocs, dace counts them per netloc. The core holds the
/// limit of each netloc, since idle connections are used before new ones are made; what is set here
/// bounds the total: so many netlocs may be busy at once before idle connections of some are closed.
const BUSY_NETLOCS: usize = 16;

/// What an exchange that was given up before its answer is worth of those that were given up in it.
const UNANSWERED: usize = 4;

/// Whoever ends so soon is waited for.
const SOON: Duration = Duration::from_secs(1);

/// What all clients are made from, and those that are in use.
#[derive(Debug)]
pub(crate) struct Clients {
    settings: Settings,
    keeping: Mutex<Option<Arc<Client>>>,
    closing: Mutex<Option<Arc<Client>>>,
}

#[derive(Debug)]
struct Settings {
    pool_size: usize,
    idle_timeout: Duration,
    max_age: Duration,
    protocol: Protocol,
    trust: Trust,
    resolve: ResolveMap,
    /// The names in it, each with the port that it is for.
    given: Vec<(String, u16)>,
}

/// A client, and what would replace it.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) http: HttpClient,
    expires: Instant,
    given_up: Mutex<GivenUp>,
    bearable: usize,
    silence: Silence,
}

/// Exchanges that were given up.
#[derive(Debug, Default)]
struct GivenUp {
    by_netloc: HashMap<Netloc, usize>,
    /// Those of the server that has most.
    most: usize,
    /// All, those without an answer [for several](UNANSWERED).
    all: usize,
}

impl Client {
    /// An exchange on this client was given up, that [ends](dace_core::http::Options::ends) then.
    pub(crate) fn give_up(&self, netloc: &Netloc, answered: bool, ends: Instant) {
        if ends <= SmolRuntime.now().after(SOON) {
            // By itself, and so does its connection.
            return;
        }
        let GivenUp { by_netloc, most, all } = &mut *self.given_up();
        let of_netloc = by_netloc.entry(netloc.clone()).or_default();
        *of_netloc += 1;
        *most = (*most).max(*of_netloc);
        *all += if answered { 1 } else { UNANSWERED };
    }

    fn given_up(&self) -> MutexGuard<'_, GivenUp> {
        self.given_up.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its deadline passed, and no answer had come.
    pub(crate) fn unheard(&self, netloc: Netloc) {
        self.silence.grows(netloc);
    }

    /// An answer came.
    pub(crate) fn heard(&self, netloc: &Netloc) {
        self.silence.ends(netloc);
    }

    fn is_spent(&self) -> bool {
        let GivenUp { most, all, .. } = *self.given_up();
        self.expires <= SmolRuntime.now()
            || most >= self.bearable
            || all >= self.bearable.saturating_mul(UNANSWERED)
            || self.silence.is_too_long()
    }
}

impl Clients {
    pub(crate) fn new(settings: &HttpSettings<Tls>) -> Result<Self, ConfigError> {
        if settings.protocol == Protocol::Http2 && !cfg!(feature = "http2") {
            return Err(ConfigError::new("protocol", "needs the feature `http2` for HTTP/2"));
        }
        let mut resolve = ResolveMap::new();
        let mut given = Vec::new();
        for (name, addresses) in &settings.resolve {
            // Of several, isahc would let the last one win.
            if let Some(address) = addresses.first() {
                resolve = resolve.add(name, address.port(), address.ip());
                given.push((name.clone(), address.port()));
            }
        }
        Ok(Self {
            settings: Settings {
                pool_size: settings.pool_size,
                idle_timeout: settings.idle_timeout,
                max_age: settings.max_age,
                protocol: settings.protocol,
                trust: Trust::new(settings)?,
                resolve,
                given,
            },
            keeping: Mutex::default(),
            closing: Mutex::default(),
        })
    }

    /// Whether nothing but HTTP/2 is spoken.
    pub(crate) fn speak_http2_alone(&self) -> bool {
        self.settings.protocol == Protocol::Http2
    }

    /// Whether exchanges may share a connection.
    pub(crate) fn may_speak_http2(&self, secure: bool) -> bool {
        match self.settings.protocol {
            Protocol::Http2 => true,
            Protocol::Negotiated => secure && cfg!(feature = "http2"),
            _ => false,
        }
    }

    /// Whether addresses were given for the URL's host, but for another port. libcurl would look the
    /// name up, which was not to happen.
    pub(crate) fn would_look_up(&self, url: &Url) -> bool {
        let given = self.settings.given.iter();
        let mut ports =
            given.filter(|(name, _)| name == url.host()).map(|(_, port)| *port).peekable();
        ports.peek().is_some() && !ports.any(|port| port == url.port())
    }

    /// The client that keeps its connections.
    pub(crate) fn keeping(&self) -> Result<Arc<Client>, Error> {
        self.settings.current(&self.keeping, true)
    }

    /// A client whose connections carry one exchange each.
    pub(crate) fn closing(&self) -> Result<Arc<Client>, Error> {
        match self.settings.protocol {
            // Or exchanges that run at the same time would share one.
            Protocol::Http2 => self.settings.client(false).map(Arc::new),
            _ => self.settings.current(&self.closing, false),
        }
    }
}

impl Settings {
    fn current(&self, slot: &Mutex<Option<Arc<Client>>>, keep: bool) -> Result<Arc<Client>, Error> {
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = slot.as_ref().filter(|client| !client.is_spent()) {
            return Ok(client.clone());
        }
        let client = Arc::new(self.client(keep)?);
        let spent = slot.replace(client.clone());
        drop(slot);
        if let Some(spent) = spent {
            // If it was the last handle, this waits for the agent's thread: not on the executor's.
            let waits = std::thread::Builder::new().spawn(move || drop(spent));
            // If there is no thread to be had, it has been dropped here.
            drop(waits);
        }
        Ok(client)
    }

    fn client(&self, keep: bool) -> Result<Client, Error> {
        Ok(Client {
            http: self.build(keep)?,
            expires: SmolRuntime.now().after(self.max_age),
            given_up: Mutex::default(),
            bearable: self.pool_size.max(1),
            silence: Silence::default(),
        })
    }

    fn build(&self, keep: bool) -> Result<HttpClient, Error> {
        let connections = if keep { self.pool_size.saturating_mul(BUSY_NETLOCS) } else { 0 };
        let version = match self.protocol {
            Protocol::Http2 => VersionNegotiation::http2(),
            // Over TLS what the server chooses, else HTTP/1.1.
            Protocol::Negotiated if keep && cfg!(feature = "http2") => {
                VersionNegotiation::latest_compatible()
            }
            _ => VersionNegotiation::http11(),
        };
        let client = HttpClient::builder()
            // libcurl would queue what is over its limits, on the caller's time.
            .max_connections(0)
            .max_connections_per_host(0)
            .connection_cache_size(connections)
            // Whole seconds, and none would mean no limit.
            .connection_cache_ttl(self.idle_timeout.max(Duration::from_secs(1)))
            .dns_resolve(self.resolve.clone())
            .version_negotiation(version)
            .redirect_policy(RedirectPolicy::None)
            .automatic_decompression(false)
            .expect_continue(false)
            // Or libcurl would read the environment: for proxies, and for who needs none.
            .proxy(None)
            .proxy_blacklist(Vec::<String>::new())
            .tcp_nodelay();
        self.trust.apply(client).build()
    }
}
