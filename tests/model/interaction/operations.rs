//! What can happen, at random.

use std::time::Duration;

use dace::http::Sent;
use dace::{Class, Priority};
use dace_sim::Ending;
use proptest::prelude::*;

use super::calls::{Kind, Parts, Start};
use super::hooks::Hook;
use super::policy::{Plan, plan};

/// What a server does from now on, or for so many milliseconds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Script {
    Answers(u16),
    Throttles(u64),
    Hangs(u64),
    Resets(u64),
    Down(u64),
    /// The body ends like this.
    Ends(Ending),
    /// To the next server, with method and body.
    Redirects,
    /// The next connection is found to be dead.
    Stale(Sent),
    /// So many workers; 0 is any number.
    Workers(usize),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Hand {
    Drain,
    Reset,
    Open,
    Closed,
    Metrics,
    Automatic,
}

#[derive(Clone, Debug)]
pub(super) enum Op {
    Start(Start),
    /// So many calls at once, each to a server of its own that nobody knows.
    Crowd(usize),
    /// Polls one call, woken or not.
    Poll(usize),
    /// Polls all that were woken, until none is.
    Run,
    Drop(usize),
    DropKept(usize),
    Pass(u64),
    Back(u64),
    Script(usize, Script),
    /// These servers, and no others, each with this weight, and the last of them in reserve.
    List(u8, u32, bool),
    Add(usize),
    Remove(usize),
    Weigh(usize, u32),
    /// A circuit is worked by hand; 3 is the dependency's own.
    Force(usize, Hand),
    Reload(Box<Plan>),
    /// The next time that this piece of user code runs, it panics.
    Arm(Hook),
    Flush,
    Close,
}

pub(super) const CLASSES: [Class; 14] = [
    Class::Success,
    Class::Unsent,
    Class::Refused,
    Class::Rejected,
    Class::Throttled(None),
    Class::Throttled(Some(Duration::from_millis(30))),
    Class::Throttled(Some(Duration::from_secs(5))),
    Class::Transient,
    Class::Timeout,
    Class::Failure,
    Class::CallerFault,
    Class::RetryRequested,
    Class::Cancelled,
    Class::Ignored,
];

fn start() -> impl Strategy<Value = Start> {
    use Kind::{Again, Both, Get, Keep, Local, MarkedPost, Post, Two};
    let kinds = vec![Get, Get, Get, Get, Post, Post, MarkedPost, Two, Both, Keep, Again, Local];
    use Parts::{
        Cached, CachedFallback, Fallback, Plain, Reported, Shared, SharedCached, SharedFallback,
    };
    let parts = vec![
        Plain,
        Plain,
        Plain,
        Plain,
        Reported,
        Fallback,
        Cached,
        CachedFallback,
        Shared,
        SharedCached,
        SharedFallback,
    ];
    let what = (prop::sample::select(kinds), 0..3usize, prop::sample::select(parts), 0..4u8);
    let how = (
        prop::bool::weighted(0.3),
        prop::option::weighted(0.4, 0..2000u64),
        prop::option::weighted(0.2, prop::sample::select(CLASSES.to_vec())),
        prop::option::weighted(
            0.3,
            prop::sample::select(vec![Priority::Low, Priority::Normal, Priority::High]),
        ),
        prop::bool::weighted(0.2),
        prop::option::weighted(0.1, any::<bool>()),
    );
    (what, how).prop_map(|(what, how)| {
        let (kind, host, parts, key) = what;
        let (other, timeout, class, priority, sticky, idempotent) = how;
        Start { other, kind, host, timeout, parts, class, priority, key, sticky, idempotent }
    })
}

fn script() -> impl Strategy<Value = Script> {
    let endings = vec![Ending::Complete, Ending::Truncated, Ending::Stalled];
    let sent = vec![Sent::Unsent, Sent::MaybeSent];
    prop_oneof![
        5 => prop::sample::select(vec![200u16, 200, 404, 500, 503]).prop_map(Script::Answers),
        1 => (0..3u64).prop_map(Script::Throttles),
        1 => (1..1500u64).prop_map(Script::Hangs),
        1 => (1..1500u64).prop_map(Script::Resets),
        1 => (1..1500u64).prop_map(Script::Down),
        1 => prop::sample::select(endings).prop_map(Script::Ends),
        1 => Just(Script::Redirects),
        1 => prop::sample::select(sent).prop_map(Script::Stale),
        1 => (0..3usize).prop_map(Script::Workers),
    ]
}

pub(super) fn op() -> impl Strategy<Value = Op> {
    let hand = prop::sample::select(vec![
        Hand::Drain,
        Hand::Reset,
        Hand::Open,
        Hand::Closed,
        Hand::Metrics,
        Hand::Automatic,
        Hand::Automatic,
    ]);
    let pass = prop_oneof![4 => 0..30u64, 1 => 0..1500u64];
    let lists = prop_oneof![
        2 => (1..8u8, 1..4u32, any::<bool>()).prop_map(|(set, weight, last)| Op::List(set, weight, last)),
        1 => (0..3usize).prop_map(Op::Add),
        1 => (0..3usize).prop_map(Op::Remove),
        1 => (0..3usize, 1..4u32).prop_map(|(host, weight)| Op::Weigh(host, weight)),
    ];
    prop_oneof![
        50 => start().prop_map(Op::Start),
        2 => (1..12usize).prop_map(Op::Crowd),
        20 => any::<usize>().prop_map(Op::Poll),
        60 => Just(Op::Run),
        15 => any::<usize>().prop_map(Op::Drop),
        5 => any::<usize>().prop_map(Op::DropKept),
        40 => pass.prop_map(Op::Pass),
        3 => (0..500u64).prop_map(Op::Back),
        20 => (0..3usize, script()).prop_map(|(host, script)| Op::Script(host, script)),
        8 => lists,
        6 => (0..4usize, hand).prop_map(|(host, hand)| Op::Force(host, hand)),
        5 => plan().prop_map(|plan| Op::Reload(Box::new(plan))),
        10 => prop::sample::select(Hook::ALL.to_vec()).prop_map(Op::Arm),
        3 => Just(Op::Flush),
        // Nothing happens after it but that calls end.
        1 => prop::bool::weighted(0.3).prop_map(|really| if really { Op::Close } else { Op::Flush }),
    ]
}
