//! Every fuzz target over its committed corpus, on any compiler: what fuzzing found once stays found.
//!
//! What the targets assert is in `fuzz/src`; `fuzz/README.md` says how they run for hours.

use std::fs;
use std::path::Path;

#[allow(unreachable_pub, reason = "it is a crate of its own as well")]
#[path = "../fuzz/src/lib.rs"]
mod targets;

fn corpus() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus")
}

fn run(target: &str) {
    let (_, body) =
        targets::TARGETS.iter().find(|(name, _)| *name == target).expect("it is listed");
    let mut count = 0;
    for entry in fs::read_dir(corpus().join(target)).expect("it has a corpus") {
        let path = entry.expect("it can be listed").path();
        // Shown if it fails.
        println!("{}", path.display());
        body(&fs::read(path).expect("it can be read"));
        count += 1;
    }
    assert!(count >= 10, "only {count} inputs");
}

macro_rules! targets {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            run(stringify!($name));
        })*

        const TESTED: &[&str] = &[$(stringify!($name)),*];
    };
}

targets!(gzip hints machine netloc no_proxy policy redirects statsd);

#[test]
fn no_target_and_no_corpus_is_left_out() {
    let listed: Vec<_> = targets::TARGETS.iter().map(|(name, _)| *name).collect();
    assert_eq!(listed, TESTED);
    for (folder, suffix) in [("corpus", ""), ("fuzz_targets", ".rs")] {
        let entries = fs::read_dir(corpus().with_file_name(folder)).expect("there is one");
        let names = entries.map(|entry| entry.expect("it can be listed").file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().expect("it is text")).collect();
        names.sort();
        let expected: Vec<_> = TESTED.iter().map(|name| format!("{name}{suffix}")).collect();
        assert_eq!(names, expected);
    }
}
