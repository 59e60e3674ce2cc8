//! isahc's threads live no longer than they should. One test, in a process of its own: it counts them.

use std::time::Duration;

use dace_core::Runtime as _;
use dace_core::http::{Connect, HttpBackend, HttpSettings};
use dace_smol::{IsahcBackend, SmolRuntime};
use dace_wire::{Gate, PATIENCE, Server, Step, get, keep_alive, post, race, run};

/// isahc's threads in this process.
fn agents() -> usize {
    std::fs::read_dir("/proc/self/task")
        .expect("Linux")
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|name| name.starts_with("isahc-agent"))
        .count()
}

fn no_agent_is_left() {
    no_more_are_left_than(0);
}

/// The system takes a moment to forget a thread that was joined.
fn no_more_are_left_than(count: usize) {
    let deadline = SmolRuntime.now().after(PATIENCE);
    while agents() > count {
        assert!(SmolRuntime.now() < deadline, "a thread is left");
        std::thread::yield_now();
    }
}

/// A9: no task outlives the last handle.
#[test]
fn no_thread_outlives_the_last_handle() {
    smol::block_on(async {
        let (asked, closed) = (Gate::new(), Gate::new());
        let server = Server::start([
            keep_alive(&["one", "three"]),
            keep_alive(&["two"]),
            vec![
                Step::ReadRequestThen(asked.clone()),
                Step::AwaitClose,
                Step::Open(closed.clone()),
            ],
        ]);
        let backend = IsahcBackend::connect(HttpSettings::default()).unwrap();
        assert_eq!(agents(), 0, "they start with the first exchange");
        run(&backend, get(&server.url("/"))).await.unwrap();
        assert_eq!(agents(), 1);
        // Must not arrive twice, and has no body to keep libcurl from it.
        run(&backend, post(&server.url("/"), "")).await.unwrap();
        assert_eq!(agents(), 2);
        let other = backend.clone();
        run(&other, get(&server.url("/"))).await.unwrap();
        assert_eq!(agents(), 2, "clones share them");
        drop(backend);

        // libcurl does not notice that this one is given up; the end of its thread ends it too.
        let mut request = post(&server.url("/"), "");
        request.options.persistent = false;
        assert!(race(other.send(request), asked.opened()).await.is_none());
        drop(other);
        no_agent_is_left();
        closed.wait();

        // One that is too old ends when it is replaced, not with the last handle.
        let server = Server::start(["one", "two", "three"].map(|body| keep_alive(&[body])));
        let mut settings = HttpSettings::default();
        settings.max_age = Duration::from_nanos(1);
        let backend = IsahcBackend::connect(settings).unwrap();
        for _ in 0..3 {
            run(&backend, get(&server.url("/"))).await.unwrap();
            no_more_are_left_than(1);
        }
        drop(backend);
        no_agent_is_left();
    });
}
