//! One cell of the matrix: one call that meets one fault on one adapter, and all that is seen of it.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dace::http::{Body, HttpBackend, Method, Protocol, Sent};
use dace::{
    Adapter, Backoff, Dependency, Error, Event, HttpError, Logs, Metrics, Observer, Report,
    Runtime, Statsd, StatsdExt as _,
};
use dace_wire::{Arrival, Hanging, Refusing, Server, Step, ok, upload};

use crate::answers::BODY_LIMIT;
use crate::fault::{Fault, NAME, Place, Wait, authority};
use crate::seen::Lines;

/// What may not take longer. Everything that a call does not wait for is far below, on any machine; and
/// every timeout that is not the fault's own is far above.
pub(crate) const SLACK: Duration = Duration::from_secs(8);

/// Every timeout that is not the fault's own.
const FAR: Duration = Duration::from_secs(60);

/// Connections that a server answers: more than any call may make.
const CONNECTIONS: usize = 16;

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Get,
    Buffered,
    Streamed,
}

pub(crate) const KINDS: [Kind; 3] = [Kind::Get, Kind::Buffered, Kind::Streamed];

impl Kind {
    pub(crate) const fn is_safe(self) -> bool {
        matches!(self, Self::Get)
    }

    fn method(self) -> Method {
        if self.is_safe() { Method::GET } else { Method::POST }
    }

    fn body(self) -> Body {
        match self {
            Self::Get => Body::empty(),
            Self::Buffered => Body::from("s3cret-body"),
            Self::Streamed => upload(vec![Ok("s3cret"), Ok("-body")], None),
        }
    }
}

/// What became of a call.
#[derive(Clone, Debug)]
pub(crate) struct Cell {
    /// Requests that arrived, in part or whole; not the one that warmed the connection.
    pub(crate) arrivals: usize,
    pub(crate) attempts: u32,
    /// The class of the last attempt.
    pub(crate) class: &'static str,
    /// What the error says of the request; `None` without one that could.
    pub(crate) sent: Option<Sent>,
    /// Why no further attempt was made, or how the call ended otherwise.
    pub(crate) end: &'static str,
    pub(crate) took: Duration,
    /// Everything that a user can see of it.
    pub(crate) shown: String,
    /// Whether a server got what must not be shown: a matrix without it would prove nothing.
    pub(crate) told: bool,
}

impl Cell {
    /// As the page shows it.
    pub(crate) fn text(&self) -> String {
        let Self { arrivals, attempts, class, end, .. } = self;
        let sent = match self.sent {
            None => String::new(),
            Some(sent) => format!(", {sent:?}"),
        };
        format!("{arrivals}/{attempts} {class}{sent}; {end}")
    }
}

/// Where the fault is, while it lasts.
enum Site {
    Refusing(Refusing),
    Hanging(Hanging),
    Nowhere,
    Server(Server),
}

impl Site {
    fn of(fault: &Fault) -> Self {
        match &fault.place {
            Place::Refusing | Place::NoProxy => Self::Refusing(Refusing::new()),
            Place::Hanging => Self::Hanging(Hanging::new()),
            Place::Nowhere => Self::Nowhere,
            Place::Server(script) if fault.warm => {
                let warm = [vec![Step::ReadRequest, ok("warm")], script.clone()].concat();
                let mut scripts =
                    vec![vec![Step::ReadRequest, ok("well"), Step::Drain]; CONNECTIONS];
                scripts.insert(0, warm);
                Self::Server(Server::start(scripts))
            }
            Place::Server(script) | Place::Secure(script) | Place::Proxy(_, script) => {
                Self::Server(Server::start(vec![script.clone(); CONNECTIONS]))
            }
        }
    }

    /// Its root, as a URL of `http`.
    fn root(&self) -> String {
        match self {
            Self::Refusing(refusing) => refusing.url(),
            Self::Hanging(hanging) => hanging.url(),
            // No label may be so long, so nobody is asked.
            Self::Nowhere => format!("http://{}.invalid/", "x".repeat(64)),
            Self::Server(server) => server.url("/"),
        }
    }
}

/// An observer that keeps what it sees.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<Event>>>);

impl Observer for Seen {
    fn on_event(&self, _: &str, event: &Event) {
        self.0.lock().unwrap().push(event.clone());
    }

    fn wants_errors(&self) -> bool {
        true
    }
}

/// The begin of a request that counts, or as much of it as was read: no handshake of TLS, HTTP/2 or a
/// proxy, and not the request that warmed the connection.
fn is_request(bytes: &[u8]) -> bool {
    [&b"GET /?"[..], b"POST /?", b"GET /s3cret", b"POST /s3cret"].iter().any(|begin| {
        let length = begin.len().min(bytes.len());
        bytes[..length] == begin[..length]
    })
}

