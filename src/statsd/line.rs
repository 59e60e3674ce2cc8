//! Lines of the statsd protocol, `name:value|type|@rate|#tags`, into room that is used again.

use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use cadence::{Counted as _, Gauged as _, StatsdClient, Timed as _};

use super::Outlet;
use super::record::Value;

/// What is written around every value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Around<'a> {
    /// `PREFIX.<dependency_id>.`, or without the prefix if a client has its own.
    pub(super) prefix: &'a str,
    pub(super) netloc: Option<&'a str>,
    /// The share that it stands for, if not all.
    pub(super) rate: Option<f64>,
}

/// Sends one line: its name in two parts, and its value.
pub(super) fn send(
    outlet: &Outlet,
    room: &mut String,
    around: Around<'_>,
    (name, last): (&str, &str),
    value: Value,
) -> io::Result<()> {
    room.clear();
    room.push_str(around.prefix);
    room.push_str(name);
    room.push_str(last);
    match outlet {
        Outlet::Lines(sink) => {
            write(room, around, value);
            sink.emit(room).map(|_| ())
        }
        Outlet::Client(client) => by(client, room, around, value),
    }
}

// Writing to a string does not fail.
fn write(line: &mut String, around: Around<'_>, value: Value) {
    let _ = match value {
        Value::Counter(count) => write!(line, ":{count}|c"),
        Value::Gauge(level) => write!(line, ":{level}|g"),
        Value::Timer(time) => write_millis(line, time),
    };
    if let Some(rate) = around.rate.filter(|_| !matches!(value, Value::Gauge(_))) {
        let _ = write!(line, "|@{rate}");
    }
    if let Some(netloc) = around.netloc {
        let _ = write!(line, "|#netloc:{netloc}");
    }
}

/// Milliseconds, to the microsecond.
fn write_millis(line: &mut String, time: Duration) -> std::fmt::Result {
    let (millis, micros) = (time.as_millis(), time.subsec_micros() % 1_000);
    if micros == 0 {
        write!(line, ":{millis}|ms")
    } else {
        write!(line, ":{millis}.{micros:03}|ms")
    }
}

fn by(client: &StatsdClient, name: &str, around: Around<'_>, value: Value) -> io::Result<()> {
    macro_rules! send {
        ($metric:expr) => {{
            let mut metric = $metric;
            if let Some(netloc) = around.netloc {
                metric = metric.with_tag("netloc", netloc);
            }
            if let Some(rate) = around.rate.filter(|_| !matches!(value, Value::Gauge(_))) {
                metric = metric.with_sampling_rate(rate);
            }
            metric.try_send().map(|_| ()).map_err(io::Error::other)
        }};
    }
    match value {
        Value::Counter(count) => send!(client.count_with_tags(name, count)),
        Value::Gauge(level) => send!(client.gauge_with_tags(name, level)),
        Value::Timer(time) => send!(client.time_with_tags(name, time)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_name_value_type_rate_and_tags_in_that_order() {
        let around = Around { prefix: "dace.users.", netloc: None, rate: None };
        let all = Around { netloc: Some("a_80"), rate: Some(0.1), ..around };
        let time = |micros| Value::Timer(Duration::from_micros(micros));
        for (around, value, line) in [
            (around, Value::Counter(1), "x:1|c"),
            (around, time(12_000), "x:12|ms"),
            (around, time(12_034), "x:12.034|ms"),
            (around, Value::Gauge(3), "x:3|g"),
            (all, Value::Counter(1), "x:1|c|@0.1|#netloc:a_80"),
            (all, Value::Gauge(3), "x:3|g|#netloc:a_80"),
        ] {
            let mut room = String::from("x");
            write(&mut room, around, value);
            assert_eq!(room, line);
        }
    }
}
