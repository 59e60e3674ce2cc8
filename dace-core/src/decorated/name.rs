//! The path of a decorated function, from the name that the compiler has for what stands in it.

use alloc::format;
use alloc::string::{String, ToString};

/// `a::f::{{closure}}::__set` is in `a::f`; `<a::T<u8> as a::Tr>::f::…` is in `a::T::Tr::f`.
///
/// For a free function it is the module path and the name; what lies between (a type, a function around
/// it) keeps functions of the same name apart.
pub(super) fn of_function(inner: &str) -> String {
    let path = match inner.rfind("::") {
        Some(end) => &inner[..end],
        None => inner,
    };
    let path = without_generics(&with_type_first(path));
    let parts = path.split("::").filter(|part| !part.is_empty() && !part.contains('{'));
    parts.collect::<alloc::vec::Vec<_>>().join("::")
}

/// `<T as Tr>::f` reads `T::Tr::f`, with the last part of the trait's path.
fn with_type_first(path: &str) -> String {
    let Some(rest) = path.strip_prefix('<') else {
        return path.to_string();
    };
    let Some(end) = closing(rest) else {
        return path.to_string();
    };
    let (inside, after) = (&rest[..end], &rest[end + 1..]);
    match inside.rsplit_once(" as ") {
        Some((name, of)) => {
            let of = without_generics(of);
            let last = of.rsplit("::").next().unwrap_or_default();
            format!("{name}::{last}{after}")
        }
        None => format!("{inside}{after}"),
    }
}

fn closing(text: &str) -> Option<usize> {
    let mut depth = 1;
    for (at, char) in text.char_indices() {
        match char {
            '<' => depth += 1,
            '>' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}

fn without_generics(path: &str) -> String {
    let mut depth = 0_usize;
    let mut kept = String::new();
    for char in path.chars() {
        match char {
            '<' => depth += 1,
            '>' => depth = depth.saturating_sub(1),
            char if depth == 0 => kept.push(char),
            _ => {}
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_functions_name_is_its_path_with_the_type_and_without_what_is_generic() {
        for (inner, name) in [
            ("a::b::f::__set", "a::b::f"),
            ("a::f::{{closure}}::__set", "a::f"),
            ("a::outer::{{closure}}::f::{{closure}}::__set", "a::outer::f"),
            ("a::Users::name::{{closure}}::__set", "a::Users::name"),
            ("a::Users<T>::name::__set", "a::Users::name"),
            ("<a::Users<u8> as b::Names<T>>::name::__set", "a::Users::Names::name"),
            ("a::<impl a::b::Users>::name::__set", "a::name"),
        ] {
            assert_eq!(of_function(inner), name);
        }
    }
}
