//! Functions of every shape: methods, generics, lifetimes, patterns, aliases, and the call anywhere.

use std::cell::Cell;
use std::fmt::Display;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use dace::smol::Smol;
use dace::{Class, HttpError};

use crate::support::{alone, sent};

type Error = dace::Error<io::Error>;

fn failure() -> io::Error {
    io::Error::other("no")
}

fn at_once() -> dace::Backoff {
    dace::Backoff::new().base(std::time::Duration::ZERO)
}

/// The attempts that were made, in the function's own words.
fn attempts<T>(result: Result<T, Error>) -> (u32, String) {
    match result {
        Err(dace::Error::RetriesExhausted { attempts, source, .. }) => {
            (attempts, source.to_string())
        }
        Err(error) => panic!("{error:?}"),
        Ok(_) => panic!("it should have failed"),
    }
}

#[dace::fault_tolerant(runtime = Smol, backoff = at_once())]
async fn told(text: String, mut count: u32, (one, _): (u8, u8), _unused: u8) -> io::Result<String> {
    count += 1;
    Err(io::Error::other(format!("{text} {count} {one}")))
}

#[test]
fn every_attempt_gets_the_arguments_as_they_were() {
    let result = smol::block_on(told(String::from("hello"), 1, (7, 8), 0));
    assert_eq!(attempts(result), (4, String::from("hello 2 7")));
}

#[dace::fault_tolerant(retry_attempts = 0)]
async fn first(call: &dace::smol::Call, one: u32, two: u32) -> Result<u32, HttpError> {
    Ok(call.attempt() + one * two)
}

#[dace::fault_tolerant(retry_attempts = 0)]
async fn last(one: u32, two: u32, call: dace::smol::Call) -> Result<u32, HttpError> {
    Ok(call.attempt() + one * two)
}

type Renamed = dace::smol::Call;

#[dace::fault_tolerant(retry_attempts = 0)]
async fn middle(one: u32, #[call] handle: &Renamed, two: u32) -> Result<u32, HttpError> {
    Ok(handle.attempt() + one * two)
}

#[dace::fault_tolerant(runtime = Smol, retry_attempts = 0)]
async fn absent(one: u32, two: u32) -> Result<u32, HttpError> {
    Ok(1 + one * two)
}

#[test]
fn the_call_is_anywhere_by_reference_or_value_or_absent() {
    smol::block_on(async {
        assert_eq!(first(2, 3).await.unwrap(), 7);
        assert_eq!(last(2, 3).await.unwrap(), 7);
        assert_eq!(middle(2, 3).await.unwrap(), 7);
        assert_eq!(absent(2, 3).await.unwrap(), 7);
    });
}

/// Two arguments of one type with that name: the mark decides.
struct Call(u32);

#[dace::fault_tolerant(retry_attempts = 0)]
async fn marked(phone: &Call, #[call] call: &dace::smol::Call) -> Result<u32, HttpError> {
    Ok(phone.0 + call.attempt())
}

#[test]
fn the_mark_decides_which_parameter_is_the_call() {
    assert_eq!(smol::block_on(marked(&Call(6))).unwrap(), 7);
}

struct Users {
    dependency: dace::smol::Dependency,
    asked: AtomicU32,
    name: String,
}

fn users() -> Users {
    let dependency = dace::smol::Dependency::builder("users").backoff(at_once()).build().unwrap();
    Users { dependency, asked: AtomicU32::new(0), name: String::from("ada") }
}

impl Users {
    #[dace::fault_tolerant(dependency = self.dependency)]
    async fn borrowed<'a>(
        &'a self,
        call: &dace::smol::Call,
        greeting: &str,
    ) -> Result<&'a str, io::Error> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        assert_eq!(greeting, "hello");
        if call.attempt() < 3 { Err(failure()) } else { Ok(&self.name) }
    }

    #[dace::fault_tolerant(dependency = self.dependency)]
    async fn counted(self: Arc<Self>) -> io::Result<()> {
        struct Other(u32);
        impl Other {
            fn asked(&self) -> u32 {
                self.0
            }
        }
        assert_eq!(Other(1).asked(), 1);
        let asked = self.asked.fetch_add(1, Ordering::Relaxed);
        Err(io::Error::other(format!("{} {asked} {}", self.name, Arc::strong_count(&self) > 1)))
    }

    #[dace::fault_tolerant(dependency = self.dependency, fallback = Self::somebody)]
    async fn by_value(self: Arc<Self>, id: u32) -> io::Result<String> {
        drop(self);
        Err(io::Error::other(id.to_string()))
    }

    async fn somebody(self: Arc<Self>, error: Error, id: u32) -> Result<String, Error> {
        Ok(format!("{} {id} {}", self.name, error.into_source().unwrap()))
    }

    #[dace::fault_tolerant(runtime = Smol, retry_attempts = 0)]
    async fn same_name() -> Result<u32, HttpError> {
        Ok(1)
    }
}

