//! The user's code: each piece of it panics when it is told to.

use std::future::Future;
use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use dace::{Balancer, Event, Observer, Pick, Span, Target, TargetError};

use super::{Call, HOSTS, Response};

/// Where user code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    /// The wrapped function is called.
    Function,
    /// Its future is polled.
    Poll,
    /// Its future is dropped.
    Drop,
    Classify,
    Balance,
    /// The fallback is called.
    Fallback,
    /// Its future is polled.
    FallbackPoll,
    Observe,
    /// An observer is asked for a span.
    Span,
    /// A span is entered.
    Within,
    /// The key of a cache or a group is hashed, or compared.
    Hash,
    Equal,
    /// A value is cloned, for a cache or for those who share it.
    Clone,
}

impl Hook {
    pub(crate) const ALL: [Self; 13] = [
        Self::Function,
        Self::Poll,
        Self::Drop,
        Self::Classify,
        Self::Balance,
        Self::Fallback,
        Self::FallbackPoll,
        Self::Observe,
        Self::Span,
        Self::Within,
        Self::Hash,
        Self::Equal,
        Self::Clone,
    ];

    /// What a panic of it is called.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Function => "panic: function",
            Self::Poll => "panic: poll",
            Self::Drop => "panic: drop",
            Self::Classify => "panic: classify",
            Self::Balance => "panic: balance",
            Self::Fallback => "panic: fallback",
            Self::FallbackPoll => "panic: fallback's future",
            Self::Observe => "panic: observe",
            Self::Span => "panic: span",
            Self::Within => "panic: within",
            Self::Hash => "panic: hash",
            Self::Equal => "panic: equal",
            Self::Clone => "panic: clone",
        }
    }
}

/// What a panic on purpose carries, so that no other passes for it.
#[derive(Debug)]
struct OnPurpose;

/// What `act` returns, unless it panics on purpose.
pub(crate) fn safely<O>(act: impl FnOnce() -> O) -> Option<O> {
    match catch_unwind(AssertUnwindSafe(act)) {
        Ok(out) => Some(out),
        Err(panic) if panic.is::<OnPurpose>() => None,
        Err(panic) => resume_unwind(panic),
    }
}

/// Which hooks panic the next time that they are reached, and how often each did.
#[derive(Clone, Debug, Default)]
pub(crate) struct Hooks(Arc<Armed>);

#[derive(Debug, Default)]
struct Armed {
    bits: AtomicU32,
    fired: [AtomicU32; Hook::ALL.len()],
}

impl Hooks {
    pub(crate) fn arm(&self, hook: Hook) {
        self.0.bits.fetch_or(1 << hook as u32, Ordering::Relaxed);
    }

    pub(crate) fn disarm(&self) {
        self.0.bits.store(0, Ordering::Relaxed);
    }

    pub(crate) fn fired(&self, hook: Hook) -> u32 {
        self.0.fired[hook as usize].load(Ordering::Relaxed)
    }

    pub(crate) fn reach(&self, hook: Hook) {
        let bit = 1 << hook as u32;
        // Whoever panics while a panic is under way ends the process.
        if self.0.bits.load(Ordering::Relaxed) & bit == 0 || std::thread::panicking() {
            return;
        }
        self.0.bits.fetch_and(!bit, Ordering::Relaxed);
        self.0.fired[hook as usize].fetch_add(1, Ordering::Relaxed);
        resume_unwind(Box::new(OnPurpose));
    }
}

/// The key of a cache, and of a group of calls that share their answers.
#[derive(Debug)]
pub(crate) struct Key {
    pub(crate) number: u8,
    pub(crate) hooks: Hooks,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.hooks.reach(Hook::Hash);
        self.number.hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.hooks.reach(Hook::Equal);
        self.number == other.number
    }
}

impl Eq for Key {}

/// What calls return.
#[derive(Debug)]
pub(crate) struct Value {
    /// An answer whose body was not read.
    pub(crate) kept: Option<Arc<Mutex<Response>>>,
    pub(crate) hooks: Hooks,
}

impl Clone for Value {
    fn clone(&self) -> Self {
        self.hooks.reach(Hook::Clone);
        Self { kept: self.kept.clone(), hooks: self.hooks.clone() }
    }
}

/// Keeps all events.
#[derive(Clone, Default)]
pub(crate) struct Log {
    pub(crate) events: Arc<Mutex<Vec<Event>>>,
    pub(crate) hooks: Hooks,
}

impl Observer for Log {
    fn on_event(&self, _: &str, event: &Event) {
        self.events.lock().unwrap().push(event.clone());
        self.hooks.reach(Hook::Observe);
    }

    fn span(&self, _: &str, _: u64) -> Option<Box<dyn Span>> {
        self.hooks.reach(Hook::Span);
        Some(Box::new(Around(self.hooks.clone())))
    }
}

struct Around(Hooks);

impl Span for Around {
    fn within(&self, poll: &mut dyn FnMut()) {
        self.0.reach(Hook::Within);
        poll();
    }
}

/// Takes turns over what it is shown, and looks at it.
pub(crate) struct Turns {
    pub(crate) next: AtomicU32,
    pub(crate) hooks: Hooks,
}

impl Balancer for Turns {
    fn pick(&self, pick: &Pick<'_>) -> Result<Option<Target>, TargetError> {
        self.hooks.reach(Hook::Balance);
        let next = self.next.fetch_add(1, Ordering::Relaxed) as usize;
        if next % 3 == 0 {
            let views = pick.endpoints();
            assert!(views.len() >= pick.targets.len().min(1));
        }
        match pick.targets.len() {
            0 => format!("http://{}", HOSTS[next % HOSTS.len()]).parse().map(Some),
            count => Ok(Some(pick.targets[next % count].clone())),
        }
    }
}

/// The future of a wrapped function: it looks at the clock each time before it is polled.
pub(crate) struct Punctual<F> {
    pub(crate) inner: Pin<Box<F>>,
    pub(crate) call: Call,
    pub(crate) hooks: Hooks,
}

impl<F: Future> Future for Punctual<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        assert!(!self.call.remaining().is_zero(), "the function is polled after its deadline");
        self.hooks.reach(Hook::Poll);
        self.inner.as_mut().poll(cx)
    }
}

impl<F> Drop for Punctual<F> {
    fn drop(&mut self) {
        self.hooks.reach(Hook::Drop);
    }
}
