//! Faults of HTTP/1.1 answers: what is no HTTP, what breaks off, what is too much, and what servers say
//! that they could not do.

use std::time::Duration;

use dace_wire::{Step, send};

use crate::fault::{Fault, Wait, answers, head, status, then};

/// What a body may have at most in all cells.
pub(crate) const BODY_LIMIT: usize = 100_000;

/// No HTTP at all, or more of it than is good.
pub(crate) fn heads() -> Vec<Fault> {
    let with = |fields: &str| format!("{}{fields}", head("200"));
    vec![
        answers("garbage", "s3cret s3cret s3cret\r\n\r\n"),
        answers("an unknown version", "HTTP/7.3 200 OK\r\ncontent-length: 6\r\n\r\ns3cret"),
        answers("a status of two digits", "HTTP/1.1 20 s3cret\r\ncontent-length: 0\r\n\r\n"),
        answers("a status that is no number", "HTTP/1.1 abc s3cret\r\ncontent-length: 0\r\n\r\n"),
        answers("a field without a colon", with("s3cret\r\ncontent-length: 0\r\n\r\n")),
        answers("a NUL in a field", with("s3cret: a\0s3cret\r\ncontent-length: 0\r\n\r\n")),
        answers(
            "a field of 1 MiB",
            with(&format!("x: {}\r\ncontent-length: 0\r\n\r\n", "s3cret".repeat(174_763))),
        ),
        answers(
            "10,000 fields",
            with(&format!("{}content-length: 0\r\n\r\n", "x-s3cret: s3cret\r\n".repeat(10_000))),
        ),
        then(
            "1xx answers without an end",
            [
                Step::Offer(
                    "HTTP/1.1 103 s3cret\r\nlink: s3cret\r\n\r\n".repeat(40_000).into_bytes(),
                ),
                Step::Drain,
            ],
        ),
        answers(
            "1xx answers, 20 of them, and a 200",
            format!("{}{}", "HTTP/1.1 103 s3cret\r\n\r\n".repeat(20), status("200", "")),
        ),
        then(
            "101 that nobody asked for, and closed",
            [
                send("HTTP/1.1 101 s3cret\r\nupgrade: s3cret\r\nconnection: upgrade\r\n\r\n"),
                Step::Finish,
                Step::Drain,
            ],
        ),
        answers(
            "length and chunks at once",
            with("content-length: 6\r\ntransfer-encoding: chunked\r\n\r\n6\r\ns3cret\r\n0\r\n\r\n"),
        ),
        answers(
            "two lengths that differ",
            with("content-length: 6\r\ncontent-length: 5\r\n\r\ns3cret"),
        ),
        answers("a length below zero", with("content-length: -1\r\n\r\ns3cret")),
        answers("a length that is no number", with("content-length: s3cret\r\n\r\ns3cret")),
    ]
}

/// Bodies that break off, stall, or never end.
pub(crate) fn bodies() -> Vec<Fault> {
    let sized = || send(format!("{}content-length: 12\r\n\r\ns3cret", head("200")));
    let chunked =
        |rest: &str| send(format!("{}transfer-encoding: chunked\r\n\r\n{rest}", head("200")));
    vec![
        then("closed within the body", [sized()]),
        then("reset within the body", [sized(), Step::Reset]),
        then(
            "closed before the body",
            [send(format!("{}content-length: 12\r\n\r\n", head("200")))],
        ),
        then("silence within the body", [sized(), Step::Drain]).waits(Wait::Stall),
        then("silence within the body, up to the request's end", [sized(), Step::Drain])
            .waits(Wait::Request),
        then(
            "a body that drips without an end",
            [chunked(""), Step::Drip(b"6\r\ns3cret\r\n".to_vec(), Duration::from_millis(20))],
        )
        .waits(Wait::Request),
        then("a chunk size that is no number", [chunked("s3cret\r\n"), Step::Drain]),
        then(
            "a chunk size beyond all numbers",
            [chunked("fffffffffffffffff\r\ns3cret"), Step::Drain],
        ),
        then(
            "a chunk without its line's end",
            [chunked("6\r\ns3crets3cret\r\n0\r\n\r\n"), Step::Drain],
        ),
        then("closed within a chunk", [chunked("c\r\ns3cret")]),
        then("closed between chunks", [chunked("6\r\ns3cret\r\n")]),
        then("reset between chunks", [chunked("6\r\ns3cret\r\n"), Step::Reset]),
        then("silence between chunks", [chunked("6\r\ns3cret\r\n"), Step::Drain])
            .waits(Wait::Stall),
        answers(
            "more bytes than the length",
            format!("{}content-length: 6\r\n\r\ns3crets3cret", head("200")),
        ),
        answers(
            "a body over its limit",
            format!("{}content-length: 200000\r\n\r\n{}", head("200"), "s".repeat(200_000)),
        ),
        then(
            "a body without an end",
            [
                chunked(""),
                Step::Offer(
                    format!("600\r\n{}\r\n", "s3cret".repeat(256)).repeat(1_000).into_bytes(),
                ),
                Step::Drain,
            ],
        ),
        then(
            "a text that is none",
            [
                send(
                    [status("200", "x: y\r\n").replace("s3cret", "s3cre\u{1}").as_bytes(), b""]
                        .concat()
                        .iter()
                        .map(|byte| if *byte == 1 { 0xff } else { *byte })
                        .collect::<Vec<u8>>(),
                ),
                Step::Drain,
            ],
        ),
    ]
}

