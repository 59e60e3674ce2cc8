//! The table in the README tells the truth: every id has its row, every test that it names is there and
//! says for which id, and no test here is left out.

use std::path::Path;

const PAGE: &str = include_str!("README.md");

/// The groups, and how many rows each has.
const GROUPS: [(char, u32); 12] = [
    ('A', 10),
    ('B', 15),
    ('C', 13),
    ('D', 14),
    ('E', 4),
    ('F', 8),
    ('G', 14),
    ('H', 5),
    ('I', 5),
    ('J', 4),
    ('K', 13),
    ('L', 4),
];

struct Row {
    id: &'static str,
    behaviour: &'static str,
    tests: &'static str,
    without: &'static str,
}

fn rows() -> impl Iterator<Item = Row> {
    PAGE.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| ")?.strip_suffix(" |")?.split(" | ");
        let id = cells.next()?;
        let is_id = id.starts_with(|c: char| c.is_ascii_uppercase())
            && id[1..].bytes().all(|b| b.is_ascii_digit());
        let mut next = || cells.next().unwrap_or_else(|| panic!("{id} has four cells"));
        (is_id && id.len() > 1).then(|| {
            let (behaviour, tests, without) = (next(), next(), next());
            Row { id, behaviour, tests, without }
        })
    })
}

impl Row {
    fn applies(&self) -> bool {
        !self.tests.starts_with("cannot apply: ")
    }

    /// File and name of each test.
    fn named(&self) -> Vec<(&'static str, &'static str)> {
        let mut found = Vec::new();
        for part in self.tests.split("](").skip(1) {
            let (file, rest) = part.split_once(')').expect("a link ends");
            // Up to the next link; what is between backticks.
            let names = rest.split('[').next().unwrap_or(rest);
            let names: Vec<_> = names.split('`').skip(1).step_by(2).collect();
            assert!(!names.is_empty(), "{}: {file} without a test", self.id);
            found.extend(names.into_iter().map(|name| (file, name)));
        }
        found
    }
}

fn read(file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/incidents");
    std::fs::read_to_string(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// The lines right above a function: its comment and its attributes. `None` if there is no such function.
fn above(source: &str, name: &str) -> Option<String> {
    let begins = |line: &str| {
        let rest = line.trim_start().trim_start_matches("pub(crate) ").trim_start_matches("async ");
        let rest = rest.strip_prefix("fn ").and_then(|rest| rest.strip_prefix(name));
        rest.is_some_and(|rest| rest.starts_with(['(', '<']))
    };
    let lines: Vec<_> = source.lines().collect();
    let at = lines.iter().position(|line| begins(line))?;
    let is_about = |line: &&&str| line.trim_start().starts_with(['/', '#']);
    let about: Vec<_> = lines[..at].iter().rev().take_while(is_about).copied().collect();
    Some(about.join("\n"))
}

/// Whether a text has the id as a word.
fn tells(text: &str, id: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| word == id)
}

#[test]
fn the_table_is_complete() {
    let ids: Vec<_> = rows().map(|row| row.id.to_owned()).collect();
    let all = |(group, count)| (1..=count).map(move |number| format!("{group}{number}"));
    assert_eq!(ids, GROUPS.into_iter().flat_map(all).collect::<Vec<_>>());
    for row in rows() {
        assert!(row.behaviour.len() > 10 && row.without.len() > 10, "{} says too little", row.id);
        assert_eq!(
            row.applies(),
            !row.named().is_empty(),
            "{} has a test, or says why not",
            row.id
        );
    }
}

#[test]
fn every_test_that_the_table_names_is_there_and_tells_its_id() {
    for row in rows() {
        for (file, name) in row.named() {
            let above = above(&read(file), name);
            let Some(above) = above else { panic!("{}: {file} has no `{name}`", row.id) };
            let named_for_it = name.split('_').any(|word| word == row.id.to_ascii_lowercase());
            assert!(
                named_for_it || tells(&above, row.id),
                "{file}: `{name}` does not tell {}",
                row.id
            );
            let is_contract = dace_wire::CONTRACTS.iter().any(|(.., known)| *known == name);
            // Or in a list that makes one for each adapter.
            let is_listed = || read(file).lines().any(|line| line.trim() == name);
            let is_test = above.contains("#[test]") || above.contains("::test");
            assert!(is_contract || is_test || is_listed(), "{file}: `{name}` is no test");
        }
    }
}

#[test]
fn every_test_of_this_folder_is_in_its_row() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/incidents");
    let mut count = 0;
    for entry in folder.read_dir().unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        if !file.ends_with(".rs") || file == "table.rs" {
            continue;
        }
        let source = read(&file);
        for part in source.split("#[test]\n").skip(1) {
            let name =
                part.trim_start().strip_prefix("fn ").and_then(|rest| rest.split('(').next());
            let name = name.expect("a function comes after it");
            let id = name.split('_').next().unwrap_or(name).to_ascii_uppercase();
            let row = rows().find(|row| row.id == id).unwrap_or_else(|| panic!("{name}: no row"));
            let listed = row.named().contains(&(file.as_str(), name));
            assert!(listed, "{name} is not in the row of {id}");
            count += 1;
        }
    }
    assert!(count > 80, "{count} tests");
}
