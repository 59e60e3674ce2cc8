//! gzip: asked for, decoded, bounded, and told from a body that is broken.

use std::sync::{Arc, Mutex};

use dace::http::{FaultKind, HttpErrorKind};
use dace::{CircuitState, HttpError, Why};
use dace_sim::{Answer, Ending, Sim};

use crate::support::{Dependency, assert_all_back, dependency, get_root, ms, touchy};

/// `data` as a member of a gzip stream.
fn gzip(data: &[u8]) -> Vec<u8> {
    let mut all = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    all.extend(miniz_oxide::deflate::compress_to_vec(data, 6));
    all.extend(crc32fast::hash(data).to_le_bytes());
    all.extend((data.len() as u32).to_le_bytes());
    all
}

fn encoded(body: Vec<u8>) -> Answer {
    Answer::status(200).header("Content-Encoding", "gzip").piece(ms(0), body)
}

fn kind(result: Result<String, dace::Error<HttpError>>) -> HttpErrorKind {
    result.unwrap_err().into_source().expect("a source").kind().clone()
}

fn one(sim: &Sim) -> Dependency {
    dependency(sim, |builder| builder.targets(["http://a:80"]).retry_attempts(0))
}

#[test]
fn it_is_asked_for_and_decoded_in_pieces_and_whole() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.handler(|_| {
        let body = gzip(b"hello, hello, hello");
        let (first, rest) = body.split_at(7);
        let answer = Answer::status(200).header("content-encoding", "GZIP");
        answer.piece(ms(1), first.to_vec()).piece(ms(1), rest.to_vec())
    });
    let a = one(&sim);
    assert_eq!(sim.run(get_root(&a)).unwrap(), "hello, hello, hello");
    assert_eq!(server.arrivals()[0].header("accept-encoding"), Some(&b"gzip"[..]));
    let pieces = sim.run(a.call(|call| async move {
        let mut response = call.http().get("/").send().await?;
        let mut all = Vec::new();
        while let Some(piece) = response.chunk().await? {
            all.extend_from_slice(&piece);
        }
        assert_eq!(response.header("content-encoding"), Some(&b"GZIP"[..]), "as it arrived");
        Ok::<_, HttpError>(all)
    }));
    assert_eq!(pieces.unwrap(), b"hello, hello, hello");
    assert_all_back(&a);
}

#[test]
fn who_asks_for_a_coding_or_a_range_gets_the_bytes_as_they_are() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    server.handler(|_| encoded(gzip(b"hello")));
    let a = one(&sim);
    for (name, value) in [("Accept-Encoding", "gzip"), ("Range", "bytes=0-9")] {
        let bytes = sim.run(a.call(|call| async move {
            call.http().get("/").header(name, value).send().await?.bytes().await
        }));
        assert_eq!(bytes.unwrap(), gzip(b"hello"), "{name}");
    }
    let asked = server.arrivals()[1].headers.iter().any(|h| h.name() == "accept-encoding");
    assert!(!asked, "a range is one of the bytes as they are");
    let agent = sim.run(a.call(|call| async move {
        let request = call.agent().request(dace::http::Method::GET, "/")?;
        call.agent().send(request).await?.bytes().await
    }));
    assert_eq!(agent.unwrap(), gzip(b"hello"));
}

#[test]
fn an_empty_body_and_other_codings_are_left_alone() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    let a = one(&sim);
    server.handler(|_| Answer::status(204).header("content-encoding", "gzip"));
    assert_eq!(sim.run(get_root(&a)).unwrap(), "");
    server.handler(|_| Answer::ok("as is").header("content-encoding", "br"));
    assert_eq!(sim.run(get_root(&a)).unwrap(), "as is");
    let head = sim.run(a.call(|call| async move {
        let response = call.http().head("/").send().await?;
        Ok::<_, HttpError>(response.status())
    }));
    assert_eq!(head.unwrap(), 200);
}

#[test]
fn a_stream_that_is_broken_is_malformed_and_one_that_ends_early_is_truncated() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    let fault = |kind| HttpErrorKind::Fault(kind);
    for (body, expected) in [
        (b"no gzip at all".to_vec(), FaultKind::Malformed),
        ([gzip(b"hello"), b"junk".to_vec()].concat(), FaultKind::Malformed),
        (gzip(b"hello")[..15].to_vec(), FaultKind::Truncated),
    ] {
        let a = dependency(&sim, |builder| {
            builder.targets(["http://a:80"]).retry_attempts(0).breaker(touchy())
        });
        server.handler(move |_| encoded(body.clone()));
        assert_eq!(kind(sim.run(get_root(&a))), fault(expected));
        assert_ne!(a.snapshot().endpoints[1].circuit, CircuitState::Closed, "{expected:?}");
        assert_all_back(&a);
    }
    server.handler(|_| encoded(gzip(b"hello")[..12].to_vec()).ending(Ending::Truncated));
    assert_eq!(kind(sim.run(get_root(&one(&sim)))), fault(FaultKind::Truncated));
}

#[test]
fn a_truncated_stream_is_retried_and_a_malformed_one_is_not() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]));
    server.handler(|_| encoded(gzip(b"hello")[..15].to_vec()));
    sim.run(get_root(&a)).unwrap_err();
    assert_eq!(server.requests(), 4);
    server.handler(|_| encoded(b"junk".to_vec()));
    assert_eq!(sim.run(get_root(&a)).unwrap_err().why(), Some(Why::Class));
    assert_eq!(server.requests(), 5);
}

#[test]
fn the_limit_of_a_body_counts_decoded_bytes() {
    let sim = Sim::new(1);
    let server = sim.server("http://a:80");
    let bomb = gzip(&vec![0; 10_000_000]);
    assert!(bomb.len() < 20_000);
    server.handler(move |_| encoded(bomb.clone()));
    let a = dependency(&sim, |builder| {
        builder.targets(["http://a:80"]).body_limit(1_000_000).retry_attempts(0)
    });
    assert_eq!(kind(sim.run(get_root(&a))), HttpErrorKind::TooLarge(1_000_000));
    let largest = Arc::new(Mutex::new(0));
    let seen = largest.clone();
    let length = sim.run(a.call(|call| {
        let seen = seen.clone();
        async move {
            let mut response = call.http().get("/").send().await?;
            let mut length = 0;
            while let Some(piece) = response.chunk().await? {
                length += piece.len();
                let mut seen = seen.lock().unwrap();
                *seen = piece.len().max(*seen);
            }
            Ok::<_, HttpError>(length)
        }
    }));
    assert_eq!(length.unwrap(), 10_000_000);
    assert!(*largest.lock().unwrap() <= 16 * 1024, "a bomb comes out in bounded pieces");
    assert_all_back(&a);
}
