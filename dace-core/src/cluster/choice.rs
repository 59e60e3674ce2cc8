//! What a balancer of dace's own is shown, and asked.

use super::Cluster;
use super::admission::{Ask, Shut, look};
use super::endpoint::EndpointId;
use super::table::Table;
use super::targets::{Listed, Picker};
use crate::Instant;
use crate::event::What;
use crate::machine::balancer::{self, Balance, Choice, Field, Load};
use crate::machine::circuit::CircuitState;
use crate::policy::Rules;

impl Cluster {
    /// Whether it is time to ignore circuits.
    pub(super) fn look_at_panic(&mut self, now: Instant, policy: &Rules, ask: &Ask<'_>) {
        let targets = &mut self.targets;
        let mostly_ill = targets.suspects * 2 > targets.list.len();
        let panic = mostly_ill
            && is_panic(now, policy, &self.table, &targets.list)
            && !targets.can_take_all();
        if panic != targets.panic {
            targets.panic = panic;
            self.events.push(now, ask.call, || What::PanicMode { on: panic });
        }
    }

    /// Asks the balancer, unless circuits are ignored.
    pub(super) fn pick(
        &mut self,
        now: Instant,
        policy: &Rules,
        ask: &Ask<'_>,
        shed: &[EndpointId],
    ) -> Option<Choice> {
        if self.targets.panic { None } else { self.choose(now, policy, ask, shed, false) }
    }

    /// Asks the balancer: among those not tried, then among all, but for those that shed the call; each time in the level that the attempt
    /// belongs to, then in the others. `force`: circuits are ignored where most are open.
    pub(super) fn choose(
        &mut self,
        now: Instant,
        policy: &Rules,
        ask: &Ask<'_>,
        shed: &[EndpointId],
        force: bool,
    ) -> Option<Choice> {
        let Self { targets, table, rng, .. } = self;
        let Picker::Balance(balance) = targets.picker else {
            return None;
        };
        let key = ask.key.filter(|_| matches!(balance, Balance::Rendezvous(_)));
        let key = key.map(balancer::hash);
        let first = targets.level(rng, key);
        let alone = targets.levels.len() == 1;
        let rounds = if ask.elsewhere || ask.tried.is_empty() { 1 } else { 2 };
        for without in [ask.tried, &[]].into_iter().take(rounds) {
            let others = (0..targets.levels.len()).filter(|&index| index != first);
            for index in core::iter::once(first).chain(others) {
                let Some(level) = targets.levels.get_mut(index) else { continue };
                let force = force && (alone || level.is_ill());
                let list = &targets.list[level.start..level.end];
                let view = View { now, policy, table, list, without, shed, force };
                match balance.pick(now, rng, &mut level.turns, &view, key) {
                    Some(Choice::Take(at)) => return Some(Choice::Take(level.start + at)),
                    Some(Choice::Wait(at)) => return Some(Choice::Wait(level.start + at)),
                    None => {}
                }
            }
        }
        None
    }

    /// Whether a call goes to the endpoint of its key, and to no other to probe it.
    pub(super) fn keeps_to_key(&self, ask: &Ask<'_>) -> bool {
        ask.key.is_some() && matches!(self.targets.picker, Picker::Balance(Balance::Rendezvous(_)))
    }
}

/// Whether fewer than half of several endpoints have a circuit that lets calls through. What is
/// drained is not there.
fn is_panic(now: Instant, policy: &Rules, table: &Table, list: &[Listed]) -> bool {
    let (mut count, mut willing) = (0, 0);
    for listed in list {
        let circuit = &table[listed.endpoint].circuit;
        if circuit.state() != CircuitState::Drained {
            count += 1;
            willing += usize::from(circuit.check(now, &policy.circuit).is_ok());
        }
    }
    count > 1 && willing * 2 < count
}

/// Listed endpoints, as a balancer sees them.
struct View<'a> {
    now: Instant,
    policy: &'a Rules,
    table: &'a Table,
    list: &'a [Listed],
    without: &'a [EndpointId],
    /// Endpoints whose throttles refused the call.
    shed: &'a [EndpointId],
    /// Whether open circuits are ignored, unless they were opened by hand.
    force: bool,
}

impl View<'_> {
    #[inline]
    fn look(&self, index: usize) -> Option<Result<(), Shut>> {
        let id = self.list[index].endpoint;
        if self.without.contains(&id) || self.shed.contains(&id) {
            return None;
        }
        Some(look(self.now, self.policy, self.table, id, self.force))
    }
}

impl Field for View<'_> {
    fn len(&self) -> usize {
        self.list.len()
    }

    #[inline]
    fn admits(&self, index: usize) -> bool {
        matches!(self.look(index), Some(Ok(())))
    }

    fn is_full(&self, index: usize) -> bool {
        matches!(self.look(index), Some(Err(Shut::Full | Shut::Rate(_))))
    }

    #[inline]
    fn load(&self, index: usize) -> &Load {
        &self.table[self.list[index].endpoint].load
    }

    #[inline]
    fn open(&self, index: usize) -> u32 {
        self.table[self.list[index].endpoint].open
    }

    fn weight(&self, index: usize) -> u32 {
        self.list[index].options.weight
    }

    fn name(&self, index: usize) -> u64 {
        self.list[index].name
    }
}
