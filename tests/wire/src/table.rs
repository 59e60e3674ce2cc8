//! `docs/conformance.md`: what every backend keeps, and where one differs.
//!
//! `DACE_BLESS=1 cargo test -p dace-wire` writes it anew.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::{CONTRACTS, Expected};

/// The sources of the contracts, to see which of them a difference concerns.
const SOURCES: &[&str] = &[
    include_str!("contracts/alpn.rs"),
    include_str!("contracts/answers.rs"),
    include_str!("contracts/bounds.rs"),
    include_str!("contracts/connections.rs"),
    include_str!("contracts/faults.rs"),
    include_str!("contracts/http2.rs"),
    include_str!("contracts/mod.rs"),
    include_str!("contracts/proxies.rs"),
    include_str!("contracts/requests.rs"),
    include_str!("contracts/socks.rs"),
    include_str!("contracts/stale.rs"),
    include_str!("contracts/streams.rs"),
    include_str!("contracts/tls.rs"),
    include_str!("contracts/tunnels.rs"),
];

/// What each group of contracts is about, for readers of the page.
const SUBJECTS: &[(&str, &str)] = &[
    ("answers", "heads and bodies"),
    ("requests", "what is sent, and bodies that fail"),
    ("connections", "reuse, idleness, closing, given addresses"),
    ("faults", "every way to fail, and what may have been sent"),
    ("stale", "connections that died while they were idle"),
    ("bounds", "age, trailers, long heads, cuts at every byte"),
    ("proxies", "forwarding proxies"),
    ("socks", "SOCKS 5"),
    ("tls", "TLS: certificates, client certificates, names, cuts"),
    ("tunnels", "tunnels through a proxy (CONNECT)"),
    ("http2", "HTTP/2: exchanges and their faults"),
    ("streams", "HTTP/2: streams and connections"),
    ("alpn", "which version a TLS server chooses"),
];

/// The functions of the contracts' sources: name and text.
fn functions() -> impl Iterator<Item = (&'static str, &'static str)> {
    let texts = SOURCES.iter().flat_map(|source| source.split("fn ").skip(1));
    texts.map(|text| (text.split(['<', '(']).next().unwrap_or_default(), text))
}

/// The contracts whose source asks for `field`, or has somebody ask.
fn concerned(field: &str) -> Vec<&'static str> {
    let asks = format!("expected.{field}");
    let mut asking: Vec<_> = functions()
        .filter(|(_, text)| {
            [" ", ";", ")", ",", "."].iter().any(|end| text.contains(&format!("{asks}{end}")))
        })
        .map(|(name, _)| name)
        .collect();
    let is_contract = |name: &&str| CONTRACTS.iter().any(|(.., known)| known == name);
    let helpers: Vec<_> = asking.iter().copied().filter(|name| !is_contract(name)).collect();
    let calls = |text: &str| {
        helpers.iter().any(|name| {
            [format!("{name}("), format!("{name}::<")].iter().any(|call| text.contains(call))
        })
    };
    asking.extend(functions().filter(|(_, text)| calls(text)).map(|(name, _)| name));
    asking.retain(is_contract);
    asking.sort_unstable();
    asking.dedup();
    asking
}

fn page() -> String {
    let mut groups: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (_, subject, name) in CONTRACTS {
        groups.entry(subject).or_default().push(name);
    }
    let differences: Vec<_> =
        Expected::rows().into_iter().filter(|(.., values)| values[0] != values[1]).collect();
    let differing: Vec<_> = differences.iter().flat_map(|(field, ..)| concerned(field)).collect();
    let mut page = format!(
        "# What both adapters keep\n\n\
         Written by `DACE_BLESS=1 cargo test -p dace-wire` from the list that makes the tests: each of the \
         {} contracts is a test of each adapter, against a server that plays a script on a raw socket \
         (`cargo test -p dace-tokio -p dace-smol --all-features`). Where they differ, the contract checks \
         what each of them does. smol + hyper is tested by the same, and differs in nothing from tokio + hyper.\n\n\
         | | contracts | tokio + hyper | smol + isahc |\n|---|---|---|---|\n",
        CONTRACTS.len()
    );
    for (subject, about) in SUBJECTS {
        let names = groups.remove(subject).expect("it has contracts");
        let differ = names.iter().filter(|name| differing.contains(name)).count();
        let smol = match differ {
            0 => String::from("the same"),
            _ => format!("{differ} differ, see below"),
        };
        writeln!(page, "| {about} | {} | kept | {smol} |", names.len()).unwrap();
    }
    assert!(groups.is_empty(), "no words for {groups:?}");
    page.push_str(
        "\n## Differences, and why\n\n| | hyper | isahc | seen in |\n|---|---|---|---|\n",
    );
    for (field, why, [hyper, isahc]) in &differences {
        let seen: Vec<_> = concerned(field).iter().map(|name| format!("`{name}`")).collect();
        assert!(!seen.is_empty(), "no contract asks for {field}");
        writeln!(page, "| {} | {hyper} | {isahc} | {} |", why.trim(), seen.join(", ")).unwrap();
    }
    page.push_str("\n## The contracts\n");
    let mut last = "";
    for (_, subject, name) in CONTRACTS {
        if last != *subject {
            write!(page, "\n{subject}:\n\n").unwrap();
            last = subject;
        }
        writeln!(page, "- `{name}`").unwrap();
    }
    page
}

#[test]
fn the_page_of_contracts_and_differences_is_up_to_date() {
    let page = page();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/conformance.md");
    if std::env::var_os("DACE_BLESS").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == page, "docs/conformance.md is not what the list says: bless it");
}
