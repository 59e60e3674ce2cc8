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
            Picker::Balance(_) => {
                let list = self.targets.list.iter().map(|listed| listed.endpoint);
                let list = list.filter(|id| !(rejected && tried.contains(id)));
                earliest(list.map(|id| outlook_of(look(now, policy, &self.table, id, false))))
            }
        }
    }
}

/// The earliest of several; nobody is asked after the first that is open.
fn earliest(outlooks: impl Iterator<Item = Outlook>) -> Outlook {
    let (mut first, mut when) = (Outlook::Nobody, None);
    for outlook in outlooks {
        match outlook {
            Outlook::Open => return Outlook::Open,
            Outlook::Circuit(at) | Outlook::Pause(at) | Outlook::Rate(at)
                if when.is_none_or(|when| at < when) =>
            {
                (first, when) = (outlook, Some(at));
            }
            _ => {}
        }
    }
    first
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
