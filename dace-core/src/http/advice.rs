//! What an answer says of trying again, beside `Retry-After`: a pushback of gRPC, and what somebody asked
//! for.
//!
//! The values come from a peer: they are read up to 64 bytes (256 of a `RateLimit`), and what is malformed
//! is no hint; but of a pushback, where gRPC says what it means.

use core::time::Duration;

use super::{Head, Header, hint};
use crate::policy::Hints;

/// The longest number that is looked at.
const LONGEST: usize = 64;

/// The longest `RateLimit` that is looked at.
const LONGEST_LIMITS: usize = 256;

/// Numbers from here on are seconds since 1970: as a wait they would be thirty years.
const EPOCH: u64 = 1_000_000_000;

/// Numbers from here on are no seconds at all.
const NO_SECONDS: u64 = 100_000_000_000;

/// What an answer says of trying again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Advice {
    /// After this time.
    pub(crate) wait: Option<Duration>,
    /// Not at all.
    pub(crate) no_retry: bool,
}

impl Advice {
    /// What several answers say together.
    pub(crate) fn and(self, other: Self) -> Self {
        Self { wait: self.wait.max(other.wait), no_retry: self.no_retry || other.no_retry }
    }
}

/// What a head says. `retry_after` is what it says by that header, which goes first; `unix_time` is asked
/// only where it is needed.
pub(crate) fn of_head(
    hints: &Hints,
    head: &impl Head,
    retry_after: Option<Duration>,
    unix_time: impl FnOnce() -> Option<Duration>,
) -> Advice {
    let get = |name: &str| head.get(name);
    let advice = of_fields(hints, &get);
    let reset = || {
        let throttles = match head.status() {
            429 | 503 => true,
            403 => is_used_up(&get),
            _ => false,
        };
        (hints.rate_limit_reset && throttles).then(|| reset(&get, unix_time())).flatten()
    };
    Advice { wait: retry_after.or_else(reset).max(advice.wait), ..advice }
}

/// What trailers say.
pub(crate) fn of_trailers(hints: &Hints, trailers: &[Header]) -> Advice {
    let get = |name: &str| super::header::find(trailers, name).map(|header| &header.value()[..]);
    of_fields(hints, &get)
}

fn of_fields<'a>(hints: &Hints, get: &impl Fn(&str) -> Option<&'a [u8]>) -> Advice {
    let mut advice = Advice::default();
    if let Some((name, value)) = &hints.no_retry {
        let says = |said: &[u8]| said.trim_ascii().eq_ignore_ascii_case(value.as_bytes());
        advice.no_retry = get(name).is_some_and(says);
    }
    let went_well = || get("grpc-status").is_some_and(|status| status.trim_ascii() == b"0");
    if hints.grpc_pushback {
        if let Some(value) = get("grpc-retry-pushback-ms").filter(|_| !went_well()) {
            match number(value) {
                Some(millis) => advice.wait = Some(Duration::from_millis(millis)),
                None => advice.no_retry = true,
            }
        }
    }
    advice
}

/// When a quota is full again, by the newest header that says so.
fn reset<'a>(
    get: &impl Fn(&str) -> Option<&'a [u8]>,
    unix_time: Option<Duration>,
) -> Option<Duration> {
    if let Some(wait) = get("ratelimit").and_then(of_limits) {
        return Some(wait);
    }
    let value = get("ratelimit-reset").or_else(|| get("x-ratelimit-reset"))?;
    let seconds = seconds(value)?;
    if seconds < EPOCH {
        return Some(Duration::from_secs(seconds));
    }
    let now = get("date").and_then(hint::unix_seconds).or(unix_time.map(|time| time.as_secs()))?;
    Some(Duration::from_secs(seconds.saturating_sub(now)))
}

/// Whether nothing is left of a quota.
fn is_used_up<'a>(get: &impl Fn(&str) -> Option<&'a [u8]>) -> bool {
    let left = get("ratelimit-remaining").or_else(|| get("x-ratelimit-remaining"));
    left.and_then(number) == Some(0) || get("ratelimit").and_then(of_limits).is_some()
}

