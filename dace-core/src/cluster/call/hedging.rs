//! A second attempt beside a slow one, and what becomes of the two.

use alloc::boxed::Box;

use super::{Action, CallMachine, Run, Slot, State};
use crate::cluster::Cluster;
use crate::cluster::admission::{Ask, Proposal};
use crate::cluster::attempt::{Attempt, AttemptId};
use crate::cluster::targets::Picker;
use crate::event::What;
use crate::machine::queue::Wakes;
use crate::machine::retry::SHORTEST_ATTEMPT;
use crate::policy::Rules;
use crate::shared_limit::Grants;
use crate::{Class, Instant, Priority};

impl CallMachine {
    /// When the attempt that begins now is to be hedged: never, mostly.
    #[inline]
    pub(super) fn hedge_from(&self, now: Instant, cluster: &mut Cluster) -> Instant {
        let Some(hedging) = cluster.hedging.as_mut() else {
            return Instant::NEVER;
        };
        if self.attempts > 1 || !self.is_idempotent() {
            return Instant::NEVER;
        }
        hedging.on_call();
        let several = cluster.targets.list.len() > 1;
        if !several || !matches!(cluster.targets.picker, Picker::Balance(_)) {
            return Instant::NEVER;
        }
        match hedging.delay(now).map(|delay| now.after(delay)) {
            Some(from) if from.after(SHORTEST_ATTEMPT) < self.deadline => from,
            _ => Instant::NEVER,
        }
    }

    /// An attempt runs: what is to be done next.
    pub(super) fn go_on(
        &mut self,
        now: Instant,
        policy: &Rules,
        cluster: &mut Cluster,
        run: Run,
        wakes: &mut Wakes,
    ) -> Action {
        self.state = State::Running(run);
        if now >= run.deadline {
            return Action::Cancel(run.slot);
        }
        match self.hedge_of(run) {
            Some((_, deadline)) if now >= deadline => Action::Cancel(Slot::Hedge),
            Some((_, deadline)) => Action::WaitUntil(deadline.min(run.deadline)),
            None if now < run.hedge_from => Action::WaitUntil(run.hedge_from.min(run.deadline)),
            None if !self.may_hedge(policy, cluster, run) => self.stay_alone(run),
            None if policy.shares => Action::Share,
            None => self.hedge(now, policy, cluster, run, &mut None, wakes),
        }
    }

    /// Begins the hedge, if everything allows it. It is not thought of again.
    pub(super) fn hedge(
        &mut self,
        now: Instant,
        policy: &Rules,
        cluster: &mut Cluster,
        run: Run,
        grants: &mut Option<Box<Grants>>,
        wakes: &mut Wakes,
    ) -> Action {
        let alone = self.stay_alone(run);
        // The limits that are shared were asked meanwhile.
        if !self.may_hedge(policy, cluster, run) {
            return alone;
        }
        let first = &cluster.attempts[run.id];
        let (after, endpoint) = (now.since(first.started), first.charged.endpoint);
        let deadline = now.after(policy.attempt_timeout).min(self.deadline);
        let (tried, proposal) = ([endpoint], Proposal::Unasked);
        let ask = Ask {
            call: self.call,
            tried: &tried,
            elsewhere: true,
            deadline,
            proposal: &proposal,
            key: self.key(),
            ticket: None,
        };
        let Some(grant) = cluster.admit_beside(now, policy, &ask, wakes) else {
            return alone;
        };
        let taken = cluster.tokens.try_take();
        let taken = cluster.hedging.as_mut().is_some_and(|hedging| hedging.try_take()) && taken;
        debug_assert!(taken, "both were there");
        self.attempts += 1;
        self.token_spent = true;
        cluster.totals.hedges += 1;
        let number = self.attempts;
        cluster.events.push(now, self.call, || What::Hedged {
            attempt: number,
            netloc: cluster.table[grant.endpoint].netloc.clone(),
            after,
        });
        let mut attempt = Attempt::new(now, self.call, number, grant);
        attempt.rank = Priority::rank(self.priority, true);
        if let Some(grants) = grants.take() {
            attempt.take_grants(grants);
        }
        let id = cluster.begin_attempt(now, attempt);
        cluster.rivals.push((run.id, id));
        self.extra().hedge = Some((id, deadline));
        self.state = State::Running(Run { hedged: true, ..run });
        let look_at = deadline.min(run.deadline);
        Action::Attempt { slot: Slot::Hedge, look_at }
    }

    /// Whether a hedge would do no harm, and is paid for. Nobody who waits is overtaken.
    fn may_hedge(&self, policy: &Rules, cluster: &Cluster, run: Run) -> bool {
        let Some(Attempt { flags, unsafe_open, .. }) = cluster.attempts.get(run.id) else {
            return false;
        };
        let safe = !flags.unsafe_sent && *unsafe_open == 0 && !flags.retry_requested;
        let hedging = cluster.hedging.as_ref();
        safe && self.attempts <= policy.retry_attempts
            && cluster.tokens.has_one()
            && hedging.is_some_and(|hedging| hedging.has_one())
            && !cluster.targets.panic
            && cluster.queue.is_empty()
    }

    /// The hedge beside an attempt, and when it ends.
    fn hedge_of(&self, run: Run) -> Option<(AttemptId, Instant)> {
        if run.hedged { self.extra.as_ref()?.hedge } else { None }
    }

    /// There is no hedge.
    pub(super) fn stay_alone(&mut self, run: Run) -> Action {
        self.state = State::Running(run.alone());
        Action::WaitUntil(run.deadline)
    }

    /// Which attempt runs in this place, and the one beside it.
    pub(super) fn running(&self, slot: Slot) -> Option<(Run, Option<Run>)> {
        let State::Running(run) = self.state else {
            return None;
        };
        let alone = run.alone();
        let hedge = self.hedge_of(run).map(|(id, deadline)| Run {
            id,
            number: run.number + 1,
            slot: Slot::Hedge,
            deadline,
            ..alone
        });
        match hedge {
            Some(hedge) if slot == hedge.slot => Some((hedge, Some(alone))),
            hedge => (slot == run.slot).then_some((alone, hedge)),
        }
    }
}

impl Run {
    /// Without a hedge, now and later.
    const fn alone(self) -> Self {
        Self { hedge_from: Instant::NEVER, hedged: false, ..self }
    }
}

/// Whether a result ends the call although another attempt is under way: it is good, or another one
/// would not be better.
pub(super) fn is_final(class: Class) -> bool {
    matches!(class, Class::Success | Class::CallerFault | Class::Failure | Class::Ignored)
}

impl Cluster {
    /// Keeps the record of an attempt that begins.
    #[inline]
    pub(super) fn begin_attempt(&mut self, now: Instant, attempt: Attempt) -> AttemptId {
        let (call, number, endpoint) = (attempt.call, attempt.number, attempt.charged.endpoint);
        let id = self.attempts.insert(attempt);
        self.running += 1;
        self.events.push(now, call, || What::AttemptStarted {
            attempt: number,
            netloc: self.table[endpoint].netloc.clone(),
            open: self.running,
        });
        id
    }

    /// The attempt sends what must not happen twice: the one beside it may send nothing more.
    pub(in crate::cluster) fn outdo_rival(&mut self, id: AttemptId) {
        for &(first, hedge) in &self.rivals {
            let other = match id {
                _ if id == first => hedge,
                _ if id == hedge => first,
                _ => continue,
            };
            if let Some(other) = self.attempts.get_mut(other) {
                other.flags.outdone = true;
            }
        }
    }
}
