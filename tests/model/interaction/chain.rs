//! An independent reader of events: whether they are a history that can have happened.
//!
//! It knows nothing of dace but what the events' documentation says, and counts on its own what
//! [`Totals`](dace::Totals) count.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use dace::{CircuitState, Class, Event, Instant, Netloc, Outcome, Snapshot, What, Why};

/// What is known of the history so far.
#[derive(Debug, Default)]
struct History {
    calls: BTreeMap<u64, Story>,
    newest: u64,
    /// Attempts under way.
    running: u32,
    circuits: BTreeMap<Netloc, CircuitState>,
    /// The circuit that somebody has just worked by hand.
    by_hand: Option<Netloc>,
    /// Another policy has just been loaded: one without a breaker closes circuits.
    reloaded: bool,
    listed: Option<usize>,
    ejected: BTreeSet<Netloc>,
    /// The list was replaced just now: what follows from it are events of one step.
    relisted: bool,
    /// How many are left once that step is over.
    left: Option<usize>,
    panic: bool,
    closed: bool,
    counts: Counts,
    bank: Bank,
}

/// The retry budget, as its documentation says.
#[derive(Debug, Default)]
struct Bank {
    thousandths: u64,
    cap: u64,
}

impl Bank {
    const fn take(&mut self) -> Result<(), &'static str> {
        match self.thousandths.checked_sub(1000) {
            Some(left) => self.thousandths = left,
            None => return Err("nothing paid for it"),
        }
        Ok(())
    }

    fn put(&mut self, thousandths: u64) {
        self.thousandths = (self.thousandths + thousandths).min(self.cap);
    }
}

/// What is known of one call.
#[derive(Debug, Default)]
struct Story {
    started: Instant,
    /// The dependency was closed before.
    late: bool,
    begun: u32,
    /// Attempts under way, and when they began.
    running: BTreeMap<u32, Instant>,
    /// A second one begins beside the first.
    hedged: bool,
    queued: BTreeMap<Option<Netloc>, u32>,
    decided: bool,
    /// The retry to come has taken a token.
    held: bool,
    /// The newest attempt has.
    spent: bool,
    /// The one retry without a token was made.
    free_used: bool,
    suppressed: Option<Why>,
    refused: bool,
    last: Option<Class>,
    ended: Option<Outcome>,
    rescued: bool,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    outcomes: BTreeMap<&'static str, u64>,
    classes: BTreeMap<&'static str, u64>,
    whys: BTreeMap<&'static str, u64>,
    retries: u64,
    hedges: u64,
    fallbacks: u64,
    answers: [u64; 3],
    opened: u64,
    half_opened: u64,
    closed: u64,
}

impl Counts {
    /// What a dependency says it counted.
    fn of(snapshot: &Snapshot) -> Self {
        let totals = &snapshot.totals;
        let some = |pairs: Vec<(&'static str, u64)>| -> BTreeMap<_, _> {
            pairs.into_iter().filter(|(_, count)| *count > 0).collect()
        };
        Self {
            outcomes: some(vec![
                ("value", totals.succeeded),
                ("error", totals.failed),
                ("timeout", totals.timed_out),
                ("refused", totals.refused),
                ("dropped", totals.dropped),
                ("panicked", totals.panicked),
            ]),
            classes: some(totals.classes.iter().collect()),
            whys: some(totals.suppressed.iter().collect()),
            retries: totals.retries,
            hedges: totals.hedges,
            fallbacks: totals.fallbacks,
            answers: [totals.cached, totals.stale, totals.shared],
            opened: totals.opened,
            half_opened: totals.half_opened,
            closed: totals.closed,
        }
    }
}

/// What the reader is told beside the events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// The clock never went back.
    pub(crate) straight: bool,
    /// How many targets there were at first.
    pub(crate) listed: usize,
    /// What the budget banks, if it was the same all the time; each success pays the default.
    pub(crate) banked: Option<u32>,
}

