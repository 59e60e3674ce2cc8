//! How long it takes, with the settings that nobody set, until dace sees that nothing will come: a body that
//! stalls, and an HTTP/2 connection that is a black hole.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use dace::http::{HttpErrorKind, Protocol};
use dace::{Adapter, HttpError, Runtime};
use dace_wire::frames;
use futures_util::future::try_join;

use crate::support::{Dependency, Verdict, dependency, ensure, get, on_tokio};

pub(crate) fn on_both() -> Verdict {
    let smol = std::thread::spawn(|| {
        smol::block_on(try_join(
            stall::<dace::smol::Smol>("smol"),
            black_hole::<dace::smol::Smol>("smol"),
        ))
    });
    on_tokio(try_join(
        stall::<dace::tokio::Tokio>("tokio"),
        black_hole::<dace::tokio::Tokio>("tokio"),
    ))?;
    smol.join().expect("it does not panic").map(drop)
}

/// The call has time; `stall_timeout` is what it is.
async fn stall<A: Adapter>(name: &str) -> Verdict {
    let address = serve(|mut socket, _| {
        let _ = socket.read(&mut [0; 4096]);
        let _ = socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello");
        while socket.read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
    });
    let one = dependency::<A>(|builder| builder.timeout(Duration::from_secs(60)));
    let (took, result) = timed::<A>(&one, address).await;
    println!("{name}: a stalled body ends after {took:.2?}");
    let error = result.err().and_then(dace::Error::into_source).ok_or("no error")?;
    ensure(matches!(error.kind(), HttpErrorKind::Stalled(_)), || format!("{name}: {error:?}"))?;
    // 20 s, and some for a machine that does other things as well.
    ensure(took < Duration::from_secs(23), || format!("{name}: too late"))
}

/// Calls with the default `timeout`, one after the other, until one is answered on another connection.
async fn black_hole<A: Adapter>(name: &str) -> Verdict {
    let address = serve(|socket, number| {
        let _ = streams(socket, number > 0);
    });
    let one = dependency::<A>(|builder| builder.protocol(Protocol::Http2));
    let (_, warm) = timed::<A>(&one, address).await;
    ensure(warm.is_ok(), || format!("{name}: {warm:?}"))?;
    let (mut took, mut lost) = (Duration::ZERO, 0);
    loop {
        let (more, result) = timed::<A>(&one, address).await;
        took += more;
        if result.is_ok() {
            break;
        }
        lost += 1;
        ensure(lost < 10, || format!("{name}: it stays with a black hole: {result:?}"))?;
    }
    println!("{name}: a black hole is replaced after {took:.2?} and {lost} timeouts of calls");
    ensure(took < Duration::from_secs(35) && lost <= 3, || format!("{name}: too late"))
}

async fn timed<A: Adapter>(
    one: &Dependency<A>,
    address: SocketAddr,
) -> (Duration, Result<String, dace::Error<HttpError>>) {
    let runtime = A::Runtime::default();
    let url = format!("http://{address}/");
    let begin = runtime.now();
    let result = one.call(|call| get(call, &url)).await;
    (runtime.now().since(begin), result)
}

/// A server that does this with each connection, for as long as the process lives.
fn serve(each: impl Fn(TcpStream, usize) + Send + Sync + Copy + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for (number, socket) in listener.incoming().flatten().enumerate() {
            std::thread::spawn(move || each(socket, number));
        }
    });
    address
}

/// HTTP/2, as far as this needs it: every stream is answered, or the first alone, after which nothing is.
fn streams(mut socket: TcpStream, all: bool) -> std::io::Result<()> {
    const HEADERS: u8 = 1;
    const SETTINGS: u8 = 4;
    socket.read_exact(&mut [0; 24])?;
    socket.write_all(&frames::frame(SETTINGS, 0, 0, &[]))?;
    loop {
        let mut head = [0; 9];
        socket.read_exact(&mut head)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        socket.read_exact(&mut vec![0; length as usize])?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        match (head[3], head[4]) {
            (SETTINGS, 0) if all || stream == 0 => {
                socket.write_all(&frames::frame(SETTINGS, 1, 0, &[]))?
            }
            (HEADERS, _) if all || stream == 1 => {
                socket.write_all(&frames::answer(stream, "answered"))?
            }
            _ => {}
        }
    }
}
