//! The list that a balancer picks from, level by level.

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use foldhash::quality::FixedState;
use hashbrown::HashMap;

use super::endpoint::EndpointId;
use super::table::Table;
use crate::balancer::{Options, Place};
use crate::machine::balancer::{self, Balance, Turns};
use crate::machine::circuit::{CircuitState, Transition};
use crate::{Instant, Scheme, Target};

/// As many thousandths more than its part a level can take: while 72 % of the primaries are well, they
/// take all (Envoy's overprovisioning factor).
const OVERPROVISIONED: u64 = 1_400;

/// Who picks the endpoint of an attempt, and from what.
#[derive(Clone, Debug)]
pub(crate) enum Selection {
    /// Nobody: the function names its servers itself.
    Function,
    /// A balancer of dace's own, from this list.
    Balanced(Balance, Vec<Place>),
    /// A balancer of the user's, which is shown this list.
    Custom(Vec<Place>),
}

/// Who picks.
#[derive(Clone, Debug)]
pub(super) enum Picker {
    Function,
    Balance(Balance),
    /// It is shown these.
    Custom(Arc<Vec<Target>>),
}

#[derive(Debug)]
pub(super) struct Targets {
    pub(super) picker: Picker,
    /// In the order of their priorities.
    pub(super) list: Vec<Listed>,
    /// The parts of the list that have one priority each. None of them is empty.
    pub(super) levels: Vec<Level>,
    /// Listed endpoints whose circuit is not closed, counted once for each place in the list.
    pub(super) suspects: usize,
    /// The earliest time at which one of them may let a probe through. Early is harmless.
    pub(super) probe_due: Instant,
    /// Circuits are ignored, because too few endpoints are left.
    pub(super) panic: bool,
    /// They are of one weight and one level, for peak-EWMA to choose from.
    alike: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Listed {
    pub(super) endpoint: EndpointId,
    pub(super) scheme: Scheme,
    pub(super) options: Options,
    /// The hash of its name.
    pub(super) name: u64,
}

/// The endpoints of one priority.
#[derive(Debug)]
pub(super) struct Level {
    pub(super) start: usize,
    pub(super) end: usize,
    priority: u32,
    pub(super) turns: Turns,
    /// The weight of those that are not drained.
    present: u64,
    /// The weight of those whose circuits let everybody through.
    well: u64,
}

impl Level {
    /// What it can take of everything, in thousandths. More is not asked of it.
    fn capacity(&self) -> u64 {
        (OVERPROVISIONED * self.well).checked_div(self.present).map_or(0, |part| part.min(1000))
    }

    /// Whether less than half of it is well.
    pub(super) fn is_ill(&self) -> bool {
        self.well * 2 < self.present
    }
}

impl Targets {
    pub(super) fn new() -> Self {
        Self {
            picker: Picker::Function,
            list: Vec::new(),
            levels: Vec::new(),
            suspects: 0,
            probe_due: Instant::NEVER,
            panic: false,
            alike: false,
        }
    }

    /// Whether nothing but load tells the targets apart: they are alike, and all circuits let all pass.
    #[inline]
    pub(super) fn are_all_well(&self) -> bool {
        self.alike && self.suspects == 0 && !self.panic
    }

    /// Whether the circuit of a listed endpoint is ignored: in panic mode, where most of its level are ill.
    pub(super) fn forces(&self, endpoint: EndpointId) -> bool {
        let alone = self.levels.len() == 1;
        let ill = |level: &&Level| alone || level.is_ill();
        let has = |level: &Level| {
            let mut list = self.list[level.start..level.end].iter();
            list.any(|listed| listed.endpoint == endpoint)
        };
        self.panic && self.levels.iter().filter(ill).any(has)
    }

    /// All that are listed, and whether their circuits are [ignored](Self::forces).
    pub(super) fn forced(&self) -> impl Iterator<Item = (EndpointId, bool)> {
        let alone = self.levels.len() == 1;
        self.levels.iter().flat_map(move |level| {
            let force = self.panic && (alone || level.is_ill());
            self.list[level.start..level.end].iter().map(move |listed| (listed.endpoint, force))
        })
    }

    /// Another list, and another balancer if one is given. A function that named its servers itself is
    /// balanced then.
    pub(super) fn selection_of(&self, list: Vec<Place>, balance: Option<Balance>) -> Selection {
        match (&self.picker, balance) {
            (Picker::Custom(_), _) => Selection::Custom(list),
            (Picker::Balance(own), Some(balance)) if !own.is_like(balance) => {
                Selection::Balanced(balance, list)
            }
            (Picker::Balance(own), _) => Selection::Balanced(*own, list),
            (Picker::Function, balance) => {
                Selection::Balanced(balance.unwrap_or(Balance::PeakEwma), list)
            }
        }
    }

    /// The list, as it would be given.
    pub(super) fn places(&self, table: &Table) -> Vec<Place> {
        let place =
            |listed: &Listed| Place { target: listed.target(table), options: listed.options };
        self.list.iter().map(place).collect()
    }

    pub(super) fn position(&self, table: &Table, target: &Target) -> Option<usize> {
        let endpoint = table.find(target.netloc().as_str())?;
        let is = |listed: &Listed| listed.endpoint == endpoint && listed.scheme == target.scheme();
        self.list.iter().position(is)
    }

