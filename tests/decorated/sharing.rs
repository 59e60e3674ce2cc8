//! What functions share: one dependency by id, and one table that can be forgotten.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};

use dace::ConfigError;
use dace::smol::{Smol, dependency};
use dace::tokio::Tokio;

use crate::support::alone;

fn config(result: Result<(), dace::Error<io::Error>>) -> ConfigError {
    match result {
        Err(dace::Error::Config(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[dace::fault_tolerant(dependency_id = "shared", runtime = Smol, timeout = "60s", queue = 3)]
async fn one() -> io::Result<()> {
    Ok(())
}

#[dace::fault_tolerant(dependency_id = "shared", runtime = Smol, queue = 3, timeout = "1m")]
async fn same() -> io::Result<()> {
    Ok(())
}

#[dace::fault_tolerant(dependency_id = "shared", runtime = Smol, timeout = "61s", queue = 3)]
async fn other() -> io::Result<()> {
    Ok(())
}

#[dace::fault_tolerant(dependency_id = "shared", runtime = Smol, timeout = "1m")]
async fn less() -> io::Result<()> {
    Ok(())
}

#[dace::fault_tolerant(dependency_id = "shared", runtime = Tokio, timeout = "1s")]
async fn elsewhere() -> io::Result<()> {
    Ok(())
}

#[dace::fault_tolerant(dependency_id = "sha red", runtime = Smol)]
async fn collides() -> io::Result<()> {
    Ok(())
}

#[dace::fault_tolerant(dependency_id = "sha_red", runtime = Smol)]
async fn collided() -> io::Result<()> {
    Ok(())
}

#[test]
fn one_id_is_one_state_for_those_who_say_the_same() {
    let _alone = alone();
    dace::reset();
    smol::block_on(async {
        assert!(dependency("shared").is_none(), "it is built by the first call");
        one().await.unwrap();
        same().await.unwrap();
        assert_eq!(dependency("shared").unwrap().snapshot().totals.succeeded, 2);
        let error = config(other().await);
        assert_eq!(error.setting(), "timeout");
        assert_eq!(
            error.to_string(),
            "`timeout` is `61s` in `decorated::sharing::other` and is `60s` in \
             `decorated::sharing::one`, which share the dependency `shared`; say the same in both",
        );
        let error = config(less().await);
        assert_eq!(error.setting(), "queue");
        assert!(
            error
                .to_string()
                .starts_with("`queue` is not set in `decorated::sharing::less` and is `3`")
        );
        assert_eq!(dependency("shared").unwrap().snapshot().totals.succeeded, 2);
    });
    crate::support::on_tokio(async {
        elsewhere().await.unwrap();
        assert_eq!(dace::tokio::dependency("shared").unwrap().snapshot().totals.succeeded, 1);
    });
}

#[test]
fn two_names_that_become_one_id_are_an_error_that_names_both() {
    let _alone = alone();
    dace::reset();
    smol::block_on(async {
        collides().await.unwrap();
        let error = config(collided().await);
        assert_eq!(
            error.to_string(),
            "`dependency_id` `sha_red` of `decorated::sharing::collided` and `sha red` of \
             `decorated::sharing::collides` would both be `sha_red`; rename one of them",
        );
    });
}

#[dace::fault_tolerant(dependency_id = "secret", runtime = Smol, default_sensitive_header = ("key", "s3cret"))]
async fn knows() -> io::Result<()> {
    Ok(())
}

#[dace::fault_tolerant(dependency_id = "secret", runtime = Smol, default_sensitive_header = ("key", "0ther"))]
async fn knows_another() -> io::Result<()> {
    Ok(())
}

#[dace::fault_tolerant(dependency_id = "told", runtime = Smol, targets = ["http://s3cret.invalid:1"])]
async fn told() -> io::Result<()> {
    Ok(())
}

#[dace::fault_tolerant(dependency_id = "told", runtime = Smol, targets = ["http://0ther.invalid:1"])]
async fn told_another() -> io::Result<()> {
    Ok(())
}

#[test]
fn a_conflict_shows_no_secret() {
    let _alone = alone();
    dace::reset();
    smol::block_on(knows()).unwrap();
    smol::block_on(told()).unwrap();
    for (setting, error) in [
        ("default_sensitive_header", config(smol::block_on(knows_another()))),
        ("targets", config(smol::block_on(told_another()))),
    ] {
        assert_eq!(error.setting(), setting);
        let shown = format!("{error}{error:?}");
        assert!(!shown.contains("s3cret") && !shown.contains("0ther"), "{shown}");
    }
}

static EVALUATED: AtomicU32 = AtomicU32::new(0);

fn evaluated() -> u32 {
    EVALUATED.fetch_add(1, Ordering::SeqCst);
    2
}

#[dace::fault_tolerant(dependency_id = "evaluated", runtime = Smol, retry_attempts = evaluated())]
async fn evaluates() -> io::Result<()> {
    Ok(())
}

#[dace::fault_tolerant(dependency_id = "evaluated", runtime = Smol, retry_attempts = evaluated())]
async fn evaluates_too() -> io::Result<()> {
    Ok(())
}

#[test]
fn settings_are_evaluated_once_and_again_after_a_reset() {
    let _alone = alone();
    dace::reset();
    let before = EVALUATED.load(Ordering::SeqCst);
    let seen = || EVALUATED.load(Ordering::SeqCst) - before;
    let threads: Vec<_> = (0..8)
        .map(|_| {
            std::thread::spawn(|| {
                smol::block_on(async {
                    evaluates().await.unwrap();
                    evaluates_too().await.unwrap();
                })
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(seen(), 1);
    let old = dependency("evaluated").unwrap();
    assert_eq!(old.snapshot().totals.succeeded, 16);
    dace::reset();
    assert!(dependency("evaluated").is_none());
    smol::block_on(evaluates()).unwrap();
    assert_eq!(seen(), 2);
    assert_eq!(dependency("evaluated").unwrap().snapshot().totals.succeeded, 1);
    assert_eq!(old.snapshot().totals.succeeded, 16, "a handle that is held stays what it is");
}

const NONE: [&str; 0] = [];

async fn hides(_: dace::Error<io::Error>) -> Result<(), dace::Error<io::Error>> {
    Ok(())
}

#[dace::fault_tolerant(runtime = Smol, targets = NONE, fallback = hides)]
async fn wrong() -> io::Result<()> {
    Ok(())
}

#[test]
fn a_setting_that_cannot_be_used_ends_every_call_typed_and_no_fallback_hides_it() {
    for _ in 0..2 {
        let error = config(smol::block_on(wrong()));
        assert_eq!(
            (error.setting(), error.to_string().as_str()),
            ("targets", "`targets` must name at least one target")
        );
    }
    assert!(dependency("decorated::sharing::wrong").is_none());
}

#[test]
fn a_thousand_resets_leave_one_dependency_alive() {
    #[dace::fault_tolerant(dependency_id = "reset often", runtime = Smol)]
    async fn own() -> io::Result<()> {
        Ok(())
    }

    let _alone = alone();
    for _ in 0..1_000 {
        dace::reset();
        smol::block_on(own()).unwrap();
    }
    let alive = dace::smol::Dependency::all();
    assert_eq!(alive.iter().filter(|one| one.id() == "reset_often").count(), 1);
}

#[test]
fn a_function_that_is_not_called_again_keeps_nothing_that_was_forgotten() {
    #[dace::fault_tolerant(dependency_id = "kept by two", runtime = Smol)]
    async fn called() -> io::Result<()> {
        Ok(())
    }

    #[dace::fault_tolerant(dependency_id = "kept by two", runtime = Smol)]
    async fn silent() -> io::Result<()> {
        Ok(())
    }

    let _alone = alone();
    let alive = || {
        let all = dace::smol::Dependency::all();
        all.iter().filter(|one| one.id() == "kept_by_two").count()
    };
    smol::block_on(called()).unwrap();
    smol::block_on(silent()).unwrap();
    dace::reset();
    assert_eq!(alive(), 0);
    smol::block_on(called()).unwrap();
    assert_eq!(alive(), 1);
}

struct Given<T>(T);

trait Tr {
    async fn told() -> Result<u8, dace::Error<io::Error>>;
}

mod apart {
    use super::{Given, Smol, Tr, io};

    impl Given<u8> {
        #[dace::fault_tolerant(runtime = Smol)]
        pub(super) async fn width(&self) -> io::Result<u8> {
            Ok(self.0)
        }
    }

    impl Given<u16> {
        #[dace::fault_tolerant(runtime = Smol)]
        pub(super) async fn width(&self) -> io::Result<u16> {
            Ok(self.0)
        }
    }

    pub(super) mod further {
        use super::{Given, Smol, Tr, io};

        impl Tr for Given<u8> {
            #[dace::fault_tolerant(runtime = Smol)]
            async fn told() -> io::Result<u8> {
                Ok(1)
            }
        }

        impl Tr for Given<u16> {
            #[dace::fault_tolerant(runtime = Smol)]
            async fn told() -> io::Result<u8> {
                Ok(2)
            }
        }
    }
}

#[test]
fn methods_of_a_block_away_from_its_type_have_a_dependency_each() {
    let _alone = alone();
    dace::reset();
    smol::block_on(async {
        Given(1_u8).width().await.unwrap();
        Given(1_u16).width().await.unwrap();
        <Given<u8> as Tr>::told().await.unwrap();
        <Given<u16> as Tr>::told().await.unwrap();
    });
    for path in
        ["Given<u8>::width", "Given<u16>::width", "Given<u8>::Tr::told", "Given<u16>::Tr::told"]
    {
        let own = dependency(&format!("decorated::sharing::{path}")).expect(path);
        assert_eq!(own.snapshot().totals.succeeded, 1, "{path}");
    }
}

#[test]
fn two_functions_of_one_path_are_asked_for_ids() {
    let first = {
        #[dace::fault_tolerant(runtime = Smol)]
        async fn twin() -> io::Result<()> {
            Ok(())
        }
        smol::block_on(twin())
    };
    let second = || {
        #[dace::fault_tolerant(runtime = Smol)]
        async fn twin() -> io::Result<()> {
            Ok(())
        }
        smol::block_on(twin())
    };
    let _alone = alone();
    first.unwrap();
    for _ in 0..2 {
        let error = config(second());
        assert_eq!(error.setting(), "dependency_id");
        let text = error.to_string();
        assert!(text.contains("sharing.rs:") && text.contains("give a `dependency_id`"), "{text}");
    }
}

#[test]
fn a_setting_that_is_given_twice_is_not_the_same_as_once() {
    struct Quiet;

    impl dace::Observer for Quiet {
        fn on_event(&self, _: &str, _: &dace::Event) {}
    }

    #[dace::fault_tolerant(dependency_id = "watched", runtime = Smol, observer = Quiet, observer = Quiet)]
    async fn twice() -> io::Result<()> {
        Ok(())
    }

    #[dace::fault_tolerant(dependency_id = "watched", runtime = Smol, observer = Quiet)]
    async fn once() -> io::Result<()> {
        Ok(())
    }

    let _alone = alone();
    dace::reset();
    smol::block_on(twice()).unwrap();
    assert_eq!(config(smol::block_on(once())).setting(), "observer");
}
