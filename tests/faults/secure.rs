//! Faults of TLS.

use dace_wire::{Authority, ServerTls, Step, send};

use crate::fault::{Fault, NAME, Place, Wait, authority, fault, head, trusted};

pub(crate) fn tls() -> Vec<Fault> {
    let refused = |name, tls: ServerTls| fault(name, Place::Secure(vec![Step::TlsRefused(tls)]));
    let plain = |name, script| fault(name, Place::Secure(script));
    let secure = |name, steps: Vec<Step>| {
        let begin = vec![Step::Tls(trusted()), Step::ReadRequest];
        fault(name, Place::Secure([begin, steps].concat()))
    };
    let half = || send(format!("{}content-length: 12\r\n\r\ns3cret", head("200")));
    vec![
        refused("a certificate that is too old", authority().expired_server(NAME)),
        refused("a certificate of another name", authority().server("other.invalid")),
        refused("a certificate of an unknown authority", Authority::new().server(NAME)),
        plain(
            "a server that speaks plain HTTP",
            vec![
                Step::ReadBytes(5),
                send("HTTP/1.1 400 s3cret\r\ncontent-length: 0\r\n\r\n"),
                Step::Drain,
            ],
        ),
        plain("closed within the handshake", vec![Step::ReadBytes(5), Step::Finish, Step::Drain]),
        plain("reset within the handshake", vec![Step::ReadBytes(5), Step::Reset]),
        plain("silence within the handshake", vec![Step::Drain]).waits(Wait::Connect),
        secure("closed after the request, with a goodbye", vec![Step::Finish]),
        secure("closed after the request, without a goodbye", vec![Step::Cut]),
        secure("reset after the request, over TLS", vec![Step::Reset]),
        secure("closed within the body, with a goodbye", vec![half(), Step::Finish, Step::Drain]),
        secure("closed within the body, without a goodbye", vec![half(), Step::Cut, Step::Drain]),
        secure("silence, over TLS", vec![Step::Drain]).waits(Wait::Request),
        secure("silence within the body, over TLS", vec![half(), Step::Drain]).waits(Wait::Stall),
        fault(
            "plain HTTP to a server of TLS",
            Place::Server(vec![
                Step::ReadHead,
                // "Unexpected message", as a fatal alert.
                send([21, 3, 3, 0, 2, 2, 10]),
                Step::Drain,
            ]),
        ),
    ]
}
