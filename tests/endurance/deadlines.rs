//! How late a call's end is after its deadline, on real sockets: servers that say nothing, or half of it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use dace::{Adapter, Error, Runtime};
use futures_util::future::join_all;

use crate::support::{Dependency, Verdict, dependency, ensure, get, ms, on_tokio};

/// Calls at once.
const AT_ONCE: usize = 20;

pub(crate) fn on_both(calls: usize, bound: Duration) -> Verdict {
    on_tokio(deadlines::<dace::tokio::Tokio>("tokio", calls, bound))?;
    smol::block_on(deadlines::<dace::smol::Smol>("smol", calls, bound))
}

/// The bound is for 999 of 1,000 calls.
async fn deadlines<A: Adapter>(name: &str, calls: usize, bound: Duration) -> Verdict {
    let address = silent();
    let one = dependency::<A>(|builder| {
        builder
            .circuit_reset_timeout(Duration::ZERO)
            .max_open_per_netloc(AT_ONCE as u32)
            .http_pool_size(100)
    });
    let mut rng = fastrand::Rng::with_seed(7);
    let mut late = Vec::with_capacity(calls);
    while late.len() < calls {
        let batch = (0..AT_ONCE).map(|_| overshoot::<A>(&one, address, ms(rng.u64(5..100))));
        for overshoot in join_all(batch.collect::<Vec<_>>()).await {
            late.push(overshoot.map_err(|why| format!("{name}: {why}"))?);
        }
    }
    late.sort_unstable();
    let at = |share: f64| late[((late.len() - 1) as f64 * share) as usize];
    let (median, p99, p999, most) = (at(0.5), at(0.99), at(0.999), at(1.0));
    println!(
        "{name}: {} calls end {median:.1?} after their deadlines in the median, p99 {p99:.1?}, p99.9 {p999:.1?}, at most {most:.1?}",
        late.len()
    );
    ensure(p999 <= bound, || format!("{name}: p99.9 is {p999:?}, and may be {bound:?}"))
}

/// How long after its deadline a call ended.
async fn overshoot<A: Adapter>(
    one: &Dependency<A>,
    address: SocketAddr,
    timeout: Duration,
) -> Result<Duration, String> {
    let runtime = A::Runtime::default();
    let url = format!("http://{address}/");
    let begin = runtime.now();
    let result = one.call(|call| get(call, &url)).timeout(timeout).await;
    let took = runtime.now().since(begin);
    if !matches!(result, Err(Error::Timeout { .. })) {
        return Err(format!("no timeout: {result:?}"));
    }
    took.checked_sub(timeout).ok_or_else(|| format!("{timeout:?} ended after {took:?}"))
}

/// A server that never answers, or sends half a body; it lives as long as the process.
fn silent() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for (number, socket) in (0..).zip(listener.incoming()) {
            let Ok(mut socket) = socket else { continue };
            std::thread::spawn(move || {
                let mut piece = [0; 4096];
                if number % 2 == 0 {
                    let _ = socket.read(&mut piece);
                    let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello");
                }
                while socket.read(&mut piece).is_ok_and(|count| count > 0) {}
            });
        }
    });
    address
}
