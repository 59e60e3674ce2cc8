//! Etsy's statsd, over its management port.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpStream, UdpSocket};
use std::path::Path;
use std::time::Duration;

use dace::{Statsd, StatsdExt as _};

use crate::process::{INSTALL, Process, free_port};
use crate::script::{COUNTERS, TIMERS, on_smol, on_tokio};

const PROGRAM: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/statsd/node_modules/statsd/stats.js");

struct Etsy {
    _process: Process,
    port: u16,
    management: u16,
}

impl Etsy {
    fn start() -> Self {
        assert!(Path::new(PROGRAM).exists(), "{PROGRAM} {INSTALL}");
        let (port, management) = (free_port(), free_port());
        let configure = |folder: &Path| {
            // An hour between flushes: nothing is forgotten meanwhile.
            let config = format!(
                "{{ port: {port}, address: '127.0.0.1', mgmt_port: {management}, \
                 mgmt_address: '127.0.0.1', flushInterval: 3600000, \
                 backends: ['./backends/console'] }}"
            );
            let path = folder.join("config.js");
            std::fs::write(&path, config).unwrap();
            vec![PROGRAM.into(), path]
        };
        let process = Process::start("node", configure, "server is up");
        let etsy = Self { _process: process, port, management };
        etsy.await_probe();
        etsy
    }

    /// Sends lines until one is counted: it says that it is up before its sockets are.
    fn await_probe(&self) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..1_000_000 {
            // Refused as long as nobody listens.
            let _ = socket.send_to(b"probe:1|c", self.address());
            let up = TcpStream::connect(("127.0.0.1", self.management)).is_ok();
            if up && self.ask("counters").contains_key("probe") {
                return;
            }
            std::thread::yield_now();
        }
        panic!("statsd counts nothing");
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What it answers to one command: names, and numbers (for timers, how many).
    fn ask(&self, command: &str) -> BTreeMap<String, f64> {
        let mut socket = TcpStream::connect(("127.0.0.1", self.management)).unwrap();
        writeln!(socket, "{command}").unwrap();
        let mut answer = String::new();
        for line in BufReader::new(socket).lines() {
            let line = line.unwrap();
            if line == "END" {
                break;
            }
            answer += line.trim();
            answer.push(' ');
        }
        parse(&answer)
    }

    /// Asks until the counter has this value: datagrams that were sent may not have been read yet.
    fn await_counter(&self, name: &str, count: u64) {
        for _ in 0..20_000 {
            if self.ask("counters").get(name) == Some(&(count as f64)) {
                return;
            }
        }
        panic!("{name} never became {count}: {:#?}", self.ask("counters"));
    }
}

/// Reads what node writes of an object: `{ a: 1, 'b.c': [ 1, 2 ] }`.
fn parse(shown: &str) -> BTreeMap<String, f64> {
    let inner = shown.trim().trim_start_matches('{').trim_end_matches('}');
    let mut values = BTreeMap::new();
    let mut rest = inner.trim();
    while let Some((name, value)) = rest.split_once(':') {
        let name = name.trim_matches([' ', ',', '\'', '"']).to_owned();
        let value = value.trim_start();
        let (number, end) = match value.strip_prefix('[') {
            Some(list) => {
                let end = list.find(']').expect("the end of a list");
                let more = list[..end].split_once("... ").map_or(0, |(_, more)| {
                    more.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or(0)
                });
                let shown = list[..end].split(',').filter(|item| !item.contains("...")).count();
                ((shown + more) as f64, end + 2)
            }
            None => {
                let end = value.find(',').unwrap_or(value.len());
                (value[..end].trim().parse().expect("a number"), end)
            }
        };
        values.insert(name, number);
        rest = value[end..].trim_start_matches([',', ' ']);
    }
    values
}

#[test]
fn etsys_statsd_has_exact_counts_of_a_run_on_both_adapters() {
    let etsy = Etsy::start();
    on_tokio(|builder| builder.statsd(etsy.address()));
    on_smol(|builder| builder.statsd(etsy.address()));
    // What is sent last.
    for id in ["tokio", "smol"] {
        etsy.await_counter(&format!("dace.{id}.call.error"), 7);
    }
    let (counters, timers, gauges) = (etsy.ask("counters"), etsy.ask("timers"), etsy.ask("gauges"));
    assert_eq!(counters["statsd.bad_lines_seen"], 0.0);
    for id in ["tokio", "smol"] {
        let prefix = format!("dace.{id}.");
        let told: Vec<_> = counters.keys().filter(|name| name.starts_with(&prefix)).collect();
        assert_eq!(told.len(), COUNTERS.len(), "{told:#?}");
        for (name, count) in COUNTERS {
            assert_eq!(counters[&format!("{prefix}{name}")], *count as f64, "{name}");
        }
        for (name, count) in TIMERS {
            assert_eq!(timers[&format!("{prefix}{name}")], *count as f64, "{name}");
        }
        assert_eq!(gauges[&format!("{prefix}open")], 0.0);
    }
}

#[test]
fn etsys_statsd_reads_tags_and_multiplies_samples() {
    let etsy = Etsy::start();
    let statsd = Statsd::to(etsy.address()).tags(true).sample_rate(0.5);
    let any = dace::Dependency::<dace_sim::SimRuntime, dace_sim::SimBackend>::builder("sampled")
        .statsd(statsd)
        .build_with(dace_sim::Sim::new(1).runtime(), dace_sim::Sim::new(1).backend())
        .unwrap();
    for _ in 0..400 {
        let call = any.call(|_| async { Ok::<_, dace::HttpError>(()) });
        futures_util::FutureExt::now_or_never(call).unwrap().unwrap();
    }
    any.circuit("sampled").unwrap().force_closed();
    futures_util::FutureExt::now_or_never(any.close(Duration::ZERO)).unwrap();
    etsy.await_counter("dace.sampled.circuit.by_hand;netloc=sampled", 1);
    let counters = etsy.ask("counters");
    let calls = counters["dace.sampled.call.success"];
    assert!((320.0..480.0).contains(&calls), "{calls}");
    assert!(counters.contains_key("dace.sampled.attempt.success;netloc=sampled"));
    assert_eq!(counters["statsd.bad_lines_seen"], 0.0);
}

#[test]
fn what_node_shows_is_read() {
    let shown = "{ 'statsd.bad': 0, plain: 2, 'a.b': [ 1, 2.5, ... 3 more items ], c: [ 1 ] }";
    let values = parse(shown);
    let expected = [("a.b", 5.0), ("c", 1.0), ("plain", 2.0), ("statsd.bad", 0.0)];
    assert_eq!(values, expected.map(|(name, value)| (name.to_owned(), value)).into());
    assert!(parse("{}").is_empty());
}
