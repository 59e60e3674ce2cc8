//! Two endpoints at random, for balancers that choose between two.

use super::Field;
use super::turns::{Odds, Turns};

/// Up to this many endpoints, the two choices are drawn among exactly those that admit, if not all do.
const SMALL: usize = 8;

/// Two endpoints that admit, drawn in proportion to their weights; twice the same if it is the only one.
pub(super) fn two(
    rng: &mut fastrand::Rng,
    turns: &Turns,
    field: &impl Field,
) -> Option<(usize, usize)> {
    match turns.odds() {
        None if field.len() <= SMALL => two_of_few(rng, field),
        None => two_of_many(rng, field),
        Some(odds) => two_by_weight(rng, odds, field),
    }
}

/// A few draws find two that admit if those that weigh do; else everybody is asked.
fn two_by_weight(
    rng: &mut fastrand::Rng,
    odds: &Odds,
    field: &impl Field,
) -> Option<(usize, usize)> {
    for _ in 0..4 {
        let (a, b) = odds.two(rng);
        if field.admits(a) && field.admits(b) {
            return Some((a, b));
        }
    }
    let first = one_by_weight(rng, field, None)?;
    Some((first, one_by_weight(rng, field, Some(first)).unwrap_or(first)))
}

fn one_by_weight(
    rng: &mut fastrand::Rng,
    field: &impl Field,
    without: Option<usize>,
) -> Option<usize> {
    let admitting = || {
        let admits = move |index: &usize| Some(*index) != without && field.admits(*index);
        (0..field.len()).filter(admits).map(|index| (index, u64::from(field.weight(index))))
    };
    let total: u64 = admitting().map(|(_, weight)| weight).sum();
    if total == 0 {
        return None;
    }
    let mut left = rng.u64(..total);
    for (index, weight) in admitting() {
        if left < weight {
            return Some(index);
        }
        left -= weight;
    }
    None
}

fn two_of_few(rng: &mut fastrand::Rng, field: &impl Field) -> Option<(usize, usize)> {
    let len = field.len();
    if len > 1 {
        // Mostly all admit: then two are asked, and not all.
        let (a, b) = distinct(rng, len);
        if field.admits(a) && field.admits(b) {
            return Some((a, b));
        }
    }
    let mut admitting = [0usize; SMALL];
    let mut count = 0;
    for index in (0..len).filter(|&index| field.admits(index)) {
        admitting[count] = index;
        count += 1;
    }
    match count {
        0 => None,
        1 => Some((admitting[0], admitting[0])),
        _ => {
            let (a, b) = distinct(rng, count);
            Some((admitting[a], admitting[b]))
        }
    }
}

/// A few draws find two that admit if most do; else everybody is asked once.
fn two_of_many(rng: &mut fastrand::Rng, field: &impl Field) -> Option<(usize, usize)> {
    for _ in 0..4 {
        let (a, b) = distinct(rng, field.len());
        if field.admits(a) && field.admits(b) {
            return Some((a, b));
        }
    }
    let (mut seen, mut first, mut second) = (0u32, None, None);
    for index in (0..field.len()).filter(|&index| field.admits(index)) {
        seen += 1;
        // Reservoir of two: each of the `seen` is kept with probability 2 / seen.
        match seen {
            1 => first = Some(index),
            2 => second = Some(index),
            _ => match rng.u32(0..seen) {
                0 => first = Some(index),
                1 => second = Some(index),
                _ => {}
            },
        }
    }
    first.map(|first| (first, second.unwrap_or(first)))
}

/// Two different numbers below `bound`, which is at least 2.
#[inline]
fn distinct(rng: &mut fastrand::Rng, bound: usize) -> (usize, usize) {
    let bits = rng.u64(..);
    let bound = bound as u64;
    let a = ((bits >> 32) * bound) >> 32;
    let b = ((bits & 0xffff_ffff) * (bound - 1)) >> 32;
    let b = if b >= a { b + 1 } else { b };
    (a as usize, b as usize)
}
