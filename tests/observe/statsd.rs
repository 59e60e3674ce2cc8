//! statsd: what is sent, how much at a time, when, and what is lost.

use std::collections::BTreeMap;
use std::io;
use std::net::UdpSocket;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use cadence::{MetricSink, SpyMetricSink, StatsdClient};
use dace::{HttpError, Statsd, StatsdExt as _};
use dace_sim::Sim;

use crate::support::{Builder, Dependency, Lines, dependency, secs};

fn succeed(dependency: &Dependency, calls: usize) {
    for _ in 0..calls {
        let call = dependency.call(|_| async { Ok::<_, HttpError>(()) });
        futures_util::FutureExt::now_or_never(call).unwrap().unwrap();
    }
}

/// A server on loopback: its address, and what arrives within ten seconds, until `count` calls did.
fn server() -> (String, impl FnOnce(f64) -> Vec<Vec<u8>>) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let receive = move |calls: f64| {
        let (mut datagrams, mut room) = (Vec::new(), [0; 65_536]);
        while sums(&datagrams).get("dace.test.call.success").is_none_or(|sum| *sum < calls) {
            let length = socket.recv(&mut room).expect("more datagrams");
            datagrams.push(room[..length].to_vec());
        }
        datagrams
    };
    (address, receive)
}

fn sums(datagrams: &[Vec<u8>]) -> BTreeMap<String, f64> {
    let mut sums = BTreeMap::new();
    for datagram in datagrams {
        for line in std::str::from_utf8(datagram).unwrap().lines() {
            let (name, rest) = line.split_once(':').unwrap();
            let (value, kind) = rest.split_once('|').unwrap();
            if kind.starts_with('c') {
                *sums.entry(name.to_owned()).or_default() += value.parse::<f64>().unwrap();
            }
        }
    }
    sums
}

/// L1: datagrams hold whole lines and fit.
#[test]
fn datagrams_hold_whole_lines_and_at_most_1432_bytes() {
    let sim = Sim::new(1);
    let (address, receive) = server();
    let any = dependency(&sim, |builder| builder.statsd(address.as_str()));
    succeed(&any, 500);
    any.flush();
    let datagrams = receive(500.0);
    let largest = datagrams.iter().map(Vec::len).max().unwrap();
    assert!((1_300..=1_432).contains(&largest), "{largest}");
    assert!(datagrams.iter().all(|datagram| datagram.ends_with(b"\n")));
    assert!(datagrams.len() < 60, "{}", datagrams.len());
}

#[test]
fn nothing_is_needed_for_lines_to_go_out() {
    let sim = Sim::new(1);
    let (address, receive) = server();
    let any = dependency(&sim, |builder| builder.statsd(address));
    for calls in 1..=3 {
        succeed(&any, calls);
    }
    receive(6.0);
}

#[test]
fn close_has_sent_everything_when_it_returns() {
    let sim = Sim::new(1);
    for round in 0..20 {
        let lines = Lines::default();
        let any = dependency(&sim, |builder| builder.statsd(Statsd::sink(lines.clone())));
        succeed(&any, 100 + round);
        assert_eq!(sim.run(any.close(secs(1))), 0);
        let sums = lines.sums();
        assert_eq!(sums["dace.test.call.success"], 100.0 + round as f64);
        assert_eq!(sums["dace.test.call"], 100.0 + round as f64);
    }
}

/// Says when it is reached, and waits.
struct Slow {
    gate: Mutex<(SyncSender<()>, Receiver<()>)>,
    lines: Lines,
}

impl MetricSink for Slow {
    fn emit(&self, metric: &str) -> io::Result<usize> {
        let gate = self.gate.lock().unwrap();
        // Once the test has hung up it is as fast as any.
        let _ = gate.0.send(());
        let _ = gate.1.recv();
        self.lines.emit(metric)
    }
}

/// L2: a sink that blocks costs lines, which are counted, and no call.
#[test]
fn a_sink_that_blocks_blocks_no_call_and_what_does_not_fit_is_dropped_and_counted() {
    let sim = Sim::new(1);
    let (reached, wait_reached) = sync_channel(0);
    let (open, opened) = sync_channel(0);
    let lines = Lines::default();
    let slow = Slow { gate: Mutex::new((reached, opened)), lines: lines.clone() };
    let any = dependency(&sim, |builder| builder.statsd(Statsd::sink(slow).queue(10)));
    // An attempt and a call, of which the thread takes what there is when it looks.
    succeed(&any, 1);
    wait_reached.recv().unwrap();
    // The sink holds the first line: there is room for ten events in the queue.
    succeed(&any, 100);
    drop((open, wait_reached));
    any.flush();
    any.flush();
    let sums = lines.sums();
    let told = sums["dace.test.attempt.success"] + sums["dace.test.call.success"];
    assert!((10.0..=12.0).contains(&told), "{told}");
    assert_eq!(told + sums["dace.test.dropped"], 202.0);
    assert_eq!(any.snapshot().totals.succeeded, 101);
}

