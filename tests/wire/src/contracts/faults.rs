//! What went wrong, and how much of the request may have been sent.

use std::time::Duration;

use dace_core::http::{Body, Connect, FaultKind, HttpSettings, Method, Protocol, Sent};

use super::{arrival, assert_fault, default, failed, failure_of};
use crate::client::backend;
use crate::{Authority, Expected, Gate, Hanging, Refusing, Server, Step, get, post, read, send};

/// D2: what was not sent at all is retried, whatever it is.
pub(crate) async fn refused_is_unsent<B: Connect>(expected: &Expected) {
    let backend: B = backend(default);
    let refusing = Refusing::new();
    let failure = failed(&backend, post(&refusing.url(), "x")).await;
    let kind = match expected.tells_refused {
        true => FaultKind::ConnectionRefused,
        false => FaultKind::Connect,
    };
    assert_fault(&failure, &[kind], Sent::Unsent);
}

pub(crate) async fn an_unknown_name_is_unsent<B: Connect>(_: &Expected) {
    let backend: B = backend(default);
    let mut request = post("http://nonexistent.invalid/", "x");
    request.options.connect_timeout = crate::PATIENCE;
    let failure = failed(&backend, request).await;
    assert_fault(&failure, &[FaultKind::Dns], Sent::Unsent);
}

/// F7: there is a timeout without asking for one, connecting included.
pub(crate) async fn a_hanging_connect_times_out_unsent<B: Connect>(_: &Expected) {
    let hanging = Hanging::new();
    let backend: B = backend(default);
    let mut request = post(&hanging.url(), "x");
    request.options.connect_timeout = Duration::from_millis(100);
    let failure = failed(&backend, request).await;
    assert_fault(&failure, &[FaultKind::ConnectTimeout], Sent::Unsent);
}

pub(crate) async fn https_without_tls_is_unsupported<B: Connect>(_: &Expected) {
    let server = Server::start([]);
    let backend: B = backend(default);
    let url = format!("https://{}/", server.address());
    let failure = failed(&backend, get(&url)).await;
    assert_fault(&failure, &[FaultKind::Unsupported], Sent::Unsent);
    assert!(failure.chain.contains("`rustls`"), "{failure:?}");
    assert_eq!(server.connections(), 0);
}

/// D6: nobody below dace sends again and again: at most once more, on a connection that was reused.
pub(crate) async fn a_close_before_the_answer_may_have_been_sent<B: Connect>(_: &Expected) {
    for body in [Body::empty(), Body::from("x")] {
        let failure = failure_of::<B>(body, vec![Step::ReadRequest]).await;
        assert_fault(&failure, &[FaultKind::Closed], Sent::MaybeSent);
        assert!(!failure.fault.reused);
    }
}

pub(crate) async fn a_reset_before_the_answer_may_have_been_sent<B: Connect>(_: &Expected) {
    let failure = failure_of::<B>(Body::from("x"), vec![Step::ReadRequest, Step::Reset]).await;
    assert_fault(&failure, &[FaultKind::Reset], Sent::MaybeSent);
}

pub(crate) async fn half_a_head_is_no_answer<B: Connect>(expected: &Expected) {
    let ends = ["", "con", "content-length: 10\r\nx-a"];
    let hidden = expected.tells_cut_heads.then_some("content-length: 0\r\nx-a");
    for end in ends.into_iter().chain(hidden) {
        let half = send(format!("HTTP/1.1 200 OK\r\n{end}"));
        let failure = failure_of::<B>(Body::from("x"), vec![Step::ReadRequest, half]).await;
        assert_eq!(failure.fault.kind, FaultKind::Truncated, "{failure:?}");
        assert_ne!(failure.fault.sent, Sent::Unsent);
    }
}

pub(crate) async fn garbage_is_malformed<B: Connect>(_: &Expected) {
    let garbage = send("SSH-2.0-OpenSSH_9.9\r\n\r\n");
    let failure = failure_of::<B>(Body::from("x"), vec![Step::ReadRequest, garbage]).await;
    assert_fault(&failure, &[FaultKind::Malformed], Sent::MaybeSent);
}

