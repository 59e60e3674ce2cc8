//! Durations as they are written in an attribute: a number and a unit.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Ident, LitStr, Path};

/// A duration that was written as text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// Of the constructor in `Duration`.
    constructor: &'static str,
    count: u64,
    /// For comparison: `1m` is `60s`.
    pub(crate) value: std::time::Duration,
}

impl Written {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let end = text.find(|char: char| !char.is_ascii_digit())?;
        let (count, unit) = text.split_at(end);
        let count: u64 = count.parse().ok()?;
        let (constructor, count) = match unit.trim_start() {
            "ns" => ("from_nanos", count),
            "us" | "µs" => ("from_micros", count),
            "ms" => ("from_millis", count),
            "s" => ("from_secs", count),
            "m" => ("from_secs", count.checked_mul(60)?),
            "h" => ("from_secs", count.checked_mul(3_600)?),
            _ => return None,
        };
        let value = match constructor {
            "from_nanos" => std::time::Duration::from_nanos(count),
            "from_micros" => std::time::Duration::from_micros(count),
            "from_millis" => std::time::Duration::from_millis(count),
            _ => std::time::Duration::from_secs(count),
        };
        Some(Self { constructor, count, value })
    }

    pub(crate) fn tokens(self, dace: &Path, literal: &LitStr) -> TokenStream {
        let constructor = Ident::new(self.constructor, literal.span());
        let count = proc_macro2::Literal::u64_unsuffixed(self.count);
        quote!(#dace::decorated::Duration::#constructor(#count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_duration_is_a_number_and_a_unit() {
        for (text, value) in [
            ("10s", Some(Duration::from_secs(10))),
            ("200ms", Some(Duration::from_millis(200))),
            ("500us", Some(Duration::from_micros(500))),
            ("7ns", Some(Duration::from_nanos(7))),
            ("1m", Some(Duration::from_secs(60))),
            ("2 h", Some(Duration::from_secs(7200))),
            ("0s", Some(Duration::ZERO)),
            ("10", None),
            ("s", None),
            ("", None),
            ("-1s", None),
            ("1.5s", None),
            ("1sec", None),
            ("99999999999999999999s", None),
            ("18446744073709551615h", None),
        ] {
            assert_eq!(Written::parse(text).map(|written| written.value), value, "{text}");
        }
    }
}
