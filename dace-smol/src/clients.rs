//! Two isahc clients, and when they are replaced.
//!
//! libcurl sends a request again by itself when a *reused* connection dies before the first byte of
//! the answer, and isahc has no switch for it. So what must not arrive twice never travels on a
//! connection that was used before, unless it has a body: bodies are given to libcurl as readers
//! that cannot be rewound, and it fails instead.
//!
//! And libcurl learns that an exchange was given up only when its connection next moves. Against a
//! server that hangs it never does; so each client that was left with `pool_size` exchanges given up
//! is replaced, and its connections are closed as soon as the others on it have ended.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use dace_core::http::HttpSettings;
use isahc::config::{Configurable, RedirectPolicy, VersionNegotiation};
use isahc::net::dns::ResolveMap;
use isahc::{Error, HttpClient};

/// libcurl counts its connections over all netlocs, dace counts them per netloc. The core holds the
/// limit of each netloc, since idle connections are used before new ones are made; what is set here
/// bounds the total: so many netlocs may be busy at once before idle connections of some are closed.
const BUSY_NETLOCS: usize = 16;

/// What both clients are made from.
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
    resolve: ResolveMap,
}

/// A client, and how many exchanges were given up on it.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) http: HttpClient,
    given_up: AtomicUsize,
    bearable: usize,
}

impl Client {
    /// An exchange on this client was given up.
    pub(crate) fn give_up(&self) {
        self.given_up.fetch_add(1, Ordering::Relaxed);
    }

    fn is_spent(&self) -> bool {
        self.given_up.load(Ordering::Relaxed) >= self.bearable
    }
}

impl Clients {
    pub(crate) fn new<Tls>(settings: &HttpSettings<Tls>) -> Self {
        let mut resolve = ResolveMap::new();
        for (name, addresses) in &settings.resolve {
            // Of several, isahc would let the last one win.
            if let Some(address) = addresses.first() {
                resolve = resolve.add(name, address.port(), address.ip());
            }
        }
        Self {
            settings: Settings {
                pool_size: settings.pool_size,
                idle_timeout: settings.idle_timeout,
                resolve,
            },
            keeping: Mutex::default(),
            closing: Mutex::default(),
        }
    }

    /// The client that keeps its connections.
    pub(crate) fn keeping(&self) -> Result<Arc<Client>, Error> {
        self.settings.current(&self.keeping, true)
    }

    /// The client whose connections carry one exchange each.
    pub(crate) fn closing(&self) -> Result<Arc<Client>, Error> {
        self.settings.current(&self.closing, false)
    }
}

impl Settings {
    fn current(&self, slot: &Mutex<Option<Arc<Client>>>, keep: bool) -> Result<Arc<Client>, Error> {
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = slot.as_ref().filter(|client| !client.is_spent()) {
            return Ok(client.clone());
        }
        let client = Arc::new(Client {
            http: self.build(keep)?,
            given_up: AtomicUsize::new(0),
            bearable: self.pool_size.max(1),
        });
        let spent = slot.replace(client.clone());
        drop(slot);
        // If it was the last handle, this waits for the agent's thread.
        drop(spent);
        Ok(client)
    }

    fn build(&self, keep: bool) -> Result<HttpClient, Error> {
        let connections = if keep { self.pool_size.saturating_mul(BUSY_NETLOCS) } else { 0 };
        HttpClient::builder()
            // libcurl would queue what is over its limits, on the caller's time.
            .max_connections(0)
            .max_connections_per_host(0)
            .connection_cache_size(connections)
            // Whole seconds, and none would mean no limit.
            .connection_cache_ttl(self.idle_timeout.max(Duration::from_secs(1)))
            .dns_resolve(self.resolve.clone())
            .version_negotiation(VersionNegotiation::http11())
            .redirect_policy(RedirectPolicy::None)
            .automatic_decompression(false)
            .expect_continue(false)
            // Or libcurl would read the environment.
            .proxy(None)
            .tcp_nodelay()
            .build()
    }
}
