//! What the tests share.

use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};

use dace_wire::Step;

/// Runs a future on a runtime of its own, which is gone afterwards.
pub(crate) fn on_tokio<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(future)
}

/// Reads a request and answers with `body`, so many times, on one connection.
pub(crate) fn answers(body: &'static str, times: usize) -> Vec<Step> {
    let one = || [Step::ReadRequest, dace_wire::ok(body)];
    (0..times).flat_map(|_| one()).chain([Step::AwaitClose]).collect()
}

/// Reads a request and answers with a status, so many times, on one connection.
pub(crate) fn statuses(code: u16, times: usize) -> Vec<Step> {
    let answer = format!("HTTP/1.1 {code} Some Reason\r\ncontent-length: 0\r\n\r\n");
    let one = || [Step::ReadRequest, dace_wire::send(answer.clone())];
    (0..times).flat_map(|_| one()).chain([Step::AwaitClose]).collect()
}

/// Needs a future to be `Send`, and gives it back.
pub(crate) fn sent<F: Future + Send>(future: F) -> F {
    future
}

/// Those who count what is shared, one at a time: forgetting is for the whole process.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}
