//! A table of class × replay safety × settings, and the times.

use super::*;
use crate::policy::{Backoff, Budget};

const fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn policy() -> Policy {
    Policy::new().backoff(Backoff::new().base(Duration::ZERO))
}

fn failed(class: Class) -> Failed {
    Failed {
        class,
        replay_safe: true,
        unsafe_sent: false,
        advice: Advice::default(),
        attempts: 1,
        free_used: false,
        deadline: at(5_000),
    }
}

fn decide(
    now: Instant,
    policy: &Policy,
    tokens: &mut Tokens,
    failed: &Failed,
    outlook: Outlook,
) -> Result<Retry, Why> {
    super::decide(now, policy, &mut fastrand::Rng::with_seed(7), tokens, failed, outlook)
}

/// The decision at once, with a full budget and somebody who would take it.
fn decided(policy: &Policy, failed: &Failed) -> Result<Retry, Why> {
    decide(at(0), policy, &mut Tokens::new(&policy.budget), failed, Outlook::Open)
}

#[test]
fn every_class_says_whether_it_is_retried() {
    const YES: Result<(), Why> = Ok(());
    const UNSAFE: Result<(), Why> = Err(Why::NotReplaySafe);
    const CLASS: Result<(), Why> = Err(Why::Class);
    // Replay-safe or not without `retry_on_timeout`, replay-safe or not with it.
    for (class, expected) in [
        (Class::Success, [CLASS; 4]),
        (Class::Unsent, [YES; 4]),
        (Class::Refused, [YES; 4]),
        (Class::Rejected, [YES; 4]),
        (Class::Throttled(None), [YES, UNSAFE, YES, UNSAFE]),
        (Class::Throttled(Some(secs(1))), [YES, UNSAFE, YES, UNSAFE]),
        (Class::Transient, [YES, UNSAFE, YES, UNSAFE]),
        (Class::Timeout, [CLASS, CLASS, YES, UNSAFE]),
        (Class::Failure, [CLASS; 4]),
        (Class::CallerFault, [CLASS; 4]),
        (Class::RetryRequested, [YES; 4]),
        (Class::Cancelled, [CLASS; 4]),
        (Class::Ignored, [CLASS; 4]),
    ] {
        let settings = [(false, true), (false, false), (true, true), (true, false)];
        for ((retry_on_timeout, replay_safe), expected) in settings.into_iter().zip(expected) {
            let policy = policy().retry_on_timeout(retry_on_timeout);
            let failed = Failed { replay_safe, ..failed(class) };
            let decided = decided(&policy, &failed).map(drop);
            assert_eq!(decided, expected, "{class:?}, {retry_on_timeout}, {replay_safe}");
        }
    }
}

#[test]
fn so_many_attempts_and_no_more() {
    for retry_attempts in [0, 1, 3, u32::MAX] {
        let policy = policy().retry_attempts(retry_attempts);
        for attempts in [1, 2, 3, 4, 5, u32::MAX] {
            let failed = Failed { attempts, ..failed(Class::Transient) };
            let expected = if attempts > retry_attempts { Err(Why::NoAttempts) } else { Ok(()) };
            let decided = decided(&policy, &failed).map(drop);
            assert_eq!(decided, expected, "{attempts} of 1 + {retry_attempts}");
        }
    }
}

#[test]
fn what_costs_a_token_and_what_does_not() {
    // The class, whether the free one was used, and what the retry costs.
    for (class, free_used, cost) in [
        (Class::Transient, false, 1000),
        (Class::Unsent, false, 1000),
        (Class::Throttled(None), false, 1000),
        (Class::RetryRequested, false, 1000),
        (Class::Refused, false, 0),
        (Class::Refused, true, 1000),
        (Class::Rejected, false, 0),
        (Class::Rejected, true, 0),
    ] {
        let policy = policy();
        let failed = Failed { free_used, ..failed(class) };
        let mut tokens = Tokens::new(&policy.budget);
        let retry = decide(at(0), &policy, &mut tokens, &failed, Outlook::Open).unwrap();
        let paid = 50_000 - tokens.available_thousandths();
        assert_eq!((paid, retry.token), (cost, cost > 0), "{class:?}, {free_used}");
        let mut empty = Tokens::new(&Budget::new().banked(0));
        let decided = decide(at(0), &policy, &mut empty, &failed, Outlook::Open).map(drop);
        assert_eq!(decided, if cost > 0 { Err(Why::Budget) } else { Ok(()) }, "{class:?}");
    }
}

