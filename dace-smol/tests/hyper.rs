//! The contracts that every backend keeps, on smol and hyper; and that nobody else's executor is needed.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use dace_core::http::{Connect, HttpBackend, HttpSettings};
use dace_smol::hyper::HyperBackend;
use dace_wire::{Expected, Gate, Server, Step, get, keep_alive, ok, post, run};

dace_wire::conform!(
    HyperBackend, Expected::HYPER, smol::block_on;
    tls: any(feature = "rustls", feature = "rustls-ring"), http2: feature = "http2"
);

/// An executor that knows nothing: a thread that sleeps until it is woken.
fn on_this_thread<F: Future>(work: F) -> F::Output {
    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut work = pin!(work);
    loop {
        match work.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::park(),
        }
    }
}

fn backend() -> HyperBackend {
    HyperBackend::connect(HttpSettings::default()).expect("a backend")
}

#[test]
fn any_executor_will_do_and_another_one_each_time() {
    let long = "x".repeat(1 << 20);
    let server = Server::start([keep_alive(&["one", &long, "three"])]);
    let backend = backend();
    let url = server.url("/");
    assert_eq!(on_this_thread(run(&backend, get(&url))).unwrap().text(), "one");
    let request = post(&url, vec![b'y'; 1 << 20]);
    assert_eq!(smol::block_on(run(&backend, request)).unwrap().text(), long);
    let other = backend.clone();
    let there = std::thread::spawn(move || on_this_thread(run(&other, get(&url))));
    assert_eq!(there.join().unwrap().unwrap().text(), "three");
    assert_eq!(server.connections(), 1);
}

#[test]
fn what_is_dropped_closes_its_socket_at_once() {
    let (cut, idle) = (Gate::new(), Gate::new());
    let part = dace_wire::send("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nfirst");
    let server = Server::start([
        vec![Step::ReadRequest, part, Step::AwaitClose, Step::Open(cut.clone())],
        vec![Step::ReadRequest, ok("one"), Step::AwaitClose, Step::Open(idle.clone())],
    ]);
    let backend = backend();
    drop(on_this_thread(backend.send(get(&server.url("/")))).unwrap());
    cut.wait();
    on_this_thread(run(&backend, get(&server.url("/")))).unwrap();
    drop(backend);
    idle.wait();
}
