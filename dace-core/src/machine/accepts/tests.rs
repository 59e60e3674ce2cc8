//! The formula, the window, and what is drawn.

use core::time::Duration;
use std::collections::VecDeque;

use super::*;

fn at(seconds: u64) -> Instant {
    Instant::from_nanos(seconds * 1_000_000_000)
}

/// So many requests of which so many were accepted, now.
fn after(throttle: &Throttle, requests: u32, accepts: u32) -> Accepts {
    let mut window = Accepts::new();
    for _ in 0..requests {
        window.on_request(at(0), throttle);
    }
    for _ in 0..accepts {
        window.on_accept(at(0), throttle);
    }
    window
}

#[test]
fn the_probability_is_the_books() {
    let book = Throttle::new().allowance(0);
    for (throttle, requests, accepts, thousandths) in [
        (&book, 0, 0, 0),
        (&book, 1, 0, 500),
        (&book, 100, 50, 0),
        (&book, 100, 49, 19),
        (&book, 100, 0, 990),
        (&book, 999, 0, 999),
        (&book, 100, 100, 0),
        (&book.clone().multiplier(1.1), 100, 50, 445),
        (&Throttle::new(), 10, 0, 0),
        (&Throttle::new(), 11, 0, 83),
        (&Throttle::new(), 100, 45, 0),
        (&Throttle::new(), 100, 40, 99),
    ] {
        let window = after(throttle, requests, accepts);
        assert_eq!(window.thousandths(at(0), throttle), thousandths, "{requests}, {accepts}");
    }
}

#[test]
fn it_refuses_that_share_and_counts_what_it_refuses() {
    let throttle = Throttle::new();
    let (window, mut rng) = (after(&throttle, 1000, 250), fastrand::Rng::with_seed(1));
    // 490 of 1001.
    let draws = 10_000;
    let shed = (0..draws).filter(|_| window.clone().sheds(at(0), &throttle, &mut rng)).count();
    assert!((4_700..5_100).contains(&shed), "{shed}");
    let mut window = after(&throttle, 1000, 0);
    while !window.sheds(at(0), &throttle, &mut rng) {}
    assert_eq!(window, after(&throttle, 1001, 0));
}

#[test]
fn nothing_is_drawn_while_nothing_is_refused() {
    let throttle = Throttle::new();
    let mut rng = fastrand::Rng::with_seed(1);
    let before = rng.clone();
    let mut window = after(&throttle, 100, 45);
    assert!(!window.sheds(at(0), &throttle, &mut rng));
    assert_eq!(rng, before);
    window.on_request(at(0), &throttle);
    let _ = window.sheds(at(0), &throttle, &mut rng);
    assert_ne!(rng, before);
}

#[test]
fn the_window_forgets_what_is_older_and_an_idle_time_all() {
    let throttle = Throttle::new();
    let mut window = after(&throttle, 100, 0);
    assert_eq!(window.thousandths(at(115), &throttle), 891);
    assert_eq!(window.thousandths(at(120), &throttle), 0);
    assert!(!window.is_fresh(at(119), &throttle) && window.is_fresh(at(120), &throttle));
    window.on_request(at(60 * 365 * 86_400), &throttle);
    assert_eq!(window.requests, 1);
    // A clock that went back.
    window.on_request(at(0), &throttle);
    assert_eq!(window.requests, 2);
}

#[test]
fn what_says_nothing_is_taken_out_where_it_was_counted() {
    let throttle = Throttle::new();
    let mut window = Accepts::new();
    window.on_request(at(0), &throttle);
    window.on_request(at(50), &throttle);
    window.on_neutral(at(60), &throttle, at(0));
    assert_eq!((window.requests, window.thousandths(at(60), &throttle)), (1, 0));
    window.slide(at(125), &throttle);
    assert_eq!(window.requests, 1, "the other one is still there");
    // What the window forgot already is not taken out of what is there.
    window.on_neutral(at(126), &throttle, at(0));
    assert_eq!(window.requests, 1);
    // A time that is yet to come: the clock went back in between.
    window.on_request(at(126), &throttle);
    window.on_neutral(at(126), &throttle, at(500));
    assert_eq!(window.requests, 1);
}

#[test]
fn sums_are_those_of_a_list() {
    let throttle = Throttle::new().window(Duration::from_secs(24));
    for seed in 0..20 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let (mut window, mut list, mut now) = (Accepts::new(), VecDeque::new(), 0);
        for _ in 0..2_000 {
            now += rng.u64(0..=2);
            let accept = rng.bool();
            if accept {
                window.on_accept(at(now), &throttle);
            } else {
                window.on_request(at(now), &throttle);
            }
            list.push_back((now, accept));
            while list.front().is_some_and(|&(then, _)| now - then >= 24) {
                list.pop_front();
            }
            let accepts = list.iter().filter(|&&(_, accept)| accept).count() as u64;
            let requests = list.len() as u64 - accepts;
            assert_eq!((window.requests, window.accepts), (requests, accepts), "seed {seed}");
        }
    }
}

#[test]
fn settings_that_cannot_be_are_named() {
    for (throttle, setting) in [
        (Throttle::new().multiplier(0.9), "throttle.multiplier"),
        (Throttle::new().multiplier(f64::NAN), "throttle.multiplier"),
        (Throttle::new().multiplier(-2.0), "throttle.multiplier"),
        (Throttle::new().multiplier(f64::INFINITY), "throttle.multiplier"),
        (Throttle::new().window(Duration::ZERO), "throttle.window"),
    ] {
        assert_eq!(throttle.validate().unwrap_err().setting(), setting);
    }
    for throttle in [
        Throttle::new().window(Duration::MAX).allowance(u32::MAX),
        Throttle::new().window(Duration::from_nanos(1)).multiplier(1000.0),
    ] {
        assert_eq!(throttle.validate(), Ok(()));
        let mut window = after(&throttle, 100, 0);
        for now in [Instant::EPOCH, Instant::from_nanos(u64::MAX - 1), Instant::NEVER] {
            window.on_request(now, &throttle);
            window.on_neutral(now, &throttle, Instant::EPOCH);
            window.thousandths(now, &throttle);
        }
    }
}

#[test]
fn a_small_share_is_a_small_one() {
    let throttle = Throttle::new();
    let (window, mut rng) = (after(&throttle, 100, 40), fastrand::Rng::with_seed(1));
    // 10 of 101.
    let shed = (0..1_000).filter(|_| window.clone().sheds(at(0), &throttle, &mut rng)).count();
    assert!((60..140).contains(&shed), "{shed}");
}

#[test]
fn what_left_the_window_just_now_is_not_taken_out_of_what_came_into_its_place() {
    let throttle = Throttle::new();
    let mut window = after(&throttle, 1, 0);
    window.on_request(at(120), &throttle);
    window.on_neutral(at(120), &throttle, at(0));
    assert_eq!(window.requests, 1);
}

#[test]
fn after_an_idle_time_it_counts_as_ever() {
    let throttle = Throttle::new();
    let mut window = after(&throttle, 1, 0);
    window.on_request(at(86_400), &throttle);
    window.on_request(at(86_400), &throttle);
    assert_eq!(window.requests, 2);
}
