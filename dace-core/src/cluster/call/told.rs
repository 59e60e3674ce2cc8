//! What a call tells of itself: to observers, in its report, and in its error.

use core::time::Duration;

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::{CallMachine, Ended, Verdict};
use crate::cluster::{Cluster, Tap};
use crate::error::Trail;
use crate::event::{Outcome, What};
use crate::refusal::{Reason, Refusal};
use crate::{Instant, Netloc};

/// What of a call somebody wants to read.
#[derive(Debug, Default)]
pub(super) struct Text {
    /// The last attempt's error.
    error: Option<Arc<str>>,
    /// What happened in the call, if it is reported: all of it once it is over.
    events: Option<Tap>,
}

impl CallMachine {
    /// What happens in the call is kept for its report.
    pub(crate) fn keep_report(&mut self) {
        self.extra().text.get_or_insert_default().events = Some(Tap::default());
    }

    pub(super) fn text(&self) -> Option<&Text> {
        self.extra.as_ref()?.text.as_ref()
    }

    fn text_mut(&mut self) -> Option<&mut Text> {
        self.extra.as_mut()?.text.as_mut()
    }

    pub(crate) fn is_reported(&self) -> bool {
        self.text().is_some_and(|text| text.events.is_some())
    }

    /// What happened in the call, once it is over.
    pub(crate) fn take_report(&mut self) -> Tap {
        self.text_mut().and_then(|text| text.events.take()).unwrap_or_default()
    }

    /// The text of the last attempt's error, if it is read; `None` of a value.
    #[inline]
    pub(super) fn note_error(&mut self, error: Option<Arc<str>>) {
        if error.is_some() || self.text().is_some() {
            self.extra().text.get_or_insert_default().error = error;
        }
    }

    /// The text of the last error, if it is read.
    pub(super) fn error(&self) -> Option<&Arc<str>> {
        self.text()?.error.as_ref()
    }

    /// Where the last attempt failed, for the error.
    pub(super) fn trail(
        &self,
        now: Instant,
        cluster: &Cluster,
        retry_after: Option<Duration>,
    ) -> Option<Box<Trail>> {
        if self.attempts == 0 {
            return None;
        }
        let netloc =
            self.last_netloc(cluster).unwrap_or_else(|| cluster.table[cluster.own].netloc.clone());
        let (class, took) = (self.last_class, now.since(self.started));
        Some(Box::new(Trail { netloc, class, took, retry_after }))
    }

    /// What the last attempt was charged to. Its endpoint may be forgotten since.
    fn last_netloc(&self, cluster: &Cluster) -> Option<Netloc> {
        let known = cluster.table.get(self.last_endpoint).map(|last| last.netloc.clone());
        known.or_else(|| self.extra.as_ref()?.last_failed_at.clone())
    }

    /// The call is over: as its verdict says, if its caller waited for that.
    #[cold]
    pub(super) fn tell_end(&mut self, now: Instant, cluster: &mut Cluster, outcome: Outcome) {
        let error = self.text_mut().and_then(|text| text.error.take());
        let own;
        let (why, refusal): (_, Option<&Refusal>) = match &self.verdict {
            Some(Verdict::Ended(Ended { why, refusal, .. })) => {
                (Some(*why).filter(|_| refusal.is_none()), refusal.as_deref())
            }
            Some(Verdict::TimedOut(timed_out)) => (timed_out.why, None),
            Some(Verdict::Refused(refusal)) => (None, Some(refusal)),
            Some(Verdict::Wrong(_)) => {
                own = cluster.refused_by_all(Reason::Config);
                (None, Some(&own))
            }
            _ => (None, None),
        };
        let what = What::CallEnded {
            outcome,
            took: now.since(self.started),
            attempts: self.attempts,
            why,
            reason: refusal.map(|refusal| refusal.reason),
            netloc: match refusal {
                Some(refusal) => Some(refusal.netloc.clone()),
                None if outcome == Outcome::Value => None,
                None => self.last_netloc(cluster),
            },
            error,
        };
        cluster.events.push(now, self.call, || what);
        let call = self.call;
        if let Some(Some(events)) = self.text_mut().map(|text| &mut text.events) {
            *events = cluster.events.untap(call);
        }
    }
}
