//! The retry budget against plain arithmetic.

use dace::Budget;
use dace::machine::tokens::Tokens;
use proptest::prelude::*;

use crate::config;

#[derive(Clone, Copy, Debug)]
enum Op {
    Take,
    GiveBack,
    Deposit,
}

proptest! {
    #![proptest_config(config())]

    /// D10, C10.
    #[test]
    fn the_budget_is_an_exact_sum(
        banked in 0..20u32,
        deposit in 0..=1000u32,
        unlimited in prop::bool::weighted(0.1),
        ops in prop::collection::vec(
            prop::sample::select(vec![Op::Take, Op::Take, Op::GiveBack, Op::Deposit]), 100..=150),
    ) {
        let budget = Budget::new().banked(banked).deposit(f64::from(deposit) / 1000.0);
        let mut tokens = Tokens::new(&if unlimited { budget.unlimited() } else { budget });
        let cap = i64::from(banked) * 1000;
        let (mut left, mut held) = (cap, 0u32);
        for op in ops {
            match op {
                Op::Take => {
                    let taken = tokens.try_take();
                    prop_assert_eq!(taken, unlimited || left >= 1000);
                    if taken {
                        left = (left - 1000).max(0);
                        held += 1;
                    }
                }
                // Only what was taken comes back.
                Op::GiveBack if held > 0 => {
                    tokens.give_back();
                    left = (left + 1000).min(cap);
                    held -= 1;
                }
                Op::GiveBack => {}
                Op::Deposit => {
                    tokens.on_first_try_success();
                    left = (left + i64::from(deposit)).min(cap);
                }
            }
            prop_assert_eq!(tokens.available_thousandths() as i64, left);
            prop_assert_eq!(tokens.has_one(), unlimited || left >= 1000);
        }
    }
}
