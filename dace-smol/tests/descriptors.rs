//! Descriptors that `select` cannot name. One test, in a process of its own: it has many of them.
#![cfg(target_os = "linux")]

use std::fs::File;

use dace_core::http::{Connect, FaultKind, HttpSettings, Sent};
use dace_smol::IsahcBackend;
use dace_wire::{Server, Step, get, keep_alive, ok, run};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const MANY: u64 = 1100;

#[test]
fn a_connect_that_fails_since_libcurl_has_no_poll_says_so() {
    let limits = getrlimit(Resource::Nofile);
    if limits.current.is_some_and(|current| current < 2 * MANY) {
        let raised = Rlimit { current: Some(2 * MANY), ..limits };
        setrlimit(Resource::Nofile, raised).expect("the hard limit is higher");
    }
    let backend = IsahcBackend::connect(HttpSettings::default()).unwrap();
    let server = Server::start([keep_alive(&["one"]), vec![Step::ReadRequestIfAny, ok("two")]]);
    let answered = smol::block_on(run(&backend, get(&server.url("/"))));
    assert_eq!(answered.expect("few descriptors are no problem").text(), "one");
    // It stays, with its descriptors: the next ones are to be beyond those that are taken.
    let first = backend;

    let taken: Vec<File> = (0..MANY).map(|_| File::open("/dev/null").unwrap()).collect();
    let backend = IsahcBackend::connect(HttpSettings::default()).unwrap();
    // Else what is said of curl-sys is not true any more.
    let has_poll = option_env!("CFLAGS").is_some_and(|flags| flags.contains("-DHAVE_POLL"));
    let answered = smol::block_on(run(&backend, get(&server.url("/"))));
    assert_eq!(answered.is_ok(), has_poll);
    if let Err(failure) = answered {
        assert_eq!((failure.fault.kind, failure.fault.sent), (FaultKind::Connect, Sent::Unsent));
        let told = failure.chain;
        assert!(told.contains("more than 1,024 descriptors"), "{told}");
        assert!(told.contains("CFLAGS has -DHAVE_POLL"), "{told}");
    }
    drop((taken, first));
}
