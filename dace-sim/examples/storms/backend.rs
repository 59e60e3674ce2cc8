//! The backend of one client of a fleet: what its servers are to it.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use dace_core::Runtime as _;
use dace_core::http::{Fault, FaultKind, Head, HttpBackend, Request, Response, Sent, Version};
use dace_sim::SimRuntime;
use futures_core::Stream;

use crate::servers::{Fate, Pair, Reception, Servers, lock};

/// What a client has of its own.
#[derive(Clone, Debug)]
pub(crate) struct FleetBackend {
    pub(crate) servers: Arc<Mutex<Servers>>,
    pub(crate) runtime: SimRuntime,
    pub(crate) client: u32,
}

/// What the network did.
#[derive(Debug)]
pub(crate) struct Broken(Fault);

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0.kind.describe())
    }
}

impl std::error::Error for Broken {}

/// A connection in use. It is closed when it is dropped, unless its answer was read to the end.
#[derive(Debug)]
pub(crate) struct Connection {
    backend: FleetBackend,
    pair: Pair,
    life: Option<u32>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let now = self.backend.runtime.now();
        lock(&self.backend.servers).connections.leave(now, self.pair, self.life);
    }
}

/// The number of a server, which is in its name.
fn number(request: &Request) -> Option<u32> {
    request.url.host().strip_prefix('s')?.parse().ok()
}

impl HttpBackend for FleetBackend {
    type Tls = Infallible;
    type Head = Status;
    type Body = Empty;
    type Error = Broken;

    fn send(
        &self,
        request: Request,
    ) -> impl Future<Output = Result<Response<Status, Empty>, Broken>> + Send {
        let backend = self.clone();
        async move {
            let broken = |kind, sent, reused| Err(Broken(Fault { kind, sent, reused }));
            let Some(server) = number(&request) else {
                return broken(FaultKind::Dns, Sent::Unsent, false);
            };
            let pair = (backend.client, server);
            let now = backend.runtime.now();
            let (reused, reception) = {
                let mut servers = lock(&backend.servers);
                let reused = servers.reuse(now, pair);
                (reused, servers.receive(now, server, reused))
            };
            let mut connection = Connection { backend, pair, life: None };
            let runtime = &connection.backend.runtime;
            let reused = reused.is_some();
            let (at, life) = match reception {
                Reception::Refused => {
                    return broken(FaultKind::ConnectionRefused, Sent::Unsent, false);
                }
                Reception::Silence if reused => pending().await,
                Reception::Silence => {
                    runtime.sleep_until(now.after(request.options.connect_timeout)).await;
                    return broken(FaultKind::ConnectTimeout, Sent::Unsent, false);
                }
                Reception::Reset => return broken(FaultKind::Reset, Sent::MaybeSent, true),
                Reception::Answer { at, life } => (at, life),
            };
            runtime.sleep_until(at).await;
            let fate = lock(&connection.backend.servers).fate(server, life);
            let status = match fate {
                Fate::Answered(status) => status,
                Fate::Silence => pending().await,
                Fate::Reset => return broken(FaultKind::Reset, Sent::MaybeSent, reused),
            };
            connection.life = Some(life);
            Ok(Response { head: Status(status), body: Empty { connection: Some(connection) } })
        }
    }

    fn fault(error: &Broken) -> Fault {
        error.0
    }
}

/// A head that says nothing else.
#[derive(Debug)]
pub(crate) struct Status(u16);

impl Head for Status {
    fn status(&self) -> u16 {
        self.0
    }

    fn version(&self) -> Version {
        Version::Http11
    }

    fn get(&self, _: &str) -> Option<&[u8]> {
        None
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        std::iter::empty()
    }
}

/// A body of no bytes.
#[derive(Debug)]
pub(crate) struct Empty {
    connection: Option<Connection>,
}

impl Drop for Empty {
    fn drop(&mut self) {
        // It was not read: what is left in it taints the connection.
        if let Some(connection) = &mut self.connection {
            connection.life = None;
        }
    }
}

impl Stream for Empty {
    type Item = Result<Bytes, Broken>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.connection = None;
        Poll::Ready(None)
    }
}
