//! What errors say, and what they hold.

use std::error::Error as _;

use dace::{Class, Classify, HttpError, Why};
use dace_sim::Sim;

use crate::support::{Error, dependency, get, get_root, ms};

#[test]
fn the_source_chain_is_whole_and_each_link_says_its_own_level() {
    let sim = Sim::new(1);
    sim.server("http://a:80").latency(ms(5)).resets(..);
    let a = dependency(&sim, |builder| builder.targets(["http://a:80"]).retry_attempts(1));
    let error = sim.run(get_root(&a)).unwrap_err();
    let mut links = vec![error.to_string()];
    let mut link: Option<&dyn std::error::Error> = error.source();
    while let Some(error) = link {
        links.push(error.to_string());
        link = error.source();
    }
    assert_eq!(
        links,
        [
            "the call failed after 2 attempts, the last transient at a:80, in 10ms (no attempts left)",
            "a:80: connection reset; the server may have processed the request",
            "simulated: connection reset",
        ]
    );
    assert!(error.into_source().is_some());
}

#[test]
fn an_error_of_the_functions_own_becomes_a_call_error() {
    let error: dace::Error<std::io::Error> = std::io::Error::other("x").into();
    assert!(matches!(error, dace::Error::Operation { why: Why::Class, .. }));
}

#[test]
fn one_line_classifies_an_error_by_the_http_or_io_error_in_its_chain() {
    #[derive(Debug)]
    struct Mine(Option<Box<dyn std::error::Error + Send + Sync>>);
    impl std::fmt::Display for Mine {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("mine")
        }
    }
    impl std::error::Error for Mine {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            self.0.as_deref().map(|source| source as _)
        }
    }
    impl Classify for Mine {}

    let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    assert_eq!(Mine(Some(refused.into())).class(), Class::Unsent);
    assert_eq!(Mine(None).class(), Class::Transient);

    let sim = Sim::new(1);
    let a = dependency(&sim, |builder| builder);
    let call = a.call(|call| async move {
        get(call, "http://nowhere/").await.map_err(|error| Mine(Some(error.into())))
    });
    let error = sim.run(call).unwrap_err().into_source().unwrap();
    assert_eq!(error.class(), Class::Unsent);
}

#[test]
fn statuses_have_their_classes() {
    for (status, class) in [
        (200, Class::Success),
        (304, Class::Success),
        (404, Class::CallerFault),
        (408, Class::Transient),
        (429, Class::Throttled(None)),
        (500, Class::Transient),
        (501, Class::Failure),
        (502, Class::Transient),
        (503, Class::Transient),
        (504, Class::Transient),
        (505, Class::Failure),
    ] {
        assert_eq!(Class::of_status(status), class, "{status}");
    }
}

#[test]
fn planted_secrets_are_in_no_error() {
    let sim = Sim::new(1);
    sim.server("http://a:80").resets(..);
    let a = dependency(&sim, |builder| builder.retry_attempts(0));
    for url in [
        "http://user:s3cret@a/path?token=s3cret",
        "http://user:s3cret@nowhere/?s3cret",
        "http://s3cret@a\\b/",
        "ftp://user:s3cret@a/",
    ] {
        let call = a.call(|call| async move {
            let request = call.http().get(url).header("authorization", "s3cret");
            let shown = format!("{request:?}");
            assert!(!shown.contains("s3cret"), "{shown}");
            request.send().await.map(|_| ())
        });
        let error: Error = sim.run(call).unwrap_err();
        let shown = format!("{error} {error:?} {:?}", error.source().map(ToString::to_string));
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}

#[test]
fn a_call_and_its_error_can_be_sent_to_another_thread_from_generic_code() {
    fn spawn<F: std::future::Future<Output: Send> + Send + 'static>(_: F) {}
    fn generic<R: dace::Runtime, B: dace::HttpBackend>(dependency: &dace::Dependency<R, B>) {
        spawn(dependency.call(|call| async move {
            let mut response = call.http().get("/").send().await?;
            while response.chunk().await?.is_some() {}
            call.agent().send(call.agent().request(dace::http::Method::GET, "/")?).await?;
            Ok::<_, HttpError>(())
        }));
        spawn(
            dependency
                .call(|_| async { Ok::<_, HttpError>(()) })
                .fallback(|error| async { Err(error) }),
        );
        spawn(
            dependency.call(|_| async { Err::<(), _>("x") }).classify(|_| Class::Ignored).report(),
        );
        spawn(dependency.close(std::time::Duration::ZERO));
    }
    let sim = Sim::new(1);
    generic(&dependency(&sim, |builder| builder));
}
