//! Stats for a statsd server, with the feature `statsd`.
//!
//! What a call costs here is a short lock around a queue, for each attempt and each call: a thread of its own
//! looks at the queue ten times a second, or once a second while nothing comes, makes lines of what is there,
//! and sends them. Nothing waits for it. A full queue drops and counts.
//!
//! Names are `PREFIX.<dependency_id>.<name>`; `docs/observing.md` has them all.

mod line;
mod record;
mod sender;

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs, UdpSocket};
use std::sync::{Arc, OnceLock};

use cadence::{BufferedUdpMetricSink, MetricSink, StatsdClient};
use dace_core::{ConfigError, DependencyBuilder, Event, HttpBackend, Observer, Runtime};

use record::Told;
use sender::{Sender, Source};

/// The largest datagram: what an Ethernet frame carries over IPv6, with some room.
const DATAGRAM: usize = 1_432;

/// The longest queue, in events: its room is taken at once.
const LONGEST_QUEUE: usize = 1 << 20;

/// The longest prefix, in bytes.
const LONGEST_PREFIX: usize = 200;

/// The sink of stats on the builder.
pub trait StatsdExt {
    /// Sends stats to a statsd server: an address (`"127.0.0.1:8125"`), a
    /// [client](cadence::StatsdClient) of yours, a closure that yields one of these, or a [`Statsd`]
    /// with settings of its own.
    ///
    /// `build()` fails if the address names no server, or no thread or socket can be had.
    #[must_use]
    fn statsd(self, to: impl Into<Statsd>) -> Self;
}

impl<R: Runtime, B: HttpBackend> StatsdExt for DependencyBuilder<R, B> {
    fn statsd(self, to: impl Into<Statsd>) -> Self {
        self.try_observer(to.into().observer())
    }
}

/// Where stats go, and how. Clones share one sending thread, as do all that send to the same address in
/// the same way; it ends when the last dependency that uses it is gone and no clone is left.
///
/// ```
/// # #[cfg(feature = "sim")] {
/// use dace::{Statsd, StatsdExt as _};
///
/// let statsd = Statsd::to("127.0.0.1:8125").prefix("shop").tags(true).sample_rate(0.1);
/// let users = dace::Dependency::builder("users").statsd(statsd.clone());
/// let carts = dace::Dependency::builder("carts").statsd(statsd);
/// # let _ = users.build_with(dace::sim::Sim::new(1).runtime(), dace::NoHttp)?;
/// # let _ = carts.build_with(dace::sim::Sim::new(1).runtime(), dace::NoHttp)?;
/// # }
/// # Ok::<(), dace::ConfigError>(())
/// ```
#[derive(Clone)]
pub struct Statsd {
    to: Arc<dyn Fn() -> Result<Outlet, ConfigError> + Send + Sync>,
    /// If it is no more than an address: others may send there already.
    address: Option<Arc<str>>,
    prefix: Option<Arc<str>>,
    settings: Settings,
    sender: Arc<OnceLock<Sender>>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Settings {
    tags: bool,
    rate: f64,
    queue: usize,
}

/// What lines go out by.
enum Outlet {
    /// Lines are made here.
    Lines(Box<dyn MetricSink + Send + Sync>),
    /// The client makes them, after its own prefix and with its own tags.
    Client(Arc<StatsdClient>),
}

impl Statsd {
    /// To the server at this address, over UDP. A name is looked up once, when the first dependency is
    /// built that sends there; of several addresses it is the first.
    pub fn to(address: impl Into<Arc<str>>) -> Self {
        let address = address.into();
        let to = address.clone();
        let by = Self::by(move || udp(&to).map(|sink| Outlet::Lines(Box::new(sink))));
        Self { address: Some(address), ..by }
    }

    /// By a sink of `cadence`, whole lines one at a time: over TCP or a Unix socket, say. It is called
    /// from a thread of dace's, so it may block.
    pub fn sink(sink: impl MetricSink + Send + Sync + 'static) -> Self {
        let sink = Arc::new(sink);
        Self::by(move || Ok(Outlet::Lines(Box::new(SharedSink(sink.clone())))))
    }

    /// By a client of `cadence`. Its prefix and its tags are part of every line, in place of
    /// [`prefix`](Self::prefix). It is called from a thread of dace's, so it may block, and needs no
    /// [`QueuingMetricSink`](cadence::QueuingMetricSink): that one queues on a thread of its own, which a
    /// flush does not reach. Times lose their fractions of milliseconds.
    pub fn client(client: impl Into<Arc<StatsdClient>>) -> Self {
        let client = client.into();
        Self::by(move || Ok(Outlet::Client(client.clone())))
    }

    fn by(to: impl Fn() -> Result<Outlet, ConfigError> + Send + Sync + 'static) -> Self {
        let settings = Settings { tags: false, rate: 1.0, queue: 8_192 };
        Self { to: Arc::new(to), address: None, prefix: None, settings, sender: Arc::default() }
    }

    /// What every name begins with. Default `dace`; empty for nothing. Letters, digits, `_`, `.` and
    /// `-`, at most 200.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<Arc<str>>) -> Self {
        self.prefix = Some(prefix.into());
        self.anew()
    }

