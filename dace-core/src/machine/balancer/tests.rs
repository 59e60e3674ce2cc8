//! What each balancer promises, by the picks that it makes.

use core::cell::Cell;
use core::time::Duration;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec;
use alloc::vec::Vec;
use std::string::ToString;

use super::*;

/// Endpoints, and how often somebody looked at one.
#[derive(Default)]
struct Yard {
    weights: Vec<u32>,
    names: Vec<u64>,
    open: Vec<u32>,
    loads: Vec<Load>,
    shut: BTreeSet<usize>,
    full: BTreeSet<usize>,
    looks: Cell<usize>,
}

impl Yard {
    fn of(weights: &[u32]) -> Self {
        let names = (0..weights.len()).map(|index| hash(&index.to_string())).collect();
        Self {
            weights: weights.into(),
            names,
            open: vec![0; weights.len()],
            loads: vec![Load::new(); weights.len()],
            ..Self::default()
        }
    }

    fn turns(&self) -> Turns {
        Turns::new(&self.weights)
    }

    fn look(&self) {
        self.looks.set(self.looks.get() + 1);
    }
}

impl Field for Yard {
    fn len(&self) -> usize {
        self.weights.len()
    }

    fn admits(&self, index: usize) -> bool {
        self.look();
        !self.shut.contains(&index) && !self.full.contains(&index)
    }

    fn is_full(&self, index: usize) -> bool {
        self.look();
        !self.shut.contains(&index) && self.full.contains(&index)
    }

    fn load(&self, index: usize) -> &Load {
        self.look();
        &self.loads[index]
    }

    fn open(&self, index: usize) -> u32 {
        self.look();
        self.open[index]
    }

    fn weight(&self, index: usize) -> u32 {
        self.look();
        self.weights[index]
    }

    fn name(&self, index: usize) -> u64 {
        self.names[index]
    }
}

const RENDEZVOUS: Balance = Balance::Rendezvous(Rendezvous { bound: None });
const BOUNDED: Balance = Balance::Rendezvous(Rendezvous { bound: Some(1_250) });

/// So many picks, each open for a time around 10 ms, so that `busy` are open on average. `slow` says how
/// many times longer at an endpoint.
fn shares(
    balance: Balance,
    yard: &mut Yard,
    (picks, busy): (u32, f64),
    slow: impl Fn(usize) -> u64,
) -> Vec<u32> {
    let mut rng = fastrand::Rng::with_seed(7);
    let (mut turns, mut counts) = (yard.turns(), vec![0; yard.weights.len()]);
    let (mut now, mut ends) = (0u64, BTreeMap::<(u64, u32), (usize, u64)>::new());
    for pick in 0..picks {
        now += (rng.f64() * 2.0 * 10e6 / busy) as u64;
        while let Some((&(at, number), &(index, took))) = ends.first_key_value() {
            if at > now {
                break;
            }
            ends.remove(&(at, number));
            yard.open[index] -= 1;
            yard.loads[index].on_end(Instant::from_nanos(at), Some(Duration::from_nanos(took)));
        }
        let at = Instant::from_nanos(now);
        let key = Some(hash(&pick.to_string()));
        let Some(Choice::Take(index)) = balance.pick(at, &mut rng, &mut turns, yard, key) else {
            panic!("{balance:?} picks nobody")
        };
        yard.loads[index].on_start(at, yard.open[index]);
        yard.open[index] += 1;
        counts[index] += 1;
        let took = rng.u64(5_000_000..15_000_000) * slow(index);
        ends.insert((now + took, pick), (index, took));
    }
    counts
}

#[test]
fn every_balancer_holds_the_weights_however_many_operations_are_open() {
    let balances = [Balance::PeakEwma, Balance::RoundRobin, Balance::LeastOpen, RENDEZVOUS];
    for weights in [&[1, 2, 3, 4][..], &[1, 10], &[1, 1, 1, 5, 20], &[1, 100], &[7, 7]] {
        let total: u32 = weights.iter().sum();
        for busy in [0.1, 1.0, 5.0, 20.0, 100.0] {
            for balance in balances {
                // A key goes where its hash says: to 1 of 101 it may be 5 % more by chance alone.
                if balance == RENDEZVOUS && total > 100 {
                    continue;
                }
                let mut yard = Yard::of(weights);
                let counts = shares(balance, &mut yard, (100_000, busy), |_| 1);
                for (count, weight) in counts.iter().zip(weights) {
                    let off = f64::from(*count) / 100_000.0 * f64::from(total) / f64::from(*weight);
                    let what = (balance, busy, weights, &counts);
                    assert!((0.95..1.05).contains(&off), "{what:?}: {off}");
                }
            }
        }
    }
}