struct Posts;

trait Named {
    fn same_name() -> impl Future<Output = Result<u32, dace::Error<HttpError>>>;
}

impl Posts {
    #[dace::fault_tolerant(runtime = Smol, retry_attempts = 1)]
    async fn same_name() -> Result<u32, HttpError> {
        Ok(2)
    }
}

impl Named for Posts {
    #[dace::fault_tolerant(runtime = Smol, retry_attempts = 2)]
    async fn same_name() -> Result<u32, HttpError> {
        Ok(3)
    }
}

#[test]
fn methods_are_lent_to_every_attempt_too() {
    let users = Arc::new(users());
    smol::block_on(async {
        assert_eq!(users.borrowed("hello").await.unwrap(), "ada");
        assert_eq!(users.asked.load(Ordering::Relaxed), 3);
        assert_eq!(attempts(users.clone().counted().await), (4, String::from("ada 6 true")));
        assert_eq!(users.clone().by_value(9).await.unwrap(), "ada 9 9");
    });
}

#[test]
fn functions_of_one_name_are_told_apart_by_their_type() {
    let _alone = alone();
    smol::block_on(async {
        assert_eq!(Users::same_name().await.unwrap(), 1);
        assert_eq!(Posts::same_name().await.unwrap(), 2);
        assert_eq!(<Posts as Named>::same_name().await.unwrap(), 3);
        assert!(dace::smol::dependency("decorated::shapes::Posts::same_name").is_some());
        assert!(dace::smol::dependency("decorated::shapes::Posts::Named::same_name").is_some());
        assert!(dace::smol::dependency("decorated.shapes.Users.same_name").is_some());
    });
}

