//! Answers that are kept: the part of a call that looks for one before, and after an error.

use core::fmt;
use core::future::Future;
use core::hash::{BuildHasher, Hash};
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;

use alloc::sync::Arc;
use alloc::vec;

use foldhash::quality::RandomState;
use pin_project::pin_project;

use super::execution::Reported;
use super::fallback::OrElse;
use super::part::{Base, Failure, Part, Story};
use super::rescued::Rescued;
use crate::machine::cache::Shelf;
use crate::machine::index::IndexId;
use crate::{CachePolicy, ConfigError, Event, Instant, Lock, Runtime, What};

/// Answers by key, for calls that are [`cached`](crate::Execution::cached).
///
/// A cheap clone: all clones are the same cache. It may serve calls of several functions and several
/// dependencies, so the key names the question and who is asked. What is kept is bounded, by number and,
/// since it is looked at only when somebody asks, not by age: an answer that nobody asks for goes when
/// others need its room.
///
/// ```
/// use core::time::Duration;
/// use dace_core::{Cache, CachePolicy, Dependency, Error, HttpBackend, HttpError, Runtime};
///
/// # async fn example<R: Runtime, B: HttpBackend>(
/// #     users: Dependency<R, B>,
/// # ) -> Result<(), Box<dyn std::error::Error>> {
/// let policy = CachePolicy::new()
///     .ttl(Duration::from_secs(10))
///     .stale_if_error(Duration::from_secs(3600));
/// let names = Cache::<R, u64, String>::new(policy)?; // `dace::tokio::Cache::<u64, String>::new(policy)?`
///
/// let id = 42;
/// let name = users
///     .call(|call| async move {
///         let url = format!("/users/{id}/name");
///         call.http().get(&url).send().await?.error_for_status()?.text().await
///     })
///     .cached(&names, id)
///     .await?;
/// # drop(name);
/// # Ok(())
/// # }
/// ```
pub struct Cache<R: Runtime, K: Send + Sync + 'static, T: Send + Sync + 'static> {
    inner: Arc<Inner<R, K, T>>,
}

struct Inner<R: Runtime, K: Send + Sync + 'static, T: Send + Sync + 'static> {
    policy: CachePolicy,
    hasher: RandomState,
    shelf: R::Lock<Shelf<Arc<Kept<K, T>>>>,
}

/// An answer.
struct Kept<K, T> {
    key: K,
    value: T,
    since: Instant,
}

impl<R, K, T> Cache<R, K, T>
where
    R: Runtime,
    K: Hash + Eq + Send + Sync + 'static,
    T: Clone + Send + Sync + 'static,
{
    /// An empty cache.
    ///
    /// # Errors
    /// The first setting that cannot be used, and what would be right.
    pub fn new(policy: CachePolicy) -> Result<Self, ConfigError> {
        policy.validate()?;
        let shelf = R::Lock::new(Shelf::new(policy.capacity));
        Ok(Self { inner: Arc::new(Inner { policy, hasher: RandomState::default(), shelf }) })
    }

    /// How many answers there are, whatever their age.
    pub fn len(&self) -> usize {
        self.inner.shelf.with(|shelf| shelf.len())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Forgets the answer of a key: what it tells has changed. Calls under way answer whoever made them,
    /// and what they bring is not kept. (A [shared](crate::Execution::shared) call that begins later may
    /// have the answer of an equal one that began before.)
    pub fn forget(&self, key: &K) {
        let hash = self.inner.hasher.hash_one(key);
        self.inner.shelf.with(|shelf| shelf.forget(hash));
        let out = self
            .find(hash, key)
            .and_then(|(id, _)| self.inner.shelf.with(|shelf| shelf.remove(id)));
        drop(out);
    }

    /// The answer to a key. Hash, comparison, clone and drop are the user's: none runs under the lock.
    fn find(&self, hash: u64, key: &K) -> Option<(IndexId, Arc<Kept<K, T>>)> {
        (0..)
            .map_while(|n| self.inner.shelf.with(|shelf| shelf.find(hash, n)))
            .find(|(_, kept)| kept.key == *key)
    }

    /// The answer to a key and its age, if it is young enough.
    fn answer(&self, now: Instant, key: &K, in_place_of_error: bool) -> Option<(T, Duration)> {
        let (_, kept) = self.find(self.inner.hasher.hash_one(key), key)?;
        let age = now.since(kept.since);
        let serves = self.inner.policy.serves(age, in_place_of_error);
        serves.then(|| (kept.value.clone(), age))
    }

    /// Keeps an answer, unless its key was forgotten since there were so many `forgets`.
    fn keep(&self, now: Instant, forgets: u64, key: K, value: T) {
        let hash = self.inner.hasher.hash_one(&key);
        let mut kept = Arc::new(Kept { key, value, since: now });
        loop {
            let mark = self.inner.shelf.with(|shelf| shelf.mark());
            let old = self.find(hash, &kept.key).map(|(id, _)| id);
            let put = self.inner.shelf.with(|shelf| match shelf.forgot_since(forgets, hash) {
                true => Ok(Some(kept)),
                false => shelf.try_put(hash, mark, old, kept),
            });
            match put {
                Ok(out) => return drop(out),
                Err(again) => kept = again,
            }
        }
    }
}

impl<R: Runtime, K: Send + Sync + 'static, T: Send + Sync + 'static> Clone for Cache<R, K, T> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<R: Runtime, K: Send + Sync + 'static, T: Send + Sync + 'static> fmt::Debug for Cache<R, K, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.inner.shelf.with(|shelf| shelf.len());
        f.debug_struct("Cache")
            .field("policy", &self.inner.policy)
            .field("len", &count)
            .finish_non_exhaustive()
    }
}