#[test]
fn a_slow_endpoint_loses_its_share_though_it_weighs_most() {
    for balance in [Balance::PeakEwma, Balance::LeastOpen] {
        let mut yard = Yard::of(&[4, 1, 1]);
        let counts = shares(balance, &mut yard, (20_000, 20.0), |index| [20, 1, 1][index]);
        assert!(counts[0] < 20_000 * 2 / 5, "{balance:?}: {counts:?} of 4 parts in 6");
    }
    let mut yard = Yard::of(&[4, 1, 1]);
    let counts = shares(Balance::PeakEwma, &mut yard, (20_000, 1.0), |i| [500, 1, 1][i]);
    assert!(counts[0] < 1_000, "{counts:?}: as one that fails, under 5 %");
}

#[test]
fn two_choices_look_at_few_endpoints_however_long_the_list_is() {
    for balance in [Balance::PeakEwma, Balance::LeastOpen] {
        for weights in [vec![1; 100_000], (0..100_000).map(|index| 1 + index % 9).collect()] {
            let yard = Yard::of(&weights);
            let (mut turns, mut rng) = (yard.turns(), fastrand::Rng::with_seed(7));
            for _ in 0..100 {
                yard.looks.set(0);
                let picked = balance.pick(Instant::EPOCH, &mut rng, &mut turns, &yard, None);
                assert!(picked.is_some() && yard.looks.get() <= 32, "{} looks", yard.looks.get());
            }
        }
    }
}

#[test]
fn only_those_that_admit_are_picked_also_where_weights_differ() {
    for balance in [Balance::PeakEwma, Balance::RoundRobin, Balance::LeastOpen] {
        let mut yard = Yard::of(&[1000, 1, 5, 1, 1000, 3]);
        let (mut turns, mut rng) = (yard.turns(), fastrand::Rng::with_seed(7));
        yard.shut = [0, 4, 5].into();
        let mut picked = [0; 6];
        for _ in 0..7_000 {
            let choice = balance.pick(Instant::EPOCH, &mut rng, &mut turns, &yard, None);
            let Some(Choice::Take(index)) = choice else { panic!("{choice:?}") };
            picked[index] += 1;
        }
        assert_eq!((picked[0], picked[4], picked[5]), (0, 0, 0));
        assert!((4_500..=5_500).contains(&picked[2]), "{balance:?}: {picked:?}");
        yard.shut = (0..6).collect();
        assert_eq!(balance.pick(Instant::EPOCH, &mut rng, &mut turns, &yard, None), None);
    }
}

/// The endpoints that round robin picks.
fn order(yard: &Yard, turns: &mut Turns, count: usize) -> Vec<usize> {
    (0..count).map_while(|_| round_robin::pick(turns, yard)).collect()
}

#[test]
fn round_robin_gives_everybody_the_same_and_passes_over_who_does_not_admit() {
    let (mut yard, mut turns) = (Yard::of(&[1; 3]), Turns::default());
    assert_eq!(order(&yard, &mut turns, 7), [0, 1, 2, 0, 1, 2, 0]);
    yard.shut = [1].into();
    assert_eq!(order(&yard, &mut turns, 4), [2, 0, 2, 0]);
    yard.shut.clear();
    assert_eq!(order(&yard, &mut turns, 1), [1], "it has no claim on what it missed");
    yard.shut = [0, 1, 2].into();
    assert_eq!(round_robin::pick(&mut turns, &yard), None);
}

#[test]
fn round_robin_goes_on_when_the_list_gets_shorter() {
    let mut turns = Turns::default();
    order(&Yard::of(&[1; 5]), &mut turns, 4);
    assert_eq!(order(&Yard::of(&[1; 2]), &mut turns, 3), [0, 1, 0]);
    assert_eq!(round_robin::pick(&mut turns, &Yard::default()), None);
}

