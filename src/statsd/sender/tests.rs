use std::sync::mpsc;

use dace_core::CircuitState;

use super::*;

const SETTINGS: Settings = Settings { tags: false, rate: 1.0, queue: 8 };

fn nowhere() -> Outlet {
    Outlet::Lines(Box::new(cadence::NopMetricSink))
}

#[test]
fn a_source_that_nobody_uses_is_forgotten_with_what_it_sent_last() {
    let sender = Sender::start(nowhere(), SETTINGS).unwrap();
    let source = sender.source("dace", "users");
    Sender::set_open(&source, 1);
    let known = Arc::downgrade(&source);
    drop(source);
    sender.flush();
    sender.flush();
    assert_eq!(known.strong_count(), 0);
}

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<String>>>);

impl cadence::MetricSink for Lines {
    fn emit(&self, line: &str) -> std::io::Result<usize> {
        self.0.lock().unwrap().push(line.to_owned());
        Ok(line.len())
    }
}

#[test]
fn the_end_of_an_attempt_tells_how_many_are_under_way_though_the_last_number_was_sent() {
    let lines = Lines::default();
    let sender = Sender::start(Outlet::Lines(Box::new(lines.clone())), SETTINGS).unwrap();
    let source = sender.source("dace", "users");
    Sender::set_open(&source, 1);
    sender.flush();
    let told = Told::Attempt(dace_core::Class::Success, Duration::ZERO.into());
    Sender::set_open(&source, 0);
    sender.push(&source, told, None);
    sender.flush();
    let lines = lines.0.lock().unwrap();
    assert_eq!(lines.last().map(String::as_str), Some("dace.users.open:0|g"), "{lines:?}");
}

#[test]
fn what_a_source_sent_last_goes_out_under_its_own_name() {
    let lines = Lines::default();
    let sender = Sender::start(Outlet::Lines(Box::new(lines.clone())), SETTINGS).unwrap();
    for name in ["first", "second", "third"] {
        let source = sender.source("dace", name);
        sender.push(&source, Told::Retry, None);
    }
    sender.flush();
    let expected = ["first", "second", "third"].map(|name| format!("dace.{name}.retry:1|c"));
    assert_eq!(*lines.0.lock().unwrap(), expected);
}

/// The thread looks when it is asked to, or woken.
const NEVER: Pace = Pace {
    linger: Duration::from_secs(3_600),
    idle: Duration::from_secs(3_600),
    quiet: u32::MAX,
    pause: Duration::from_secs(3_600),
};

#[test]
fn the_number_of_attempts_under_way_is_told_though_all_else_is_left_out_by_sampling() {
    let lines = Lines::default();
    let settings = Settings { rate: 1e-300, ..SETTINGS };
    let sender = Sender::at(NEVER, Outlet::Lines(Box::new(lines.clone())), settings).unwrap();
    let source = sender.source("dace", "users");
    sender.flush();
    assert!(lines.0.lock().unwrap().is_empty(), "there were none");
    for open in [0, 100] {
        sender.push(&source, Told::Retry, None);
        Sender::set_open(&source, open);
    }
    sender.flush();
    // And so it is when it is the same again.
    Sender::set_open(&source, 100);
    sender.flush();
    sender.flush();
    assert_eq!(*lines.0.lock().unwrap(), ["dace.users.open:100|g"; 2]);
}

#[test]
fn a_number_of_attempts_under_way_that_the_sink_refuses_is_told_again_and_the_latest() {
    struct Shy(Lines);
    impl cadence::MetricSink for Shy {
        fn emit(&self, line: &str) -> std::io::Result<usize> {
            self.0.emit(line)?;
            match self.0.0.lock().unwrap().len() {
                1 => Err(std::io::ErrorKind::WouldBlock.into()),
                _ => Ok(line.len()),
            }
        }
    }
    let lines = Lines::default();
    let shy = Outlet::Lines(Box::new(Shy(lines.clone())));
    let sender = Sender::at(NEVER, shy, SETTINGS).unwrap();
    let source = sender.source("dace", "users");
    Sender::set_open(&source, 1);
    for _ in 0..3 {
        sender.flush();
    }
    assert_eq!(*lines.0.lock().unwrap(), ["dace.users.open:1|g"; 2]);
}

/// Hands the lines to the test.
struct Teller(Mutex<mpsc::Sender<String>>);

impl cadence::MetricSink for Teller {
    fn emit(&self, line: &str) -> std::io::Result<usize> {
        self.0.lock().unwrap().send(line.to_owned()).map_err(std::io::Error::other)?;
        Ok(line.len())
    }
}

fn told() -> (Outlet, mpsc::Receiver<String>) {
    let (told, lines) = mpsc::channel();
    (Outlet::Lines(Box::new(Teller(Mutex::new(told)))), lines)
}

