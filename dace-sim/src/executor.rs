//! One thread, one order: tasks run as they are woken, and time moves only when none can.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::future::Future;
use std::panic::Location;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use dace_core::{Instant, Target};
use pin_project::pin_project;
use slotmap::{SlotMap, new_key_type};

use crate::SimBackend;
use crate::clock::{SimRuntime, SimSleep, World};
use crate::server::Server;

/// Polls in a row without the clock moving, after which a run is taken to spin.
const SPIN: u32 = 10_000_000;

/// A simulation: a runtime on virtual time, servers by script, and one seed for both.
///
/// Cheap to clone; clones are the same simulation.
#[derive(Clone, Debug)]
pub struct Sim {
    world: Arc<World>,
    tasks: Rc<RefCell<Tasks>>,
    ready: Arc<Ready>,
}

new_key_type! {
    struct TaskId;
}

/// What was spawned and has not ended. `None` while it is polled.
#[derive(Default)]
struct Tasks(SlotMap<TaskId, Option<Spawned>>);

impl std::fmt::Debug for Tasks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} tasks", self.0.len())
    }
}

struct Spawned {
    future: Pin<Box<dyn Future<Output = ()>>>,
    location: &'static Location<'static>,
    waker: Waker,
}

/// Tasks that were woken, in order, each once.
#[derive(Debug, Default)]
struct Ready(Mutex<VecDeque<Arc<TaskWaker>>>);

impl Ready {
    fn pop(&self) -> Option<Option<TaskId>> {
        let task = self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()?;
        task.queued.store(false, Ordering::Relaxed);
        Some(task.id)
    }
}

#[derive(Debug)]
struct TaskWaker {
    /// `None` for the future of `run`.
    id: Option<TaskId>,
    queued: AtomicBool,
    ready: Weak<Ready>,
}

impl Ready {
    /// A waker for a task, which is woken to begin with.
    fn begin(self: &Arc<Self>, id: Option<TaskId>) -> Waker {
        let ready = Arc::downgrade(self);
        let task = Arc::new(TaskWaker { id, queued: AtomicBool::new(false), ready });
        task.clone().wake();
        Waker::from(task)
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        if self.queued.swap(true, Ordering::Relaxed) {
            return;
        }
        if let Some(ready) = self.ready.upgrade() {
            ready.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(self);
        }
    }
}

/// The result of a spawned future. Dropping it lets the future run on.
#[derive(Debug)]
pub struct Task<T>(Rc<RefCell<Outcome<T>>>);

#[derive(Debug)]
struct Outcome<T> {
    value: Option<T>,
    waiter: Option<Waker>,
}

/// A future that was spawned: its value goes to whoever holds the task.
#[pin_project]
struct Told<F: Future> {
    #[pin]
    future: F,
    outcome: Rc<RefCell<Outcome<F::Output>>>,
}

impl<F: Future> Future for Told<F> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.project();
        let value = std::task::ready!(this.future.poll(cx));
        let mut outcome = this.outcome.borrow_mut();
        outcome.value = Some(value);
        if let Some(waiter) = outcome.waiter.take() {
            waiter.wake();
        }
        Poll::Ready(())
    }
}

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let mut outcome = self.0.borrow_mut();
        match outcome.value.take() {
            Some(value) => Poll::Ready(value),
            None => {
                outcome.waiter = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Sim {
    /// A simulation at its first instant. The seed decides every random choice in it.
    pub fn new(seed: u64) -> Self {
        Self { world: World::new(seed), tasks: Rc::default(), ready: Arc::default() }
    }

    /// The runtime, for `build_with`.
    pub fn runtime(&self) -> SimRuntime {
        SimRuntime { world: self.world.clone() }
    }

    /// The backend, for `build_with`: it knows the servers of this simulation, and no others.
    pub fn backend(&self) -> SimBackend {
        SimBackend { world: self.world.clone() }
    }

    /// The server at `target`, made if there is none: it answers 200 with `ok`, at once.
    ///
    /// # Panics
    /// If `target` is no target, such as `http://a:80`.
    #[track_caller]
    pub fn server(&self, target: &str) -> Server {
        match target.parse::<Target>() {
            Ok(target) => Server::new(self.world.clone(), target.netloc().clone()),
            Err(error) => panic!("{error}"),
        }
    }

    /// Virtual time since the start.
    pub fn elapsed(&self) -> Duration {
        self.world.now().since(Instant::EPOCH)
    }

    /// Sets a variable of the simulated environment, which is empty at first.
    pub fn variable(&self, name: &str, value: &str) -> &Self {
        self.world.lock().variables.insert(name.into(), value.into());
        self
    }

    /// A timer on the virtual clock.
    pub fn sleep(&self, duration: Duration) -> SimSleep {
        self.world.sleep(duration)
    }

    /// Moves the clock forth, and wakes what is due. Inside [`run`](Self::run), [`sleep`](Self::sleep)
    /// is what you want.
    pub fn advance(&self, by: Duration) {
        self.world.set(self.world.now().after(by));
    }

    /// Moves the clock back, as a broken one may.
    pub fn turn_back(&self, by: Duration) {
        self.world.set(self.world.now().before(by));
    }

    /// Runs `future` beside the one that [`run`](Self::run) runs.
    #[track_caller]
    pub fn spawn<F>(&self, future: F) -> Task<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let outcome = Rc::new(RefCell::new(Outcome { value: None, waiter: None }));
        let future = Box::pin(Told { future, outcome: outcome.clone() });
        let location = Location::caller();
        self.tasks.borrow_mut().0.insert_with_key(|id| {
            Some(Spawned { future, location, waker: self.ready.begin(Some(id)) })
        });
        Task(outcome)
    }

    /// Runs `future`, and all that is spawned, until `future` ends. Whenever nothing can run, the
    /// clock jumps to the next timer.
    ///
    /// # Panics
    /// If nothing can run and no timer is set: the message says who waits for what. If the clock
    /// stands still for ten million polls.
    #[track_caller]
    pub fn run<F: Future>(&self, future: F) -> F::Output {
        let mut future = std::pin::pin!(future);
        let waker = self.ready.begin(None);
        let mut cx = Context::from_waker(&waker);
        let mut polls = 0;
        loop {
            let Some(id) = self.ready.pop() else {
                polls = 0;
                assert!(self.world.jump(), "{}", self.deadlock());
                continue;
            };
            polls += 1;
            assert!(polls < SPIN, "the clock stands still at {:?}: a task spins", self.elapsed());
            if let Some(id) = id {
                self.poll_task(id);
            } else if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                return output;
            }
        }
    }

    fn poll_task(&self, id: TaskId) {
        // Taken out while it is polled, so that it may spawn.
        let Some(mut task) = self.tasks.borrow_mut().0.get_mut(id).and_then(Option::take) else {
            return;
        };
        let pending = task.future.as_mut().poll(&mut Context::from_waker(&task.waker)).is_pending();
        let mut tasks = self.tasks.borrow_mut();
        if pending {
            tasks.0[id] = Some(task);
        } else {
            tasks.0.remove(id);
            // Its drop may spawn.
            drop(tasks);
        }
    }

    fn deadlock(&self) -> String {
        let mut text = format!("nothing can run and no timer is set, at {:?}:", self.elapsed());
        // Writing to a string does not fail.
        let _ = write!(text, "\n  the future of `run` waits");
        for task in self.tasks.borrow().0.values().flatten() {
            let _ = write!(text, "\n  a task spawned at {} waits", task.location);
        }
        for line in self.world.lock().servers.waiting() {
            let _ = write!(text, "\n  {line}");
        }
        text
    }
}