/// Checks a whole history of a dependency at rest.
///
/// # Errors
/// What cannot have happened.
pub(crate) fn check(events: &[Event], snapshot: &Snapshot, known: &Known) -> Result<(), String> {
    let Known { straight, listed, banked } = *known;
    // Where it is not known it pays for everything.
    let cap = banked.map_or(u64::MAX / 2, |banked| u64::from(banked) * 1000);
    let bank = Bank { thousandths: cap, cap };
    let mut history = History { listed: Some(listed), bank, ..History::default() };
    let mut before = Instant::EPOCH;
    for event in events {
        let wrong = |what: &str| format!("{what}: {event}");
        if straight && event.at < before {
            return Err(wrong("an event comes before its time"));
        }
        before = event.at;
        history.note(event, straight).map_err(wrong)?;
    }
    for (call, story) in &history.calls {
        if story.ended.is_none() {
            return Err(format!("call {call} never ends"));
        }
    }
    if history.running != 0 {
        return Err("attempts are under way to the end".into());
    }
    let (counted, said) = (history.counts, Counts::of(snapshot));
    if counted != said {
        return Err(format!("events say {counted:?}, the dependency says {said:?}"));
    }
    let (left, said) = (history.bank.thousandths, snapshot.budget_thousandths);
    if banked.is_some() && left != said {
        return Err(format!("events leave {left} thousandths of a token, the dependency {said}"));
    }
    let said = snapshot.endpoints.iter().map(|one| (&one.netloc, one.circuit));
    for (netloc, circuit) in said {
        let known = history.circuits.get(netloc).copied().unwrap_or(CircuitState::Closed);
        if known != circuit {
            return Err(format!("{netloc} is {circuit:?}, events say {known:?}"));
        }
    }
    if history.panic != snapshot.panic_mode || history.closed != snapshot.closed {
        return Err("panic mode, or being closed, is not told".into());
    }
    Ok(())
}

fn ensure(holds: bool, what: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(what) }
}

