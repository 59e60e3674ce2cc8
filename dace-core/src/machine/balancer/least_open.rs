//! Power of two choices by open operations: of two endpoints drawn, the one with fewer for its weight.
//!
//! Nothing of how fast an endpoint is goes in, but that a slow one has more open. Mitzenmacher, "The
//! power of two choices in randomized load balancing", 2001; Envoy's `LEAST_REQUEST`.

use super::{Field, Turns, draw};

pub(super) fn pick(
    rng: &mut fastrand::Rng,
    turns: &mut Turns,
    field: &impl Field,
) -> Option<usize> {
    let (a, b) = draw::two(rng, turns, field)?;
    if turns.odds().is_none() {
        return Some(if field.open(a) <= field.open(b) { a } else { b });
    }
    // Clearly better: it has less open for its weight, with one more.
    let better = |one: usize, other: usize| {
        let with_one_more = (u64::from(field.open(one)) + 1) * u64::from(field.weight(other));
        with_one_more < u64::from(field.open(other)) * u64::from(field.weight(one))
    };
    Some(turns.settle((a, b), better, field))
}
