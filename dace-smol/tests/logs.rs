//! What isahc would tell to whoever listens. One test, in a process of its own: it listens to all.

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex};

use dace_core::http::{Connect, Header, HttpSettings};
use dace_smol::IsahcBackend;
use dace_wire::{Server, keep_alive, post, run};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Writes down every value of every span and event.
#[derive(Clone, Default)]
struct Listener(Arc<Mutex<String>>);

impl Visit for Listener {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        writeln!(self.0.lock().unwrap(), "{field}={value:?}").unwrap();
    }
}

impl Subscriber for Listener {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        span.record(&mut self.clone());
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

#[test]
fn no_secret_is_told_to_whoever_listens() {
    let listener = Listener::default();
    tracing::subscriber::set_global_default(listener.clone()).unwrap();
    let server = Server::start([keep_alive(&["answer"])]);
    let backend = IsahcBackend::connect(HttpSettings::default()).unwrap();
    let mut request = post(&server.url("/?key=hidden"), "hidden");
    request.headers.extend(Header::new("authorization", "Bearer hidden"));
    smol::block_on(run(&backend, request)).unwrap();
    drop(backend);
    assert!(server.arrivals()[0].text().contains("hidden"));
    let heard = listener.0.lock().unwrap().clone();
    assert!(heard.contains("agent"), "something is to be heard: {heard}");
    assert!(!heard.contains("hidden"), "{heard}");
}
