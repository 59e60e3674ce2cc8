//! Faults of connecting and of the connection, up to the answer's first bytes.

use dace_wire::{Step, send};

use crate::fault::{Fault, Place, Wait, fault, head, then};

/// Nobody is reached.
pub(crate) fn connecting() -> Vec<Fault> {
    vec![
        fault("connection refused", Place::Refusing),
        fault("no answer to a SYN (black hole)", Place::Hanging).waits(Wait::Connect),
        fault("a name that does not resolve", Place::Nowhere),
        fault("no proxy at its address", Place::NoProxy),
        fault(
            "a proxy that wants a password",
            proxy("http", "HTTP/1.1 407 s3cret\r\nx: s3cret\r\ncontent-length: 6\r\n\r\ns3cret"),
        ),
        fault(
            "a proxy that reaches nobody",
            proxy("http", "HTTP/1.1 502 s3cret\r\ncontent-length: 6\r\n\r\ns3cret"),
        ),
        fault("a proxy that answers garbage", proxy("http", "s3cret s3cret\r\n\r\n")),
        fault("a proxy that closes", Place::Proxy("http", vec![Step::ReadHead])),
        fault("a proxy that says nothing", Place::Proxy("http", vec![Step::ReadHead, Step::Drain]))
            .waits(Wait::Connect),
        fault(
            "a SOCKS proxy that knows no way to sign in",
            Place::Proxy("socks5h", vec![Step::ReadBytes(3), send([5, 0xff]), Step::Drain]),
        ),
    ]
}

fn proxy(scheme: &'static str, answer: &str) -> Place {
    Place::Proxy(scheme, vec![Step::ReadHead, send(answer), Step::Drain])
}

/// The connection ends, or falls silent, before there is an answer.
pub(crate) fn before_the_answer() -> Vec<Fault> {
    let server = |name, script| fault(name, Place::Server(script));
    vec![
        server("reset at byte 1 of the request", vec![Step::ReadBytes(1), Step::Reset]),
        server("closed at byte 1 of the request", vec![Step::ReadBytes(1)]),
        server("reset within the request's head", vec![Step::ReadBytes(20), Step::Reset]),
        server("closed within the request's head", vec![Step::ReadBytes(20)]),
        server("reset after the request's head", vec![Step::ReadHead, Step::Reset]),
        then("reset after the request", [Step::Reset]),
        then("closed after the request", []),
        then("half-closed after the request", [Step::Finish, Step::Drain]),
        then("closed after 1 byte of the answer", [send("H")]),
        then("closed within the status line", [send("HTTP/1.1 20")]),
        then("closed within the head", [send(head("200"))]),
        then("reset within the head", [send(head("200")), Step::Reset]),
        then("silence", [Step::Drain]).waits(Wait::Request),
        then("silence, up to the attempt's end", [Step::Drain]).waits(Wait::Attempt),
        then("silence, up to the call's end", [Step::Drain]).waits(Wait::Call),
        then("silence within the head", [send(head("200")), Step::Drain]).waits(Wait::Request),
        then(
            "a head that drips without an end",
            [
                send(head("200")),
                Step::Drip(b"x: s3cret\r\n".to_vec(), std::time::Duration::from_millis(20)),
            ],
        )
        .waits(Wait::Request),
    ]
}

/// A connection that was used before, and is dead now.
pub(crate) fn stale() -> Vec<Fault> {
    vec![
        then("closed when the next request has come", []).warm(),
        then("reset when the next request has come", [Step::Reset]).warm(),
        fault("closed at byte 1 of the next request", Place::Server(vec![Step::ReadBytes(1)]))
            .warm(),
        then("closed within the next head", [send(head("200"))]).warm(),
        then("silence on the next request", [Step::Drain]).warm().waits(Wait::Request),
    ]
}

/// The answer comes before the request has ended.
pub(crate) fn early() -> Vec<Fault> {
    let early = |name, status: &str, end| {
        let answer = format!("{}connection: close\r\ncontent-length: 0\r\n\r\n", head(status));
        fault(name, Place::Server(vec![Step::ReadHead, send(answer), end]))
    };
    vec![
        early("413 after the request's head", "413", Step::Drain),
        early("503 after the request's head", "503", Step::Drain),
    ]
}
