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

/// Seconds since 1970 of a date in any of the three forms that a recipient must read (RFC 9110, 5.6.7).
pub(super) fn unix_seconds(text: &[u8]) -> Option<u64> {
    let field = |from: usize, to: usize| text.get(from..to);
    let marks = |marks: &[(usize, u8)]| marks.iter().all(|&(at, mark)| text.get(at) == Some(&mark));
    let (weekday, day, month, year, time) = match text.len() {
        // `Sun, 06 Nov 1994 08:49:37 GMT`
        29 if text.ends_with(b" GMT")
            && marks(&[(3, b','), (4, b' '), (7, b' '), (11, b' '), (16, b' ')]) =>
        {
            (field(0, 3)?, number(field(5, 7)?)?, field(8, 11)?, number(field(12, 16)?)?, 17)
        }
        // `Sun Nov  6 08:49:37 1994`
        24 if marks(&[(3, b' '), (7, b' '), (10, b' '), (19, b' ')]) => {
            let day = number(field(8, 10)?.trim_ascii_start())?;
            (field(0, 3)?, day, field(4, 7)?, number(field(20, 24)?)?, 11)
        }
        // `Sunday, 06-Nov-94 08:49:37 GMT`
        length => {
            let comma = length.checked_sub(24)?;
            let at = comma + 2;
            let [first, second, blank] = [at + 2, at + 6, at + 9];
            let marked = marks(&[
                (comma, b','),
                (comma + 1, b' '),
                (first, b'-'),
                (second, b'-'),
                (blank, b' '),
            ]);
            let name = field(0, comma).filter(|_| marked && text.ends_with(b" GMT"))?;
            if !name.ends_with(b"day") {
                return None;
            }
            let year = number(field(at + 7, at + 9)?)?;
            let year = if year < 70 { 2000 + year } else { 1900 + year };
            (field(0, 3)?, number(field(at, at + 2)?)?, field(at + 3, at + 6)?, year, at + 10)
        }
    };
    seconds_of(weekday, day, month, year, field(time, time + 8)?)
}

/// The same of a date's parts, if there is such a date.
fn seconds_of(weekday: &[u8], day: u64, month: &[u8], year: u64, time: &[u8]) -> Option<u64> {
    const MONTHS: [&[u8]; 12] = [
        b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov",
        b"Dec",
    ];
    const WEEKDAYS: [&[u8]; 7] = [b"Thu", b"Fri", b"Sat", b"Sun", b"Mon", b"Tue", b"Wed"];
    let month = MONTHS.iter().position(|name| *name == month)?;
    if time[2] != b':' || time[5] != b':' {
        return None;
    }
    let (hour, minute, second) = (number(&time[..2])?, number(&time[3..5])?, number(&time[6..])?);
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
    if WEEKDAYS[(days % 7) as usize] != weekday {
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

    /// D7: every form of `Retry-After` is read or ignored, and none makes a call wait too long.
    #[test]
    fn seconds_and_dates_are_read_and_the_past_asks_for_nothing() {
        let after = |value: &[u8]| retry_after(value, Some(NOW), None).map(|wait| wait.as_secs());
        assert_eq!(after(b"120"), Some(120));
        assert_eq!(after(b" 0 "), Some(0));
        assert_eq!(after(b"99999999999999999999999"), Some(u64::MAX));
        assert_eq!(after(b"Sun, 06 Nov 1994 08:50:37 GMT"), Some(60));
        assert_eq!(after(b"Sunday, 06-Nov-94 08:50:37 GMT"), Some(60));
        assert_eq!(after(b"Sun Nov  6 08:50:37 1994"), Some(60));
        assert_eq!(after(b"Sun, 06 Nov 1994 08:00:00 GMT"), Some(0));
    }

    /// D7: every form of `Retry-After` is read or ignored, and none makes a call wait too long.
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
            b"Noday, 06-Nov-94 08:49:37 GMT",
            b"Sun, 06 Nov 1994 08:49:37 CET",
        ];
        for value in cases {
            assert_eq!(retry_after(value, Some(NOW), None), None, "{value:?}");
        }
        assert_eq!(retry_after(NOW, None, None), None, "nothing to read a date against");
    }

    #[test]
    fn no_text_is_read_otherwise_than_httpdate_reads_it() {
        let mut rng = fastrand::Rng::with_seed(2);
        let forms: [&[u8]; 3] =
            [NOW, b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994"];
        for round in 0..60_000 {
            let mut text = forms[round % 3].to_vec();
            for _ in 0..rng.usize(0..3) {
                let at = rng.usize(0..text.len());
                text[at] = *rng.choice(b"0123456789 :-,SunMoTeGT\xff").unwrap();
            }
            if rng.u8(0..10) == 0 {
                text.truncate(rng.usize(0..=text.len()));
            }
            let Ok(shown) = core::str::from_utf8(&text) else {
                assert_eq!(unix_seconds(&text), None);
                continue;
            };
            // httpdate does not look at the weekday; what is read here, it reads alike.
            if let Some(seconds) = unix_seconds(&text) {
                let time = std::time::UNIX_EPOCH + Duration::from_secs(seconds);
                assert_eq!(httpdate::parse_http_date(shown).ok(), Some(time), "{shown:?}");
            }
        }
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
