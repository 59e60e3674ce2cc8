//! Equal calls under way are made once: the part of a call that shares another's answer.

use core::fmt;
use core::future::Future;
use core::hash::{BuildHasher, Hash};
use core::pin::Pin;
use core::task::{Context, Poll, Waker, ready};

use alloc::sync::Arc;

use foldhash::quality::RandomState;
use pin_project::pin_project;

use super::cached::{Cache, Cached};
use super::execution::Reported;
use super::fallback::OrElse;
use super::part::{Base, Part, Story};
use super::rescued::Rescued;
use super::timer::Timer;
use crate::machine::flights::{FlightId, Flights, Turn};
use crate::machine::queue::Wakes;
use crate::{Error, Event, Instant, Lock, Runtime, What};

/// Calls that may share their answers, for calls that are [`shared`](crate::Execution::shared).
///
/// A cheap clone: all clones are the same group. It may serve several functions and dependencies, so the
/// key names the question and who is asked: calls with equal keys have to be interchangeable, down to the
/// rights of the user on whose behalf they are made.
///
/// ```
/// use dace_core::{Dependency, Group, HttpBackend, HttpError, Runtime};
///
/// # async fn example<R: Runtime, B: HttpBackend>(users: Dependency<R, B>) {
/// // `dace::tokio::Group::<u64, String, HttpError>::new()`
/// let names = Group::<R, u64, String, HttpError>::new();
///
/// let id = 42;
/// let name = users
///     .call(|call| async move {
///         let url = format!("/users/{id}/name");
///         call.http().get(&url).send().await?.error_for_status()?.text().await
///     })
///     .shared(&names, id)
///     .await;
/// match name {
///     Ok(name) => println!("{name}"),
///     Err(error) => println!("{error}"), // an `Arc<dace::Error<HttpError>>`
/// }
/// # }
/// ```
pub struct Group<R, K, T, E>
where
    R: Runtime,
    K: Send + Sync + 'static,
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    inner: Arc<Inner<R, K, T, E>>,
}

struct Inner<R, K, T, E>
where
    R: Runtime,
    K: Send + Sync + 'static,
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    hasher: RandomState,
    flights: R::Lock<Flights<K, Arc<Landed<T, E>>>>,
}

/// What a leader brings.
struct Landed<T, E> {
    result: Result<T, Arc<Error<E>>>,
    is_success: bool,
}

impl<R, K, T, E> Group<R, K, T, E>
where
    R: Runtime,
    K: Send + Sync + 'static,
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// A group that no call is in.
    pub fn new() -> Self {
        let flights = R::Lock::new(Flights::default());
        Self { inner: Arc::new(Inner { hasher: RandomState::default(), flights }) }
    }

    /// How many different calls are under way.
    pub fn len(&self) -> usize {
        self.inner.flights.with(|flights| flights.len())
    }

    /// Whether no call is under way.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<R, K, T, E> Default for Group<R, K, T, E>
where
    R: Runtime,
    K: Send + Sync + 'static,
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    fn default() -> Self {
        Self::new()
    }
}

impl<R, K, T, E> Clone for Group<R, K, T, E>
where
    R: Runtime,
    K: Send + Sync + 'static,
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone() }
    }
}

impl<R, K, T, E> fmt::Debug for Group<R, K, T, E>
where
    R: Runtime,
    K: Send + Sync + 'static,
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Group").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// A call's part in its group. It leaves when it is dropped: who leads hands over.
struct Member<R, K, T, E>
where
    R: Runtime,
    K: Send + Sync + 'static,
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    group: Group<R, K, T, E>,
    seat: Seat<K>,
}

enum Seat<K> {
    New(Arc<K>),
    Follows(FlightId, u64),
    Leads(FlightId),
    Gone,
}

