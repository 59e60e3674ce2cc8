//! Order, offers, lapses, leaving, and who is woken.

use alloc::sync::Arc;
use alloc::task::Wake;
use core::sync::atomic::{AtomicU32, Ordering};

use super::*;

const fn at(millis: u64) -> Instant {
    Instant::from_nanos(millis * 1_000_000)
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Counts how often it was woken.
#[derive(Default)]
struct Bell(AtomicU32);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Bell {
    fn rung(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}

struct Bench {
    queue: Queue<u8>,
    bells: Vec<Arc<Bell>>,
    tickets: Vec<TicketId>,
}

impl Bench {
    /// A queue in which these wait.
    fn new(wants: &[Want<u8>]) -> Self {
        let mut bench = Self { queue: Queue::new(), bells: Vec::new(), tickets: Vec::new() };
        for want in wants {
            let bell = Arc::new(Bell::default());
            let waker = Waker::from(bell.clone());
            bench.tickets.push(bench.queue.join(at(0), *want, waker));
            bench.bells.push(bell);
        }
        bench
    }

    /// Offers a permit at place 7 to whoever wants it.
    fn offer(&mut self, now: Instant) -> bool {
        let place = Want::Permit(7);
        let fits = |want| want == Want::Any || want == place;
        let mut wakes = Wakes::new();
        let offered = self.queue.try_offer(now, place, fits, &mut wakes);
        assert_eq!(wakes.wakers.len(), usize::from(offered), "one offer wakes one");
        wakes.wake();
        offered
    }

    fn poll(&mut self, number: usize) -> Option<Want<u8>> {
        let waker = Waker::from(self.bells[number].clone());
        self.queue.on_poll(self.tickets[number], &waker)
    }

    fn leave(&mut self, now: Instant, number: usize) -> Option<Left<u8>> {
        self.queue.leave(now, self.tickets[number])
    }

    fn rung(&self) -> Vec<u32> {
        self.bells.iter().map(|bell| bell.rung()).collect()
    }
}

#[test]
fn places_are_offered_in_order_of_arrival_and_each_wakes_one() {
    let mut bench = Bench::new(&[Want::Any; 3]);
    for number in 0..3 {
        assert!(bench.offer(at(0)));
        assert_eq!(bench.poll(number), Some(Want::Permit(7)));
        assert_eq!(bench.rung().iter().sum::<u32>(), number as u32 + 1);
        assert_eq!(bench.leave(at(1), number).unwrap().place, None, "it took what it was offered");
    }
    assert_eq!(bench.rung(), [1, 1, 1]);
    assert!(!bench.offer(at(0)), "nobody is left");
    assert!(bench.queue.is_empty());
}

#[test]
fn several_places_go_to_several_waiters() {
    let mut bench = Bench::new(&[Want::Any; 3]);
    assert!(bench.offer(at(0)) && bench.offer(at(0)) && bench.offer(at(0)));
    assert!(!bench.offer(at(0)), "each has an offer already");
    assert_eq!(bench.rung(), [1, 1, 1]);
}

#[test]
fn who_waits_for_something_else_is_passed_over_and_keeps_his_place() {
    let mut bench = Bench::new(&[Want::Connection(7), Want::Permit(8), Want::Permit(7), Want::Any]);
    assert!(bench.offer(at(0)));
    assert_eq!(bench.rung(), [0, 0, 1, 0]);
    assert_eq!(bench.queue.want(bench.tickets[1]), Some(Want::Permit(8)));
    let mut wakes = Wakes::new();
    let fits = |want| want == Want::Permit(8);
    assert!(bench.queue.try_offer(at(0), Want::Permit(8), fits, &mut wakes));
    wakes.wake();
    assert_eq!(bench.rung(), [0, 1, 1, 0]);
}

#[test]
fn who_declined_a_place_is_offered_others_alone_and_keeps_his_turn() {
    let mut bench = Bench::new(&[Want::Any; 2]);
    bench.queue.decline(bench.tickets[0], &[8]);
    bench.queue.decline(bench.tickets[0], &[6, 7]);
    assert_eq!(bench.queue.declined(bench.tickets[0]), [6, 7], "8 is wanted again");
    assert!(bench.offer(at(0)));
    assert_eq!(bench.rung(), [0, 1], "the next one has it");
    assert!(!bench.offer(at(0)), "nobody else wants one there");
    let mut wakes = Wakes::new();
    assert!(bench.queue.try_offer(at(0), Want::Permit(8), |_| true, &mut wakes));
    wakes.wake();
    assert_eq!(bench.rung(), [1, 1], "it is the first still");
    assert_eq!(bench.poll(0), Some(Want::Permit(8)));
}

#[test]
fn an_offer_is_taken_once_and_is_nobodys_before() {
    let mut bench = Bench::new(&[Want::Any; 2]);
    assert_eq!(bench.poll(0), None);
    assert!(bench.offer(at(0)));
    assert_eq!(bench.poll(1), None);
    assert_eq!(bench.poll(0), Some(Want::Permit(7)));
    assert_eq!(bench.poll(0), None);
}

#[test]
fn an_offer_lapses_after_its_time_and_not_before() {
    let mut bench = Bench::new(&[Want::Any; 2]);
    assert!(bench.offer(at(5)));
    let end = at(5).after(OFFER);
    assert_eq!(bench.queue.on_lapse(Instant::from_nanos(end.as_nanos() - 1)), None);
    assert_eq!(bench.queue.on_lapse(end), Some((Want::Permit(7), end)));
    assert_eq!(bench.queue.on_lapse(end), None);
    assert!(bench.offer(end));
    assert_eq!(bench.rung(), [1, 1], "the next one is woken, not the same again");
    assert_eq!(bench.poll(0), None, "it came too late");
}

#[test]
fn a_chain_of_waiters_that_nobody_polls_lapses_at_once_for_whoever_looks_late() {
    let mut bench = Bench::new(&[Want::Any; 5]);
    assert!(bench.offer(at(0)));
    let mut lapses = 0;
    while let Some((place, lapsed)) = bench.queue.on_lapse(at(45)) {
        assert_eq!((place, lapsed), (Want::Permit(7), at(10 * (lapses + 1))));
        lapses += 1;
        assert!(bench.offer(lapsed));
    }
    assert_eq!(lapses, 4);
    assert_eq!(bench.poll(4), Some(Want::Permit(7)));
}

#[test]
fn a_waiter_whose_offer_lapsed_is_offered_another_once_it_is_polled() {
    let mut bench = Bench::new(&[Want::Any]);
    assert!(bench.offer(at(0)));
    assert!(bench.queue.on_lapse(at(10)).is_some());
    assert!(!bench.offer(at(10)), "it is passed over");
    assert_eq!(bench.poll(0), None);
    assert!(bench.offer(at(11)));
    assert_eq!(bench.rung(), [2]);
    assert_eq!(bench.poll(0), Some(Want::Permit(7)));
}

#[test]
fn a_second_offer_to_the_same_waiter_has_a_time_of_its_own() {
    let mut bench = Bench::new(&[Want::Any]);
    assert!(bench.offer(at(0)));
    assert!(bench.poll(0).is_some());
    assert!(bench.offer(at(9)));
    assert_eq!(bench.queue.on_lapse(at(10)), None, "the first one was taken");
    assert_eq!(bench.queue.on_lapse(at(19)), Some((Want::Permit(7), at(19))));
}

#[test]
fn whoever_leaves_says_what_was_kept_for_it() {
    // Waiting, offered, taken, lapsed.
    for (stage, place) in [(0, None), (1, Some(Want::Permit(7))), (2, None), (3, None)] {
        let mut bench = Bench::new(&[Want::Any; 2]);
        if stage > 0 {
            assert!(bench.offer(at(0)));
        }
        if stage == 2 {
            assert!(bench.poll(0).is_some());
        }
        if stage == 3 {
            assert!(bench.queue.on_lapse(at(10)).is_some());
        }
        let left = bench.leave(at(12), 0).unwrap();
        assert_eq!(
            left,
            Left { want: Want::Any, place, shed: false, waited: ms(12) },
            "stage {stage}"
        );
        assert_eq!(bench.leave(at(12), 0), None, "it leaves once");
        assert_eq!(bench.poll(0), None);
        assert_eq!(bench.queue.len(), 1);
        assert_eq!(bench.queue.on_lapse(at(1000)), None, "its offer went with it");
        assert!(bench.offer(at(12)));
        assert_eq!(bench.rung()[1], 1);
    }
}

#[test]
fn a_waiter_is_woken_by_the_waker_that_polled_it_last() {
    let mut bench = Bench::new(&[Want::Any]);
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(bell.clone());
    assert_eq!(bench.queue.on_poll(bench.tickets[0], &waker), None);
    assert!(bench.offer(at(0)));
    assert_eq!((bench.rung(), bell.rung()), (alloc::vec![0], 1));
}

#[test]
fn everybody_is_woken_once_when_something_changes() {
    let mut bench = Bench::new(&[Want::Any, Want::Permit(1), Want::Connection(2), Want::Any]);
    let _ = bench.leave(at(0), 3);
    let mut wakes = Wakes::new();
    bench.queue.wake_all(&mut wakes);
    wakes.wake();
    assert_eq!(bench.rung(), [1, 1, 1, 0]);
}

#[test]
fn a_waiter_looks_again_when_its_turn_can_have_come_at_the_earliest() {
    let mut bench = Bench::new(&[Want::Any; 4]);
    let looks: Vec<_> =
        bench.tickets.iter().map(|id| bench.queue.look_again(at(100), *id)).collect();
    assert_eq!(looks, [at(110), at(120), at(130), at(140)]);
    let _ = bench.leave(at(100), 0);
    let _ = bench.leave(at(100), 1);
    assert_eq!(bench.queue.look_again(at(100), bench.tickets[2]), at(110));
    assert_eq!(bench.queue.look_again(at(100), bench.tickets[0]), at(100), "it is not there");
}

#[test]
fn those_who_left_take_no_room() {
    let mut bench = Bench::new(&[Want::Any]);
    for _ in 0..10_000 {
        let id = bench.queue.join(at(0), Want::Any, Waker::noop().clone());
        let _ = bench.queue.leave(at(0), id);
    }
    assert_eq!(bench.queue.len(), 1);
    let order = &bench.queue.lines[Rank::default().index()].order;
    assert!(order.len() <= 18, "{}", order.len());
}

#[test]
fn a_clock_that_goes_back_takes_no_offer_from_a_waiter_that_comes_for_it() {
    let mut bench = Bench::new(&[Want::Any]);
    assert!(bench.offer(at(1000)));
    assert_eq!(bench.poll(0), Some(Want::Permit(7)));
    assert!(bench.offer(Instant::NEVER));
    let left = bench.queue.leave(at(0), bench.tickets[0]).unwrap();
    assert_eq!((left.place, left.waited), (Some(Want::Permit(7)), Duration::ZERO));
}

#[test]
fn a_clock_that_goes_back_keeps_no_place_for_a_waiter_that_nobody_polls() {
    let mut bench = Bench::new(&[Want::Any; 2]);
    assert!(bench.offer(at(1_000_000)));
    assert_eq!(bench.queue.on_lapse(at(5)), Some((Want::Permit(7), at(5))));
    assert!(bench.offer(at(5)));
    assert_eq!(bench.queue.on_lapse(at(14)), None, "the next has its whole time");
    assert_eq!(bench.queue.on_lapse(at(15)), Some((Want::Permit(7), at(15))));
}

#[test]
fn those_who_left_in_between_make_nobody_look_later() {
    let mut bench = Bench::new(&[Want::Any; 100]);
    for number in 1..99 {
        let _ = bench.leave(at(0), number);
    }
    assert_eq!(bench.queue.look_again(at(0), bench.tickets[99]), at(20));
}

#[test]
fn the_higher_class_goes_first_then_retries_then_who_came_first() {
    let mut queue = Queue::new();
    let ranks = [
        Rank::new(2, false),
        Rank::default(),
        Rank::new(2, true),
        Rank::new(0, false),
        Rank::new(1, true),
        Rank::new(0, true),
        Rank::new(1, false),
        Rank::new(9, false),
    ];
    let join =
        |(_, rank): (usize, &Rank)| queue.join_as(at(0), *rank, Want::Any, Waker::noop().clone());
    let tickets: Vec<_> = ranks.iter().enumerate().map(join).collect();
    let mut order = Vec::new();
    let mut wakes = Wakes::new();
    while queue.try_offer(at(0), Want::Permit(7), |_| true, &mut wakes) {
        let offered = tickets.iter().position(|id| queue.on_poll(*id, Waker::noop()).is_some());
        let offered = offered.unwrap();
        order.push(offered);
        let ahead = queue.look_again(at(0), tickets[offered]);
        assert_eq!(ahead, at(10), "whoever is first looks again after one offer");
        let _ = queue.leave(at(0), tickets[offered]);
    }
    assert_eq!(order, [5, 3, 4, 1, 6, 2, 0, 7]);
    wakes.wake();
}

#[test]
fn the_youngest_of_the_lowest_class_makes_room_and_equals_never_do() {
    let mut queue = Queue::<u8>::new();
    let mut wakes = Wakes::new();
    let [high, normal, low] = [0, 1, 2].map(|class| Rank::new(class, false));
    let bell = Arc::new(Bell::default());
    let mut join = |rank, want| queue.join_as(at(0), rank, want, Waker::from(bell.clone()));
    let tickets = [
        join(normal, Want::Any),
        join(low, Want::Any),
        join(low, Want::Any),
        join(low, Want::Connection(1)),
        join(Rank::new(2, true), Want::Any),
        join(low, Want::Any),
    ];
    let is_call = |want| !matches!(want, Want::Connection(_));
    // A place is kept for the first one of the class: that one is as good as in.
    assert!(queue.try_offer(at(0), Want::Permit(7), |want| want == Want::Any, &mut wakes));
    let mut shed = Vec::new();
    for rank in [low, normal, normal, Rank::new(1, true), normal, normal, high, high] {
        let before: Vec<_> = tickets.iter().filter(|id| queue.is_shed(**id)).copied().collect();
        if queue.try_shed(rank, is_call, &mut wakes) {
            let new = tickets.iter().position(|id| queue.is_shed(*id) && !before.contains(id));
            shed.push(new.unwrap());
            assert_eq!(queue.on_poll(tickets[new.unwrap()], Waker::noop()), None);
            assert!(queue.is_shed(tickets[new.unwrap()]), "a poll does not undo it");
        }
    }
    assert_eq!(shed, [5, 2, 1, 4], "the offered one and the connection's are left alone");
    assert_eq!(queue.len(), 2);
    wakes.wake();
    assert_eq!(bell.rung(), 5, "the offered one, and each that was shed");
    let left = queue.leave(at(3), tickets[5]).unwrap();
    assert_eq!((left.shed, left.waited), (true, ms(3)));
    assert!(!queue.leave(at(3), tickets[3]).unwrap().shed);
    assert_eq!(queue.len(), 1);
}

#[test]
fn offers_that_were_taken_are_not_kept() {
    let mut queue = Queue::<u8>::new();
    let mut wakes = Wakes::new();
    for round in 0..1_000 {
        let id = queue.join(at(round), Want::Any, Waker::noop().clone());
        assert!(queue.try_offer(at(round), Want::Permit(1), |_| true, &mut wakes));
        assert!(queue.on_poll(id, Waker::noop()).is_some());
        let _ = queue.leave(at(round), id);
        assert!(!queue.has_offers(), "{round}");
    }
    wakes.wake();
}

#[test]
fn who_waits_for_something_else_is_not_ahead() {
    let bench = Bench::new(&[Want::Permit(1), Want::Permit(7), Want::Permit(7)]);
    let ahead =
        |number: usize, want| bench.queue.ahead(Some(bench.tickets[number]), Rank::default(), want);
    assert_eq!(
        [ahead(0, Want::Permit(1)), ahead(1, Want::Permit(7)), ahead(2, Want::Permit(7))],
        [0, 0, 1]
    );
}
