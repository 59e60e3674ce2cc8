//! Grants, and clocks that do not agree.

use super::*;

fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

fn ten_a_second() -> SharedLimit {
    SharedLimit::new().rate(RateLimit::new(10, Duration::from_secs(1)).burst(1))
}

fn shares(now: Instant, limits: &[&SharedLimit]) -> Shares {
    Shares::new(now, limits.iter().copied().cloned().collect())
}

fn sent(grants: Result<Box<Grants>, Option<Duration>>) {
    grants.unwrap().note_sent(true);
}

#[test]
fn a_grant_is_given_back_when_it_is_dropped_and_its_token_unless_it_was_sent() {
    let limit = ten_a_second().max_open(2);
    let shares = shares(at(0), &[&limit]);
    drop(shares.take(at(0)).unwrap());
    assert_eq!((limit.open(), shares.snapshot(at(0))[0].rate_tokens), (0, Some(1)));
    let mut grants = shares.take(at(0)).unwrap();
    assert_eq!(limit.open(), 1);
    grants.note_sent(true);
    drop(grants);
    assert_eq!((limit.open(), shares.snapshot(at(0))[0].rate_tokens), (0, Some(0)));
    assert_eq!(shares.take(at(0)).unwrap_err(), Some(Duration::from_millis(100)));
}

#[test]
fn what_one_limit_granted_is_given_back_if_another_one_refuses() {
    let (wide, narrow) = (SharedLimit::new().max_open(9), SharedLimit::new().max_open(1));
    let shares = shares(at(0), &[&wide, &narrow]);
    let held = shares.take(at(0)).unwrap();
    assert_eq!(shares.take(at(0)).unwrap_err(), None);
    assert_eq!((wide.open(), narrow.open()), (1, 1));
    drop(held);
    assert_eq!((wide.open(), narrow.open()), (0, 0));
}

#[test]
fn clocks_of_different_runtimes_share_one_rate() {
    let limit = ten_a_second();
    // One began an hour ago, the other one now.
    let (old, new) = (shares(at(3_600_000), &[&limit]), shares(at(0), &[&limit]));
    for step in 0..100 {
        let (first, second) = if step % 2 == 0 { (&old, &new) } else { (&new, &old) };
        let time = |which: &Shares| {
            let begun = if core::ptr::eq(which, &old) { 3_600_000 } else { 0 };
            at(begun + step * 100)
        };
        sent(first.take(time(first)));
        let again = second.take(time(second)).unwrap_err();
        assert_eq!(again, Some(Duration::from_millis(100)), "{step}");
    }
    assert_eq!(limit.with(|state| state.clocks.len()), 2);
    drop(old);
    assert_eq!(limit.with(|state| state.clocks.len()), 1);
}

#[test]
fn a_clock_that_lags_or_goes_back_gets_no_token_early() {
    let limit = ten_a_second();
    let first = shares(at(0), &[&limit]);
    sent(first.take(at(5_000)));
    // Attached when the limit had been idle for five seconds: it believes what was said last.
    let late = shares(at(0), &[&limit]);
    assert_eq!(late.take(at(0)).unwrap_err(), Some(Duration::from_millis(100)));
    sent(late.take(at(100)));
    // The first one's clock goes back: time stands, and then goes on.
    assert!(first.take(at(1_000)).is_err());
    assert!(first.take(at(1_099)).is_err());
    sent(first.take(at(1_100)));
}

#[test]
fn what_limits_nothing_or_everybody_is_named() {
    let second = Duration::from_secs(1);
    for (limit, setting) in [
        (SharedLimit::new(), "shared_limit"),
        (SharedLimit::new().max_open(0), "shared_limit.max_open"),
        (SharedLimit::new().rate(RateLimit::new(1, second).burst(0)), "rate_limit.burst"),
    ] {
        assert_eq!(limit.validate().unwrap_err().setting(), setting);
    }
}

#[test]
fn a_setting_makes_a_limit_of_its_own() {
    let limit = SharedLimit::new().max_open(1);
    let held = shares(at(0), &[&limit]).take(at(0)).unwrap();
    let other = limit.clone().rate(RateLimit::new(1, Duration::from_secs(1)));
    assert_eq!((limit.open(), other.open()), (1, 0));
    assert!(limit.is(&limit.clone()) && !limit.is(&other));
    drop(held);
}

#[test]
fn readings_that_come_in_another_order_do_not_speed_the_rate_up() {
    let limit = ten_a_second();
    let (one, two) = (shares(at(0), &[&limit]), shares(at(0), &[&limit]));
    let mut granted = 0;
    // Ten seconds, every millisecond read by both, each time with an old reading in between.
    for millis in 0..10_000u64 {
        for (shares, now) in [(&one, millis), (&two, millis.saturating_sub(5)), (&one, millis)] {
            granted +=
                u32::from(shares.take(at(now)).map(|mut grants| grants.note_sent(true)).is_ok());
        }
    }
    assert!((99..=101).contains(&granted), "{granted}");
}

#[test]
fn a_clock_that_goes_back_or_runs_ahead_stops_nobody_for_long() {
    let limit = ten_a_second();
    let (one, two) = (shares(at(0), &[&limit]), shares(at(0), &[&limit]));
    sent(one.take(at(3_600_000)));
    // The other one's clock did not jump: it goes on from there.
    sent(two.take(at(100)).or_else(|_| two.take(at(200))));
    sent(one.take(at(0)).or_else(|_| one.take(at(100))));
}

#[test]
fn a_clock_that_goes_back_to_before_it_was_attached_goes_on_from_there() {
    let limit = ten_a_second();
    let shares = shares(at(100_000), &[&limit]);
    sent(shares.take(at(100_500)));
    assert_eq!(shares.take(at(50_000)).unwrap_err(), Some(Duration::from_millis(100)));
    sent(shares.take(at(50_100)));
}
