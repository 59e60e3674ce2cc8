//! Exact sums of the budget.

use super::*;

fn tokens(banked: u32, deposit: f64) -> Tokens {
    Tokens::new(&Budget::new().banked(banked).deposit(deposit))
}

#[test]
fn it_starts_full_and_hands_out_exactly_what_is_banked() {
    let mut tokens = Tokens::new(&Budget::new());
    assert_eq!(tokens.available_thousandths(), 50_000);
    let taken = (0..100).filter(|_| tokens.try_take()).count();
    assert_eq!((taken, tokens.available_thousandths()), (50, 0));
    assert!(!tokens.has_one());
}

#[test]
fn five_first_successes_pay_for_one_retry() {
    let mut tokens = tokens(1, 0.2);
    assert!(tokens.try_take());
    for _ in 0..4 {
        tokens.on_first_try_success();
        assert!(!tokens.try_take());
    }
    tokens.on_first_try_success();
    assert!(tokens.try_take());
    assert_eq!(tokens.available_thousandths(), 0);
}

#[test]
fn what_does_not_fit_is_lost() {
    let mut tokens = tokens(2, 0.3);
    tokens.on_first_try_success();
    tokens.give_back();
    assert_eq!(tokens.available_thousandths(), 2_000);
    assert!(tokens.try_take());
    for expected in [1_300, 1_600, 1_900, 2_000] {
        tokens.on_first_try_success();
        assert_eq!(tokens.available_thousandths(), expected);
    }
}

#[test]
fn a_token_that_comes_back_is_a_whole_one() {
    let mut tokens = tokens(3, 0.0);
    assert!(tokens.try_take() && tokens.try_take());
    tokens.give_back();
    assert_eq!(tokens.available_thousandths(), 2_000);
}

#[test]
fn nothing_banked_means_no_retries_ever() {
    let mut tokens = tokens(0, 1.0);
    tokens.on_first_try_success();
    tokens.give_back();
    assert!(!tokens.try_take());
}

#[test]
fn a_deposit_of_nothing_leaves_what_is_banked() {
    let mut tokens = tokens(1, 0.0);
    tokens.on_first_try_success();
    assert!(tokens.try_take());
    tokens.on_first_try_success();
    assert!(!tokens.try_take());
}

#[test]
fn an_unlimited_budget_never_ends() {
    let mut tokens = Tokens::new(&Budget::new().banked(0).unlimited());
    assert!((0..1000).all(|_| tokens.try_take()));
}

#[test]
fn the_largest_bank_does_not_overflow() {
    let mut tokens = tokens(u32::MAX, 1.0);
    tokens.give_back();
    tokens.on_first_try_success();
    assert_eq!(tokens.available_thousandths(), u64::from(u32::MAX) * 1000);
}
