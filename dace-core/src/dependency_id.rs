//! Names of dependencies, made fit for logs and metrics once.

use core::fmt::Write as _;

use alloc::string::String;
use alloc::sync::Arc;

/// The longest id, in bytes.
const LONGEST: usize = 64;

/// What is kept of a longer one: its end, which tells more than its beginning.
const KEPT: usize = 55;

/// The id for a name: `::` becomes `.`, any other byte outside `[A-Za-z0-9_.-]` becomes `_`, and a
/// long one is cut and told apart by a hash. `None` for an empty name.
pub(crate) fn sanitise(name: &str) -> Option<Arc<str>> {
    if name.is_empty() {
        return None;
    }
    let mut id: String = name
        .replace("::", ".")
        .bytes()
        .map(
            |byte| {
                if byte.is_ascii_alphanumeric() || b"_.-".contains(&byte) { byte } else { b'_' }
            },
        )
        .map(char::from)
        .collect();
    if id.len() > LONGEST {
        id = String::from(&id[id.len() - KEPT..]);
        // The string has room for everything that is written to it.
        let _ = write!(id, "-{:08x}", fnv1a(name.as_bytes()));
    }
    Some(id.into())
}

/// FNV-1a, 32 bits: the same on every platform and in every release.
fn fnv1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, &byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_holds_nothing_that_a_log_or_a_metric_could_trip_over() {
        for (name, id) in [
            ("users", "users"),
            ("my_crate::api::users", "my_crate.api.users"),
            ("a b\n|:#\u{1b}[31m", "a_b______31m"),
            ("käse", "k__se"),
        ] {
            assert_eq!(&*sanitise(name).unwrap(), id);
        }
        assert_eq!(sanitise(""), None);
    }

    #[test]
    fn a_long_id_keeps_its_end_and_stays_distinct() {
        let (a, b) = ("x".repeat(300) + "a::get", "y".repeat(300) + "a::get");
        let (a, b) = (sanitise(&a).unwrap(), sanitise(&b).unwrap());
        assert_eq!((a.len(), b.len()), (64, 64));
        assert!(a[..55].ends_with("a.get"));
        assert_ne!(a, b);
    }

    /// FNV-1a, 32 bits, as its authors publish it.
    #[test]
    fn a_long_name_has_the_same_hash_for_ever() {
        let hashes = [&b""[..], b"a", b"foobar"].map(fnv1a);
        assert_eq!(hashes, [0x811c_9dc5, 0xe40c_292c, 0xbf9c_f968]);
    }
}
