//! Names fit for other people's formats, and a bound on how many there are.
//!
//! Whoever chooses the URLs chooses the netlocs, so none goes out as it is, and only so many are told
//! apart: each is a time series somewhere that somebody keeps and pays for.

#[cfg(any(feature = "statsd", feature = "metrics"))]
use std::collections::HashMap;

#[cfg(any(feature = "statsd", feature = "metrics"))]
use dace_core::Netloc;

/// Netlocs that are told apart; the rest is [`OTHER`].
#[cfg(any(feature = "statsd", feature = "metrics"))]
pub(crate) const NETLOCS: usize = 1_000;

/// The name of what is told apart no more.
#[cfg(any(feature = "statsd", feature = "metrics"))]
pub(crate) const OTHER: &str = "other";

/// The longest name of a netloc, in bytes; host names end at 253.
const LONGEST: usize = 260;

/// `host_port`: nothing but letters, digits, `_`, `.` and `-`.
#[cfg(feature = "statsd")]
pub(crate) fn host_port(netloc: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    netloc.bytes().take(LONGEST).map(|b| if plain(b) { char::from(b) } else { '_' }).collect()
}

/// `host:port`: printable, on one line, without quotes.
#[cfg(any(feature = "metrics", feature = "tracing"))]
pub(crate) fn printable(netloc: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"'\\`".contains(&byte);
    netloc.bytes().take(LONGEST).map(|b| if plain(b) { char::from(b) } else { '_' }).collect()
}

/// Something for each of the first [`NETLOCS`] netlocs, and one thing for the rest.
#[cfg(any(feature = "statsd", feature = "metrics"))]
#[derive(Debug)]
pub(crate) struct ByNetloc<T> {
    known: HashMap<Netloc, T>,
    other: Option<T>,
}

#[cfg(any(feature = "statsd", feature = "metrics"))]
impl<T> ByNetloc<T> {
    pub(crate) fn new() -> Self {
        Self { known: HashMap::new(), other: None }
    }

    /// What belongs to the netloc, made from its name if it is new.
    pub(crate) fn of(&mut self, netloc: &Netloc, make: impl FnOnce(&str) -> T) -> &mut T {
        if self.known.len() >= NETLOCS && !self.known.contains_key(netloc) {
            return self.other.get_or_insert_with(|| make(OTHER));
        }
        self.known.entry(netloc.clone()).or_insert_with_key(|netloc| make(netloc.as_str()))
    }
}

#[cfg(all(test, feature = "statsd", feature = "metrics"))]
mod tests {
    use super::*;

    #[test]
    fn a_name_holds_nothing_that_a_format_could_trip_over() {
        assert_eq!(host_port("10.0.0.1:8080"), "10.0.0.1_8080");
        assert_eq!(host_port("[::1]:80"), "___1__80");
        assert_eq!(host_port("a|b#c\nd:1\u{1b}[m"), "a_b_c_d_1__m");
        assert_eq!(printable("a:80"), "a:80");
        assert_eq!(printable("a\"b\n\u{1b}[31mc d"), "a_b__[31mc_d");
        assert_eq!(host_port(&"x".repeat(300)).len(), LONGEST);
    }

    #[test]
    fn only_so_many_netlocs_are_told_apart() {
        let mut seen = ByNetloc::new();
        for number in 0..100_000 {
            let target: dace_core::Target = format!("http://h{number}:80").parse().unwrap();
            *seen.of(target.netloc(), |_| 0) += 1;
        }
        assert_eq!((seen.known.len(), seen.other), (NETLOCS, Some(100_000 - NETLOCS)));
    }
}
