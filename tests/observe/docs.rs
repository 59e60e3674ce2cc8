//! The page in the docs knows every event, metric, statsd name and log line, each where it belongs.

const PAGE: &str = include_str!("../../docs/observing.md");

/// The name is in the first column of the section's table.
#[track_caller]
fn assert_known(name: &str, section: &str) {
    let (_, rest) = PAGE.split_once(&format!("\n# {section}\n")).expect("there is such a section");
    // Code has such lines too, though none after an empty one.
    let own = rest.split("\n\n# ").next().unwrap();
    let mut firsts = own.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
    let known = firsts.any(|names| names.contains(&format!("`{name}`")));
    assert!(known, "docs/observing.md has no `{name}` in the table of {section}");
}

/// What is between quotes in a line, if it is all of the line but for punctuation.
fn quoted(line: &str) -> Option<&str> {
    line.trim().strip_prefix('"')?.trim_end_matches([',', ';', ')', '!']).strip_suffix('"')
}

#[test]
fn the_page_knows_every_event() {
    let source = include_str!("../../dace-core/src/event.rs");
    let (_, rest) = source.split_once("pub enum What {").unwrap();
    let (variants, _) = rest.split_once("\n}").unwrap();
    let named = |line: &&str| line.starts_with("    ") && line.as_bytes()[4].is_ascii_uppercase();
    let names: Vec<_> = variants.lines().filter(|line| line.len() > 4).filter(named).collect();
    assert!(names.len() >= 18, "{names:?}");
    for name in names {
        assert_known(name.trim().trim_end_matches([' ', '{', ',']), "Events");
    }
}

#[test]
fn the_page_and_the_docs_know_every_metric() {
    let source = include_str!("../../src/metrics.rs");
    let (docs, code) = source.split_once("pub struct Metrics").unwrap();
    let names = code.split('"').filter(|text| text.starts_with("dace_"));
    let names: std::collections::BTreeSet<_> = names.collect();
    assert_eq!(names.len(), 18);
    for name in names {
        assert_known(name, "Metrics");
        assert!(docs.contains(&format!("| `{name}` |")), "the docs of `Metrics` lack {name}");
        let described = format!("!(\"{name}\"");
        let apart = format!("!(\n        \"{name}\"");
        assert!(code.contains(&described) || code.contains(&apart), "{name} is not described");
    }
}

#[test]
fn the_page_knows_every_name_of_statsd() {
    let source = include_str!("../../src/statsd/record.rs");
    // `line("a.", "b", …)` and `line("a", "", …)`; what comes from a class or a reason is in a run below.
    for call in source.split("line(\"").skip(1) {
        let texts: Vec<_> = call.split('"').take(3).collect();
        match texts[..] {
            [name, ", ", last] => assert_known(&format!("{name}{last}"), "statsd"),
            [name, ..] => assert!(name.ends_with('.'), "{name}"),
            [] => unreachable!("something comes after it"),
        }
    }
    let run = include_str!("story.txt");
    let lines = run.lines().filter_map(|line| line.strip_prefix("dace.test."));
    let names: std::collections::BTreeSet<_> =
        lines.filter_map(|line| line.split(':').next()).collect();
    assert!(names.len() > 10, "{names:?}");
    for name in names.into_iter().filter(|name| !name.starts_with("retry.suppressed.")) {
        assert_known(name, "statsd");
    }
    for class in ["refused", "rejected", "timeout", "failure", "retry_requested", "cancelled"] {
        assert_known(&format!("attempt.{class}"), "statsd");
    }
    for name in ["call.success", "call.error", "call.dropped", "open", "dropped"] {
        assert_known(name, "statsd");
    }
}

#[test]
fn the_page_knows_every_log_line() {
    let source = include_str!("../../src/logs.rs");
    let (_, code) = source.split_once("impl Observer for Logs").unwrap();
    let own_lines = code.lines().filter_map(quoted);
    let at_ends = code.lines().filter_map(|line| {
        let (_, text) = line.rsplit_once(", \"")?;
        Some(text.trim_end_matches([',', ';', ')', '!']).trim_end_matches('"'))
    });
    let is_text = |text: &&str| text.chars().all(|c| c.is_ascii_lowercase() || c == ' ');
    let names: Vec<_> = own_lines.chain(at_ends).filter(is_text).collect();
    assert!(names.len() >= 19, "{names:#?}");
    for name in names {
        assert_known(name, "Logs");
    }
    assert_known("lines left out", "Logs");
}