impl History {
    fn note(&mut self, event: &Event, straight: bool) -> Result<(), &'static str> {
        let by_hand = self.by_hand.take();
        let is_list = matches!(event.what, What::Ejected { .. } | What::Removed { .. });
        if !is_list {
            self.relisted = matches!(
                event.what,
                What::TargetsReplaced { .. }
                    | What::TargetAdded { .. }
                    | What::TargetRemoved { .. }
                    | What::TargetWeighed { .. }
            );
            if let Some(left) = self.left.take() {
                self.check_left(left)?;
            }
        }
        self.reloaded &= event.call == 0
            && (event.circuit().is_some() || matches!(event.what, What::Readmitted { .. }));
        match &event.what {
            What::CircuitChanged { netloc, from, to, reopens_in } => {
                let before = self.circuits.insert(netloc.clone(), *to);
                let before = before.unwrap_or(CircuitState::Closed);
                ensure(before == *from && from != to, "a circuit jumps")?;
                self.counts.opened += u64::from(*to == CircuitState::Open);
                self.counts.half_opened += u64::from(*to == CircuitState::HalfOpen);
                self.counts.closed += u64::from(*to == CircuitState::Closed);
                let open = *to == CircuitState::Open;
                ensure(open == reopens_in.is_some(), "when it reopens is said where it does not")?;
                use CircuitState::{Closed, HalfOpen, Open};
                let edge = matches!(
                    (from, to),
                    (Closed, Open) | (Open, HalfOpen) | (HalfOpen, Open | Closed)
                );
                let off = self.reloaded && *to == Closed;
                ensure(edge || off || by_hand.as_ref() == Some(netloc), "no circuit goes this way")
            }
            What::Controlled { netloc, .. } => {
                self.by_hand = Some(netloc.clone());
                Ok(())
            }
            What::PanicMode { on } => {
                let before = std::mem::replace(&mut self.panic, *on);
                ensure(before != *on, "panic mode begins or ends twice")
            }
            What::Ejected { netloc, left } => {
                ensure(self.ejected.insert(netloc.clone()), "it is ejected already")?;
                if !self.relisted {
                    return self.check_left(*left);
                }
                let said = self.left.replace(*left);
                ensure(said.is_none_or(|said| said == *left), "those who are left are miscounted")
            }
            What::Readmitted { netloc, left } => {
                ensure(self.ejected.remove(netloc), "it was not ejected")?;
                self.check_left(*left)
            }
            What::Removed { netloc } => ensure(self.ejected.remove(netloc), "it was not ejected"),
            What::TargetsReplaced { count } => {
                self.listed = Some(*count);
                Ok(())
            }
            What::TargetAdded { count, .. } => {
                let before = self.listed.replace(*count);
                ensure(before.is_none_or(|before| before + 1 == *count), "targets are miscounted")
            }
            What::TargetRemoved { count, .. } => {
                let before = self.listed.replace(*count);
                ensure(before.is_none_or(|before| before == *count + 1), "targets are miscounted")
            }
            What::Closed => ensure(!std::mem::replace(&mut self.closed, true), "it closes twice"),
            What::EventsDropped { .. } => Err("events were dropped"),
            What::Reloaded => {
                self.reloaded = true;
                Ok(())
            }
            What::TargetWeighed { .. } | What::Paused { .. } => Ok(()),
            What::CacheHit { .. } => {
                self.counts.answers[0] += 1;
                ensure(event.call == 0, "a cache answers, and there is a call")
            }
            What::AnswerShared => {
                self.counts.answers[2] += 1;
                ensure(event.call == 0, "an answer is shared, and there is a call")
            }
            _ => self.note_call(event, straight),
        }
    }

    /// Who is passed over is not among those who are left.
    fn check_left(&self, left: usize) -> Result<(), &'static str> {
        let listed = self.listed.unwrap_or_default();
        ensure(listed == left + self.ejected.len(), "those who are left are miscounted")
    }

    /// An event of one call.
    fn note_call(&mut self, event: &Event, straight: bool) -> Result<(), &'static str> {
        if matches!(event.what, What::CallStarted) {
            self.newest += 1;
            ensure(event.call == self.newest, "calls are not numbered in order")?;
            let story = Story { started: event.at, late: self.closed, ..Story::default() };
            self.calls.insert(event.call, story);
            return Ok(());
        }
        let (counts, bank) = (&mut self.counts, &mut self.bank);
        // A call that never began may still end in a fallback, or in an old answer.
        let mut nobody = Story { ended: Some(Outcome::Refused), ..Story::default() };
        let story = match event.call {
            0 => &mut nobody,
            call => self.calls.get_mut(&call).ok_or("it did not begin")?,
        };
        let is_after = matches!(event.what, What::FallbackUsed | What::StaleUsed { .. });
        ensure(is_after == story.ended.is_some(), "it is over, or it is not")?;
        let took = |since: Instant, took: Duration| !straight || event.at.since(since) == took;
        match &event.what {
            What::AttemptStarted { attempt, open, .. } => {
                self.running += 1;
                ensure(*open == self.running, "attempts under way are miscounted")?;
                ensure(*attempt == story.begun + 1, "attempts are not numbered in order")?;
                ensure(story.queued.values().all(|n| *n == 0), "it begins while it waits")?;
                let beside = std::mem::take(&mut story.hedged);
                let decided = std::mem::take(&mut story.decided);
                let alone = story.running.is_empty();
                let in_turn = alone && (*attempt == 1 || decided);
                ensure(in_turn || beside && *attempt == 2, "an attempt begins out of turn")?;
                if !beside {
                    story.spent = std::mem::take(&mut story.held);
                }
                story.begun = *attempt;
                story.suppressed = None;
                story.running.insert(*attempt, event.at);
                Ok(())
            }
            What::Hedged { attempt, after, .. } => {
                counts.hedges += 1;
                story.hedged = true;
                bank.take()?;
                story.spent = true;
                let first = story.running.get(&1).copied();
                let beside = *attempt == 2 && story.running.len() == 1;
                let first = first.filter(|_| beside).ok_or("it hedges nothing")?;
                ensure(took(first, *after), "how long the first has run is wrong")
            }
            What::AttemptEnded { attempt, class, took: length, open, .. } => {
                ensure(self.running == *open + 1, "attempts under way are miscounted")?;
                self.running = *open;
                let since = story.running.remove(attempt).ok_or("an attempt ends that is not")?;
                ensure(took(since, *length), "how long an attempt took is wrong")?;
                // One beside it may wait.
                let alone = story.running.is_empty();
                let waits = story.queued.values().any(|waiting| *waiting > 0);
                ensure(!(alone && waits), "it ends while it waits")?;
                *counts.classes.entry(class.name()).or_default() += 1;
                story.last = Some(*class);
                match (class, attempt) {
                    (Class::Success, 1) => bank.put(200),
                    (Class::Success, _) if story.spent => bank.put(1000),
                    _ => {}
                }
                Ok(())
            }
            What::RetryDecided { .. } => {
                counts.retries += 1;
                match story.last {
                    Some(Class::Rejected) => {}
                    Some(Class::Refused) if !story.free_used => story.free_used = true,
                    _ => {
                        bank.take()?;
                        story.held = true;
                    }
                }
                let idle =
                    story.running.is_empty() || story.running.contains_key(&2) || story.begun == 2;
                ensure(idle && story.last.is_some(), "a retry follows nothing")?;
                ensure(!std::mem::replace(&mut story.decided, true), "a retry is decided twice")
            }
            What::RetrySuppressed { why } => {
                *counts.whys.entry(why.name()).or_default() += 1;
                ensure(story.last.is_some() && !story.decided, "no retry was thought of")?;
                ensure(story.suppressed.replace(*why).is_none(), "a retry is suppressed twice")
            }
            What::Resent { .. } => ensure(!story.running.is_empty(), "nothing runs that sends"),
            What::Queued { netloc } => {
                *story.queued.entry(netloc.clone()).or_default() += 1;
                Ok(())
            }
            What::Dequeued { netloc, .. } => {
                let waiting = story.queued.get_mut(netloc).filter(|waiting| **waiting > 0);
                *waiting.ok_or("it leaves a queue that it is not in")? -= 1;
                Ok(())
            }
            What::Refused { .. } => {
                story.refused = true;
                Ok(())
            }
            What::CallEnded { outcome, took: length, attempts, why, reason, .. } => {
                ensure(took(story.started, *length), "how long a call took is wrong")?;
                story.ended = Some(*outcome);
                if std::mem::take(&mut story.held) {
                    bank.put(1000);
                }
                *counts.outcomes.entry(outcome.name()).or_default() += 1;
                story.check_end(*outcome, *attempts, *why, reason.is_some())
            }
            What::FallbackUsed => {
                counts.fallbacks += 1;
                ensure(!std::mem::replace(&mut story.rescued, true), "it falls back twice")?;
                ensure(story.ended != Some(Outcome::Value), "a value needs no fallback")
            }
            What::StaleUsed { .. } => {
                counts.answers[1] += 1;
                ensure(story.ended != Some(Outcome::Value), "a value needs no other")
            }
            _ => Err("nobody knows this event"),
        }
    }
}

impl Story {
    fn check_end(
        &self,
        outcome: Outcome,
        attempts: u32,
        why: Option<Why>,
        refused: bool,
    ) -> Result<(), &'static str> {
        ensure(self.running.is_empty(), "an attempt outlives its call")?;
        ensure(self.queued.values().all(|waiting| *waiting == 0), "it waits to the end")?;
        ensure(attempts == self.begun, "attempts are miscounted")?;
        ensure(!self.late || outcome == Outcome::Refused, "it is let in though all is closed")?;
        match outcome {
            Outcome::Value => ensure(self.begun > 0, "a value of no attempt"),
            Outcome::Error => {
                let said = why.is_some() != refused;
                ensure(self.begun > 0 && said, "it fails for no reason, or for two")?;
                let told = self.suppressed.filter(|_| why.is_some() && !self.refused);
                ensure(told.is_none() || told == why, "it fails for another reason than was told")
            }
            Outcome::Refused => {
                ensure(refused && self.refused && self.begun == 0, "who refused it?")
            }
            _ => Ok(()),
        }
    }
}