#[test]
fn no_token_is_taken_for_a_retry_that_is_not_made() {
    let policy = policy();
    let mut tokens = Tokens::new(&policy.budget);
    let hint = Class::Throttled(Some(secs(31)));
    for (failed, outlook) in [
        (failed(Class::Failure), Outlook::Open),
        (Failed { replay_safe: false, ..failed(Class::Transient) }, Outlook::Open),
        (Failed { attempts: 4, ..failed(Class::Transient) }, Outlook::Open),
        (Failed { deadline: at(4), ..failed(Class::Transient) }, Outlook::Open),
        (failed(Class::Transient), Outlook::Nobody),
        (failed(Class::Transient), Outlook::Circuit(at(5_000))),
        (failed(Class::Transient), Outlook::Pause(at(5_000))),
        (failed(hint), Outlook::Pause(at(1))),
    ] {
        assert!(decide(at(0), &policy, &mut tokens, &failed, outlook).is_err(), "{failed:?}");
    }
    assert_eq!(tokens.available_thousandths(), 50_000);
}

#[test]
fn a_retry_begins_only_if_an_attempt_still_fits_before_the_deadline() {
    for (deadline, expected) in [(5, Err(Why::Deadline)), (6, Ok(at(0))), (0, Err(Why::Deadline))] {
        let failed = Failed { deadline: at(deadline), ..failed(Class::Transient) };
        let decided = decided(&policy(), &failed).map(|retry| retry.at);
        assert_eq!(decided, expected, "{deadline} ms left");
    }
    let just = Instant::from_nanos(at(5).as_nanos() + 1);
    let failed = Failed { deadline: just, ..failed(Class::Transient) };
    assert!(decided(&policy(), &failed).is_ok());
}

/// D14: the circuit hears every attempt, and retries mind the circuit that they opened.
#[test]
fn it_waits_for_whoever_takes_it_first_and_says_why_not() {
    for (outlook, expected) in [
        (Outlook::Open, Ok(at(0))),
        (Outlook::Nobody, Err(Why::NoEndpoint)),
        (Outlook::Circuit(at(4_994)), Ok(at(4_994))),
        (Outlook::Circuit(at(4_995)), Err(Why::NoEndpoint)),
        (Outlook::Pause(at(4_994)), Ok(at(4_994))),
        (Outlook::Pause(at(4_995)), Err(Why::Hint)),
        (Outlook::Pause(Instant::NEVER), Err(Why::Hint)),
    ] {
        let policy = policy();
        let mut tokens = Tokens::new(&policy.budget);
        let failed = failed(Class::Transient);
        let decided = decide(at(0), &policy, &mut tokens, &failed, outlook);
        assert_eq!(decided.map(|retry| retry.at), expected, "{outlook:?}");
    }
}

#[test]
fn a_hint_above_its_limit_ends_the_call_unless_another_endpoint_takes_it() {
    for (hint, outlook, expected) in [
        (secs(31), Outlook::Pause(at(1)), Err(Why::Hint)),
        (secs(30), Outlook::Pause(at(1)), Ok(at(1))),
        (secs(31), Outlook::Open, Ok(at(0))),
        (Duration::MAX, Outlook::Open, Ok(at(0))),
    ] {
        let policy = policy();
        let mut tokens = Tokens::new(&policy.budget);
        let failed = failed(Class::Throttled(Some(hint)));
        let decided = decide(at(0), &policy, &mut tokens, &failed, outlook);
        assert_eq!(decided.map(|retry| retry.at), expected, "{hint:?}, {outlook:?}");
    }
}

#[test]
fn a_hint_of_nothing_does_not_shorten_the_ordinary_wait() {
    let policy = policy().backoff(Backoff::new().base(secs(1)));
    let waits = |class| decided(&policy, &failed(class)).unwrap().at;
    assert_eq!(waits(Class::Throttled(Some(Duration::ZERO))), waits(Class::Transient));
    assert!(waits(Class::Transient) > at(0));
}

#[test]
fn without_a_deadline_it_may_wait_for_long() {
    let policy = policy();
    let mut tokens = Tokens::new(&policy.budget);
    let failed = Failed { deadline: Instant::NEVER, ..failed(Class::Transient) };
    let year = at(365 * 86_400_000);
    let retry = decide(at(0), &policy, &mut tokens, &failed, Outlook::Circuit(year)).unwrap();
    assert_eq!(retry.at, year);
    let never = decide(at(0), &policy, &mut tokens, &failed, Outlook::Circuit(Instant::NEVER));
    assert_eq!(never, Err(Why::NoEndpoint));
}

#[test]
fn the_shortest_attempt_is_five_milliseconds() {
    assert_eq!(SHORTEST_ATTEMPT, ms(5));
}

#[test]
fn what_a_server_says_not_to_try_again_is_not_but_for_a_wish_of_the_functions_own() {
    let advice = Advice { wait: None, no_retry: true };
    for (class, expected) in [
        (Class::Transient, Err(Why::Server)),
        (Class::Unsent, Err(Why::Server)),
        (Class::Throttled(None), Err(Why::Server)),
        (Class::Failure, Err(Why::Class)),
        (Class::RetryRequested, Ok(())),
    ] {
        let failed = Failed { advice, ..failed(class) };
        assert_eq!(decided(&policy(), &failed).map(drop), expected, "{class:?}");
    }
}