/// A call with a [`Cache`] around it. From [`Execution::cached`](crate::Execution::cached).
///
/// # Cancel safety
/// As the call inside; the cache is as it was.
#[pin_project]
#[must_use = "a call does nothing unless it is polled"]
pub struct Cached<C: Part, K>
where
    K: Send + Sync + 'static,
    C::Value: Send + Sync + 'static,
{
    #[pin]
    call: C,
    cache: Cache<C::Runtime, K, C::Value>,
    key: Option<K>,
    /// The cache was asked, when so often something had been forgotten.
    asked: Option<u64>,
    /// What the cache had to do with the answer.
    told: Option<Event>,
}

impl<C: Part, K> Cached<C, K>
where
    K: Send + Sync + 'static,
    C::Value: Send + Sync + 'static,
{
    pub(super) fn new(call: C, cache: &Cache<C::Runtime, K, C::Value>, key: K) -> Self {
        Self { call, cache: cache.clone(), key: Some(key), asked: None, told: None }
    }

    /// An async function that gets the final error, if the cache has no answer either, and returns a
    /// value or another error in its place. It runs outside the call's deadline and permits, and what it
    /// returns is not kept.
    pub fn fallback<G, GFut>(self, fallback: G) -> Rescued<Self, OrElse<G, GFut>>
    where
        Self: Part,
        G: FnOnce(<Self as Part>::Failure) -> GFut,
        GFut: Future<Output = <Self as Future>::Output>,
    {
        Rescued::new(self, OrElse::new(fallback))
    }

    /// Returns a [`Report`](crate::Report) in place of the result: what happened, attempt by attempt,
    /// and whether the cache answered.
    pub fn report(self) -> Reported<Self>
    where
        Self: Part,
    {
        Reported::new(self)
    }
}

impl<C: Part, K> Future for Cached<C, K>
where
    K: Hash + Eq + Send + Sync + 'static,
    C::Value: Clone + Send + Sync + 'static,
{
    type Output = Result<C::Value, C::Failure>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if this.asked.is_none() {
            *this.asked = Some(this.cache.inner.shelf.with(|shelf| shelf.forgets()));
            let base = this.call.as_mut().base();
            let fresh = this.key.as_ref().and_then(|key| this.cache.answer(base.now(), key, false));
            if let Some((value, age)) = fresh {
                *this.told = Some(base.note(What::CacheHit { age }));
                return Poll::Ready(Ok(value));
            }
        }
        let result = ready!(this.call.as_mut().poll(cx));
        let now = this.call.as_mut().base().now();
        let Some(key) = this.key.take() else {
            return Poll::Ready(result);
        };
        match &result {
            Ok(value) if this.call.as_mut().is_success() => {
                this.cache.keep(now, this.asked.unwrap_or_default(), key, value.clone());
            }
            Err(failure) if failure.may_be_hidden() => {
                if let Some((value, age)) = this.cache.answer(now, &key, true) {
                    *this.told = Some(this.call.base().note(What::StaleUsed { age }));
                    return Poll::Ready(Ok(value));
                }
            }
            _ => {}
        }
        Poll::Ready(result)
    }
}

impl<C: Part, K> Part for Cached<C, K>
where
    K: Hash + Eq + Send + Sync + 'static,
    C::Value: Clone + Send + Sync + 'static,
{
    type Runtime = C::Runtime;
    type Backend = C::Backend;
    type Value = C::Value;
    type Failure = C::Failure;

    fn base(self: Pin<&mut Self>) -> Base<'_, Self::Runtime, Self::Backend> {
        self.project().call.base()
    }

    fn is_success(self: Pin<&mut Self>) -> bool {
        self.project().call.is_success()
    }

    fn story(self: Pin<&mut Self>) -> Story {
        let this = self.project();
        let mut story = this.call.story();
        match this.told.take() {
            Some(hit) if matches!(hit.what, What::CacheHit { .. }) => {
                story.tap.events = vec![hit];
                Story { took: Duration::ZERO, ..story }
            }
            told => {
                story.tap.events.extend(told);
                story
            }
        }
    }
}

impl<C: Part + fmt::Debug, K> fmt::Debug for Cached<C, K>
where
    K: Send + Sync + 'static,
    C::Value: Send + Sync + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cached").field("call", &self.call).finish_non_exhaustive()
    }
}
