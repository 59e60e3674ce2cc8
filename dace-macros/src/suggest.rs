//! What somebody may have meant.

use crate::parameters::{ELSEWHERE, OTHERS, SETTINGS};

/// The parameter that `name` is most like, if it is like one.
pub(crate) fn parameter(name: &str) -> Option<&'static str> {
    if let Some((_, here)) = ELSEWHERE.iter().find(|(elsewhere, _)| *elsewhere == name) {
        return Some(here);
    }
    let known = SETTINGS.iter().map(|setting| setting.name).chain(OTHERS.iter().copied());
    known
        .map(|known| (distance(name, known), known))
        .min()
        .filter(|(distance, known)| *distance <= known.len().min(name.len()) / 3 + 1)
        .map(|(_, known)| known)
}

/// How many bytes have to change, come or go.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (line, a) in one.bytes().enumerate() {
        let mut corner = row[0];
        row[0] = line + 1;
        for (column, b) in other.bytes().enumerate() {
            let replaced = corner + usize::from(a != b);
            corner = row[column + 1];
            row[column + 1] = replaced.min(row[column] + 1).min(corner + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_like_a_parameter_is_found_and_what_is_like_none_is_not() {
        for (name, meant) in [
            ("retry_attemps", Some("retry_attempts")),
            ("time_out", Some("timeout")),
            ("reactor", Some("runtime")),
            ("context_factory", Some("tls")),
            ("colour", None),
        ] {
            assert_eq!(parameter(name), meant, "{name}");
        }
    }
}
