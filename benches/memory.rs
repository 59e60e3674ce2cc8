//! What a call weighs: its future, and what 100,000 calls under way hold; and that nothing stays of them
//! but room that is used again.
//!
//! ```text
//! cargo bench --all-features --bench memory
//! cargo bench --all-features --bench memory -- --json
//! ```

use std::future::{Future, Pending, pending};
use std::mem::size_of_val;
use std::pin::Pin;
use std::task::{Context, Waker};

use allocation_counter::measure;
use dace::{Dependency, NoHttp};

mod common;

use common::{Failed, Tokio, dace};

const CALLS: usize = 100_000;

fn main() {
    let tokio = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime without a thread of its own");
    let _entered = tokio.enter();
    let dace = dace(3, |builder| builder);
    let size = size_of_val(&call(&dace));
    let mut held = Vec::with_capacity(CALLS);
    let begun = measure(|| begin(&dace, &mut held));
    let ended = measure(|| held.clear());
    let again = measure(|| {
        begin(&dace, &mut held);
        held.clear();
    });
    let boxes = (CALLS * size) as i64;
    let each = |bytes: i64| (bytes as f64 / CALLS as f64 * 10.0).round() / 10.0;
    let told = [
        ("the future of one, around one of 0 bytes, tokio's timer inside", size as f64),
        ("held beside it, a call", each(begun.bytes_current - boxes)),
        ("left when all are dropped, a call", each(begun.bytes_current + ended.bytes_current)),
        ("more of that after as many once more", again.bytes_current as f64),
    ];
    if std::env::args().any(|argument| argument == "--json") {
        let told = told.map(|(name, bytes)| format!(r#"{{"row":"{name}","bytes":{bytes}}}"#));
        println!("[{}]", told.join(","));
    } else {
        println!("| of {CALLS} calls that are pending | bytes |\n|---|---:|");
        told.iter().for_each(|(name, bytes)| println!("| {name} | {bytes} |"));
    }
    let snapshot = dace.snapshot();
    assert_eq!(snapshot.endpoints.iter().map(|endpoint| endpoint.open).sum::<u32>(), 0);
    assert_eq!(again.bytes_current, 0, "the room is used again");
}

type Called = Pin<Box<dyn Future<Output = Result<u64, dace::Error<Failed>>>>>;

fn call(
    dace: &Dependency<Tokio, NoHttp>,
) -> impl Future<Output = Result<u64, dace::Error<Failed>>> + 'static {
    dace.call(|_| -> Pending<Result<u64, Failed>> { pending() })
}

fn begin(dace: &Dependency<Tokio, NoHttp>, held: &mut Vec<Called>) {
    for _ in 0..CALLS {
        let mut call: Called = Box::pin(call(dace));
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        held.push(call);
    }
}
