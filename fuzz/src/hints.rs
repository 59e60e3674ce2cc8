//! `Retry-After` and its relatives: read as others read them, and no wait is longer than was allowed.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use arbitrary::{Result, Unstructured};
use bytes::Bytes;
use dace::http::Header;
use dace::sim::Sim;
use dace::{Backoff, DeadlineHeader, Hints, HttpError};

use super::peer::{Answer, Peer};
use super::{Call, Dependency};

const NAMES: [&str; 9] = [
    "retry-after",
    "date",
    "ratelimit",
    "ratelimit-reset",
    "x-ratelimit-reset",
    "x-ratelimit-remaining",
    "grpc-retry-pushback-ms",
    "grpc-status",
    "x-should-retry",
];

/// The longest wait that the peer may ask for, and the jitter that comes on top.
const LONGEST: Duration = Duration::from_secs(8);
const JITTER: Duration = Duration::from_secs(2);

/// The wall time at which a simulation begins.
const NOW: u64 = 1_700_000_000;

/// A status, what is to be read of the answer, and its headers and trailers.
pub fn hints(data: &[u8]) {
    // Too few bytes are no case.
    let _ = run(Unstructured::new(data));
}

struct Case {
    answer: Answer,
    reset: bool,
    pushback: bool,
    own: bool,
    deadline: DeadlineHeader,
    left: Duration,
}

fn run(mut data: Unstructured<'_>) -> Result<()> {
    let mut answer = Answer::status(*data.choose(&[200, 403, 429, 500, 503])?);
    let (reset, pushback, own) = (data.arbitrary()?, data.arbitrary()?, data.arbitrary()?);
    let deadline = match data.arbitrary()? {
        true => DeadlineHeader::grpc(),
        false => DeadlineHeader::envoy(),
    };
    let left = Duration::from_nanos(data.arbitrary()?);
    for _ in 0..data.int_in_range(0..=5u8)? {
        let name = *data.choose(&NAMES)?;
        let (length, trails) = (data.int_in_range(0..=300usize)?, data.ratio(1u8, 5)?);
        let value = data.bytes(length.min(data.len()))?;
        if !trails {
            answer = answer.header(name, value);
        } else if let Some(field) = Header::new(name, Bytes::copy_from_slice(value)) {
            answer.trailers.push(field);
        }
    }
    check_deadline(&String::from_utf8_lossy(data.take_rest()));
    check(&Case { answer, reset, pushback, own, deadline, left });
    Ok(())
}

fn check(case: &Case) {
    let mut hints = Hints::new().rate_limit_reset(case.reset).grpc_pushback(case.pushback);
    if case.own {
        hints = hints.no_retry("x-should-retry", "false");
    }
    let sim = Sim::new(1);
    let peer = Peer::new([case.answer.clone(), Answer::status(200), Answer::status(200)]);
    let dependency = Dependency::builder("test")
        .no_timeout()
        .retry_attempts(1)
        .circuit_reset_timeout(Duration::ZERO)
        .backoff(Backoff::new().base(Duration::ZERO))
        .hint_max(LONGEST)
        .hints(hints)
        .deadline_header(case.deadline.clone())
        .build_with(sim.runtime(), peer.clone())
        .expect("the settings are right");
    let said = Arc::new(Mutex::new(None));
    let get = |said: &Arc<Mutex<Option<_>>>| {
        let said = said.clone();
        dependency.call(move |call: Call| {
            let said = said.clone();
            async move {
                let mut response = call.http().get("http://a/").send().await?;
                while response.chunk().await?.is_some() {}
                said.lock().unwrap().get_or_insert(response.retry_after());
                response.error_for_status().map(drop)
            }
        })
    };
    // Whether it went well is not the question here.
    let _: std::result::Result<(), dace::Error<HttpError>> = sim.run(get(&said));
    assert!(sim.elapsed() <= LONGEST + JITTER, "waited {:?}", sim.elapsed());
    let requests = peer.requests().len();
    assert!((1..=2).contains(&requests));
    if says_no_retry(case) {
        assert_eq!(requests, 1, "it was told not to try again");
    }
    let said = said.lock().unwrap().take().expect("there was an answer");
    if !case.reset && !case.pushback {
        match expected(&case.answer) {
            Known::Wait(wait) => assert_eq!(said, wait, "{:?}", case.answer),
            Known::DateMaybe => {}
        }
    }
    // However long it asked for, after the longest pause the server is asked again.
    sim.advance(LONGEST + JITTER);
    let last = sim.run(get(&Arc::default()).within(case.left));
    let sent = peer.requests();
    match case.left {
        Duration::ZERO => assert!(sent.is_empty()),
        left => {
            last.expect("the server is asked again, and answers");
            let header =
                sent[0].headers.iter().find(|header| header.name() == case.deadline.name());
            let Some(value) = header.map(Header::value) else {
                let never = sim.elapsed() + left >= Duration::from_nanos(u64::MAX);
                return assert!(never, "a call with a deadline tells it");
            };
            let told = std::str::from_utf8(value).ok().and_then(|value| case.deadline.read(value));
            assert!(
                told.expect("it is well formed") <= left.max(Duration::from_millis(1)),
                "{value:?} of {left:?}"
            );
        }
    }
}

