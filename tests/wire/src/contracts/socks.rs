//! SOCKS 5 (RFC 1928, RFC 1929). The scripts play the proxy, and the origin behind it.

use std::time::Duration;

use dace_core::http::{Connect, FaultKind, Sent};

use super::{NAME, assert_fault, default, failed, proxy};
use crate::client::backend;
use crate::{Expected, Gate, Server, Step, get, ok, post, run, send};

/// Granted, from an address that nobody looks at.
const GRANTED: &[u8] = &[5, 0, 0, 1, 0, 0, 0, 0, 0, 0];

/// What a client without credentials begins with.
const GREETING: &[u8] = &[5, 1, 0];

/// What asks for a connection to [`NAME`], as a name, on port 80.
fn by_name() -> Vec<u8> {
    let mut ask = vec![5, 1, 0, 3, u8::try_from(NAME.len()).expect("a short name")];
    ask.extend(NAME.bytes());
    ask.extend(80_u16.to_be_bytes());
    ask
}

pub(crate) async fn a_socks_proxy_resolves_names<B: Connect>(_: &Expected) {
    let ask = by_name();
    let server = Server::start([vec![
        Step::ReadBytes(GREETING.len()),
        send([5, 0]),
        Step::ReadBytes(ask.len()),
        send(GRANTED),
        Step::ReadRequest,
        ok("one"),
        Step::ReadRequest,
        ok("two"),
        Step::AwaitClose,
    ]]);
    let backend: B = backend(default);
    for text in ["one", "two"] {
        let mut request = get(&format!("http://{NAME}/"));
        request.proxy = Some(proxy("socks5h://", &server));
        assert_eq!(run(&backend, request).await.unwrap().text(), text);
    }
    let arrivals = server.arrivals();
    assert_eq!((&arrivals[0].bytes[..], &arrivals[1].bytes), (GREETING, &ask));
    assert_eq!(arrivals[2].line(), "GET / HTTP/1.1");
    assert_eq!(arrivals[2].header("host"), [NAME]);
    assert_eq!(arrivals.len(), 4);
}

pub(crate) async fn a_socks_proxy_may_be_given_addresses<B: Connect>(_: &Expected) {
    let ask = [5, 1, 0, 1, 10, 1, 2, 3, 0, 80];
    let server = Server::start([vec![
        Step::ReadBytes(GREETING.len()),
        send([5, 0]),
        Step::ReadBytes(ask.len()),
        send(GRANTED),
        Step::ReadRequest,
        ok("one"),
        Step::AwaitClose,
    ]]);
    let backend: B = backend(|settings| {
        let given = std::net::SocketAddr::from(([10, 1, 2, 3], 80));
        settings.resolve.push((NAME.to_owned(), vec![given]));
    });
    let mut request = get(&format!("http://{NAME}/"));
    request.proxy = Some(proxy("socks5://", &server));
    assert_eq!(run(&backend, request).await.unwrap().text(), "one");
    let arrivals = server.arrivals();
    assert_eq!((arrivals[1].bytes.as_slice(), arrivals.len()), (&ask[..], 3));
}

/// Every piece of an answer may come alone.
/// G14: a proxy's reply may be cut at any byte.
pub(crate) async fn a_socks_proxy_is_told_user_and_password<B: Connect>(expected: &Expected) {
    let ask = by_name();
    let greeting = expected.socks_greeting_with_credentials;
    let sign_in = b"\x01\x04user\x06hidden";
    let mut script = vec![Step::ReadBytes(greeting.len()), send([5]), send([2])];
    script.extend([Step::ReadBytes(sign_in.len()), send([1]), send([0])]);
    script.push(Step::ReadBytes(ask.len()));
    // The address that the proxy connects from may be a name.
    script.extend([5, 0, 0, 3, 2, b'm', b'e', 0, 80].map(|byte| send([byte])));
    script.extend([Step::ReadRequest, ok("one"), Step::AwaitClose]);
    let server = Server::start([script]);
    let backend: B = backend(default);
    let mut request = post(&format!("http://{NAME}/"), "x");
    request.proxy = Some(proxy("socks5h://user:hidden@", &server));
    assert_eq!(run(&backend, request).await.unwrap().text(), "one");
    let arrivals = server.arrivals();
    assert_eq!((&arrivals[0].bytes[..], &arrivals[1].bytes[..]), (greeting, &sign_in[..]));
    assert!(!arrivals[3].text().contains("hidden"));
    assert!(arrivals[3].header("proxy-authorization").is_empty());
    assert_eq!(arrivals.len(), 4);
}