/// `"default";r=0;t=30, "daily";r=5;t=3600`: the reset of the quotas that are used up, the latest of
/// them; or, in the older form, `limit=10, remaining=0, reset=30`.
fn of_limits(value: &[u8]) -> Option<Duration> {
    if value.len() > LONGEST_LIMITS {
        return None;
    }
    let mut latest = None;
    let (mut left, mut time) = (None, None);
    let mut quoted = false;
    // What separates is outside of quotes.
    let parts = value.split_inclusive(|byte| {
        quoted ^= *byte == b'"';
        !quoted && matches!(byte, b';' | b',')
    });
    for part in parts {
        let (part, ends_limit) = match part {
            [part @ .., b','] => (part, true),
            [part @ .., b';'] => (part, false),
            part => (part, true),
        };
        let mut pair = part.splitn(2, |byte| *byte == b'=');
        let (name, said) = (pair.next()?.trim_ascii(), pair.next().and_then(number));
        match name {
            b"r" | b"remaining" => left = said,
            b"t" | b"reset" => time = said,
            _ => {}
        }
        // The older form is one limit, whose parts are separated by commas.
        if ends_limit && name != b"limit" && name != b"remaining" {
            if left.take() == Some(0) {
                latest = latest.max(time);
            }
            time = None;
        }
    }
    latest.map(Duration::from_secs)
}

/// Digits alone; what is too large is as large as can be.
fn number(value: &[u8]) -> Option<u64> {
    let value = value.get(..LONGEST.min(value.len())).filter(|_| value.len() <= LONGEST)?;
    let value = value.trim_ascii();
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(
        value.iter().fold(0u64, |sum, digit| {
            sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
        }),
    )
}

