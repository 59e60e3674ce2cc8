//! Permits and the queue against a list.
//!
//! A counter lends `limit` permits; a waiter takes its offer when it is polled. What must hold: no
//! more are out than there are, nobody overtakes, no permit lies idle for longer than an offer lasts
//! while a live waiter is woken or waits, and whoever is polled whenever it is woken gets in.

use dace::Instant;
use dace::machine::queue::{Left, OFFER, Queue, TicketId, Wakes, Want};
use proptest::prelude::*;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Wake, Waker};

use crate::config;

#[derive(Clone, Copy, Debug)]
enum Op {
    /// Takes a permit or joins. Whoever is `dead` is never polled again.
    Arrive {
        dead: bool,
    },
    /// Polls a waiter that is not dead, woken or not.
    Poll(usize),
    /// Polls all that were woken.
    PollWoken,
    Leave(usize),
    Release,
    Pass(u64),
    Back(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => prop::bool::weighted(0.2).prop_map(|dead| Op::Arrive { dead }),
        2 => any::<usize>().prop_map(Op::Poll),
        4 => Just(Op::PollWoken),
        2 => any::<usize>().prop_map(Op::Leave),
        4 => Just(Op::Release),
        3 => (0..15u64).prop_map(Op::Pass),
        1 => (0..1000u64).prop_map(Op::Back),
    ]
}

#[derive(Default)]
struct Bell(AtomicU32);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the model knows of a waiter.
struct Waiter {
    id: TicketId,
    bell: Arc<Bell>,
    dead: bool,
}

struct Bench {
    queue: Queue<()>,
    now: u64,
    limit: u32,
    held: u32,
    offered: u32,
    /// In order of arrival.
    waiters: Vec<Waiter>,
}

const PLACE: Want<()> = Want::Permit(());

impl Bench {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.now * 1_000_000)
    }

    /// Offers all that is free, from `from`.
    fn offer(&mut self, from: Instant) {
        let mut wakes = Wakes::new();
        while self.held + self.offered < self.limit
            && self.queue.try_offer(from, PLACE, |want| want == PLACE, &mut wakes)
        {
            self.offered += 1;
        }
        wakes.wake();
    }

    fn lapse(&mut self) {
        let now = self.now();
        while let Some((place, from)) = self.queue.on_lapse(now) {
            assert_eq!(place, PLACE);
            assert!(from <= now);
            self.offered -= 1;
            self.offer(from);
        }
    }

    /// Polls the waiter at this place in the order; whoever gets in leaves the queue.
    fn poll(&mut self, index: usize) {
        let waiter = &self.waiters[index];
        waiter.bell.0.store(0, Ordering::Relaxed);
        let (id, waker) = (waiter.id, Waker::from(waiter.bell.clone()));
        let mut offer = self.queue.on_poll(id, &waker);
        while offer.is_none() {
            let Some((_, from)) = self.queue.on_lapse(self.now()) else { break };
            self.offered -= 1;
            self.offer(from);
            offer = self.queue.on_poll(id, &waker);
        }
        if offer.is_none() {
            self.offer(self.now());
            offer = self.queue.on_poll(id, &waker);
        }
        let now = self.now();
        if offer.is_some() {
            self.offered -= 1;
            self.held += 1;
            let Left { place, .. } = self.queue.leave(now, id).unwrap();
            assert_eq!(place, None);
            self.waiters.remove(index);
        }
    }

    fn alive(&self) -> Vec<usize> {
        (0..self.waiters.len()).filter(|index| !self.waiters[*index].dead).collect()
    }

    fn poll_woken(&mut self) {
        let woken = |waiter: &Waiter| !waiter.dead && waiter.bell.0.load(Ordering::Relaxed) > 0;
        while let Some(index) = self.waiters.iter().position(woken) {
            self.poll(index);
        }
    }

    fn step(&mut self, op: Op) {
        match op {
            Op::Arrive { dead } => {
                self.lapse();
                self.offer(self.now());
                if self.held + self.offered < self.limit {
                    self.held += 1;
                } else {
                    let bell = Arc::new(Bell::default());
                    let id = self.queue.join(self.now(), PLACE, Waker::from(bell.clone()));
                    self.waiters.push(Waiter { id, bell, dead });
                }
            }
            Op::Poll(number) => {
                let alive = self.alive();
                if !alive.is_empty() {
                    self.poll(alive[number % alive.len()]);
                }
            }
            Op::PollWoken => self.poll_woken(),
            Op::Leave(number) => {
                if !self.waiters.is_empty() {
                    let waiter = self.waiters.remove(number % self.waiters.len());
                    let left = self.queue.leave(self.now(), waiter.id).unwrap();
                    if left.place.is_some() {
                        self.offered -= 1;
                        self.offer(self.now());
                    }
                }
            }
            Op::Release => {
                if self.held > 0 {
                    self.held -= 1;
                    self.offer(self.now());
                }
            }
            Op::Pass(millis) => self.now += millis,
            Op::Back(millis) => self.now = self.now.saturating_sub(millis),
        }
        assert!(self.held + self.offered <= self.limit);
        assert_eq!(self.queue.len(), self.waiters.len());
        self.check_nobody_sleeps();
    }

    /// While a permit is free and offered to nobody, every live waiter has been passed over because
    /// its own offer lapsed: then it was woken for that, and is still to be polled.
    fn check_nobody_sleeps(&self) {
        if self.held + self.offered < self.limit {
            for waiter in self.waiters.iter().filter(|waiter| !waiter.dead) {
                assert!(waiter.bell.0.load(Ordering::Relaxed) > 0, "an eligible waiter sleeps");
            }
        }
    }

    /// Everybody who is alive gets in, in order, with the dead before them in the way.
    fn finish(&mut self) {
        while !self.alive().is_empty() {
            self.held = self.held.saturating_sub(1);
            self.offer(self.now());
            let first = self.alive()[0];
            let id = self.waiters[first].id;
            self.poll_woken();
            // When it looks by itself it is let in: those ahead who are dead have lapsed by then, or,
            // if the clock went back or they were offered places out of order, one look later.
            for _ in 0..2 {
                if self.held == self.limit {
                    // Somebody behind came for an offer of his own.
                    break;
                }
                let Some(index) = self.waiters.iter().position(|waiter| waiter.id == id) else {
                    break;
                };
                let look = self.queue.look_again(self.now(), id);
                let most = OFFER * self.waiters.len() as u32;
                assert!(look <= self.now().after(most), "{look:?}");
                self.now += look.since(self.now()).as_millis() as u64;
                self.poll(index);
            }
            let waits = self.waiters.iter().any(|waiter| waiter.id == id);
            assert!(!waits || self.held == self.limit, "it waits for the dead");
        }
        for waiter in std::mem::take(&mut self.waiters) {
            let left = self.queue.leave(self.now(), waiter.id).unwrap();
            self.offered -= u32::from(left.place.is_some());
        }
        assert_eq!(self.offered, 0, "something is kept for nobody");
        assert!(self.queue.is_empty());
    }
}

proptest! {
    #![proptest_config(config())]

    /// A1: a waiter that is dropped after a place was offered to it passes it on.
    #[test]
    fn permits_go_to_those_who_wait_in_order(
        limit in 1..4u32,
        ops in prop::collection::vec(op(), 100..=150),
    ) {
        let queue = Queue::new();
        let mut bench = Bench { queue, now: 0, limit, held: 0, offered: 0, waiters: Vec::new() };
        for op in ops {
            bench.step(op);
        }
        bench.finish();
    }
}
