//! The platform's roots, where files name them.
#![cfg(all(target_os = "linux", any(feature = "rustls", feature = "rustls-ring")))]

use std::path::Path;
use std::process::Command;

use dace_core::http::{Certificate, Connect, FaultKind, HttpSettings};
use dace_tokio::HyperBackend;
use dace_wire::{Authority, Server, Step, get, keep_alive, run};

/// Names the file in the process that is told of it: the test plays itself again there.
const FILE: &str = "SSL_CERT_FILE";
const PLAYED: &str = "DACE_TOKIO_PLAYED";

#[test]
fn roots_that_come_late_are_found() {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("late.pem");
    if std::env::var_os(PLAYED).is_none() {
        let nowhere = file.with_extension("none");
        let mut again = Command::new(std::env::current_exe().unwrap());
        again.args(["--exact", "roots_that_come_late_are_found", "--nocapture"]);
        again.env(PLAYED, "yes").env(FILE, &file).env("SSL_CERT_DIR", nowhere);
        let output = again.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{output:#?}");
        return;
    }
    // It may be left from an earlier time.
    let _ = std::fs::remove_file(&file);
    let authority = Authority::new();
    let tls = Step::Tls(authority.server("127.0.0.1"));
    let script = [tls].into_iter().chain(keep_alive(&["trusted"]));
    let server = Server::start([script.collect::<Vec<_>>()]);
    let backend = HyperBackend::connect(HttpSettings::default()).unwrap();
    let url = format!("https://{}/", server.address());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let failure = run(&backend, get(&url)).await.map(drop).unwrap_err();
        assert_eq!(failure.fault.kind, FaultKind::Tls, "{failure:?}");
        let Certificate::Pem(pem) = authority.certificate() else { panic!("it is PEM") };
        std::fs::write(&file, pem).unwrap();
        assert_eq!(run(&backend, get(&url)).await.unwrap().text(), "trusted");
    });
}
