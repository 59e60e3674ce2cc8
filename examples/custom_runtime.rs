//! dace on a runtime of your own: here one thread that parks, and one that keeps the timers.
//!
//!     cargo run --example custom_runtime
//!
//! A runtime is four things: a clock, timers on that clock, a lock, and a seed. The core spawns
//! nothing and opens no socket, so that is all there is to implement. The operation is an ordinary
//! function over a std socket (`NoHttp`): dace wraps anything that is async.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant as Clock};

use dace::{Dependency, Instant, NoHttp, Runtime};

/// The runtime: handles on the clock and on the thread that keeps the timers.
#[derive(Clone)]
struct Parking {
    epoch: Clock,
    timers: Arc<Timers>,
}

/// Timers by their end. The number tells timers apart that end together.
#[derive(Default)]
struct Timers {
    waiting: Mutex<BTreeMap<(Instant, u64), Waker>>,
    changed: Condvar,
}

impl Runtime for Parking {
    // A std mutex is a lock already: the feature `std` says so.
    type Lock<T: Send + 'static> = Mutex<T>;
    type Sleep = Sleep;

    fn now(&self) -> Instant {
        Instant::from_nanos(
            u64::try_from(clock().duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX),
        )
    }

    fn sleep_until(&self, deadline: Instant) -> Sleep {
        Sleep { runtime: self.clone(), deadline, number: next_number() }
    }

    fn seed(&self) -> u64 {
        u64::from(std::process::id())
    }
}

/// A timer. dace makes one only while a call waits, and drops it when it is done.
struct Sleep {
    runtime: Parking,
    deadline: Instant,
    number: u64,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.runtime.now() >= self.deadline {
            return Poll::Ready(());
        }
        let mut waiting = self.runtime.timers.lock();
        waiting.insert((self.deadline, self.number), cx.waker().clone());
        self.runtime.timers.changed.notify_one();
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        self.runtime.timers.lock().remove(&(self.deadline, self.number));
    }
}

impl Timers {
    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<(Instant, u64), Waker>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Parking {
    fn start() -> Self {
        let runtime = Self { epoch: clock(), timers: Arc::default() };
        let keeper = runtime.clone();
        thread::spawn(move || keeper.keep_timers());
        runtime
    }

    /// Wakes what is due, then waits for the next end or for a change.
    fn keep_timers(&self) {
        let mut waiting = self.timers.lock();
        loop {
            let now = self.now();
            let next = waiting.keys().next().copied();
            waiting = match next {
                Some(key) if key.0 <= now => {
                    let waker = waiting.remove(&key);
                    // Wakers may run anything: not under the lock.
                    drop(waiting);
                    waker.into_iter().for_each(Waker::wake);
                    self.timers.lock()
                }
                Some((end, _)) => {
                    let changed = self.timers.changed.wait_timeout(waiting, end.since(now));
                    changed.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let changed = self.timers.changed.wait(waiting);
                    changed.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }

    /// Runs one future on this thread, which parks while there is nothing to do.
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        struct Unpark(Thread);
        impl Wake for Unpark {
            fn wake(self: Arc<Self>) {
                self.0.unpark();
            }
        }
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut future = pin!(future);
        loop {
            match future.as_mut().poll(&mut Context::from_waker(&waker)) {
                Poll::Ready(output) => return output,
                Poll::Pending => thread::park(),
            }
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "a runtime is where the clock is read")]
fn clock() -> Clock {
    Clock::now()
}

fn next_number() -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

/// A server that closes its first connection without a word, and greets all others.
fn start_server() -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            if let (Ok(mut stream), true) = (stream, number > 0) {
                // A client that went away needs no greeting.
                let _ = writeln!(stream, "hello from connection {number}");
            }
        }
    });
    Ok(address)
}

/// The operation that is wrapped. It blocks for a moment, which an example may.
fn greeting(address: SocketAddr) -> std::io::Result<String> {
    let stream = TcpStream::connect(address)?;
    let mut line = String::new();
    match BufReader::new(stream).read_line(&mut line)? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end().to_owned()),
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let runtime = Parking::start();
    let address = start_server()?;
    let dependency = Dependency::builder("greeter")
        .timeout(Duration::from_secs(2))
        .retry_attempts(3)
        .build_with(runtime.clone(), NoHttp)?;

    let report = runtime.block_on(dependency.call(|_| async move { greeting(address) }).report());
    println!("{report}");
    println!("the server said: {}", report.result?);

    // Nobody listens there, so all attempts fail, and the fallback has the last word.
    let nobody = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let value = runtime.block_on(
        dependency
            .call(|_| async move { greeting(nobody) })
            .fallback(|error| async move { Ok(format!("nobody there: {error}")) }),
    );
    println!("{}", value?);

    // It waits for ever, so the timer thread ends it.
    let never = dependency
        .call(|_| std::future::pending::<std::io::Result<()>>())
        .timeout(Duration::from_millis(50));
    println!("{}", runtime.block_on(never).expect_err("it never ends by itself"));
    Ok(())
}