fn says_no_retry(case: &Case) -> bool {
    let answer = &case.answer;
    let head = |name: &str| {
        let found = answer.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_slice())
    };
    let trailer = |name: &str| {
        let found = answer.trailers.iter().find(|field| field.name() == name);
        found.map(|field| &field.value()[..])
    };
    says_no(case, &head) || says_no(case, &trailer)
}

fn says_no<'a>(case: &Case, get: &dyn Fn(&str) -> Option<&'a [u8]>) -> bool {
    let get = |name| get(name).map(<[u8]>::trim_ascii);
    let own = get("x-should-retry").is_some_and(|said| said.eq_ignore_ascii_case(b"false"));
    let went_well = get("grpc-status") == Some(b"0");
    let negative = get("grpc-retry-pushback-ms").is_some_and(|said| said.starts_with(b"-"));
    case.own && own || case.pushback && negative && !went_well
}

enum Known {
    Wait(Option<Duration>),
    /// A date that `httpdate` reads, and that may have the wrong weekday, which it does not look at.
    DateMaybe,
}

/// What the answer's `Retry-After` says, by other means.
fn expected(answer: &Answer) -> Known {
    let get = |name: &str| {
        let found = answer.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| &value[..])
    };
    let value = match get("retry-after") {
        Some(value) if matches!(answer.status, 429 | 503) && value.len() <= 64 => {
            value.trim_ascii()
        }
        _ => return Known::Wait(None),
    };
    if !value.is_empty() && value.iter().all(u8::is_ascii_digit) {
        let seconds = String::from_utf8_lossy(value).parse().unwrap_or(u64::MAX);
        return Known::Wait(Some(Duration::from_secs(seconds)));
    }
    let exact = |text: &[u8]| {
        let text = std::str::from_utf8(text).ok()?;
        let time = httpdate::parse_http_date(text).ok()?;
        let seconds = time.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs();
        Some((httpdate::fmt_http_date(time) == text, seconds))
    };
    let now = get("date").and_then(exact).unwrap_or((true, NOW));
    match (exact(value), now) {
        (None, _) => Known::Wait(None),
        (Some((true, until)), (true, now)) => {
            Known::Wait(Some(Duration::from_secs(until.saturating_sub(now))))
        }
        _ => Known::DateMaybe,
    }
}

/// A deadline that came in is read by its grammar, and by nothing else.
fn check_deadline(text: &str) {
    let value = text.trim();
    let is_number = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    let unit = value.chars().next_back().unwrap_or_default();
    let is_grpc = "HMSmun".contains(unit)
        && value.len() <= 9
        && value.strip_suffix(unit).is_some_and(is_number);
    assert_eq!(DeadlineHeader::grpc().read(text).is_some(), is_grpc, "{text:?}");
    let is_millis = value.len() <= 64 && is_number(value);
    assert_eq!(DeadlineHeader::envoy().read(text).is_some(), is_millis, "{text:?}");
}
