//! Three servers on a thread of their own, each of which can be made ill.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};

/// How long a server that is well takes for a request.
pub(crate) const TAKES: Duration = Duration::from_micros(3_500);

/// How many times slower one is that is slow.
const SLOWER: u32 = 30;

/// How a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Health {
    Well,
    /// It answers 500 at once.
    Fails,
    /// It does not answer.
    Hangs,
    Slow,
}

/// One of them.
#[derive(Clone)]
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    health: AtomicU8,
    arrived: AtomicU64,
}

impl Backend {
    pub(crate) fn set(&self, health: Health) {
        self.state.health.store(health as u8, Ordering::SeqCst);
    }

    /// Requests that came so far.
    pub(crate) fn arrived(&self) -> u64 {
        self.state.arrived.load(Ordering::SeqCst)
    }
}

impl State {
    fn health(&self) -> Health {
        match self.health.load(Ordering::SeqCst) {
            0 => Health::Well,
            1 => Health::Fails,
            2 => Health::Hangs,
            _ => Health::Slow,
        }
    }
}

pub(crate) fn start() -> [Backend; 3] {
    let (told, backends) = mpsc::channel();
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a runtime on this thread");
        let local = tokio::task::LocalSet::new();
        for _ in 0..3 {
            let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"));
            let listener = listener.expect("a port");
            let address = listener.local_addr().expect("it is bound");
            let state = Arc::new(State::default());
            told.send(Backend { address, state: state.clone() }).expect("somebody waits");
            local.spawn_local(serve(listener, state));
        }
        local.block_on(&runtime, std::future::pending::<()>());
    };
    thread::Builder::new().name("servers".into()).spawn(run).expect("a thread");
    std::array::from_fn(|_| backends.recv().expect("it starts"))
}

async fn serve(listener: tokio::net::TcpListener, state: Arc<State>) {
    loop {
        let (stream, _) = listener.accept().await.expect("a connection");
        stream.set_nodelay(true).expect("a socket");
        let state = state.clone();
        let answer = service_fn(move |_| {
            let state = state.clone();
            async move {
                state.arrived.fetch_add(1, Ordering::SeqCst);
                Ok::<_, Infallible>(answer(state.health()).await)
            }
        });
        let mut builder = http1::Builder::new();
        let connection =
            builder.timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), answer);
        tokio::task::spawn_local(connection);
    }
}

async fn answer(health: Health) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::new(Bytes::from_static(b"hello, world!")));
    match health {
        Health::Well => tokio::time::sleep(TAKES).await,
        Health::Slow => tokio::time::sleep(TAKES * SLOWER).await,
        Health::Hangs => std::future::pending().await,
        Health::Fails => *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR,
    }
    answer
}