/// One call, which meets the fault.
pub(crate) async fn run<A: Adapter>(fault: &Fault, kind: Kind, lines: &Lines) -> Cell {
    let site = Site::of(fault);
    let (seen, root) = (Seen::default(), site.root());
    let dependency = dependency::<A>(fault, &site, &root, &seen, lines);
    let url = match &fault.place {
        Place::Secure(_) => {
            let Site::Server(server) = &site else { unreachable!("it is made of one") };
            server.secure_url("/")
        }
        Place::Proxy(..) | Place::NoProxy => format!("https://{NAME}/"),
        _ => root,
    };
    if fault.warm {
        let warm = &format!("{url}warm");
        let warm =
            dependency.call(|call| async move { call.http().get(warm).send().await?.text().await });
        assert_eq!(warm.await.expect("the server is well still"), "warm");
    }
    let patience = (fault.wait == Wait::Request).then_some(fault.wait.long());
    let report = dependency.call(|call| ask(call, url.clone(), kind, patience)).report().await;
    let mut cell = seen_of(&report);
    write!(cell.shown, "{} {:?}", dependency.snapshot(), dependency.snapshot()).unwrap();
    dependency.flush();
    for event in seen.0.lock().unwrap().iter() {
        write!(cell.shown, " {event} {event:?}").unwrap();
    }
    drop(dependency);
    if let Site::Server(server) = site {
        let arrivals = server.arrivals();
        let asked = arrivals.iter().filter(|arrival| is_request(&arrival.bytes));
        cell.arrivals = asked.clone().count();
        cell.told = asked.map(Arrival::text).any(|text| text.contains("s3cret-key"));
        server.finish();
    }
    cell
}

fn dependency<A: Adapter>(
    fault: &Fault,
    site: &Site,
    root: &str,
    seen: &Seen,
    lines: &Lines,
) -> Dependency<A::Runtime, A::Backend> {
    let only = |wait, default| if fault.wait == wait { wait.long() } else { default };
    let mut builder = Dependency::<A::Runtime, A::Backend>::builder("matrix")
        .retry_attempts(1)
        .backoff(Backoff::new().base(Duration::ZERO))
        .timeout(only(Wait::Call, FAR))
        .connect_timeout(only(Wait::Connect, FAR))
        .stall_timeout(only(Wait::Stall, FAR))
        .attempt_timeout(only(Wait::Attempt, FAR))
        .retry_on_timeout(fault.wait == Wait::Attempt)
        .max_redirects(3)
        .body_limit(BODY_LIMIT)
        .default_sensitive_header("x-default", "s3cret-default")
        .root_certificate(authority().certificate())
        .observer(seen.clone())
        .observer(Logs::new())
        .observer(Metrics::new())
        .statsd(Statsd::sink(lines.clone()).tags(true));
    if fault.http2 {
        builder = builder.protocol(Protocol::Http2);
    }
    if let Site::Server(server) = site {
        builder = builder.resolve(NAME, [server.address()]);
    }
    if let Place::Proxy(..) | Place::NoProxy = fault.place {
        let scheme = if let Place::Proxy(scheme, _) = fault.place { scheme } else { "http" };
        let with = root.replace("http://", &format!("{scheme}://s3cret-proxy:s3cret-pw@"));
        builder = builder.proxy(&with);
    }
    builder.build().expect("the settings are good")
}

async fn ask<R: Runtime, B: HttpBackend>(
    call: dace::Call<R, B>,
    url: String,
    kind: Kind,
    patience: Option<Duration>,
) -> Result<String, HttpError> {
    let url = url.replace("://", "://s3cret-user:s3cret-password@");
    let mut request = call
        .http()
        .request(kind.method(), &url)
        .query(&[("token", "s3cret-query")])
        .sensitive_header("x-key", "s3cret-key")
        .header("x-plain", "s3cret-plain")
        .header("cookie", "id=s3cret-cookie")
        .body(kind.body());
    if let Some(patience) = patience {
        request = request.timeout(patience);
    }
    request.send().await?.error_for_status()?.text().await
}

fn seen_of(report: &Report<String, HttpError>) -> Cell {
    let mut shown = String::new();
    let attempts = report.attempts.len();
    let class = report.attempts.last().map_or("none", |attempt| attempt.class.name());
    let (mut sent, mut end) = (None, "value");
    // A report of a value has the answer's text, which is no secret to whoever asked for it.
    if let Err(error) = &report.result {
        write!(shown, "{report:?} {report} {error} {error:?} {error:#?} ").unwrap();
        let mut source = std::error::Error::source(error);
        while let Some(cause) = source {
            write!(shown, "{cause} {cause:?} ").unwrap();
            if let Some(cause) = cause.downcast_ref::<HttpError>() {
                sent = Some(cause.sent());
            }
            source = cause.source();
        }
        end = match error {
            Error::Operation { why, .. } | Error::RetriesExhausted { why, .. } => why.name(),
            Error::Timeout { .. } => "timeout",
            _ => "other",
        };
    } else {
        write!(shown, "{report} {:?} ", report.attempts).unwrap();
    }
    let attempts = u32::try_from(attempts).expect("few");
    Cell { arrivals: 0, attempts, class, sent, end, took: report.took, shown, told: false }
}
