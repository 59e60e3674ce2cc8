//! What a retry has to expect: when somebody would take it.

use super::Cluster;
use super::admission::{Shut, look};
use super::endpoint::EndpointId;
use super::targets::Picker;
use crate::machine::Again;
use crate::machine::retry::Outlook;
use crate::policy::Rules;
use crate::{Class, Instant};

impl Cluster {
    /// When somebody would take another attempt of a call whose last one was charged to `last`.
    pub(super) fn outlook(
        &self,
        now: Instant,
        policy: &Rules,
        class: Class,
        tried: &[EndpointId],
        last: EndpointId,
    ) -> Outlook {
        let at_last = || match self.table.get(last) {
            Some(_) => outlook_of(look(now, policy, &self.table, last, false)),
            None => Outlook::Open,
        };
        let rejected = matches!(class, Class::Rejected);
        match self.targets.picker {
            Picker::Function if rejected => Outlook::Nobody,
            Picker::Function => at_last(),
            Picker::Custom(_) => Outlook::Open,
            Picker::Balance(_) if self.targets.panic && !rejected => Outlook::Open,
            Picker::Balance(_) => self
                .targets
                .list
                .iter()
                .filter(|listed| !(rejected && tried.contains(&listed.endpoint)))
                .map(|listed| outlook_of(look(now, policy, &self.table, listed.endpoint, false)))
                .min_by_key(|outlook| match *outlook {
                    Outlook::Open => Instant::EPOCH,
                    Outlook::Circuit(at) | Outlook::Pause(at) | Outlook::Rate(at) => at,
                    Outlook::Nobody => Instant::NEVER,
                })
                .unwrap_or(Outlook::Nobody),
        }
    }
}

fn outlook_of(look: Result<(), Shut>) -> Outlook {
    match look {
        Ok(()) | Err(Shut::Full) => Outlook::Open,
        Err(Shut::Paused(until)) => Outlook::Pause(until),
        Err(Shut::Circuit(Again::At(until))) => Outlook::Circuit(until),
        Err(Shut::Rate(at)) => Outlook::Rate(at),
        Err(Shut::Circuit(Again::WhenFreed | Again::Never) | Shut::Throttled) => Outlook::Nobody,
    }
}