#[test]
fn weighted_turns_are_smooth() {
    let yard = Yard::of(&[5, 1, 1]);
    let mut turns = yard.turns();
    assert_eq!(order(&yard, &mut turns, 7), [0, 0, 1, 0, 2, 0, 0], "as nginx's own example");
    // Another list: 0 is gone, 1 and 2 go on, 3 is new.
    let next = Yard::of(&[1, 1, 2]);
    let mut resumed = next.turns();
    order(&yard, &mut turns, 3);
    resumed.resume(&turns, [Some(1), Some(2), None].into_iter());
    let mut picked = [0; 3];
    for index in order(&next, &mut resumed, 40) {
        picked[index] += 1;
    }
    assert!(matches!(picked, [9..=11, 9..=11, 19..=21]), "{picked:?}");
}

#[test]
fn an_endpoint_that_was_away_does_not_get_all_that_it_missed() {
    for balance in [Balance::PeakEwma, Balance::LeastOpen] {
        let mut yard = Yard::of(&[1, 2, 2]);
        let (mut turns, mut rng) = (yard.turns(), fastrand::Rng::with_seed(7));
        let mut count = |yard: &Yard, picks: u32| {
            let picked = (0..picks)
                .filter_map(|_| balance.pick(Instant::EPOCH, &mut rng, &mut turns, yard, None));
            picked.filter(|picked| *picked == Choice::Take(0)).count()
        };
        yard.shut = [0].into();
        assert_eq!(count(&yard, 10_000), 0);
        yard.shut.clear();
        let first = count(&yard, 100);
        assert!((20..=60).contains(&first), "{first} of 100, where 20 is its share");
        assert!((180..=220).contains(&count(&yard, 1_000)));
    }
}

/// H3: empty lists and weights of zero are errors; huge ones do not overflow.
#[test]
fn huge_lists_of_huge_weights_do_not_overflow() {
    let yard = Yard::of(&[&[u32::MAX; 5_000][..], &[1; 5_000]].concat());
    for balance in [Balance::PeakEwma, Balance::RoundRobin, Balance::LeastOpen, RENDEZVOUS, BOUNDED]
    {
        let (mut turns, mut rng) = (yard.turns(), fastrand::Rng::with_seed(7));
        for key in 0..20 {
            let key = Some(mix(key));
            let choice = balance.pick(Instant::NEVER, &mut rng, &mut turns, &yard, key);
            assert!(matches!(choice, Some(Choice::Take(0..=4_999))), "{balance:?}: {choice:?}");
        }
    }
}

/// Where 20,000 keys go.
fn keys(yard: &Yard) -> Vec<Option<Choice>> {
    (0..20_000).map(|key: u32| Rendezvous::default().pick(yard, hash(&key.to_string()))).collect()
}

#[test]
fn when_one_goes_its_keys_alone_move_and_come_back_with_it() {
    for weights in [&[1; 10][..], &[3, 1, 1, 1, 1, 1, 1, 1]] {
        let mut yard = Yard::of(weights);
        let before = keys(&yard);
        for gone in 0..weights.len() {
            yard.shut = [gone].into();
            let after = keys(&yard);
            let moved = before.iter().zip(&after).filter(|(was, is)| was != is).count();
            let its = before.iter().filter(|was| **was == Some(Choice::Take(gone))).count();
            assert_eq!(moved, its, "nobody else's");
            let total: u32 = weights.iter().sum();
            let part = f64::from(weights[gone]) / f64::from(total);
            assert!(moved as f64 <= 20_000.0 * (part + 0.01), "{moved} of {part}");
            yard.shut.clear();
            assert_eq!(keys(&yard), before);
        }
    }
}

#[test]
fn a_key_waits_for_its_endpoint_if_that_is_full_and_spills_if_there_is_a_bound() {
    let mut yard = Yard::of(&[1; 5]);
    let key = hash("user-1");
    let Some(Choice::Take(own)) = Rendezvous::default().pick(&yard, key) else { panic!() };
    yard.full = [own].into();
    assert_eq!(Rendezvous::default().pick(&yard, key), Some(Choice::Wait(own)));
    let Some(Choice::Take(next)) = (Rendezvous { bound: Some(1_250) }).pick(&yard, key) else {
        panic!()
    };
    yard.shut = [own].into();
    assert_eq!(Rendezvous::default().pick(&yard, key), Some(Choice::Take(next)));
}