#[dace::fault_tolerant(runtime = Smol)]
async fn generic<'a, T, const N: usize>(
    all: &'a [T; N],
    shown: impl Display + Clone,
) -> Result<(&'a T, String), io::Error>
where
    T: PartialOrd + Sync,
{
    let first = all.first().ok_or_else(failure)?;
    Ok((first, shown.to_string()))
}

#[dace::fault_tolerant(runtime = Smol)]
async fn opaque(count: u8) -> Result<impl Iterator<Item = u8> + Send, io::Error> {
    if count == 0 {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(0..count)
}

#[dace::fault_tolerant(runtime = Smol, classify = |_| Class::CallerFault)]
async fn coerced() -> Result<Box<dyn Display + Send>, Box<dyn std::error::Error + Send + Sync>> {
    if std::hint::black_box(true) {
        return Err("text".into());
    }
    let number: u8 = "1".parse()?;
    Ok(Box::new(number))
}

#[test]
fn generics_opaque_types_and_coercions_work() {
    smol::block_on(async {
        assert_eq!(sent(generic(&[1, 2], 'x')).await.unwrap(), (&1, String::from("x")));
        assert_eq!(opaque(3).await.unwrap().sum::<u8>(), 3);
        let error = sent(coerced()).await.err().unwrap();
        assert!(matches!(error, dace::Error::Operation { .. }), "{error:?}");
    });
}

/// `Send`, and not `Sync`.
#[dace::fault_tolerant(runtime = Smol)]
async fn not_sync(cell: CellOf, text: &str) -> Result<usize, io::Error> {
    Ok(cell.0.get() + text.len())
}

#[derive(Clone)]
struct CellOf(Cell<usize>);

#[test]
fn the_future_is_send_when_its_parts_are() {
    assert_eq!(smol::block_on(sent(not_sync(CellOf(Cell::new(1)), "ab"))).unwrap(), 3);
}

mod hidden {
    use std::io;

    /// Documentation that is kept.
    #[must_use = "it is kept"]
    #[dace::fault_tolerant(runtime = dace::smol::Smol)]
    pub(crate) async fn visible() -> io::Result<u8> {
        Ok(1)
    }
}

#[test]
fn visibility_is_kept() {
    assert_eq!(smol::block_on(hidden::visible()).unwrap(), 1);
}

async fn cached(error: Error, name: String, (id, _): (u32, u32)) -> Result<String, Error> {
    if id == 0 { Err(error) } else { Ok(format!("{name} {id}")) }
}

#[dace::fault_tolerant(runtime = Smol, fallback = cached, retry_attempts = 0)]
async fn falls_back(name: String, (id, _): (u32, u32)) -> io::Result<String> {
    Err(io::Error::other(format!("{name}{id}")))
}

#[test]
fn a_fallback_gets_the_error_and_the_arguments() {
    smol::block_on(async {
        assert_eq!(falls_back(String::from("ada"), (7, 1)).await.unwrap(), "ada 7");
        let error = falls_back(String::from("ada"), (0, 1)).await.unwrap_err();
        assert!(matches!(error, dace::Error::Operation { .. }));
    });
}

#[derive(Debug)]
struct Foreign(&'static str);

impl Display for Foreign {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

fn by_text(result: &Result<(), Foreign>) -> Class {
    match result {
        Ok(()) => Class::Success,
        Err(Foreign("wrong")) => Class::CallerFault,
        Err(_) => Class::Transient,
    }
}

#[dace::fault_tolerant(runtime = Smol, classify = by_text)]
async fn classified(text: &'static str) -> Result<(), Foreign> {
    Err(Foreign(text))
}

#[dace::fault_tolerant(runtime = Smol, classify = |result| if result.is_err() && !retried { Class::CallerFault } else { Class::Transient })]
async fn classified_by_argument(retried: bool) -> Result<(), Foreign> {
    Err(Foreign(if retried { "again" } else { "no" }))
}

#[test]
fn a_classifier_and_a_fallback_both_have_the_arguments() {
    async fn last(error: Error, name: String) -> Result<String, Error> {
        if name.is_empty() { Err(error) } else { Ok(name) }
    }

    #[dace::fault_tolerant(
        runtime = Smol,
        fallback = last,
        classify = |result| if name.is_empty() && result.is_err() { Class::CallerFault } else { Class::Transient },
        backoff = at_once(),
    )]
    async fn both(name: String) -> io::Result<String> {
        Err(io::Error::other(name))
    }

    struct Own(String);

    impl Own {
        #[dace::fault_tolerant(
            runtime = Smol,
            fallback = Self::last,
            classify = move |_| if self.0.is_empty() { Class::CallerFault } else { Class::Transient },
            backoff = at_once(),
        )]
        async fn both(self: Arc<Self>, text: String) -> io::Result<String> {
            Err(io::Error::other(text))
        }

        async fn last(self: Arc<Self>, error: Error, text: String) -> Result<String, Error> {
            if self.0.is_empty() { Err(error) } else { Ok(format!("{} {text}", self.0)) }
        }
    }

    smol::block_on(async {
        assert_eq!(both(String::from("ada")).await.unwrap(), "ada");
        let error = both(String::new()).await.unwrap_err();
        assert!(matches!(error, dace::Error::Operation { .. }), "{error:?}");
        let own = |name: &str| Arc::new(Own(String::from(name)));
        assert_eq!(own("ada").both(String::from("x")).await.unwrap(), "ada x");
        let error = own("").both(String::new()).await.unwrap_err();
        assert!(matches!(error, dace::Error::Operation { .. }), "{error:?}");
    });
}

#[test]
fn a_classifier_says_what_a_result_means() {
    smol::block_on(async {
        assert!(matches!(classified("wrong").await, Err(dace::Error::Operation { .. })));
        assert!(matches!(classified("no").await, Err(dace::Error::RetriesExhausted { .. })));
        assert!(matches!(classified_by_argument(false).await, Err(dace::Error::Operation { .. })));
        assert!(matches!(
            classified_by_argument(true).await,
            Err(dace::Error::RetriesExhausted { .. })
        ));
    });
}

#[test]
#[expect(non_upper_case_globals, reason = "names that the expansion could trip over")]
fn names_of_the_body_are_its_own() {
    static dependency: u8 = 1;
    static SITE: u8 = 2;
    const attempt: u8 = 3;

    #[dace::fault_tolerant(runtime = Smol, queue = attempt as usize)]
    async fn hygienic(builder: u8, typed: u8, error: u8) -> io::Result<u8> {
        Ok(dependency + SITE + attempt + builder + typed + error)
    }

    assert_eq!(smol::block_on(hygienic(1, 1, 1)).unwrap(), 9);
}
