//! Errors as text, for those who read logs.
//!
//! dace's own errors hold no secrets, but it cannot know what those of others show: so what looks like
//! a URL loses its userinfo, its query and its fragment, control characters go (a line stays a line, and a
//! terminal is neither painted nor turned around), and the text has an end.

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
        let (url, behind) = after.split_at(end_of_url(after));
        clean.push_str(before);
        push_bare(&mut clean, url);
        rest = behind;
    }
    clean.push_str(rest);
    clean.chars().map(|c| if is_unprintable(c) { ' ' } else { c }).collect()
}

/// What is no secret of the URL behind its scheme.
fn push_bare(clean: &mut String, url: &str) {
    let (head, tail) = url.split_at(url.find(['?', '#']).unwrap_or(url.len()));
    if tail.contains('@') && !is_place(head) {
        // The mark may be part of a password.
        return clean.push('…');
    }
    match head.rsplit_once('@') {
        Some((_, bare)) => {
            clean.push_str("…@");
            clean.push_str(bare);
        }
        None => clean.push_str(head),
    }
    if let Some(mark) = tail.get(..1) {
        clean.push_str(mark);
        clean.push('…');
    }
}

/// Whether it has a host, with a port or without, and a path: so it is not the beginning of a password.
fn is_place(head: &str) -> bool {
    head.split_once('/').is_some_and(|(host, _)| {
        let port = host.rsplit_once(':').map_or("", |(_, port)| port);
        host.contains('@') || port.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// Where the URL ends that begins the text. Quotes and brackets may be part of one, of a secret even, and
/// may be around it: they are around it at its end alone.
fn end_of_url(text: &str) -> usize {
    let end = text.find(|c: char| c.is_whitespace() || is_unprintable(c)).unwrap_or(text.len());
    text[..end].trim_end_matches(|c| "\"'`<>()[]{},;:.!".contains(c)).len()
}

/// What ends a line, paints a terminal, or turns around what is read.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        )
}

/// What is too long loses its middle: the root cause comes last.
fn bounded(text: String) -> String {
    if text.len() <= LONGEST {
        return text;
    }
    let half = LONGEST / 2;
    let head = (0..=half).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
    let tail = (text.len() - half..=text.len()).find(|&at| text.is_char_boundary(at));
    alloc::format!("{}…{}", &text[..head], &text[tail.unwrap_or(text.len())..])
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
            ("<a href=\"http://h/?a=\"s3cret\"\">", "<a href=\"http://h/?…\"\">"),
            ("http://u:p\"s3cret@h/, twice", "http://…@h/, twice"),
            ("http://h/cb#access_token=s3cret.", "http://h/cb#…."),
            ("http://h/#a?b http://h/?a#b", "http://h/#… http://h/?…"),
            ("http://h/?e=a@b&t=s", "http://h/?…"),
            ("http://h:80/?password=p@ss", "http://h:80/?…"),
            ("http://h/#a@b", "http://h/#…"),
            ("http://u:p@h/?e=a@b", "http://…@h/?…"),
            ("http://u:p?x@h/", "http://…"),
            ("http://u:p/w?x@h/", "http://…"),
            ("http://h?a=b", "http://h?…"),
            ("a\u{2028}b\u{202e}c\u{2066}d\u{200f}e\u{feff}", "a b c d e "),
        ] {
            assert_eq!(scrub(text), cleaned);
        }
        let long = bounded(alloc::format!("first: {}: the root cause", "ü".repeat(1000)));
        assert!(long.len() <= 1024 + 3, "{}", long.len());
        assert!(long.starts_with("first: ü") && long.ends_with("ü: the root cause"), "{long}");
    }
}
