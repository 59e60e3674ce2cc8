//! Rendezvous hashing: equal keys go to the same endpoint, and when one goes, its keys alone move.
//!
//! Every endpoint draws a number from the key and its own name, and the lowest wins (Thaler and
//! Ravishankar, 1998). The numbers are exponentially distributed and divided by the weight, so that
//! each wins in proportion to it. Nothing is random about it: every process sends a key to the same
//! endpoint, and goes on doing so after it was restarted.
//!
//! With a bound, no endpoint gets more than so many times its part of what is open (Mirrokni, Thorup and
//! Zadimoghaddam, "Consistent hashing with bounded loads", 2018): the key goes to the first endpoint in
//! its own order that has room. There always is one.

use super::{Choice, Field};

/// Rendezvous hashing, with or without a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rendezvous {
    /// Times its part of what is open, in thousandths; none without a bound.
    pub bound: Option<u32>,
}

impl Rendezvous {
    /// The endpoint of the key that hashes to this.
    pub fn pick(self, field: &impl Field, key: u64) -> Option<Choice> {
        let first = |fits: &dyn Fn(usize) -> bool| {
            let mut first: Option<(f64, usize)> = None;
            for index in (0..field.len()).filter(|&index| fits(index)) {
                let drawn = exponential(mix(key ^ field.name(index)));
                let drawn = drawn / f64::from(field.weight(index));
                if first.is_none_or(|(lowest, _)| drawn < lowest) {
                    first = Some((drawn, index));
                }
            }
            first.map(|(_, index)| index)
        };
        let Some(bound) = self.bound else {
            let index = first(&|index| field.admits(index) || field.is_full(index))?;
            let full = !field.admits(index);
            return Some(if full { Choice::Wait(index) } else { Choice::Take(index) });
        };
        let (mut open, mut weight) = (1u128, 0u128);
        for index in (0..field.len()).filter(|&index| field.admits(index)) {
            open += u128::from(field.open(index));
            weight += u128::from(field.weight(index));
        }
        // One more here is still at most the bound, rounded up.
        let has_room = |index: usize| {
            let part = open * u128::from(bound) * u128::from(field.weight(index));
            u128::from(field.open(index)) < part.div_ceil(1000 * weight)
        };
        first(&|index| field.admits(index) && has_room(index)).map(Choice::Take)
    }
}

/// Of a key or a name: FNV-1a, then mixed. It is the same everywhere and for ever.
pub fn hash(text: &str) -> u64 {
    let folded = text.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(folded)
}

/// Spreads every bit over all (the finaliser of SplitMix64).
pub fn mix(bits: u64) -> u64 {
    let bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

/// `-log2(bits / 2^64)`: exponentially distributed if the bits are uniform. By the series of the
/// area hyperbolic tangent, to a millionth: the core has no logarithm.
fn exponential(bits: u64) -> f64 {
    let bits = bits.max(1);
    let zeros = bits.leading_zeros();
    let mantissa = (bits << zeros) as f64 / (1u64 << 63) as f64;
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let series = 1.0 + square * (1.0 / 3.0 + square * (0.2 + square * (1.0 / 7.0 + square / 9.0)));
    f64::from(zeros) + 1.0 - 2.0 * s * series * core::f64::consts::LOG2_E
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_right_to_a_millionth() {
        for (bits, exact) in [
            (u64::MAX, 0.0),
            (1 << 63, 1.0),
            (1 << 62, 2.0),
            (3 << 62, 0.415_037_5),
            (0xb504_f333_f9de_6484, 0.5),
            (1, 64.0),
            (0, 64.0),
        ] {
            let found = exponential(bits);
            assert!((found - exact).abs() < 2e-5 && found >= -1e-5, "{bits:x}: {found}");
        }
    }

    #[test]
    fn a_name_has_the_same_hash_everywhere_and_for_ever() {
        assert_eq!(hash(""), 0xf52a_15e9_a9b5_e89b);
        assert_eq!(hash("user-1"), 0xc499_b5f8_a721_df58);
        assert_eq!(hash("http://10.0.0.1:8080"), 0x5fa2_e8fe_8004_590c);
    }
}
