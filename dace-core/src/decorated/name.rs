//! The path of a decorated function, from the name that the compiler has for what stands in it.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

/// `a::f::{{closure}}::__set` is in `a::f`; `<a::T<u8> as b::Tr>::f::…` is in `a::T<u8>::Tr::f`, and so is
/// `c::<impl b::Tr for a::T<u8>>::f::…`, whose block stands somewhere else.
///
/// For a free function it is the module path and the name; what lies between (a type with its arguments, a
/// function around it) keeps functions of the same name apart.
pub(super) fn of_function(inner: &str) -> String {
    let mut path = split(inner, "::");
    path.pop();
    let mut parts = Vec::new();
    for part in path {
        if let Some(block) = block(part) {
            // The path of the type is whole by itself.
            parts = alloc::vec![block];
        } else if !part.starts_with('{') {
            parts.push(part.to_string());
        }
    }
    parts.join("::")
}

/// `<T as Tr>`, `<impl Tr for T>` and `<impl T>`: the type, and the last part of the trait's path.
fn block(part: &str) -> Option<String> {
    let inside = part.strip_prefix('<')?.strip_suffix('>')?;
    let (of, name) = match (inside.strip_prefix("impl "), &split(inside, " as ")[..]) {
        (Some(rest), _) => match split(rest, " for ")[..] {
            [of, name] => (Some(of), name),
            _ => (None, rest),
        },
        (None, &[name, of]) => (Some(of), name),
        (None, _) => return None,
    };
    let Some(of) = of else {
        return Some(name.to_string());
    };
    let last = split(of, "::").pop().unwrap_or_default();
    Some(format!("{name}::{last}"))
}

/// The parts between separators that stand in no `<…>`.
fn split<'a>(text: &'a str, separator: &str) -> Vec<&'a str> {
    let (mut parts, mut depth, mut begin) = (Vec::new(), 0_usize, 0);
    for (at, char) in text.char_indices() {
        match char {
            '<' => depth += 1,
            // The arrow of a function's type is none.
            '>' if !text[..at].ends_with('-') => depth = depth.saturating_sub(1),
            _ if depth == 0 && at >= begin && text[at..].starts_with(separator) => {
                parts.push(&text[begin..at]);
                begin = at + separator.len();
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_functions_name_is_its_path_with_the_type_and_its_arguments() {
        for (inner, name) in [
            ("a::b::f::__set", "a::b::f"),
            ("a::f::{{closure}}::__set", "a::f"),
            ("a::outer::{{closure}}::f::{{closure}}::__set", "a::outer::f"),
            ("a::Users::name::{{closure}}::__set", "a::Users::name"),
            ("a::Users<u8>::name::__set", "a::Users<u8>::name"),
            ("<a::Users<u8> as b::Names<T>>::name::__set", "a::Users<u8>::Names<T>::name"),
            ("a::<impl a::b::Users>::name::__set", "a::b::Users::name"),
            ("a::<impl a::b::Users<a::T>>::name::__set", "a::b::Users<a::T>::name"),
            ("a::<impl b::Tr for c::G<u8>>::f::{{closure}}::__set", "c::G<u8>::Tr::f"),
            ("a::<impl b::Tr for c::G<u16>>::f::{{closure}}::__set", "c::G<u16>::Tr::f"),
            ("a::<impl b::Tr for fn(u8) -> c::T>::f::__set", "fn(u8) -> c::T::Tr::f"),
            ("a::f::<impl a::f::T>::g::__set", "a::f::T::g"),
        ] {
            assert_eq!(of_function(inner), name);
        }
    }
}