/// gzip that is damaged.
pub(crate) fn gzip() -> Vec<Fault> {
    let answer = |name: &str, body: Vec<u8>| {
        let head = format!(
            "{}content-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
            head("200"),
            body.len()
        );
        answers(name, [head.as_bytes(), &body].concat())
    };
    let good = || member(b"s3cret, s3cret, s3cret");
    let mut bad_sum = good();
    let at = bad_sum.len() - 8;
    bad_sum[at] ^= 1;
    let mut cut = good();
    cut.truncate(20);
    let mut damaged = good();
    damaged[10] = 0xff;
    let bomb = member(&vec![0; 1 << 24]);
    vec![
        answer("what is no gzip", b"s3cret s3cret s3cret".to_vec()),
        answer("gzip that ends early", cut),
        answer("gzip with a wrong sum", bad_sum),
        answer("gzip that is damaged", damaged),
        answer("gzip with garbage behind", [good(), b"s3cret".to_vec()].concat()),
        answer("a bomb: 16 MiB in 16 KiB", bomb),
    ]
}

/// A member of a gzip stream.
fn member(data: &[u8]) -> Vec<u8> {
    let mut all = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    all.extend(miniz_oxide::deflate::compress_to_vec(data, 6));
    all.extend(crc32fast::hash(data).to_le_bytes());
    all.extend(u32::try_from(data.len()).expect("short").to_le_bytes());
    all
}

/// What a server says with a status.
pub(crate) fn statuses() -> Vec<Fault> {
    let plain = [
        "400", "401", "403", "404", "408", "409", "425", "429", "500", "501", "502", "503", "504",
        "507", "599",
    ];
    let mut faults: Vec<Fault> = plain.iter().map(|code| answers(code, status(code, ""))).collect();
    faults.extend([
        answers("429, try again in 1 s", status("429", "retry-after: 1\r\n")).waits(Wait::Hint),
        answers("429, try again in an hour", status("429", "retry-after: 3600\r\n")),
        answers("503, try again in 1 s", status("503", "retry-after: 1\r\n")).waits(Wait::Hint),
        answers("503, try again in an hour", status("503", "retry-after: 3600\r\n")),
        answers(
            "503, try again at a time that was",
            status("503", "retry-after: Thu, 01 Jan 1970 00:00:00 GMT\r\n"),
        ),
        answers("503, try again s3cret", status("503", "retry-after: s3cret\r\n")),
        answers("304 that nobody asked for", format!("{}\r\n", head("304"))),
    ]);
    faults
}

/// Where a server sends its client.
pub(crate) fn redirects() -> Vec<Fault> {
    let to = |name, code, location: &str| answers(name, status(code, location));
    let round = |name, code| to(name, code, "location: /s3cret?s3cret\r\n").invites();
    vec![
        round("302 in a circle", "302"),
        round("303 in a circle", "303"),
        round("307 in a circle", "307"),
        to("302 to nowhere", "302", ""),
        to("302 to another scheme", "302", "location: ftp://s3cret@x/s3cret\r\n"),
        to("302 to what is no URL", "302", "location: http://s3cret:s3cret@[s3cret/\r\n"),
        to("307 to a port where nobody listens", "307", "location: http://127.0.0.1:1/s3cret\r\n")
            .invites(),
    ]
}
