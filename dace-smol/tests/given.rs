//! Addresses that were given for a name: libcurl takes one with its port, and must look up nothing.

use dace_core::http::{Connect, FaultKind, HttpBackend, HttpSettings, Method, Request, Sent, Url};
use dace_smol::IsahcBackend;
use dace_wire::{Server, keep_alive};

#[test]
fn a_name_whose_address_is_for_another_port_is_not_looked_up() {
    let server = Server::start([keep_alive(&["here"])]);
    let mut settings = HttpSettings::default();
    settings.resolve.push((String::from("service.invalid"), vec![server.address()]));
    let backend = IsahcBackend::connect(settings).unwrap();
    let ask = |port: u16| {
        let url = Url::parse(&format!("http://service.invalid:{port}/")).unwrap();
        smol::block_on(backend.send(Request::new(Method::GET, url)))
    };
    let other = if server.address().port() == 1 { 2 } else { 1 };
    let fault = IsahcBackend::fault(&ask(other).err().unwrap());
    assert_eq!((fault.kind, fault.sent), (FaultKind::Unsupported, Sent::Unsent));
    assert!(ask(server.address().port()).is_ok());
    assert_eq!(server.connections(), 1);
}
