//! Faults of HTTP/2, spoken without asking.

use dace_wire::frames::{self, CANCEL, INTERNAL_ERROR, NO_ERROR, REFUSED_STREAM};
use dace_wire::{Step, send};

use crate::fault::{Fault, Place, Wait, fault};

pub(crate) fn http2() -> Vec<Fault> {
    let then = |name, steps: Vec<Step>| {
        let begin = vec![Step::Http2(Vec::new()), Step::ReadStream];
        let fault = fault(name, Place::Server([begin, steps].concat()));
        Fault { http2: true, ..fault }
    };
    let plain = |name, script| Fault { http2: true, ..fault(name, Place::Server(script)) };
    let head = |status: &str, end| {
        frames::fields(1, &[(":status", status), ("set-cookie", "id=s3cret")], end)
    };
    let half = || send([head("200", false), frames::data(1, b"s3cret", false)].concat());
    let goaway = |last, code| send(frames::goaway_saying(last, code, b"s3cret"));
    vec![
        plain(
            "a server that does not speak it",
            vec![
                Step::ReadBytes(24),
                send("HTTP/1.1 400 s3cret\r\ncontent-length: 0\r\n\r\n"),
                Step::Drain,
            ],
        ),
        plain("closed before its settings", vec![Step::ReadBytes(24), Step::Finish, Step::Drain]),
        then("`REFUSED_STREAM`", vec![send(frames::reset(1, REFUSED_STREAM)), Step::Drain])
            .invites(),
        then("`CANCEL`", vec![send(frames::reset(1, CANCEL)), Step::Drain]),
        then("`INTERNAL_ERROR`", vec![send(frames::reset(1, INTERNAL_ERROR)), Step::Drain]),
        then("`GOAWAY` that excludes the stream", vec![goaway(0, NO_ERROR), Step::Drain]).invites(),
        then(
            "`GOAWAY` that includes the stream, and closed",
            vec![goaway(1, NO_ERROR), Step::Finish, Step::Drain],
        ),
        then("`GOAWAY` for an error", vec![goaway(1, INTERNAL_ERROR), Step::Finish, Step::Drain]),
        then("closed after the stream", vec![Step::Finish, Step::Drain]),
        then("reset after the stream", vec![Step::Reset]),
        then("silence after the stream", vec![Step::Drain]).waits(Wait::Request),
        then("a head, and `CANCEL`", vec![half(), send(frames::reset(1, CANCEL)), Step::Drain]),
        then("a head, and closed", vec![half(), Step::Finish, Step::Drain]),
        then("a head, and silence", vec![half(), Step::Drain]).waits(Wait::Stall),
        then("data before the head", vec![send(frames::data(1, b"s3cret", true)), Step::Drain]),
        then(
            "a head that cannot be decoded",
            vec![send(frames::frame(1, 5, 1, b"\xff\xff\xff\xff\xff\xff\xff")), Step::Drain],
        ),
        then(
            "a frame larger than was agreed",
            vec![send(frames::frame(0, 0, 1, &[0; 100_000])), Step::Drain],
        ),
        then(
            "fewer bytes than the length",
            vec![
                send(
                    [
                        frames::fields(1, &[(":status", "200"), ("content-length", "12")], false),
                        frames::data(1, b"s3cret", true),
                    ]
                    .concat(),
                ),
                Step::Drain,
            ],
        ),
        then(
            "1xx answers without an end, in HTTP/2",
            vec![
                Step::Offer(
                    frames::fields(1, &[(":status", "103"), ("link", "s3cret")], false)
                        .repeat(40_000),
                ),
                Step::Drain,
            ],
        ),
        then("503, in HTTP/2", vec![send(head("503", true)), Step::Drain]),
    ]
}
