//! `Retry-After` on the wire, in all forms, good and bad.

use dace::Adapter;
use dace_wire::{Server, Step, send};

use crate::support::{assert_all_back, get_root, on, secs};

on_every_adapter! {
    every_form_of_retry_after_is_read_or_ignored
}

/// What the answer says beside `Retry-After`, its value, and the seconds that are read.
const FORMS: [(&str, &str, Option<u64>); 14] = [
    ("", "7", Some(7)),
    ("", " 7 ", Some(7)),
    ("", "0", Some(0)),
    ("date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "Sun, 06 Nov 1994 08:49:46 GMT", Some(9)),
    ("date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
    ("", "Sun, 06 Nov 1994 08:49:46 GMT", Some(0)),
    ("", "-1", None),
    ("", "1.5", None),
    ("", "soon", None),
    ("", "", None),
    ("date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "Mon, 06 Nov 1994 08:49:46 GMT", None),
    ("date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "Sunday, 06-Nov-94 08:49:41 GMT", Some(4)),
    ("date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "Sun Nov  6 08:49:42 1994", Some(5)),
    ("", "00000000000000000000000000000000000000000000000000000000000000007", None),
];

/// D7: every form of `Retry-After` is read or ignored, and none makes a call wait too long.
async fn every_form_of_retry_after_is_read_or_ignored<A: Adapter>() {
    for (beside, value, seconds) in FORMS {
        for status in [429, 503] {
            let answer = format!(
                "HTTP/1.1 {status} Later\r\n{beside}retry-after: {value}\r\ncontent-length: 0\r\n\r\n"
            );
            let server = Server::start([vec![Step::ReadRequest, send(answer), Step::AwaitClose]]);
            let one = on::<A>(&server, |builder| builder.retry_attempts(0));
            let error = get_root(&one).await.unwrap_err().into_source().unwrap();
            assert_eq!(error.status(), Some(status));
            assert_eq!(error.retry_after(), seconds.map(secs), "{status} {value:?}");
            // A hint that is none makes a 503 a failure; a 429 is none either way.
            let failures = one.snapshot().endpoints[1].failures;
            assert_eq!(
                failures,
                u32::from(status == 503 && seconds.is_none()),
                "{status} {value:?}"
            );
            assert_all_back(&one);
        }
    }
}
