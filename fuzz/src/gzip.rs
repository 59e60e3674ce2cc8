//! gzip: the body is what a reference decoder makes of it or an error, whatever its pieces, and no longer
//! than the limit.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use dace::HttpError;
use dace::http::HttpErrorKind;
use dace::sim::Sim;
use flate2::read::MultiGzDecoder;
use flate2::{Compression, GzBuilder};

use super::peer::{Answer, Peer};
use super::{Call, Dependency};

type Decoded = std::result::Result<Bytes, Failure>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    TooLarge,
    Coding,
}

/// A limit, the sizes of pieces, and an encoded body: as it is, or made from the data and then spoilt.
pub fn gzip(data: &[u8]) {
    // Too few bytes are no case.
    let _ = run(Unstructured::new(data));
}

fn run(mut data: Unstructured<'_>) -> Result<()> {
    let limit = usize::from(data.arbitrary::<u16>()?).max(1) << data.int_in_range(0..=4u8)?;
    let sizes: [u8; 4] = data.arbitrary()?;
    let encoded = match data.arbitrary()? {
        true => made(&mut data)?,
        false => data.take_rest().to_vec(),
    };
    check(&encoded, limit, &sizes);
    Ok(())
}

/// Members, each with or without the parts of a header, and some bytes changed.
fn made(data: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let mut all = Vec::new();
    let changes: Vec<(u16, u8)> =
        (0..data.int_in_range(0..=2u8)?).map(|_| data.arbitrary()).collect::<Result<_>>()?;
    for _ in 0..data.int_in_range(1..=3u8)? {
        let mut builder = GzBuilder::new();
        if data.arbitrary()? {
            builder = builder.filename("name");
        }
        if data.arbitrary()? {
            builder = builder.comment("comment");
        }
        if data.arbitrary()? {
            builder = builder.extra(vec![7; usize::from(data.arbitrary::<u8>()?)]);
        }
        let level = Compression::new(data.int_in_range(0..=9)?);
        let (length, times) =
            (data.int_in_range(0..=200usize)?, 1 + data.arbitrary::<u16>()? % 300);
        let text = data.bytes(length.min(data.len()))?;
        let mut encoder = builder.write(&mut all, level);
        for _ in 0..times {
            encoder.write_all(text).expect("a vector takes everything");
        }
        encoder.finish().expect("a vector takes everything");
    }
    for (at, bits) in changes {
        let at = usize::from(at) % all.len();
        all[at] ^= bits;
    }
    let cut = data.int_in_range(0..=4usize)?;
    all.truncate(all.len() - cut);
    Ok(all)
}

fn check(encoded: &[u8], limit: usize, sizes: &[u8; 4]) {
    let whole = decoded(VecDeque::from([Bytes::copy_from_slice(encoded)]), limit);
    let mut pieces = VecDeque::new();
    let mut rest = encoded;
    for size in sizes.iter().cycle() {
        // Some pieces are empty, most are small.
        let (piece, left) = rest.split_at(usize::from(*size).min(rest.len()));
        pieces.push_back(Bytes::copy_from_slice(piece));
        rest = left;
        if rest.is_empty() || sizes.iter().all(|size| *size == 0) {
            break;
        }
    }
    pieces.push_back(Bytes::copy_from_slice(rest));
    let split = decoded(pieces, limit);
    assert_eq!(whole.is_ok(), split.is_ok(), "in pieces of {sizes:?}");

    let mut expected = Vec::new();
    let read = MultiGzDecoder::new(encoded).take(1 << 24).read_to_end(&mut expected);
    let complete = read.is_ok() && expected.len() < 1 << 24;
    for outcome in [whole, split] {
        match outcome {
            Ok(body) => {
                assert!(body.len() <= limit, "{} of {limit}", body.len());
                assert!(
                    complete || encoded.is_empty(),
                    "the reference decoder refuses it: {read:?}"
                );
                assert_eq!(body, expected);
            }
            Err(Failure::TooLarge) if complete => {
                assert!(expected.len() > limit, "{} of {limit}", expected.len());
            }
            // The reference decoder may have noticed before it had as much.
            Err(Failure::TooLarge) => {}
            Err(Failure::Coding) => {
                // Bits that are to be zero, which some pass over (RFC 1952, 2.3.1.2).
                let reserved =
                    encoded.windows(4).any(|at| at[..3] == [0x1f, 0x8b, 8] && at[3] >= 32);
                assert!(!complete || reserved, "the reference decoder takes it");
            }
        }
    }
}

/// What a call gets of a body in these pieces.
fn decoded(pieces: VecDeque<Bytes>, limit: usize) -> Decoded {
    let sim = Sim::new(1);
    let answer = Answer { pieces, ..Answer::status(200).header("content-encoding", b"gzip") };
    let peer = Peer::new([answer]);
    let dependency = Dependency::builder("test")
        .retry_attempts(0)
        .body_limit(limit)
        .build_with(sim.runtime(), peer)
        .expect("the settings are right");
    let call = dependency.call(|call: Call| async move {
        let response = call.http().get("http://a/").send().await?;
        let body = response.bytes().await;
        Ok::<_, HttpError>(body.map_err(|error| match error.kind() {
            HttpErrorKind::TooLarge(_) => Failure::TooLarge,
            HttpErrorKind::Fault(_) => Failure::Coding,
            kind => panic!("{kind:?}"),
        }))
    });
    sim.run(call).expect("there is an answer")
}
