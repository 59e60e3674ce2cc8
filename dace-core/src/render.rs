//! Errors as text, for those who read logs.
//!
//! dace's own errors hold no secrets, but it cannot know what those of others show: so what looks like
//! a URL loses its userinfo and its query, control characters go (a line stays a line, and a terminal
//! is not painted), and the text has an end.

use core::error::Error;
use core::fmt::{self, Write as _};

use alloc::string::{String, ToString};
use alloc::sync::Arc;

/// The longest text, in bytes.
const LONGEST: usize = 1024;

/// The error and its sources, joined by colons. A source that the text ends with already is not said
/// twice.
pub(crate) fn chain(error: &dyn Error) -> Arc<str> {
    let mut text = scrub(&error.to_string());
    let mut link = error.source();
    while let Some(source) = link {
        let said = scrub(&source.to_string());
        if !text.ends_with(&said) {
            // Writing to a string does not fail.
            let _ = write!(text, ": {said}");
        }
        link = source.source();
    }
    bounded(text).into()
}

/// What the value shows of itself; with sources if it shows them in its alternate form.
pub(crate) fn shown(value: &dyn fmt::Display) -> Arc<str> {
    bounded(scrub(&alloc::format!("{value:#}"))).into()
}

/// One line, without what may be a secret.
fn scrub(text: &str) -> String {
    let mut clean = String::with_capacity(text.len().min(LONGEST));
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + 3);
        let end = after.find(ends_url).unwrap_or(after.len());
        let (url, behind) = after.split_at(end);
        clean.push_str(before);
        let bare = match url.rsplit_once('@') {
            Some((_, bare)) => {
                clean.push_str("…@");
                bare
            }
            None => url,
        };
        match bare.split_once('?') {
            Some((path, _)) => {
                clean.push_str(path);
                clean.push_str("?…");
            }
            None => clean.push_str(bare),
        }
        rest = behind;
    }
    clean.push_str(rest);
    clean.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn bounded(mut text: String) -> String {
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

fn ends_url(c: char) -> bool {
    c.is_whitespace() || c.is_control() || "\"'`<>".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] Inner);

    #[derive(Debug, thiserror::Error)]
    #[error("inner: {0}")]
    struct Inner(#[source] Innermost);

    #[derive(Debug, thiserror::Error)]
    #[error("innermost")]
    struct Innermost;

    #[test]
    fn a_chain_is_whole_and_says_nothing_twice() {
        assert_eq!(&*chain(&Outer(Inner(Innermost))), "outer: inner: innermost");
    }

    #[test]
    fn a_text_is_one_line_without_secrets_and_has_an_end() {
        for (text, cleaned) in [
            ("plain", "plain"),
            ("get http://u:p@h/x?token=1 failed", "get http://…@h/x?… failed"),
            ("(\"https://h/?a=b\", 'ftp://u:p/w@h')", "(\"https://h/?…\", 'ftp://…@h')"),
            ("a\nb\u{1b}[31mc", "a b [31mc"),
            ("://", "://"),
        ] {
            assert_eq!(scrub(text), cleaned);
        }
        let long = bounded("ü".repeat(1000));
        assert_eq!((long.len(), long.chars().last()), (1024 + 3, Some('…')));
    }
}
