//! statsd: whole lines that a server can read, in datagrams that fit into a frame, whatever the names are.

use std::net::UdpSocket;
use std::sync::OnceLock;

use arbitrary::{Result, Unstructured};
use dace::sim::Sim;
use dace::{Breaker, Statsd, StatsdExt as _};

use super::peer::{Answer, Peer};
use super::{Call, Dependency};

/// What an Ethernet frame carries over IPv6, with some room.
const DATAGRAM: usize = 1_432;

/// A prefix, a name, hosts, and the answers of calls.
pub fn statsd(data: &[u8]) {
    // Too few bytes are no case.
    let _ = run(&mut Unstructured::new(data));
}

struct Case {
    prefix: String,
    name: String,
    hosts: Vec<String>,
    statuses: Vec<u16>,
    tags: bool,
}

fn run(data: &mut Unstructured<'_>) -> Result<()> {
    let tags = data.arbitrary()?;
    let statuses = (0..data.int_in_range(1..=6u8)?)
        .map(|_| data.choose(&[200, 404, 429, 500, 503]).copied())
        .collect::<Result<_>>()?;
    let text = |data: &mut Unstructured<'_>, most: usize| {
        let length = data.int_in_range(0..=most)?.min(data.len());
        Ok(String::from_utf8_lossy(data.bytes(length)?).into_owned())
    };
    let (prefix, name) = (text(data, 210)?, text(data, 80)?);
    let hosts = (0..3).map(|_| text(data, 300)).collect::<Result<_>>()?;
    check(&Case { prefix, name, hosts, statuses, tags });
    Ok(())
}

/// A server, and two clients of it. What is kept keeps their threads.
struct Server {
    socket: UdpSocket,
    plain: Statsd,
    tagged: Statsd,
    _kept: [Dependency; 2],
}

fn server() -> &'static Server {
    static SERVER: OnceLock<Server> = OnceLock::new();
    SERVER.get_or_init(|| {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        // Loopback delivers before `send` returns: nothing has to be waited for.
        socket.set_nonblocking(true).expect("a socket can be");
        let address = socket.local_addr().expect("it is bound").to_string();
        let (plain, tagged) = (Statsd::to(address.clone()), Statsd::to(address).tags(true));
        let kept = [&plain, &tagged].map(|client| {
            Dependency::builder("kept")
                .statsd(client.clone())
                .build_with(Sim::new(1).runtime(), Peer::default())
                .expect("the settings are right")
        });
        Server { socket, plain, tagged, _kept: kept }
    })
}

fn check(case: &Case) {
    let server = server();
    let sim = Sim::new(1);
    let answers = case.statuses.iter().map(|status| Answer::status(*status));
    let peer = Peer::new(answers);
    let client = if case.tags { &server.tagged } else { &server.plain };
    let builder = |prefix: &str| {
        Dependency::builder(case.name.as_str())
            .retry_attempts(1)
            .breaker(Breaker::new().consecutive_failures(2))
            .statsd(client.clone().prefix(prefix))
            .build_with(sim.runtime(), peer.clone())
    };
    let usable = case.prefix.bytes().all(is_plain) && case.prefix.len() <= 200;
    let built = builder(&case.prefix);
    assert_eq!(built.is_ok(), usable && !case.name.is_empty(), "{:?} {:?}", case.prefix, case.name);
    let Ok(dependency) = built else { return };
    for host in case.hosts.iter().cycle().take(case.statuses.len()) {
        let url = format!("http://{host}/");
        let call = dependency.call(move |call: Call| {
            let url = url.clone();
            async move { call.http().get(&url).send().await?.error_for_status().map(drop) }
        });
        // Whether it went well is not the question here.
        let _ = sim.run(call);
    }
    dependency.flush();
    let stem = match case.prefix.as_str() {
        "" => format!("{}.", dependency.id()),
        prefix => format!("{prefix}.{}.", dependency.id()),
    };
    let (mut calls, mut room) = (0, [0; 65_536]);
    while let Ok(length) = server.socket.recv(&mut room) {
        assert!(length <= DATAGRAM, "a datagram of {length} bytes");
        let text = std::str::from_utf8(&room[..length]).expect("lines are text");
        for line in text.strip_suffix('\n').unwrap_or(text).split('\n') {
            let rest = line.strip_prefix(&stem).unwrap_or_else(|| panic!("{stem:?}: {line:?}"));
            let name = check_line(rest, case.tags);
            calls += usize::from(matches!(name, "call.success" | "call.error"));
        }
    }
    assert_eq!(calls, case.statuses.len(), "every call is told once");
}

/// `name:value|type`, and a netloc as the only tag; the name is returned.
fn check_line(line: &str, tags: bool) -> &str {
    let mut parts = line.split('|');
    let (name, value) = parts.next().and_then(|part| part.split_once(':')).expect(line);
    assert!(!name.is_empty() && name.bytes().all(is_plain), "{line:?}");
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let well_formed = match parts.next().expect(line) {
        "c" | "g" => number(value),
        "ms" => value.splitn(2, '.').all(number),
        _ => false,
    };
    assert!(well_formed, "{line:?}");
    if let Some(tag) = parts.next() {
        let netloc = tag.strip_prefix("#netloc:").expect(line);
        assert!(tags && !netloc.is_empty() && netloc.bytes().all(is_plain), "{line:?}");
    }
    assert_eq!(parts.next(), None, "{line:?}");
    name
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_.-".contains(&byte)
}