impl<R, K, T, E> Member<R, K, T, E>
where
    R: Runtime,
    K: Send + Sync + 'static,
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Joins the flight of an equal key, or begins one. Hash and comparison are the user's: neither runs
    /// under the lock.
    fn join(&mut self, waker: &Waker)
    where
        K: Hash + Eq,
    {
        let Seat::New(key) = core::mem::replace(&mut self.seat, Seat::Gone) else {
            return;
        };
        let Inner { hasher, flights } = &*self.group.inner;
        let hash = hasher.hash_one(&*key);
        let mut key = Some(key);
        while let Some(own) = key.take() {
            let mark = flights.with(|flights| flights.mark());
            let equal = (0..)
                .map_while(|n| flights.with(|flights| flights.find(hash, n)))
                .find(|(_, known)| **known == *own)
                .map(|(id, _)| id);
            let seat = match equal {
                Some(id) => {
                    let seat = flights.with(|flights| flights.try_join(id, waker));
                    seat.map(|seat| Seat::Follows(id, seat)).ok_or(own)
                }
                None => {
                    let begun = flights.with(|flights| flights.try_begin(hash, mark, own));
                    begun.map(Seat::Leads)
                }
            };
            match seat {
                Ok(seat) => self.seat = seat,
                Err(own) => key = Some(own),
            }
        }
    }

    /// A follower is polled.
    fn turn(&mut self, id: FlightId, seat: u64, waker: &Waker) -> Turn<Arc<Landed<T, E>>> {
        let flights = &self.group.inner.flights;
        let (turn, over) = flights.with(|flights| flights.on_poll(id, seat, waker));
        match &turn {
            Turn::Wait => {}
            Turn::Lead => self.seat = Seat::Leads(id),
            Turn::Landed(_) => self.seat = Seat::Gone,
        }
        drop(over);
        turn
    }

    /// The leader's call is over.
    fn land(&mut self, id: FlightId, result: &Result<T, Arc<Error<E>>>, is_success: bool)
    where
        T: Clone,
    {
        let flights = &self.group.inner.flights;
        let (followed, over) = flights.with(|flights| flights.close(id));
        drop(over);
        if followed {
            // If cloning panics, this one still leads, and hands over.
            let landed = Arc::new(Landed { result: result.clone(), is_success });
            let mut wakes = Wakes::new();
            let over = flights.with(|flights| flights.land(id, landed, &mut wakes));
            self.seat = Seat::Gone;
            wakes.wake();
            drop(over);
        }
        self.seat = Seat::Gone;
    }

    fn leave(&mut self) {
        let flights = &self.group.inner.flights;
        let mut wakes = Wakes::new();
        let over = match core::mem::replace(&mut self.seat, Seat::Gone) {
            Seat::New(_) | Seat::Gone => None,
            Seat::Follows(id, seat) => flights.with(|flights| flights.on_follower_gone(id, seat)),
            Seat::Leads(id) => flights.with(|flights| flights.on_leader_gone(id, &mut wakes)),
        };
        wakes.wake();
        drop(over);
    }
}

impl<R, K, T, E> Drop for Member<R, K, T, E>
where
    R: Runtime,
    K: Send + Sync + 'static,
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    fn drop(&mut self) {
        self.leave();
    }
}

/// Hands over if the leader's call panics, before the panic goes on to the caller.
struct Leading<'a, R, K, T, E>
where
    R: Runtime,
    K: Send + Sync + 'static,
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    member: &'a mut Member<R, K, T, E>,
    armed: bool,
}

impl<R, K, T, E> Drop for Leading<'_, R, K, T, E>
where
    R: Runtime,
    K: Send + Sync + 'static,
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    fn drop(&mut self) {
        if self.armed {
            self.member.leave();
        }
    }
}

/// A call that shares its answer with equal ones. From [`Execution::shared`](crate::Execution::shared).
///
/// # Cancel safety
/// As the call inside. If others wait for what it brings, one of them makes its own call.
#[pin_project]
#[must_use = "a call does nothing unless it is polled"]
pub struct Coalesced<C: Part, K, E>
where
    K: Send + Sync + 'static,
    C::Value: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    // Dropped first: its places are back before somebody else makes a call.
    #[pin]
    call: C,
    member: Member<C::Runtime, K, C::Value, E>,
    #[pin]
    timer: Timer<C::Runtime>,
    since: Instant,
    /// When a follower waits no longer.
    until: Instant,
    /// What a leader said of the value that was taken.
    followed: Option<bool>,
    /// That it was taken, for a report.
    told: Option<Event>,
}