/// Whole seconds, rounded up.
fn seconds(value: &[u8]) -> Option<u64> {
    let mut parts = value.trim_ascii().splitn(2, |byte| *byte == b'.');
    let whole = number(parts.next()?)?;
    let rest = match parts.next() {
        Some(rest) => u64::from(number(rest)? > 0),
        None => 0,
    };
    Some(whole.saturating_add(rest)).filter(|seconds| *seconds < NO_SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    struct Said(u16, Vec<(&'static str, &'static str)>);

    impl Head for Said {
        fn status(&self) -> u16 {
            self.0
        }

        fn version(&self) -> crate::http::Version {
            crate::http::Version::Http11
        }

        fn get(&self, name: &str) -> Option<&[u8]> {
            let found = self.1.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.as_bytes())
        }

        fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
            self.1.iter().map(|(name, value)| (*name, value.as_bytes()))
        }
    }

    fn waits(status: u16, fields: &[(&'static str, &'static str)]) -> Option<u64> {
        let hints = Hints::new().rate_limit_reset(true);
        let now = Some(Duration::from_secs(1_800_000_000));
        let advice = of_head(&hints, &Said(status, fields.to_vec()), None, || now);
        assert!(!advice.no_retry);
        advice.wait.map(|wait| wait.as_secs())
    }

    #[test]
    fn a_reset_is_read_in_every_form() {
        for name in ["ratelimit-reset", "x-ratelimit-reset"] {
            let cases = [
                ("30", Some(30)),
                (" 0 ", Some(0)),
                ("1.2", Some(2)),
                ("1800000060", Some(60)),
                ("1800000059.5", Some(60)),
                ("1700000000", Some(0)),
                ("1800000000000", None),
                ("99999999999999999999999999", None),
                ("-1", None),
                ("soon", None),
                ("1.x", None),
                ("", None),
            ];
            for (value, expected) in cases {
                assert_eq!(waits(429, &[(name, value)]), expected, "{value:?}");
            }
        }
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(waits(503, &[("x-ratelimit-reset", "1800000000"), date]), Some(1_015_888_223));
        let limits = [
            ("\"default\";r=0;t=30", Some(30)),
            ("\"a\";r=0;t=5, \"b\";r=0;t=7, \"c\";r=1;t=90", Some(7)),
            ("\"a;r=0;t=9\";r=3;t=4", None),
            ("\"a, b\"; r=0; t=6", Some(6)),
            ("limit=10, remaining=0, reset=8", Some(8)),
            ("limit=10, remaining=2, reset=8", None),
            ("\"a\";r=0", None),
            ("\"a\";r=0;t=-1", None),
            ("\"a;r=0;t=5", None),
            ("", None),
        ];
        for (value, expected) in limits {
            assert_eq!(waits(429, &[("ratelimit", value)]), expected, "{value:?}");
        }
        let both = [("ratelimit", "\"a\";r=0;t=3"), ("x-ratelimit-reset", "9")];
        assert_eq!(waits(429, &both), Some(3));
    }

    #[test]
    fn a_reset_counts_where_the_answer_throttles() {
        let reset = ("x-ratelimit-reset", "30");
        for (status, remaining, expected) in [
            (200, "0", None),
            (404, "0", None),
            (500, "0", None),
            (403, "0", Some(30)),
            (403, "1", None),
            (403, "", None),
            (429, "1", Some(30)),
            (503, "", Some(30)),
        ] {
            let fields = [reset, ("x-ratelimit-remaining", remaining)];
            assert_eq!(waits(status, &fields), expected, "{status} {remaining:?}");
        }
        let said = Said(429, [reset].to_vec());
        let retry_after = Some(Duration::from_secs(2));
        let hints = Hints::new().rate_limit_reset(true);
        assert_eq!(of_head(&hints, &said, retry_after, || None).wait, retry_after, "it goes first");
        assert_eq!(of_head(&Hints::new(), &said, None, || None), Advice::default());
    }

    #[test]
    fn a_pushback_is_the_wait_or_says_not_to_try_again() {
        let (hints, deaf) = (Hints::new(), Hints::new().grpc_pushback(false));
        let wait = |millis| Advice { wait: Some(Duration::from_millis(millis)), no_retry: false };
        let never = Advice { wait: None, no_retry: true };
        for (value, expected) in [
            ("0", wait(0)),
            ("250", wait(250)),
            ("99999999999999999999999", wait(u64::MAX)),
            ("-1", never),
            ("soon", never),
            ("", never),
            ("1.5", never),
            ("+1", never),
        ] {
            let fields = [("grpc-retry-pushback-ms", value)];
            let said = Said(200, fields.to_vec());
            assert_eq!(of_head(&hints, &said, None, || None), expected, "{value:?}");
            let trailers = [Header::new(fields[0].0, value).unwrap()];
            assert_eq!(of_trailers(&hints, &trailers), expected, "{value:?}");
            assert_eq!(of_trailers(&deaf, &trailers), Advice::default());
        }
        let well = Said(200, [("grpc-status", "0"), ("grpc-retry-pushback-ms", "-1")].to_vec());
        assert_eq!(of_head(&hints, &well, None, || None), Advice::default());
    }

    #[test]
    fn a_header_of_ones_own_says_not_to_try_again() {
        let hints = Hints::new().no_retry("X-Should-Retry", "false");
        for (value, no_retry) in [("false", true), (" FALSE ", true), ("true", false), ("", false)]
        {
            let said = Said(500, [("x-should-retry", value)].to_vec());
            assert_eq!(of_head(&hints, &said, None, || None).no_retry, no_retry, "{value:?}");
        }
    }

    #[test]
    fn nothing_that_a_peer_writes_is_too_much() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..50_000 {
            let text: Vec<u8> =
                (0..rng.usize(0..80)).map(|_| *rng.choice(b"01239;,=rt\"- .a").unwrap()).collect();
            let _ = (of_limits(&text), number(&text), seconds(&text));
        }
    }

    #[test]
    fn a_part_of_a_second_is_a_second_more_and_no_part_is_none() {
        let read = ["5", "5.0", "5.2", "5.x"].map(|text| seconds(text.as_bytes()));
        assert_eq!(read, [Some(5), Some(5), Some(6), None]);
    }
}
