//! Parameters that are seen in what a decorated function does, on both adapters.

use std::io;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use cadence::{MetricSink, StatsdClient};
use dace::{Class, Event, Observer};
use smol::block_on;

use crate::support::{alone, on_tokio};

/// Far more than anything here takes.
const PATIENCE: Duration = Duration::from_secs(10);

static SEEN: AtomicU32 = AtomicU32::new(0);

struct Counter;

impl Observer for Counter {
    fn on_event(&self, _: &str, _: &Event) {
        SEEN.fetch_add(1, Ordering::SeqCst);
    }
}

/// Where a statsd server listens.
fn receiver() -> &'static UdpSocket {
    static RECEIVER: OnceLock<UdpSocket> = OnceLock::new();
    RECEIVER.get_or_init(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        socket
    })
}

/// A sink that passes lines on.
struct Lines(Sender<String>);

impl MetricSink for Lines {
    fn emit(&self, line: &str) -> io::Result<usize> {
        // Nobody may listen any more.
        let _ = self.0.send(String::from(line));
        Ok(line.len())
    }
}

static LINES: Mutex<Option<Receiver<String>>> = Mutex::new(None);

fn client() -> StatsdClient {
    let (lines, received) = channel();
    *LINES.lock().unwrap() = Some(received);
    StatsdClient::from_sink("client", Lines(lines))
}

macro_rules! acts {
    ($module:ident $run:ident $adapter:ident $runtime:ident) => {
        mod $module {
            use super::*;

            #[test]
            fn an_observer_sees_events() {
                #[dace::fault_tolerant(runtime = dace::$adapter::$runtime, observer = Counter)]
                async fn observed() -> io::Result<()> {
                    Ok(())
                }

                let _alone = alone();
                let before = SEEN.load(Ordering::SeqCst);
                $run(observed()).unwrap();
                assert!(SEEN.load(Ordering::SeqCst) > before);
            }

            #[test]
            fn stats_go_to_an_address() {
                #[dace::fault_tolerant(
                    dependency_id = concat!("to an address on ", stringify!($adapter)),
                    runtime = dace::$adapter::$runtime,
                    statsd = receiver().local_addr().unwrap().to_string(),
                )]
                async fn counted() -> io::Result<()> {
                    Ok(())
                }

                let _alone = alone();
                $run(counted()).unwrap();
                let id = concat!("to_an_address_on_", stringify!($adapter));
                dace::$adapter::dependency(id).unwrap().flush();
                let mut datagram = [0; 2_000];
                loop {
                    let length = receiver().recv(&mut datagram).expect("a datagram comes");
                    let lines = String::from_utf8_lossy(&datagram[..length]);
                    if lines.contains(&format!("dace.{id}.call")) {
                        break;
                    }
                }
            }

            #[test]
            fn stats_go_by_a_client() {
                #[dace::fault_tolerant(
                    dependency_id = "by a client",
                    runtime = dace::$adapter::$runtime,
                    statsd = client(),
                )]
                async fn counted() -> io::Result<()> {
                    Ok(())
                }

                let _alone = alone();
                $run(counted()).unwrap();
                dace::$adapter::dependency("by a client").unwrap().flush();
                let received = LINES.lock().unwrap().take().expect("the client was made");
                let line = received.recv_timeout(PATIENCE).expect("a line comes");
                assert!(line.starts_with("client.by_a_client."), "{line}");
            }

            #[test]
            fn a_classifier_says_what_an_error_means() {
                #[dace::fault_tolerant(runtime = dace::$adapter::$runtime, classify = |_| Class::CallerFault)]
                async fn classified() -> Result<(), &'static str> {
                    Err("not again")
                }

                let _alone = alone();
                let error = $run(classified()).unwrap_err();
                assert!(matches!(error, dace::Error::Operation { .. }), "{error:?}");
            }

            #[test]
            fn a_handle_is_used_as_it_is() {
                fn handle() -> dace::$adapter::Dependency {
                    static HANDLE: OnceLock<dace::$adapter::Dependency> = OnceLock::new();
                    let build = || dace::$adapter::Dependency::builder("a handle").build().unwrap();
                    HANDLE.get_or_init(build).clone()
                }

                #[dace::fault_tolerant(dependency = handle())]
                async fn handled() -> io::Result<()> {
                    Ok(())
                }

                $run(handled()).unwrap();
                assert_eq!(handle().snapshot().totals.succeeded, 1);
            }

            #[cfg(feature = "http2")]
            #[test]
            fn the_protocol_is_spoken() {
                #[dace::fault_tolerant(protocol = dace::http::Protocol::Http2)]
                async fn get(call: &dace::$adapter::Call, url: &str) -> Result<String, dace::HttpError> {
                    call.http().get(url).send().await?.text().await
                }

                let _alone = alone();
                let server = dace_wire::Server::start([dace_wire::streams(&["streamed"])]);
                assert_eq!($run(get(&server.url("/"))).unwrap(), "streamed");
                assert_eq!(server.arrivals()[0].line(), "GET / HTTP/2");
            }
        }
    };
}

acts!(acts_on_tokio on_tokio tokio Tokio);
acts!(acts_on_smol block_on smol Smol);