pub(crate) async fn a_body_shorter_than_its_length_is_an_error<B: Connect>(_: &Expected) {
    for body in ["hello", ""] {
        let short = send(format!("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{body}"));
        let failure = failure_of::<B>(Body::from("x"), vec![Step::ReadRequest, short]).await;
        assert_fault(&failure, &[FaultKind::Truncated], Sent::Sent);
    }
}

/// F2: a body that is cut short is never a body.
pub(crate) async fn chunks_without_an_end_are_an_error<B: Connect>(_: &Expected) {
    for chunks in ["5\r\nhello\r\n", "5\r\nhe", ""] {
        let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        let script = vec![Step::ReadRequest, send(format!("{head}{chunks}"))];
        let failure = failure_of::<B>(Body::from("x"), script).await;
        assert_fault(&failure, &[FaultKind::Truncated], Sent::Sent);
    }
}

pub(crate) async fn a_bad_chunk_size_is_malformed<B: Connect>(expected: &Expected) {
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let bad = send(format!("{head}5\r\nhello\r\nzz\r\n"));
    let failure = failure_of::<B>(Body::from("x"), vec![Step::ReadRequest, bad]).await;
    let kind = match expected.tells_bad_chunks {
        true => FaultKind::Malformed,
        false => FaultKind::Reset,
    };
    assert_fault(&failure, &[kind], Sent::Sent);
}

pub(crate) async fn a_post_cut_at_any_byte_arrives_once<B: Connect>(_: &Expected) {
    let whole = arrival::<B>(Method::POST, Body::from("hello")).await.bytes.len();
    for cut in [1, 10, whole - 6, whole - 5, whole - 1, whole] {
        let server = Server::start([vec![Step::ReadBytes(cut)]]);
        let backend: B = backend(default);
        let failure = failed(&backend, post(&server.url("/"), "hello")).await;
        let kinds = [FaultKind::Closed, FaultKind::Reset];
        assert_fault(&failure, &kinds, Sent::MaybeSent);
        assert_eq!(server.arrivals().len(), 1, "cut at {cut}");
        drop(server);
    }
}

/// Settings that would not be kept are no settings.
pub(crate) async fn tls_settings_without_tls_are_config_errors<B: Connect>(_: &Expected) {
    let authority = Authority::new();
    for setting in ["root_certificate", "identity", "verification"] {
        let mut settings = HttpSettings::default();
        match setting {
            "root_certificate" => settings.roots.push(authority.certificate()),
            "identity" => settings.identity = Some(authority.client()),
            _ => settings.accept_any_certificate = true,
        }
        let error = B::connect(settings).err().expect("it was taken");
        assert_eq!(error.setting(), setting);
        assert!(error.to_string().contains("`rustls`"), "{error}");
    }
}

pub(crate) async fn http2_without_the_feature_is_a_config_error<B: Connect>(_: &Expected) {
    let mut settings = HttpSettings::default();
    settings.protocol = Protocol::Http2;
    let error = B::connect(settings).err().expect("it was taken");
    assert_eq!(error.setting(), "protocol");
    assert!(error.to_string().contains("`http2`"), "{error}");
}

pub(crate) async fn a_reset_after_the_head_is_an_error<B: Connect>(_: &Expected) {
    let gate = Gate::new();
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello";
    let script = vec![Step::ReadRequest, send(head), Step::Wait(gate.clone()), Step::Reset];
    let server = Server::start([script]);
    let backend: B = backend(default);
    let response = backend.send(get(&server.url("/"))).await.unwrap();
    gate.open();
    let failure = read::<B>(response.body).await.unwrap_err();
    assert!(matches!(failure.fault.kind, FaultKind::Reset | FaultKind::Truncated), "{failure:?}");
    assert_eq!(failure.fault.sent, Sent::Sent, "{failure:?}");
}