impl<C: Part, K, E> Coalesced<C, K, E>
where
    K: Send + Sync + 'static,
    C::Value: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    pub(super) fn new(call: C, group: &Group<C::Runtime, K, C::Value, E>, key: K) -> Self {
        let member = Member { group: group.clone(), seat: Seat::New(Arc::new(key)) };
        let (since, until) = (Instant::EPOCH, Instant::NEVER);
        Self { call, member, timer: Timer::new(), since, until, followed: None, told: None }
    }

    /// Answers from a [`Cache`] without a call, and from it again if the call fails. See
    /// [`Execution::cached`](crate::Execution::cached).
    pub fn cached<Q>(self, cache: &Cache<C::Runtime, Q, C::Value>, key: Q) -> Cached<Self, Q>
    where
        Self: Part<Runtime = C::Runtime, Value = C::Value>,
        Q: Hash + Eq + Send + Sync + 'static,
    {
        Cached::new(self, cache, key)
    }

    /// An async function that gets the final error, which may be another call's as well, and returns a
    /// value or another error in its place. What it returns is not shared.
    pub fn fallback<G, GFut>(self, fallback: G) -> Rescued<Self, OrElse<G, GFut>>
    where
        Self: Part,
        G: FnOnce(<Self as Part>::Failure) -> GFut,
        GFut: Future<Output = <Self as Future>::Output>,
    {
        Rescued::new(self, OrElse::new(fallback))
    }

    /// Returns a [`Report`](crate::Report) in place of the result: what happened, attempt by attempt, in
    /// whoever made the call; in all others, that they had its answer.
    pub fn report(self) -> Reported<Self>
    where
        Self: Part,
    {
        Reported::new(self)
    }
}

impl<C, K, T, E> Future for Coalesced<C, K, E>
where
    C: Part<Value = T, Failure = Error<E>>,
    K: Hash + Eq + Send + Sync + 'static,
    T: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    type Output = Result<T, Arc<Error<E>>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.member.seat {
                Seat::New(_) => {
                    let mut base = this.call.as_mut().base();
                    *this.since = base.now();
                    *this.until = this.since.after(base.allowed());
                    this.member.join(cx.waker());
                }
                Seat::Follows(id, seat) => {
                    let turn = this.member.turn(id, seat, cx.waker());
                    if let Turn::Landed(landed) = turn {
                        let result = landed.result.clone();
                        *this.followed = Some(landed.is_success);
                        *this.told = Some(this.call.base().note(What::AnswerShared));
                        return Poll::Ready(result);
                    }
                    let mut base = this.call.as_mut().base();
                    let now = base.now();
                    if now >= *this.until {
                        this.member.leave();
                        let after = this.until.since(*this.since);
                        let (attempts, last, trail) = (0, None, None);
                        let error = Error::Timeout { after, attempts, last, why: None, trail };
                        return Poll::Ready(Err(Arc::new(error)));
                    }
                    if matches!(turn, Turn::Lead) {
                        if !this.until.is_never() {
                            base.shorten(this.until.since(now));
                        }
                        continue;
                    }
                    let runtime = &base.shared.runtime;
                    if this.timer.as_mut().poll_at(cx, runtime, *this.until).is_pending() {
                        return Poll::Pending;
                    }
                }
                Seat::Leads(id) => {
                    let mut leading = Leading { member: this.member, armed: true };
                    let polled = this.call.as_mut().poll(cx);
                    let Poll::Ready(result) = polled else {
                        leading.armed = false;
                        return Poll::Pending;
                    };
                    let result = result.map_err(Arc::new);
                    let is_success = this.call.is_success();
                    leading.member.land(id, &result, is_success);
                    leading.armed = false;
                    return Poll::Ready(result);
                }
                // It was polled after its end, or after a panic.
                Seat::Gone => return Poll::Ready(ready!(this.call.poll(cx)).map_err(Arc::new)),
            }
        }
    }
}

impl<C, K, T, E> Part for Coalesced<C, K, E>
where
    C: Part<Value = T, Failure = Error<E>>,
    K: Hash + Eq + Send + Sync + 'static,
    T: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    type Runtime = C::Runtime;
    type Backend = C::Backend;
    type Value = T;
    type Failure = Arc<Error<E>>;

    fn base(self: Pin<&mut Self>) -> Base<'_, Self::Runtime, Self::Backend> {
        self.project().call.base()
    }

    fn is_success(self: Pin<&mut Self>) -> bool {
        let this = self.project();
        this.followed.unwrap_or_else(|| this.call.is_success())
    }

    fn story(self: Pin<&mut Self>) -> Story {
        let mut this = self.project();
        let base = this.call.as_mut().base();
        // Who made no call has waited for another's.
        let waited = (base.machine.call() == 0).then(|| base.now().since(*this.since));
        let mut story = this.call.story();
        story.tap.events.extend(this.told.take());
        Story { took: waited.unwrap_or(story.took), ..story }
    }
}

impl<C: Part + fmt::Debug, K, E> fmt::Debug for Coalesced<C, K, E>
where
    K: Send + Sync + 'static,
    C::Value: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coalesced").field("call", &self.call).finish_non_exhaustive()
    }
}