#[test]
fn the_sending_thread_ends_with_the_last_handle_after_it_sent_what_was_queued() {
    let sim = Sim::new(1);
    let (received, sink) = SpyMetricSink::with_capacity(10_000);
    let any = dependency(&sim, |builder| builder.statsd(Statsd::sink(sink)));
    succeed(&any, 10);
    drop(any);
    // Disconnected when the sink is dropped, and that is with the thread.
    let mut lines = Vec::new();
    let end = loop {
        match received.recv_timeout(secs(10)) {
            Ok(line) => lines.push(line),
            Err(end) => break end,
        }
    };
    assert!(end.is_disconnected(), "the thread lives on");
    let calls = lines.iter().filter(|line| line.starts_with(b"dace.test.call.success"));
    assert_eq!(calls.count(), 10);
}

#[test]
fn a_sample_stands_for_the_whole_and_says_so() {
    let sim = Sim::new(1);
    let lines = Lines::default();
    let statsd = Statsd::sink(lines.clone()).sample_rate(0.1).queue(100_000);
    let any = dependency(&sim, |builder| builder.statsd(statsd));
    any.circuit("test").unwrap().force_closed();
    succeed(&any, 10_000);
    any.flush();
    let calls = lines.sums()["dace.test.call.success"];
    assert!((800.0..1_200.0).contains(&calls), "{calls}");
    let all = lines.all();
    assert!(all.contains(&String::from("dace.test.call.success:1|c|@0.1")));
    assert!(all.contains(&String::from("dace.test.circuit.by_hand:1|c")), "not sampled");
    assert!(all.contains(&String::from("dace.test.open:0|g")));
}

#[test]
fn clones_share_a_thread_and_keep_their_dependencies_apart() {
    let sim = Sim::new(1);
    let lines = Lines::default();
    let statsd = Statsd::sink(lines.clone()).prefix("shop");
    let build = |id: &str| {
        let builder: Builder = Dependency::builder(id).statsd(statsd.clone());
        builder.build_with(sim.runtime(), sim.backend()).unwrap()
    };
    let (users, carts) = (build("users"), build("carts"));
    succeed(&users, 1);
    succeed(&carts, 2);
    users.flush();
    let sums = lines.sums();
    assert_eq!((sums["shop.users.call.success"], sums["shop.carts.call.success"]), (1.0, 2.0));
}

#[test]
fn a_client_of_ones_own_or_a_closure_that_yields_one_keeps_its_prefix_and_tags() {
    let sim = Sim::new(1);
    let lines = Lines::default();
    let client = || StatsdClient::builder("mine", lines.clone()).with_tag("az", "b").build();
    for any in [
        dependency(&sim, |builder| builder.statsd(client())),
        dependency(&sim, |builder| builder.statsd(std::sync::Arc::new(client()))),
        dependency(&sim, |builder| builder.statsd(client)),
        dependency(&sim, |builder| builder.statsd(|| Statsd::client(client()).tags(true))),
    ] {
        succeed(&any, 1);
        any.flush();
    }
    let all = lines.all();
    let count = |line: &str| all.iter().filter(|known| *known == line).count();
    assert_eq!(count("mine.test.call.success:1|c|#az:b"), 4, "{all:#?}");
    assert_eq!(count("mine.test.attempt.success:1|c|#az:b"), 3);
    assert_eq!(count("mine.test.attempt.success:1|c|#az:b,netloc:test"), 1);
    assert_eq!(count("mine.test.open:0|g|#az:b"), 4);
    assert_eq!(count("mine.test.call:0|ms|#az:b"), 4);
}

#[test]
fn wrong_settings_are_errors_of_build() {
    let sim = Sim::new(1);
    let error = |statsd: Statsd| {
        let builder: Builder = Dependency::builder("test").statsd(statsd);
        builder.build_with(sim.runtime(), sim.backend()).unwrap_err().to_string()
    };
    let sink = || Statsd::sink(Lines::default());
    assert!(error(Statsd::to("127.0.0.1")).contains("must be the address of a server"));
    assert!(error(Statsd::to("127.0.0.1:99999")).contains("must be the address of a server"));
    for rate in [0.0, -1.0, 1.5, f64::NAN] {
        assert!(error(sink().sample_rate(rate)).contains("sample rate"));
    }
    for queue in [0, usize::MAX] {
        assert!(error(sink().queue(queue)).contains("at least one event"));
    }
    for prefix in ["a:b", "a|b", "a\nb", "ü", &"x".repeat(201)] {
        assert!(error(sink().prefix(prefix)).contains("prefix"));
    }
}

#[test]
fn a_call_whose_function_panics_is_an_error_and_not_one_that_its_caller_dropped() {
    let sim = Sim::new(1);
    let lines = Lines::default();
    let any = dependency(&sim, |builder| builder.statsd(Statsd::sink(lines.clone())));
    let call = any.call(|_| async { panic!("the function's own") as Result<(), HttpError> });
    let run = std::panic::AssertUnwindSafe(|| sim.run(call).is_ok());
    std::panic::catch_unwind(run).unwrap_err();
    any.flush();
    let sums = lines.sums();
    assert_eq!(sums["dace.test.call.error"], 1.0);
    assert!(!sums.contains_key("dace.test.call.dropped"), "{sums:?}");
    let totals = any.snapshot().totals;
    assert_eq!((totals.panicked, totals.dropped, totals.failed), (1, 0, 0));
}

#[test]
fn no_prefix_is_a_prefix_too() {
    let sim = Sim::new(1);
    let lines = Lines::default();
    let any = dependency(&sim, |builder| builder.statsd(Statsd::sink(lines.clone()).prefix("")));
    succeed(&any, 1);
    any.flush();
    assert_eq!(lines.sums()["test.call.success"], 1.0);
}
