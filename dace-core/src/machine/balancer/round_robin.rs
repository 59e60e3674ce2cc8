//! One endpoint after the other, those that do not admit passed over.
//!
//! Where weights differ the turns are those of nginx's smooth weighted round robin: of weights 5, 1, 1
//! comes `a a b a c a a`, never five in a row. It looks at every endpoint.

use super::{Field, Turns};

/// The next endpoint that admits. One that was passed over keeps no claim.
pub(super) fn pick(turns: &mut Turns, field: &impl Field) -> Option<usize> {
    let len = field.len();
    if turns.odds().is_some() {
        return smooth(turns, field);
    }
    let start = if turns.next < len { turns.next } else { 0 };
    let picked = (start..len).chain(0..start).find(|&index| field.admits(index))?;
    turns.next = picked + 1;
    Some(picked)
}

/// Everybody earns its weight, the richest is picked and pays what all have earned.
fn smooth(turns: &mut Turns, field: &impl Field) -> Option<usize> {
    let credit = &mut turns.credit;
    let (mut total, mut richest) = (0, None);
    for index in (0..field.len()).filter(|&index| field.admits(index)) {
        let weight = i64::from(field.weight(index));
        credit[index] = credit[index].saturating_add(weight);
        total += weight;
        if richest.is_none_or(|richest: usize| credit[index] > credit[richest]) {
            richest = Some(index);
        }
    }
    let picked = richest?;
    credit[picked] = credit[picked].saturating_sub(total);
    Some(picked)
}