    /// Whether the netloc is told as a tag, `netloc:host_port`, in the form of DogStatsD. At most 1,000
    /// are told apart by one sending thread, the rest is `other`. Default `false`: servers that know no
    /// tags take such lines for garbage.
    #[must_use]
    pub fn tags(mut self, tags: bool) -> Self {
        self.settings.tags = tags;
        self.anew()
    }

    /// The share of calls, attempts, retries and refusals that lines are sent for; the server is told,
    /// and multiplies. Above 0, at most 1, the default. Changes of circuits are always sent.
    #[must_use]
    pub fn sample_rate(mut self, rate: f64) -> Self {
        self.settings.rate = rate;
        self.anew()
    }

    /// What waits to be sent at most, in events. Default 8,192, at most 1,048,576; zero is an error. The
    /// sending thread is woken when half of it is full, else it looks by itself.
    /// What finds it full is dropped, and counted as `PREFIX.<dependency_id>.dropped`, as are lines that
    /// the sink refuses.
    #[must_use]
    pub fn queue(mut self, events: usize) -> Self {
        self.settings.queue = events;
        self.anew()
    }

    /// Other settings, another thread.
    fn anew(mut self) -> Self {
        self.sender = Arc::default();
        self
    }

    fn observer(&self) -> Result<StatsdObserver, ConfigError> {
        let Settings { rate, queue, .. } = self.settings;
        if !(rate > 0.0 && rate <= 1.0) {
            return Err(ConfigError::new("statsd", "has a sample rate outside of 0 to 1"));
        }
        if !(1..=LONGEST_QUEUE).contains(&queue) {
            let problem =
                "must have room for at least one event in its queue, at most for 1,048,576";
            return Err(ConfigError::new("statsd", problem));
        }
        let prefix = self.prefix.as_deref().unwrap_or("dace");
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
        if !prefix.bytes().all(plain) || prefix.len() > LONGEST_PREFIX {
            let problem = "must have a prefix of at most 200 letters, digits, `_`, `.` and `-`";
            return Err(ConfigError::new("statsd", problem));
        }
        let sender = match self.sender.get() {
            Some(sender) => sender.clone(),
            None => {
                let sender = match &self.address {
                    Some(address) => Sender::to(address, self.settings, &*self.to)?,
                    None => Sender::start((self.to)()?, self.settings)?,
                };
                self.sender.get_or_init(|| sender).clone()
            }
        };
        Ok(StatsdObserver { sender, prefix: prefix.into(), source: OnceLock::new() })
    }
}

fn udp(address: &str) -> Result<BufferedUdpMetricSink, ConfigError> {
    let wrong = |problem: String| ConfigError::new("statsd", problem);
    let server: SocketAddr = address
        .to_socket_addrs()
        .map_err(|error| wrong(format!("must be the address of a server: {error}")))?
        .next()
        .ok_or_else(|| wrong(String::from("must be the address of a server: there is none")))?;
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any)
        .map_err(|error| wrong(format!("has no socket to send from: {error}")))?;
    BufferedUdpMetricSink::with_capacity(server, socket, DATAGRAM)
        .map_err(|error| wrong(format!("must be the address of a server: {error}")))
}

impl From<&str> for Statsd {
    fn from(address: &str) -> Self {
        Self::to(address)
    }
}

impl From<String> for Statsd {
    fn from(address: String) -> Self {
        Self::to(address)
    }
}

impl From<SocketAddr> for Statsd {
    fn from(address: SocketAddr) -> Self {
        Self::to(address.to_string())
    }
}

impl From<StatsdClient> for Statsd {
    fn from(client: StatsdClient) -> Self {
        Self::client(client)
    }
}

impl From<Arc<StatsdClient>> for Statsd {
    fn from(client: Arc<StatsdClient>) -> Self {
        Self::client(client)
    }
}

/// A closure, as in the original: called at once, once.
impl<F: Fn() -> S, S: Into<Self>> From<F> for Statsd {
    fn from(closure: F) -> Self {
        closure().into()
    }
}

impl fmt::Debug for Statsd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { prefix, settings, .. } = self;
        f.debug_struct("Statsd")
            .field("prefix", prefix)
            .field("settings", settings)
            .finish_non_exhaustive()
    }
}

/// A sink that clones of a [`Statsd`] with other settings may share.
struct SharedSink<S>(Arc<S>);

impl<S: MetricSink> MetricSink for SharedSink<S> {
    fn emit(&self, metric: &str) -> std::io::Result<usize> {
        self.0.emit(metric)
    }

    fn flush(&self) -> std::io::Result<()> {
        self.0.flush()
    }
}

struct StatsdObserver {
    sender: Sender,
    prefix: Arc<str>,
    /// Known from the first event on.
    source: OnceLock<Arc<Source>>,
}

impl Observer for StatsdObserver {
    fn on_event(&self, dependency_id: &str, event: &Event) {
        let source = self.source.get_or_init(|| self.sender.source(&self.prefix, dependency_id));
        if let Some(open) = record::open(event) {
            Sender::set_open(source, open);
        }
        if let Some(told) = Told::of(event) {
            self.sender.push(source, told, told.netloc(event));
        }
    }

    fn flush(&self) {
        self.sender.flush();
    }
}
