//! A server that closes at any byte, of requests and of answers: no POST arrives there twice.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use dace::http::{Body, Sent};
use dace::{Adapter, Budget, HttpError};
use dace_wire::upload;
use futures_util::future::join_all;

use crate::support::{Dependency, Verdict, dependency, ensure, on_tokio};

/// Posts at once.
const AT_ONCE: usize = 20;

/// Every request begins with this, and its number in eight digits.
const LINE: &str = "POST /";

pub(crate) fn on_both(posts: usize) -> Verdict {
    on_tokio(cuts::<dace::tokio::Tokio>("tokio", posts))?;
    smol::block_on(cuts::<dace::smol::Smol>("smol", posts))
}

async fn cuts<A: Adapter>(name: &str, posts: usize) -> Verdict {
    let server = Cutting::start(posts);
    let one = dependency::<A>(|builder| {
        // The breaker would rightly stop this, and the budget what retries there are.
        let builder =
            builder.circuit_reset_timeout(Duration::ZERO).budget(Budget::new().unlimited());
        builder.max_open_per_netloc(AT_ONCE as u32).http_pool_size(AT_ONCE as u32)
    });
    let (mut values, mut unsent, mut maybe, mut sent) = (0, 0, 0, 0);
    let ids: Vec<usize> = (0..posts).collect();
    for batch in ids.chunks(AT_ONCE) {
        let results = join_all(batch.iter().map(|id| post::<A>(&one, server.address, *id))).await;
        for (id, result) in batch.iter().zip(results) {
            let arrived = server.arrived(*id);
            ensure(arrived <= 1, || {
                format!("{name}: post {id} arrived {arrived} times: {result:?}")
            })?;
            match result {
                Ok(()) => {
                    values += 1;
                    ensure(arrived == 1, || {
                        format!("{name}: nobody saw post {id}, and it was answered")
                    })?;
                }
                Err(error) => {
                    let said = error.sent();
                    ensure(said != Sent::Unsent || arrived == 0, || {
                        format!("{name}: post {id} arrived, and is called unsent: {error:?}")
                    })?;
                    match said {
                        Sent::Unsent => unsent += 1,
                        Sent::MaybeSent => maybe += 1,
                        Sent::Sent => sent += 1,
                    }
                }
            }
        }
    }
    let arrived = (0..posts).filter(|id| server.arrived(*id) == 1).count();
    println!(
        "{name}: {posts} POSTs, {arrived} arrived, 0 twice: {values} answered, {unsent} unsent, {maybe} maybe sent, \
         {sent} sent and answered in part"
    );
    ensure(values > posts / 20 && maybe > posts / 20 && sent > posts / 20, || {
        format!("{name}: the cuts are not where they should be")
    })
}

async fn post<A: Adapter>(
    one: &Dependency<A>,
    address: SocketAddr,
    id: usize,
) -> Result<(), HttpError> {
    let url = format!("http://{address}/{id:08}");
    let result = one
        .call(|call| {
            let url = &url;
            async move {
                let body = match id % 4 {
                    0 => Body::empty(),
                    1 => Body::from("hello, hello, hello"),
                    2 => upload(vec![Ok("hello, "), Ok("hello")], Some(12)),
                    _ => upload(vec![Ok("hello, "), Ok("hello")], None),
                };
                call.http().post(url).body(body).send().await?.bytes().await.map(drop)
            }
        })
        .await;
    result.map_err(|error| error.into_source().expect("an attempt ran"))
}

/// The server.
struct Cutting {
    address: SocketAddr,
    arrived: Arc<Mutex<Vec<u8>>>,
}

impl Cutting {
    /// Lives as long as the process.
    fn start(posts: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
        let address = listener.local_addr().expect("it is bound");
        let arrived = Arc::new(Mutex::new(vec![0_u8; posts]));
        let all = arrived.clone();
        std::thread::spawn(move || {
            for (seed, socket) in (0..).zip(listener.incoming()) {
                let (Ok(socket), all) = (socket, all.clone()) else { continue };
                std::thread::spawn(move || serve(socket, fastrand::Rng::with_seed(seed), &all));
            }
        });
        Self { address, arrived }
    }

    fn arrived(&self, id: usize) -> u8 {
        self.arrived.lock().unwrap()[id]
    }
}

/// Half of the requests are answered well, so that connections are used again; of the others the server
/// reads some bytes and closes, or reads all and sends some bytes of the answer.
fn serve(mut socket: TcpStream, mut rng: fastrand::Rng, arrived: &Mutex<Vec<u8>>) {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 12\r\n\r\nhello, hello";
    let mut buffer = Vec::new();
    loop {
        let cut = rng.usize(0..220);
        let in_request = rng.u8(0..4) == 0;
        let mut seen = false;
        let whole = loop {
            if !seen && buffer.len() >= LINE.len() + 8 {
                seen = true;
                note(&buffer, arrived);
            }
            if in_request && buffer.len() >= cut {
                return end(&socket, &mut rng);
            }
            if let Some(length) = dace_wire::request_length(&buffer) {
                break length;
            }
            let mut piece = [0; 4096];
            // As many as it wants to see before it closes, and no more.
            let most = if in_request { (cut - buffer.len()).clamp(1, 4096) } else { 4096 };
            match socket.read(&mut piece[..most]) {
                Ok(count) if count > 0 => buffer.extend_from_slice(&piece[..count]),
                _ => return,
            }
        };
        buffer.drain(..whole);
        let cut = rng.usize(0..2 * answer.len()).min(answer.len());
        if socket.write_all(&answer.as_bytes()[..cut]).is_err() {
            return;
        }
        if cut < answer.len() || rng.u8(0..8) == 0 {
            return end(&socket, &mut rng);
        }
    }
}

/// Closes, with a reset or without.
fn end(socket: &TcpStream, rng: &mut fastrand::Rng) {
    if rng.bool() {
        let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
    }
}

fn note(buffer: &[u8], arrived: &Mutex<Vec<u8>>) {
    let digits = &buffer[LINE.len()..LINE.len() + 8];
    let id: usize = std::str::from_utf8(digits).expect("text").parse().expect("a number");
    arrived.lock().unwrap()[id] += 1;
}
