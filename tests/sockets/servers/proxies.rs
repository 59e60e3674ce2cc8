//! tinyproxy and squid: requests that are forwarded, with and without credentials.

use dace::Adapter;
use dace_wire::{Server, Step, keep_alive, ok};

use super::process::{Place, Running};
use crate::support::{assert_all_back, dependency, get_root};

on_every_adapter! {
    tinyproxy_forwards_and_gets_its_credentials_alone
    tinyproxy_refuses_who_has_none
    squid_forwards
}

/// tinyproxy for who has `user` and `s3cret`.
pub(super) fn tinyproxy() -> Running {
    let place = Place::new("tinyproxy");
    let config = format!(
        "Port {}\nListen 127.0.0.1\nTimeout 20\nMaxClients 20\nBasicAuth user s3cret\n",
        place.port
    );
    let config = place.write("tinyproxy.conf", config).display().to_string();
    place.start("tinyproxy", &["-d", "-c", &config])
}

/// squid for everybody.
pub(super) fn squid() -> Running {
    let place = Place::new("squid");
    // It gives up root for a user of its own.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(&place.folder, open).expect("a folder that squid can write to");
    let folder = place.folder.display().to_string();
    let config = format!(
        "http_port 127.0.0.1:{}
http_access allow all
pid_filename {folder}/squid.pid
access_log none
cache_log {folder}/cache.log
cache deny all
coredump_dir {folder}
shutdown_lifetime 0 seconds
pinger_enable off
netdb_filename none
",
        place.port
    );
    let config = place.write("squid.conf", config).display().to_string();
    // Two of one name would share their memory.
    let name = format!("dace{}", place.port);
    place.start("squid", &["-N", "-n", &name, "-f", &config])
}

async fn tinyproxy_forwards_and_gets_its_credentials_alone<A: Adapter>() {
    let proxy = tinyproxy();
    let server = Server::start([vec![Step::ReadRequest, ok("through"), Step::AwaitClose]]);
    let one = dependency::<A>(|builder| {
        let url = proxy.url("").replace("http://", "http://user:s3cret@");
        builder.targets([server.url("")]).proxy(&url)
    });
    assert_eq!(get_root(&one).await.unwrap(), "through");
    let arrival = &server.arrivals()[0];
    assert!(arrival.line().starts_with("GET / "), "{arrival:?}");
    assert!(arrival.header("via")[0].contains("tinyproxy"), "{arrival:?}");
    assert!(arrival.header("proxy-authorization").is_empty(), "{arrival:?}");
    assert_all_back(&one);
}

async fn tinyproxy_refuses_who_has_none<A: Adapter>() {
    let proxy = tinyproxy();
    let server = Server::start([]);
    let one = dependency::<A>(|builder| {
        builder.targets([server.url("")]).proxy(&proxy.url("")).retry_attempts(0)
    });
    let error = get_root(&one).await.unwrap_err();
    assert_eq!(error.into_source().unwrap().status(), Some(407));
    assert_eq!(server.connections(), 0);
    assert_all_back(&one);
}

async fn squid_forwards<A: Adapter>() {
    let proxy = squid();
    let server = Server::start([keep_alive(&["one", "two"])]);
    let one = dependency::<A>(|builder| builder.targets([server.url("")]).proxy(&proxy.url("")));
    assert_eq!(get_root(&one).await.unwrap(), "one");
    assert_eq!(get_root(&one).await.unwrap(), "two");
    assert!(server.arrivals()[0].header("via")[0].contains("squid"));
    assert_all_back(&one);
}
