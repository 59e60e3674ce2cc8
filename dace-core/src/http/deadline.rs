//! A deadline on its way from service to service: as the time that is left, in a header.

use core::fmt;
use core::time::Duration;

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;

/// The longest value that is looked at.
const LONGEST: usize = 64;

/// The most that a `grpc-timeout` can say in one unit: eight digits.
const EIGHT_DIGITS: u128 = 99_999_999;

/// The header that says how much time is left, and how.
///
/// For [`DependencyBuilder::deadline_header`](crate::DependencyBuilder::deadline_header), which writes
/// it; and for servers, to [`read`](Self::read) what came in and hand it on:
///
/// ```
/// use core::time::Duration;
/// use dace_core::{DeadlineHeader, Dependency, HttpBackend, HttpError, Runtime};
///
/// # async fn example<R: Runtime, B: HttpBackend>(users: Dependency<R, B>, incoming: Option<&str>) {
/// // The request that is being served came with what its caller has left.
/// let left = incoming.and_then(|value| DeadlineHeader::grpc().read(value));
/// let user = users
///     .call(|call| async move { call.http().get("/user").send().await?.text().await })
///     .within(left.unwrap_or(Duration::MAX))
///     .await;
/// # drop(user);
/// # }
/// assert_eq!(DeadlineHeader::grpc().read("250m"), Some(Duration::from_millis(250)));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct DeadlineHeader {
    name: Cow<'static, str>,
    form: Form,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    /// At most eight digits and a unit.
    Grpc,
    Millis,
}

impl DeadlineHeader {
    /// `grpc-timeout`, such as `250m`: at most eight digits and a unit, from `H` to `n`.
    pub const fn grpc() -> Self {
        Self { name: Cow::Borrowed("grpc-timeout"), form: Form::Grpc }
    }

    /// `x-envoy-expected-rq-timeout-ms`, in whole milliseconds.
    pub const fn envoy() -> Self {
        Self { name: Cow::Borrowed("x-envoy-expected-rq-timeout-ms"), form: Form::Millis }
    }

    /// A header of your own, in whole milliseconds.
    pub fn millis(name: &str) -> Self {
        Self { name: Cow::Owned(name.to_ascii_lowercase()), form: Form::Millis }
    }

    /// Its name, in lower case.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What a value says is left. `None` if it is malformed, or longer than 64 bytes; what is too large
    /// is as large as can be. For [`within`](crate::Execution::within).
    pub fn read(&self, value: &str) -> Option<Duration> {
        let value = value.trim();
        if value.len() > LONGEST {
            return None;
        }
        match self.form {
            Form::Millis => digits(value).map(Duration::from_millis),
            Form::Grpc => {
                let (at, unit) = value.char_indices().next_back()?;
                let number = digits(&value[..at]).filter(|_| at <= 8)?;
                Some(match unit {
                    'H' => Duration::from_secs(number * 3600),
                    'M' => Duration::from_secs(number * 60),
                    'S' => Duration::from_secs(number),
                    'm' => Duration::from_millis(number),
                    'u' => Duration::from_micros(number),
                    'n' => Duration::from_nanos(number),
                    _ => return None,
                })
            }
        }
    }

    /// The value that says that so much is left: never more than that, but for what is below a
    /// millisecond where it counts in those, since 0 means "for ever" to some.
    pub(crate) fn write(&self, left: Duration) -> String {
        let nanos = left.as_nanos();
        match self.form {
            Form::Millis => format!("{}", left.as_millis().max(1).min(u128::from(u64::MAX))),
            Form::Grpc => {
                const UNITS: [(u128, char); 6] = [
                    (1, 'n'),
                    (1_000, 'u'),
                    (1_000_000, 'm'),
                    (1_000_000_000, 'S'),
                    (60_000_000_000, 'M'),
                    (3_600_000_000_000, 'H'),
                ];
                let fits = |(size, _): &&(u128, char)| nanos / size <= EIGHT_DIGITS;
                let (size, unit) = UNITS.iter().find(fits).unwrap_or(&UNITS[5]);
                format!("{}{unit}", (nanos / size).min(EIGHT_DIGITS))
            }
        }
    }
}

/// Digits alone; what is too large is as large as can be.
fn digits(text: &str) -> Option<u64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(text.parse().unwrap_or(u64::MAX))
}

impl fmt::Debug for DeadlineHeader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("DeadlineHeader").field(&self.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString as _;

    #[test]
    fn what_is_left_is_read_in_every_form_and_never_overflows() {
        let grpc = [
            ("100m", Some(Duration::from_millis(100))),
            (" 1H ", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("3S", Some(Duration::from_secs(3))),
            ("4u", Some(Duration::from_micros(4))),
            ("5n", Some(Duration::from_nanos(5))),
            ("0m", Some(Duration::ZERO)),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("100000000m", None),
            ("100", None),
            ("m", None),
            ("", None),
            ("-1m", None),
            ("1.5S", None),
            ("1x", None),
            ("1é", None),
        ];
        for (value, expected) in grpc {
            assert_eq!(DeadlineHeader::grpc().read(value), expected, "{value:?}");
        }
        let long = "1".repeat(65);
        for header in [DeadlineHeader::envoy(), DeadlineHeader::millis("X-Left")] {
            assert_eq!(header.read("250"), Some(Duration::from_millis(250)));
            assert_eq!(header.read(&long[..64]), Some(Duration::from_millis(u64::MAX)));
            for wrong in ["", "-1", "1.5", "5ms", &long] {
                assert_eq!(header.read(wrong), None, "{wrong:?}");
            }
        }
        assert_eq!(DeadlineHeader::millis("X-Left").name(), "x-left");
    }

    #[test]
    fn what_is_written_is_never_more_than_what_is_left_and_close_to_it() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..20_000 {
            let left = Duration::from_nanos(rng.u64(1..=u64::MAX) >> rng.u32(0..64));
            let text = DeadlineHeader::grpc().write(left);
            assert!(text.len() <= 9, "{text}");
            let read = DeadlineHeader::grpc().read(&text).unwrap();
            assert!(read <= left && left - read <= left / 10_000, "{left:?}: {text}");
            let text = DeadlineHeader::envoy().write(left);
            let read = DeadlineHeader::envoy().read(&text).unwrap();
            let milli = Duration::from_millis(1);
            assert!(read <= left.max(milli) && !read.is_zero() && left < read + milli, "{text}");
        }
        assert_eq!(DeadlineHeader::grpc().write(Duration::MAX), "99999999H");
        assert_eq!(DeadlineHeader::envoy().write(Duration::MAX), u64::MAX.to_string());
    }
}
