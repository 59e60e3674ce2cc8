//! The list that a balancer picks from.

use alloc::vec::Vec;

use super::endpoint::EndpointId;
use super::table::Table;
use crate::machine::balancer::{Balance, RoundRobin};
use crate::machine::circuit::{Circuit, CircuitState};
use crate::{Instant, Scheme, Target};

/// Who picks the endpoint of an attempt, and from what.
#[derive(Clone, Debug)]
pub(crate) enum Selection {
    /// Nobody: the function names its servers itself.
    Function,
    /// A balancer of dace's own, from this list.
    Balanced(Shipped, Vec<Target>),
    /// A balancer of the user's, which is shown this list.
    Custom(Vec<Target>),
}

/// The balancers of dace's own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shipped {
    PeakEwma,
    RoundRobin,
}

impl Selection {
    pub(crate) fn targets(&self) -> &[Target] {
        match self {
            Self::Function => &[],
            Self::Balanced(_, targets) | Self::Custom(targets) => targets,
        }
    }
}

/// Who picks.
#[derive(Debug)]
pub(super) enum Picker {
    Function,
    Balance(Balance),
    Custom,
}

#[derive(Debug)]
pub(super) struct Targets {
    pub(super) picker: Picker,
    pub(super) list: Vec<Listed>,
    /// Listed endpoints whose circuit is not closed, counted once for each place in the list.
    pub(super) suspects: usize,
    /// The earliest time at which one of them may let a probe through. Early is harmless.
    pub(super) probe_due: Instant,
    /// Circuits are ignored, because too few endpoints are left.
    pub(super) panic: bool,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Listed {
    pub(super) endpoint: EndpointId,
    pub(super) scheme: Scheme,
}

impl Targets {
    pub(super) fn new() -> Self {
        Self {
            picker: Picker::Function,
            list: Vec::new(),
            suspects: 0,
            probe_due: Instant::NEVER,
            panic: false,
        }
    }

    /// The same way to pick, from another list. A function that named its servers itself is balanced.
    pub(super) fn selection_of(&self, list: Vec<Target>) -> Selection {
        match self.picker {
            Picker::Custom => Selection::Custom(list),
            Picker::Balance(Balance::RoundRobin(_)) => {
                Selection::Balanced(Shipped::RoundRobin, list)
            }
            Picker::Balance(Balance::PeakEwma) | Picker::Function => {
                Selection::Balanced(Shipped::PeakEwma, list)
            }
        }
    }

    pub(super) fn replace(&mut self, now: Instant, table: &mut Table, selection: Selection) {
        let joining = !self.list.is_empty();
        let list: Vec<Listed> = selection
            .targets()
            .iter()
            .map(|target| {
                let endpoint = table.intern_listed(target.netloc());
                let entry = &mut table[endpoint];
                if joining && entry.listed == 0 {
                    entry.load.ramp_up(now);
                }
                entry.holders += 1;
                entry.listed += 1;
                Listed { endpoint, scheme: target.scheme() }
            })
            .collect();
        for old in core::mem::replace(&mut self.list, list) {
            table[old.endpoint].holders -= 1;
            table[old.endpoint].listed -= 1;
        }
        self.suspects =
            self.list.iter().filter(|l| !table[l.endpoint].circuit.state().lets_all()).count();
        self.probe_due = if self.suspects > 0 { now } else { Instant::NEVER };
        self.panic = false;
        self.picker = match (selection, core::mem::replace(&mut self.picker, Picker::Function)) {
            (Selection::Function, _) => Picker::Function,
            (Selection::Custom(_), _) => Picker::Custom,
            (Selection::Balanced(Shipped::PeakEwma, _), _) => Picker::Balance(Balance::PeakEwma),
            (
                Selection::Balanced(Shipped::RoundRobin, _),
                old @ Picker::Balance(Balance::RoundRobin(_)),
            ) => old,
            (Selection::Balanced(Shipped::RoundRobin, _), _) => {
                Picker::Balance(Balance::RoundRobin(RoundRobin::new()))
            }
        };
    }

    /// A listed endpoint's circuit changed.
    pub(super) fn on_transition(
        &mut self,
        listed: usize,
        circuit: &Circuit,
        from: CircuitState,
        to: CircuitState,
    ) {
        match (from.lets_all(), to.lets_all()) {
            (true, false) => self.suspects += listed,
            (false, true) => self.suspects = self.suspects.saturating_sub(listed),
            _ => {}
        }
        self.probe_due = self.probe_due.min(circuit.until().unwrap_or(Instant::EPOCH));
    }
}
