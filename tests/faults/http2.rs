//! Faults of HTTP/2, spoken without asking.

use dace_wire::frames::{self, CANCEL, INTERNAL_ERROR, NO_ERROR, REFUSED_STREAM};
use dace_wire::{Step, send};

use crate::fault::{Fault, Place, Wait, fault};

pub(crate) fn http2() -> Vec<Fault> {
    let plain = |name, script| Fault { http2: true, ..fault(name, Place::Server(script)) };
    let then = |name, steps: Vec<Step>| {
        plain(name, [vec![Step::Http2(Vec::new()), Step::ReadStream], steps].concat())
    };
    // The connection is well, and every stream on it meets the same.
    let streams = |name, steps: fn(u32) -> Vec<u8>| {
        let of = |stream| [Step::ReadStreamIfAny, send(steps(stream))];
        let steps = [1, 3, 5, 7].map(of).concat();
        plain(name, [vec![Step::Http2(Vec::new())], steps, vec![Step::Drain]].concat())
    };
    let half = || send(half(1));
    let goaway = |last, code| send(frames::goaway_saying(last, code, b"s3cret"));
    let (finish, drain) = (Step::Finish, Step::Drain);
    vec![
        plain(
            "a server that does not speak it, and closes",
            vec![
                // More than the preface and the settings: the beginning of a stream is among it.
                Step::ReadBytes(120),
                send("HTTP/1.1 400 s3cret\r\ncontent-length: 0\r\n\r\n"),
                finish.clone(),
                drain.clone(),
            ],
        ),
        streams("`REFUSED_STREAM`", |stream| frames::reset(stream, REFUSED_STREAM)).invites(),
        streams("`CANCEL`", |stream| frames::reset(stream, CANCEL)),
        streams("`INTERNAL_ERROR`", |stream| frames::reset(stream, INTERNAL_ERROR)),
        then("`GOAWAY` that excludes the stream", vec![goaway(0, NO_ERROR), drain.clone()])
            .invites(),
        then(
            "`GOAWAY` that includes the stream, and closed",
            vec![goaway(1, NO_ERROR), finish.clone(), drain.clone()],
        ),
        then(
            "`GOAWAY` for an error",
            vec![goaway(1, INTERNAL_ERROR), finish.clone(), drain.clone()],
        ),
        then("closed after the stream", vec![finish.clone(), drain.clone()]),
        then("reset after the stream", vec![Step::Reset]),
        then("silence after the stream", vec![drain.clone()]).waits(Wait::Request),
        streams("a head, and `CANCEL`", |stream| {
            [self::half(stream), frames::reset(stream, CANCEL)].concat()
        }),
        then("a head, and closed", vec![half(), finish.clone(), drain.clone()]),
        then("a head, and silence", vec![half(), drain.clone()]).waits(Wait::Stall),
        then(
            "data before the head, and closed",
            vec![send(frames::data(1, b"s3cret", true)), finish.clone(), drain.clone()],
        ),
        then(
            "a head that cannot be decoded, and closed",
            vec![send(frames::frame(1, 5, 1, &[0xff; 7])), finish.clone(), drain.clone()],
        ),
        then(
            "a frame larger than was agreed, and closed",
            vec![send(frames::frame(0, 0, 1, &[0; 100_000])), finish, drain],
        ),
        streams("fewer bytes than the length", |stream| {
            let head = [(":status", "200"), ("content-length", "12")];
            let head = frames::fields(stream, &head, false);
            [head, frames::data(stream, b"s3cret", true)].concat()
        }),
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
        streams("503, in HTTP/2", |stream| head(stream, "503", true)),
    ]
}

fn head(stream: u32, status: &str, end: bool) -> Vec<u8> {
    frames::fields(stream, &[(":status", status), ("set-cookie", "id=s3cret")], end)
}

/// A head, and a part of the body.
fn half(stream: u32) -> Vec<u8> {
    [head(stream, "200", false), frames::data(stream, b"s3cret", false)].concat()
}
