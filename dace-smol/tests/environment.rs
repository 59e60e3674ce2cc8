//! What the environment says, and who listens to it. Variables are read once and by all, so each test
//! plays itself again in a process that has them.

use std::process::Command;
use std::sync::Arc;

use dace_core::http::{Connect, HttpSettings, Proxy};
use dace_smol::IsahcBackend;
use dace_wire::{Refusing, Server, get, keep_alive, run};

/// Names the process that has the variables.
const PLAYED: &str = "DACE_SMOL_PLAYED";

/// Whether this is that process; else it is made, and must succeed.
fn is_played(test: &str, variables: &[(&str, String)]) -> bool {
    if std::env::var(PLAYED).is_ok() {
        return true;
    }
    let mut again = Command::new(std::env::current_exe().unwrap());
    again.args(["--exact", test, "--nocapture"]).env(PLAYED, "yes");
    let output = again.envs(variables.iter().cloned()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("1 passed"), "{output:#?}");
    false
}

#[test]
fn the_environment_names_no_proxy() {
    let refusing = Refusing::new();
    let names = ["http_proxy", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"];
    let variables = names.map(|name| (name, refusing.url()));
    if is_played("the_environment_names_no_proxy", &variables) {
        let server = Server::start([keep_alive(&["direct"])]);
        let backend = IsahcBackend::connect(HttpSettings::default()).unwrap();
        let answer = smol::block_on(run(&backend, get(&server.url("/")))).unwrap();
        assert_eq!(answer.text(), "direct");
        assert_eq!(server.arrivals()[0].line(), "GET / HTTP/1.1");
    }
}

#[test]
fn the_environment_excepts_nobody_from_a_proxy() {
    let variables = ["no_proxy", "NO_PROXY"].map(|name| (name, String::from("*")));
    if is_played("the_environment_excepts_nobody_from_a_proxy", &variables) {
        let server = Server::start([keep_alive(&["by proxy"])]);
        let backend = IsahcBackend::connect(HttpSettings::default()).unwrap();
        let mut request = get("http://127.0.0.1:9/");
        request.proxy = Some(Arc::new(Proxy::parse(&server.url("")).unwrap()));
        let answer = smol::block_on(run(&backend, request)).unwrap();
        assert_eq!(answer.text(), "by proxy");
        assert_eq!(server.arrivals()[0].line(), "GET http://127.0.0.1:9/ HTTP/1.1");
    }
}

/// `SSL_CERT_FILE` is how a platform of this kind is told whom to trust.
#[cfg(feature = "rustls")]
#[test]
fn the_platform_says_who_is_trusted() {
    use dace_core::http::{Certificate, FaultKind};
    use dace_wire::{Authority, Step};

    let test = "the_platform_says_who_is_trusted";
    let authority = Authority::new();
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("trusted.pem");
    let Certificate::Pem(pem) = authority.certificate() else { panic!("it is PEM") };
    // Both processes write their own authority; that of the one that is played comes last.
    std::fs::write(&file, pem).unwrap();
    if !is_played(test, &[("SSL_CERT_FILE", file.to_string_lossy().into_owned())]) {
        return;
    }
    let other = Authority::new();
    let secure = |authority: &Authority, rest: Vec<Step>| {
        let tls = authority.server("127.0.0.1");
        let first = std::iter::once(Step::Tls(tls));
        first.chain(rest).collect::<Vec<_>>()
    };
    let trusted = Server::start([secure(&authority, keep_alive(&["trusted"]))]);
    let refused = Server::start([vec![Step::TlsRefused(other.server("127.0.0.1"))]]);
    let backend = IsahcBackend::connect(HttpSettings::default()).unwrap();
    smol::block_on(async {
        let url = format!("https://{}/", trusted.address());
        assert_eq!(run(&backend, get(&url)).await.unwrap().text(), "trusted");
        let url = format!("https://{}/", refused.address());
        let failure = run(&backend, get(&url)).await.map(drop).unwrap_err();
        assert_eq!(failure.fault.kind, FaultKind::Tls, "{failure:?}");
    });
}