pub(crate) async fn a_socks_proxy_that_refuses_is_unsent<B: Connect>(expected: &Expected) {
    let ask = by_name().len();
    let (plain, signed) = (GREETING, expected.socks_greeting_with_credentials);
    let greet =
        |greeting: &[u8], answer: &[u8]| vec![Step::ReadBytes(greeting.len()), send(answer)];
    let (open, user) = ("socks5h://", "socks5h://user:hidden@");
    let mut cases = vec![
        // No method that the client has.
        (open, greet(plain, &[5, 0xff])),
        // No SOCKS at all.
        (open, greet(plain, b"HTTP/1.1 400 Bad Request\r\n\r\n")),
        // The end, before anything and in the middle.
        (open, vec![Step::ReadBytes(plain.len()), Step::Finish]),
        (
            open,
            [greet(plain, &[5, 0]), vec![Step::ReadBytes(ask), send([5, 0]), Step::Finish]]
                .concat(),
        ),
        // The password is wrong.
        (user, [greet(signed, &[5, 2]), vec![Step::ReadBytes(13), send([1, 1])]].concat()),
    ];
    for reply in 1..9 {
        let refusal = vec![Step::ReadBytes(ask), send([5, reply, 0, 1, 0, 0, 0, 0, 0, 0])];
        cases.push((open, [greet(plain, &[5, 0]), refusal].concat()));
    }
    for (scheme, mut script) in cases {
        let shown = format!("{script:?}");
        // The client has nothing more to say then.
        let closed = Gate::new();
        script.extend([Step::AwaitClose, Step::Open(closed.clone())]);
        let server = Server::start([script]);
        let backend: B = backend(default);
        let mut request = post(&format!("http://{NAME}/"), "x");
        request.proxy = Some(proxy(scheme, &server));
        let failure = failed(&backend, request).await;
        assert_eq!(failure.fault.kind, FaultKind::Proxy, "{shown}: {failure:?}");
        assert_eq!(failure.fault.sent, Sent::Unsent, "{shown}: {failure:?}");
        assert!(!failure.chain.contains("hidden"), "{failure:?}");
        closed.wait();
        drop(server);
    }
}

pub(crate) async fn a_socks_proxy_that_hangs_times_out_unsent<B: Connect>(_: &Expected) {
    for script in
        [vec![Step::Drain], vec![Step::ReadBytes(GREETING.len()), send([5, 0]), Step::Drain]]
    {
        let server = Server::start([script]);
        let backend: B = backend(default);
        let mut request = post(&format!("http://{NAME}/"), "x");
        request.proxy = Some(proxy("socks5h://", &server));
        request.options.connect_timeout = Duration::from_millis(100);
        let failure = failed(&backend, request).await;
        assert_fault(&failure, &[FaultKind::ConnectTimeout], Sent::Unsent);
        drop(server);
    }
}

/// G14: a proxy's reply may be cut at any byte.
pub(crate) async fn a_socks_reply_may_be_cut_at_any_byte<B: Connect>(_: &Expected) {
    let ask = by_name().len();
    let v6 = [&[5, 0, 0, 4][..], &[0; 18]].concat();
    let name = [&[5, 0, 0, 3, 4][..], b"exit", &[0, 80]].concat();
    for granted in [GRANTED, &v6, &name] {
        for cut in 1..granted.len() {
            let (first, rest) = granted.split_at(cut);
            let mut script = vec![Step::ReadBytes(GREETING.len()), send([5]), send([0])];
            script.extend([Step::ReadBytes(ask), send(first), send(rest)]);
            script.extend([Step::ReadRequest, ok("there"), Step::AwaitClose]);
            let server = Server::start([script]);
            let backend: B = backend(default);
            let mut request = post(&format!("http://{NAME}/"), "x");
            request.proxy = Some(proxy("socks5h://", &server));
            assert_eq!(run(&backend, request).await.unwrap().text(), "there", "cut at {cut}");
            assert_eq!((server.connections(), server.arrivals().len()), (1, 3));
        }
    }
}
