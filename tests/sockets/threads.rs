//! No thread outlives the last handle. One test, in a process of its own: it counts them all.

use dace::smol::{Dependency, SmolRuntime};
use dace::{HttpError, Runtime};
use dace_wire::{PATIENCE, Server, keep_alive};

/// The names of this process's threads, without async-io's, which lives as long as the process.
fn threads() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
    let mut names: Vec<String> = tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .map(|name| name.trim_end().to_owned())
        .filter(|name| name != "async-io")
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn no_thread_outlives_the_last_handle() {
    smol::block_on(async {
        let server = Server::start([keep_alive(&["get"]), keep_alive(&["post"])]);
        let before = threads();
        let one = Dependency::builder("test").targets([server.url("")]).build().unwrap();
        let other = one.clone();
        let text = |post| {
            other.call(move |call| async move {
                let http = call.http();
                let request = if post { http.post("/") } else { http.get("/") };
                request.send().await?.text().await
            })
        };
        let get: Result<String, dace::Error<HttpError>> = text(false).await;
        assert_eq!(get.unwrap(), "get");
        assert_eq!(text(true).await.unwrap(), "post");
        // Two of isahc's, and two of the server's.
        assert!(threads().len() >= before.len() + 2);
        drop(one);
        drop(other);
        drop(server);
        let deadline = SmolRuntime.now().after(PATIENCE);
        // One less than before: the server's acceptor is gone too. The system takes a moment to
        // forget a thread that was joined.
        while threads().len() > before.len() - 1 {
            assert!(SmolRuntime.now() < deadline, "{:?}, {before:?} before", threads());
            std::thread::yield_now();
        }
    });
}