#[test]
fn the_bound_holds_at_every_pick_whatever_the_keys_are() {
    for (bound, weights) in
        [(1_250, &[1; 8][..]), (1_000, &[1; 8]), (1_250, &[1, 2, 3, 4]), (2_000, &[5, 1])]
    {
        let mut yard = Yard::of(weights);
        let mut rng = fastrand::Rng::with_seed(7);
        let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
        let (mut held, mut spilled) = (Vec::new(), 0);
        for _ in 0..100_000 {
            // Few keys, one of them very popular.
            let key = hash(&rng.u32(0..4).min(rng.u32(0..4)).to_string());
            let choice = Rendezvous { bound: Some(bound) }.pick(&yard, key);
            let Some(Choice::Take(index)) = choice else { panic!("there always is one") };
            spilled += u32::from(Rendezvous::default().pick(&yard, key) != choice);
            yard.open[index] += 1;
            held.push(index);
            let part = held.len() as u64 * u64::from(bound) * u64::from(weights[index]);
            assert!(u64::from(yard.open[index]) <= part.div_ceil(1_000 * total));
            while held.len() > 40 || !held.is_empty() && rng.u32(0..3) == 0 {
                let index = held.swap_remove(rng.usize(..held.len()));
                yard.open[index] -= 1;
            }
        }
        assert!(spilled > 1_000, "the bound has something to do: {spilled}");
    }
}

#[test]
fn least_open_picks_the_one_of_two_that_has_less_open() {
    let mut yard = Yard::of(&[1, 1]);
    yard.open = vec![3, 1];
    let (mut rng, mut turns) = (fastrand::Rng::with_seed(1), yard.turns());
    for _ in 0..100 {
        assert_eq!(least_open::pick(&mut rng, &mut turns, &yard), Some(1));
    }
}

#[test]
fn two_of_the_few_of_many_that_admit_are_drawn_evenly() {
    let mut yard = Yard::of(&[1; 200]);
    let admitting = [3, 50, 51, 120, 199];
    yard.shut = (0..200).filter(|index| !admitting.contains(index)).collect();
    let (turns, mut rng) = (yard.turns(), fastrand::Rng::with_seed(7));
    let mut counts = [0; 5];
    for _ in 0..10_000 {
        let (a, b) = draw::two(&mut rng, &turns, &yard).unwrap();
        assert_ne!(a, b);
        for drawn in [a, b] {
            counts[admitting.iter().position(|index| *index == drawn).unwrap()] += 1;
        }
    }
    assert!(counts.iter().all(|count| (3_800..4_200).contains(count)), "{counts:?}");
}

/// Peak-EWMA's pick of two: `(weight, cost in milliseconds, open)`, where it is the turn of the second.
fn pick_in_turn(endpoints: [(u32, u64, u32); 2]) -> usize {
    let mut yard = Yard::of(&endpoints.map(|(weight, ..)| weight));
    for (index, (_, cost, open)) in endpoints.into_iter().enumerate() {
        yard.loads[index].on_start(Instant::EPOCH, 0);
        yard.loads[index].on_end(Instant::EPOCH, Some(Duration::from_millis(cost)));
        yard.open[index] = open;
    }
    let (mut turns, mut rng) = (yard.turns(), fastrand::Rng::with_seed(7));
    turns.credit[0] = 1;
    peak_ewma::pick(Instant::EPOCH, &mut rng, &mut turns, &yard).unwrap()
}

#[test]
fn where_weights_differ_a_turn_is_passed_over_for_one_that_is_twice_as_good_and_not_before() {
    // One more here is 5 ms for its weight; there is as much now, 8 ms or 11 ms.
    assert_eq!(pick_in_turn([(2, 10, 0), (1, 8, 1)]), 1);
    assert_eq!(pick_in_turn([(2, 10, 0), (1, 11, 1)]), 0);
    // By its weight the first one is far better; by itself 1.5 or 2.5 times.
    assert_eq!(pick_in_turn([(3, 10, 0), (1, 15, 0)]), 1);
    assert_eq!(pick_in_turn([(3, 10, 0), (1, 25, 0)]), 0);
}