    pub(super) fn replace(&mut self, now: Instant, table: &mut Table, selection: Selection) {
        let (balance, mut places) = match selection {
            Selection::Function => (None, Vec::new()),
            Selection::Balanced(balance, places) => (Some(balance), places),
            Selection::Custom(places) => {
                self.picker = Picker::Custom(Arc::default());
                (None, places)
            }
        };
        places.sort_by_key(|place| place.options.priority);
        let joining = !self.list.is_empty();
        let list: Vec<Listed> = places
            .iter()
            .map(|Place { target, options }| {
                let endpoint = table.intern_listed(target.netloc());
                let entry = &mut table[endpoint];
                if joining && entry.listed == 0 {
                    entry.load.ramp_up(now);
                }
                entry.holders += 1;
                entry.listed += 1;
                let name = match balance {
                    Some(Balance::Rendezvous(_)) => balancer::hash(&target.to_string()),
                    _ => 0,
                };
                Listed { endpoint, scheme: target.scheme(), options: *options, name }
            })
            .collect();
        let old = core::mem::replace(&mut self.list, list);
        for listed in &old {
            let entry = &mut table[listed.endpoint];
            entry.holders -= 1;
            entry.listed -= 1;
            entry.max_open = None;
        }
        for listed in &self.list {
            let own = &mut table[listed.endpoint].max_open;
            *own = match (*own, listed.options.max_open) {
                (Some(own), Some(other)) => Some(own.min(other)),
                (own, other) => own.or(other),
            };
        }
        let mut levels = self.levels_of_list();
        match (&mut self.picker, balance) {
            (Picker::Custom(shown), None) => {
                *shown = Arc::new(places.into_iter().map(|place| place.target).collect());
            }
            (picker, None) => *picker = Picker::Function,
            (Picker::Balance(own), Some(balance)) if own.is_like(balance) => {
                *own = balance;
                for level in &mut levels {
                    let same = |was: &&Level| was.priority == level.priority;
                    if let Some(was) = self.levels.iter().find(same) {
                        level.resume(&self.list, was, &old);
                    }
                }
            }
            (picker, Some(balance)) => *picker = Picker::Balance(balance),
        }
        self.levels = levels;
        self.alike = matches!(self.picker, Picker::Balance(Balance::PeakEwma))
            && matches!(self.levels.as_slice(), [level] if level.turns.are_alike());
        self.count(table);
        self.probe_due = if self.suspects > 0 { now } else { Instant::NEVER };
        self.panic = false;
    }

    fn levels_of_list(&self) -> Vec<Level> {
        let mut start = 0;
        let mut weights = Vec::new();
        self.list
            .chunk_by(|one, next| one.options.priority == next.options.priority)
            .map(|part| {
                weights.clear();
                weights.extend(part.iter().map(|listed| listed.options.weight));
                let end = start + part.len();
                let level = Level {
                    start,
                    end,
                    priority: part[0].options.priority,
                    turns: Turns::new(&weights),
                    present: 0,
                    well: 0,
                };
                start = end;
                level
            })
            .collect()
    }

    /// Counts anew who is well.
    fn count(&mut self, table: &Table) {
        self.suspects = 0;
        for level in &mut self.levels {
            (level.present, level.well) = (0, 0);
            for listed in &self.list[level.start..level.end] {
                let (state, weight) =
                    (table[listed.endpoint].circuit.state(), u64::from(listed.options.weight));
                level.present += if state == CircuitState::Drained { 0 } else { weight };
                level.well += if state.lets_all() { weight } else { 0 };
                self.suspects += usize::from(!state.lets_all());
            }
        }
    }

    /// A listed endpoint's circuit changed.
    pub(super) fn on_transition(&mut self, table: &Table, id: EndpointId, change: &Transition) {
        let listed = table[id].listed as usize;
        match (change.from.lets_all(), change.to.lets_all()) {
            (true, false) => self.suspects += listed,
            (false, true) => self.suspects = self.suspects.saturating_sub(listed),
            _ => {}
        }
        if self.levels.len() > 1 {
            self.count(table);
        }
        let until = table[id].circuit.until().unwrap_or(Instant::EPOCH);
        self.probe_due = self.probe_due.min(until);
    }

    /// Whether the levels that are well together can take everything, though most endpoints are ill.
    pub(super) fn can_take_all(&self) -> bool {
        self.levels.len() > 1 && self.levels.iter().map(Level::capacity).sum::<u64>() >= 1000
    }

    /// The level that an attempt belongs to: the first, as far as it is well, then the next. A key belongs
    /// to the same one as long as their health does not change.
    pub(super) fn level(&self, rng: &mut fastrand::Rng, key: Option<u64>) -> usize {
        if self.levels.len() < 2 || self.suspects == 0 {
            return 0;
        }
        let all = self.levels.iter().map(Level::capacity).sum::<u64>().min(1000);
        if self.levels[0].capacity() >= all {
            return 0;
        }
        let mut drawn = match key {
            Some(key) => balancer::mix(key) % all,
            None => rng.u64(..all),
        };
        for (index, level) in self.levels.iter().enumerate() {
            if drawn < level.capacity() {
                return index;
            }
            drawn -= level.capacity();
        }
        0
    }
}

impl Listed {
    pub(super) fn target(&self, table: &Table) -> Target {
        Target::new(self.scheme, table[self.endpoint].netloc.clone())
    }
}

impl Level {
    /// Goes on from where the level of this priority was.
    fn resume(&mut self, list: &[Listed], was: &Self, old: &[Listed]) {
        let places: HashMap<(EndpointId, Scheme), usize, FixedState> = old[was.start..was.end]
            .iter()
            .enumerate()
            .map(|(index, listed)| ((listed.endpoint, listed.scheme), index))
            .collect();
        let part = &list[self.start..self.end];
        let index = |listed: &Listed| places.get(&(listed.endpoint, listed.scheme)).copied();
        self.turns.resume(&was.turns, part.iter().map(index));
    }
}
