//! `self` by value: every attempt has one of its own, under another name, since `self` cannot be bound anew.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use syn::Error;

/// The body, with `self` under another name.
pub(crate) fn renamed(body: TokenStream, name: &Ident) -> TokenStream {
    let mut items = Items::default();
    let rename = |token: TokenTree| {
        if items.belongs(&token) {
            return token;
        }
        match token {
            TokenTree::Ident(word) if word == "self" => TokenTree::Ident(Ident::new(
                &name.to_string(),
                word.span().resolved_at(Span::mixed_site()),
            )),
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), renamed(group.stream(), name));
                inner.set_span(group.span());
                TokenTree::Group(inner)
            }
            other => other,
        }
    };
    body.into_iter().map(rename).collect()
}

/// Format strings that name `self`: the name in a text is not seen, and cannot be another.
pub(crate) fn check_texts(body: TokenStream, errors: &mut Vec<Error>) {
    let (mut items, mut of_macro) = (Items::default(), false);
    for token in body {
        let of_item = items.belongs(&token);
        let after_mark = std::mem::replace(&mut of_macro, is_mark(&token));
        let TokenTree::Group(group) = token else {
            continue;
        };
        if of_item {
            continue;
        }
        for text in group.stream().into_iter().filter(|text| after_mark && names_self(text)) {
            let problem = "this `self` is not the attempt's own; write `{}`, and `self` as an argument after the text";
            errors.push(Error::new(text.span(), problem));
        }
        check_texts(group.stream(), errors);
    }
}

/// The mark after a macro's name.
fn is_mark(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == '!')
}

/// `{self}` or `{self:…}`, where the brace is not doubled.
fn names_self(text: &TokenTree) -> bool {
    let text = text.to_string();
    text.starts_with(['"', 'r'])
        && text.match_indices("{self").any(|(at, found)| {
            let doubled =
                text[..at].bytes().rev().take_while(|byte| *byte == b'{').count() % 2 == 1;
            !doubled && text[at + found.len()..].starts_with(['}', ':'])
        })
}

/// Knows what stands in an item, which has a `self` of its own.
#[derive(Default)]
struct Items {
    inside: bool,
}

impl Items {
    fn belongs(&mut self, token: &TokenTree) -> bool {
        match token {
            TokenTree::Ident(word) if word == "impl" || word == "trait" => self.inside = true,
            TokenTree::Punct(end) if end.as_char() == ';' => self.inside = false,
            TokenTree::Group(group) if self.inside => {
                self.inside = group.delimiter() != Delimiter::Brace;
                return true;
            }
            _ => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::{TokenTree, names_self};

    #[test]
    fn a_format_string_names_self_in_single_braces() {
        for (text, names) in [
            (r#""{self}""#, true),
            (r#""a {self:?} b""#, true),
            (r##"r#"{self}"#"##, true),
            (r#""{{{self}}}""#, true),
            (r#""{{self}}""#, false),
            (r#""{selfless}""#, false),
            (r#""self""#, false),
            (r#"b"{self}""#, false),
        ] {
            let token: TokenTree = text.parse().map(proc_macro2::Literal::into).expect("a text");
            assert_eq!(names_self(&token), names, "{text}");
        }
    }
}
