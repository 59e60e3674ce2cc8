//! What a balancer remembers of its endpoints, so that each gets its share.
//!
//! Two draws by weight, and the better one of them, do not give each its share: the light ones are
//! slow to fill and quick to empty, and win too often (by half of their share and more, measured). So
//! where weights differ, each pick is written down, and of two endpoints that are about as good the
//! one that is behind its share is taken.

use alloc::vec;
use alloc::vec::Vec;

use super::Field;

/// What a pick of an endpoint of weight 1 costs. One of weight 5 costs a fifth.
const STRIDE: i64 = 1 << 30;

/// So many picks, of the lighter one, an endpoint can be behind another: one that was away for long does
/// not get all it missed.
const MEMORY: i64 = 8;

/// Whose turn it is, and how often each is drawn. The default is that of endpoints of one weight.
#[derive(Clone, Debug, Default)]
pub struct Turns {
    /// The next in turn, where all weigh the same.
    pub(super) next: usize,
    /// `None`: all weigh the same.
    odds: Option<Odds>,
    /// Where weights differ: what each is owed or has had, as its balancer counts.
    pub(super) credit: Vec<i64>,
}

impl Turns {
    /// Of endpoints with these weights, none of them zero.
    pub fn new(weights: &[u32]) -> Self {
        if weights.windows(2).all(|pair| pair[0] == pair[1]) {
            return Self::default();
        }
        let odds = Some(Odds::new(weights));
        Self { odds, credit: vec![0; weights.len()], ..Self::default() }
    }

    /// Goes on from `old`: `was` says for each endpoint which one it was there. Those that are new start
    /// from the mean of the others.
    pub fn resume(&mut self, old: &Self, was: impl Iterator<Item = Option<usize>>) {
        self.next = old.next;
        if self.credit.is_empty() || old.credit.is_empty() {
            return;
        }
        // They may have wrapped: what counts is how far they are apart.
        let far = |credit: i64| credit.wrapping_sub(old.credit[0]);
        let kept: Vec<Option<i64>> = was.map(|index| Some(far(old.credit[index?]))).collect();
        let (count, sum) = kept
            .iter()
            .flatten()
            .fold((0i128, 0i128), |(count, sum), credit| (count + 1, sum + i128::from(*credit)));
        let mean = i64::try_from(sum / count.max(1)).unwrap_or(0);
        for (credit, kept) in self.credit.iter_mut().zip(kept) {
            *credit = kept.map_or(0, |kept| kept.saturating_sub(mean));
        }
    }

    /// Whether all weigh the same.
    pub const fn are_alike(&self) -> bool {
        self.odds.is_none()
    }

    /// How often each is drawn, if weights differ.
    pub(super) fn odds(&self) -> Option<&Odds> {
        self.odds.as_ref()
    }

    /// Of two that were drawn, the one that is clearly better, else the one that has had less for its
    /// weight. Writes it down.
    pub(super) fn settle(
        &mut self,
        (a, b): (usize, usize),
        better: impl Fn(usize, usize) -> bool,
        field: &impl Field,
    ) -> usize {
        let (weight_a, weight_b) = (field.weight(a), field.weight(b));
        let most = MEMORY * STRIDE / i64::from(weight_a.min(weight_b));
        let ahead = self.credit[a].wrapping_sub(self.credit[b]).clamp(-most, most);
        match ahead > 0 {
            true => self.credit[b] = self.credit[a].wrapping_sub(ahead),
            false => self.credit[a] = self.credit[b].wrapping_add(ahead),
        }
        let second = !better(a, b) && (ahead > 0 || better(b, a));
        let (picked, weight) = if second { (b, weight_b) } else { (a, weight_a) };
        self.credit[picked] = self.credit[picked].wrapping_add(STRIDE / i64::from(weight));
        picked
    }
}

/// Draws in proportion to weights, in constant time (Walker's alias method, as Vose builds it).
#[derive(Clone, Debug)]
pub(super) struct Odds {
    /// For each column: below this it is itself, else its other.
    columns: Vec<(u64, usize)>,
    total: u64,
}

impl Odds {
    fn new(weights: &[u32]) -> Self {
        let count = weights.len() as u64;
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let mut columns: Vec<(u64, usize)> = weights
            .iter()
            .enumerate()
            .map(|(index, weight)| (u64::from(*weight) * count, index))
            .collect();
        let (mut small, mut large): (Vec<usize>, Vec<usize>) =
            (0..weights.len()).partition(|index| columns[*index].0 < total);
        while let (Some(&low), Some(&high)) = (small.last(), large.last()) {
            small.pop();
            columns[low].1 = high;
            columns[high].0 -= total - columns[low].0;
            if columns[high].0 < total {
                large.pop();
                small.push(high);
            }
        }
        Self { columns, total }
    }

    /// Two different ones, of several: the first in proportion to its weight, the second too, unless that
    /// takes long.
    pub(super) fn two(&self, rng: &mut fastrand::Rng) -> (usize, usize) {
        let first = self.one(rng);
        for _ in 0..3 {
            let second = self.one(rng);
            if second != first {
                return (first, second);
            }
        }
        let second = rng.usize(1..self.columns.len());
        (first, if second == first { 0 } else { second })
    }

    fn one(&self, rng: &mut fastrand::Rng) -> usize {
        let column = rng.usize(..self.columns.len());
        let (itself, other) = self.columns[column];
        if rng.u64(..self.total) < itself { column } else { other }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_one_starts_from_the_mean_of_the_others() {
        let (mut old, mut new) = (Turns::new(&[1, 2]), Turns::new(&[1, 2, 3]));
        old.credit = vec![10, 30];
        new.resume(&old, [Some(0), Some(1), None].into_iter());
        assert_eq!(new.credit, [-10, 10, 0]);
    }
}