const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_queue_that_is_half_full_wakes_the_thread() {
    let (sink, lines) = told();
    let sender = Sender::at(NEVER, sink, SETTINGS).unwrap();
    let source = sender.source("dace", "users");
    // Often enough that it waits at least once before the last of them comes.
    for _ in 0..100 {
        for _ in 0..=SETTINGS.queue / 2 {
            thread::yield_now();
            sender.push(&source, Told::Retry, None);
        }
        for _ in 0..=SETTINGS.queue / 2 {
            let line = lines.recv_timeout(SOON);
            assert_eq!(line.as_deref(), Ok("dace.users.retry:1|c"));
        }
    }
}

/// So many wait, and the thread is woken by the last.
fn with_a_burst_and_one() -> (Sender, Arc<Source>, mpsc::Receiver<String>) {
    let (sink, lines) = told();
    let settings = Settings { queue: 2 * BURST, ..SETTINGS };
    let sender = Sender::at(NEVER, sink, settings).unwrap();
    let source = sender.source("dace", "users");
    for _ in 0..=BURST {
        sender.push(&source, Told::Retry, None);
    }
    (sender, source, lines)
}

#[test]
fn between_two_bursts_the_server_has_a_pause_unless_somebody_flushes() {
    let (sender, _source, lines) = with_a_burst_and_one();
    for _ in 0..BURST {
        lines.recv_timeout(SOON).expect("the first burst");
    }
    // It would come at once.
    let none = lines.recv_timeout(Duration::from_millis(50));
    assert_eq!(none, Err(mpsc::RecvTimeoutError::Timeout));
    sender.flush();
    lines.recv_timeout(SOON).expect("the second");
}

#[test]
fn the_last_handle_ends_a_pause_and_everything_is_sent() {
    let (sender, source, lines) = with_a_burst_and_one();
    lines.recv_timeout(SOON).expect("the first burst");
    drop((sender, source));
    assert_eq!(lines.iter().count(), BURST, "and then there is no sink any more");
}

#[test]
fn a_netloc_stays_with_its_record_whatever_is_left_out() {
    let (sink, lines) = told();
    let settings = Settings { tags: true, rate: 1e-300, queue: 8 };
    let sender = Sender::at(NEVER, sink, settings).unwrap();
    let source = sender.source("dace", "users");
    let target = |host: &str| format!("http://{host}").parse::<dace_core::Target>().unwrap();
    let (a, b) = (target("a"), target("b"));
    for round in 0..2 {
        // Retries are left out.
        for (told, target) in [
            (Told::Retry, Some(&a)),
            (Told::Circuit(CircuitState::Open), Some(&b)),
            (Told::Retry, None),
            (Told::Lost(7), None),
            (Told::Circuit(CircuitState::Closed), Some(&a)),
            (Told::Circuit(CircuitState::Closed), Some(&b)),
        ] {
            sender.push(&source, told, target.map(dace_core::Target::netloc));
        }
        sender.flush();
        let told: Vec<String> = lines.try_iter().collect();
        let expected = [
            "dace.users.circuit.opened:1|c|#netloc:b_80",
            "dace.users.events.dropped:7|c",
            "dace.users.circuit.closed:1|c|#netloc:a_80",
            "dace.users.circuit.closed:1|c|#netloc:b_80",
        ];
        assert_eq!(told, expected, "{round}");
    }
}

#[test]
fn the_thread_looks_less_often_while_nothing_comes() {
    let Pace { linger, idle, quiet, .. } = Pace::USUAL;
    assert_eq!(Pace::USUAL.patience(0), linger);
    assert_eq!(Pace::USUAL.patience(quiet - 1), linger);
    assert_eq!(Pace::USUAL.patience(quiet), idle);
}

#[test]
fn a_sink_that_panics_leaves_nobody_waiting() {
    struct Trap;
    impl cadence::MetricSink for Trap {
        fn emit(&self, _: &str) -> std::io::Result<usize> {
            panic!("the sink's own")
        }
    }
    let sender = Sender::start(Outlet::Lines(Box::new(Trap)), SETTINGS).unwrap();
    let source = sender.source("dace", "users");
    Sender::set_open(&source, 1);
    // A flush waits a second at most, and telling a panic may take longer. Those after it do not wait.
    while !sender.0.0.queue().over {
        sender.flush();
    }
    sender.push(&source, Told::Retry, None);
    assert_eq!(source.dropped.load(Ordering::Relaxed), 1);
}

#[test]
fn clients_that_sample_leave_out_different_ones() {
    let drawn = || {
        let sender = Sender::start(nowhere(), SETTINGS).unwrap();
        sender.0.0.queue().rng.u64(..)
    };
    assert_ne!(drawn(), drawn());
}

#[test]
fn those_who_send_to_one_address_in_one_way_share_a_thread() {
    let to = |address, settings| Sender::to(address, settings, || Ok(nowhere())).unwrap();
    let first = to("a:8125", SETTINGS);
    assert!(Arc::ptr_eq(&first.0, &to("a:8125", SETTINGS).0));
    assert!(!Arc::ptr_eq(&first.0, &to("b:8125", SETTINGS).0));
    assert!(!Arc::ptr_eq(&first.0, &to("a:8125", Settings { tags: true, ..SETTINGS }).0));
    let known = Arc::downgrade(&first.0);
    drop(first);
    assert_eq!(known.strong_count(), 0, "the list keeps none alive");
}
