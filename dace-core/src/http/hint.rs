//! `Retry-After`: how long a server asks to be left alone (RFC 9110, 10.2.3).
//!
//! The value comes from a peer: it is read up to 64 bytes, and what is malformed is no hint.

use core::time::Duration;

/// The longest value that is looked at.
const LONGEST: usize = 64;

const DAY: u64 = 86_400;

/// The wait that a `Retry-After` asks for. A date is read against the answer's own `Date`, else against
/// the wall time, else it is no hint; one in the past asks for nothing.
pub(crate) fn retry_after(
    value: &[u8],
    date: Option<&[u8]>,
    unix_time: Option<Duration>,
) -> Option<Duration> {
    if value.len() > LONGEST {
        return None;
    }
    let value = value.trim_ascii();
    if !value.is_empty() && value.iter().all(u8::is_ascii_digit) {
        let seconds = value.iter().fold(0u64, |sum, digit| {
            sum.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
        });
        return Some(Duration::from_secs(seconds));
    }
    let until = unix_seconds(value)?;
    let now = date.and_then(unix_seconds).or(unix_time.map(|time| time.as_secs()))?;
    Some(Duration::from_secs(until.saturating_sub(now)))
}

/// Seconds since 1970 of an IMF-fixdate: `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7).
fn unix_seconds(text: &[u8]) -> Option<u64> {
    const MONTHS: [&[u8]; 12] = [
        b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov",
        b"Dec",
    ];
    const WEEKDAYS: [&[u8]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
    if text.len() != 29 || &text[3..5] != b", " || &text[25..] != b" GMT" {
        return None;
    }
    let separators = [(7, b' '), (11, b' '), (16, b' '), (19, b':'), (22, b':')];
    if separators.iter().any(|&(at, byte)| text[at] != byte) {
        return None;
    }
    let day = number(&text[5..7])?;
    let month = MONTHS.iter().position(|name| *name == &text[8..11])?;
    let year = number(&text[12..16])?;
    let (hour, minute, second) =
        (number(&text[17..19])?, number(&text[20..22])?, number(&text[23..25])?);
    // A leap second is read as the one before it.
    let second = if second == 60 { 59 } else { second };
    if year < 1970 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    if day == 0 || day > days_in_month(year, month) {
        return None;
    }
    let days =
        days_before_year(year) - days_before_year(1970) + days_before_month(year, month) + day - 1;
    if WEEKDAYS[(days % 7) as usize] != &text[..3] {
        return None;
    }
    Some(days * DAY + hour * 3600 + minute * 60 + second)
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |sum, digit| {
        digit.is_ascii_digit().then(|| sum * 10 + u64::from(digit - b'0'))
    })
}

const fn is_leap(year: u64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

const fn days_before_year(year: u64) -> u64 {
    let before = year - 1;
    365 * before + before / 4 - before / 100 + before / 400
}

fn days_in_month(year: u64, month: usize) -> u64 {
    match month {
        1 if is_leap(year) => 29,
        1 => 28,
        3 | 5 | 8 | 10 => 30,
        _ => 31,
    }
}

fn days_before_month(year: u64, month: usize) -> u64 {
    (0..month).map(|month| days_in_month(year, month)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &[u8] = b"Sun, 06 Nov 1994 08:49:37 GMT";

    #[test]
    fn seconds_and_dates_are_read_and_the_past_asks_for_nothing() {
        let after = |value: &[u8]| retry_after(value, Some(NOW), None).map(|wait| wait.as_secs());
        assert_eq!(after(b"120"), Some(120));
        assert_eq!(after(b" 0 "), Some(0));
        assert_eq!(after(b"99999999999999999999999"), Some(u64::MAX));
        assert_eq!(after(b"Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(after(b"Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
    }

    #[test]
    fn what_is_malformed_is_no_hint() {
        let long = [b'1'; 65];
        let cases: [&[u8]; 12] = [
            b"",
            b"-1",
            b"+1",
            b"1.5",
            b"1e3",
            b"soon",
            &long,
            b"Mon, 06 Nov 1994 08:49:37 GMT",
            b"Sun, 31 Feb 1994 08:49:37 GMT",
            b"Sun, 06 Nov 1994 24:49:37 GMT",
            b"Sunday, 06-Nov-94 08:49:37 GMT",
            b"Sun, 06 Nov 1994 08:49:37 CET",
        ];
        for value in cases {
            assert_eq!(retry_after(value, Some(NOW), None), None, "{value:?}");
        }
        assert_eq!(retry_after(NOW, None, None), None, "nothing to read a date against");
    }

    #[test]
    fn every_second_that_httpdate_writes_is_read() {
        let mut rng = fastrand::Rng::with_seed(1);
        for _ in 0..10_000 {
            let seconds = rng.u64(0..253_402_300_800);
            let time = std::time::UNIX_EPOCH + Duration::from_secs(seconds);
            let text = httpdate::fmt_http_date(time);
            assert_eq!(unix_seconds(text.as_bytes()), Some(seconds), "{text}");
        }
    }
}
