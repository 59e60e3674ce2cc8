//! What a setting may not name: it is evaluated once, outside of the function.

use std::collections::HashSet;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::ext::IdentExt as _;
use syn::parse::{ParseStream, Parser as _};
use syn::{Attribute, Error, Ident, Lifetime, Pat, Token, Type, token};

use crate::pattern;

/// The names of the function: arguments, generic parameters, `self` and `Self`.
pub(crate) struct Scope {
    pub(crate) arguments: HashSet<String>,
    pub(crate) generics: HashSet<String>,
}

impl Scope {
    /// The first name of the function that stands in the value.
    pub(crate) fn check(&self, parameter: &Ident, value: TokenStream) -> Option<Error> {
        let mut search = Search { scope: self, bound: HashSet::new(), found: None };
        search.inside(value, Search::walk);
        search.found.map(|(ident, what)| refused(parameter, &ident, what))
    }

    fn what(&self, name: &str, path: bool) -> Option<&'static str> {
        match name {
            "self" if !path => Some("the method's `self`"),
            "Self" => Some("`Self`"),
            _ if !path && self.arguments.contains(name) => Some("an argument"),
            _ if self.generics.contains(name) => Some("a generic parameter"),
            _ => None,
        }
    }
}

/// A walk through a value, token by token: patterns are parsed, since what they bind is not the function's.
struct Search<'a> {
    scope: &'a Scope,
    bound: HashSet<String>,
    found: Option<(Ident, &'static str)>,
}

impl Search<'_> {
    /// What is bound inside is not bound after it.
    fn inside(
        &mut self,
        tokens: TokenStream,
        walk: fn(&mut Self, ParseStream<'_>) -> syn::Result<()>,
    ) {
        let outer = self.bound.clone();
        // What cannot be parsed is the compiler's to report.
        let _ = (|input: ParseStream<'_>| walk(self, input)).parse2(tokens);
        self.bound = outer;
    }

    fn walk(&mut self, input: ParseStream<'_>) -> syn::Result<()> {
        let mut begins = true;
        while !input.is_empty() {
            begins = self.step(input, begins)?;
        }
        Ok(())
    }

    /// `PATTERN => VALUE`, and so on.
    fn arms(&mut self, input: ParseStream<'_>) -> syn::Result<()> {
        while !input.is_empty() {
            let outer = self.bound.clone();
            input.call(Attribute::parse_outer)?;
            self.bind(&Pat::parse_multi_with_leading_vert(input)?);
            let (mut begins, mut over) = (true, false);
            while !over && !input.is_empty() && !input.peek(Token![,]) {
                over = begins && input.peek(token::Brace);
                let arrow = input.parse::<Option<Token![=>]>>()?.is_some();
                begins = arrow || self.step(input, begins)?;
            }
            input.parse::<Option<Token![,]>>()?;
            self.bound = outer;
        }
        Ok(())
    }

    /// One token, or a pattern. `begins` says whether an expression may begin here, so that `|` is a
    /// closure's, and the result says it of what follows.
    fn step(&mut self, input: ParseStream<'_>, begins: bool) -> syn::Result<bool> {
        if input.parse::<Option<Token![let]>>()?.is_some() {
            self.bind(&Pat::parse_multi_with_leading_vert(input)?);
        } else if input.parse::<Option<Token![for]>>()?.is_some() {
            if !input.peek(Token![<]) {
                self.bind(&Pat::parse_multi_with_leading_vert(input)?);
            }
        } else if begins && input.peek(Token![||]) {
            input.parse::<Token![||]>()?;
        } else if begins && input.peek(Token![|]) {
            self.closure(input)?;
        } else if input.peek(Lifetime) {
            input.parse::<Lifetime>()?;
        } else if input.peek(Token![..]) {
            input.parse::<Token![..]>()?;
        } else if input.peek(Token![.]) || input.peek(Token![::]) {
            // What follows is somebody else's.
            if input.parse::<Option<Token![.]>>()?.is_none() {
                input.parse::<Token![::]>()?;
            }
            if input.peek(Ident::peek_any) {
                input.call(Ident::parse_any)?;
            }
            return Ok(false);
        } else if input.peek(Ident::peek_any) {
            return self.word(input);
        } else {
            match input.parse()? {
                TokenTree::Group(group) => self.group(&group),
                TokenTree::Punct(punct) => return Ok(punct.as_char() != '?'),
                TokenTree::Ident(_) | TokenTree::Literal(_) => {}
            }
            return Ok(false);
        }
        Ok(true)
    }

    fn word(&mut self, input: ParseStream<'_>) -> syn::Result<bool> {
        let ident = input.call(Ident::parse_any)?;
        let path = input.peek(Token![::]);
        let field = input.peek(Token![:]) && !path;
        let name_of_macro = input.peek(Token![!]) && !input.peek(Token![!=]);
        let name = ident.to_string();
        if !field && !name_of_macro && !self.bound.contains(&name) {
            if let Some(what) = self.scope.what(&name, path) {
                self.found.get_or_insert((ident, what));
            }
        }
        const BEFORE: [&str; 11] = [
            "async", "await", "break", "else", "if", "in", "match", "move", "return", "unsafe",
            "while",
        ];
        Ok(BEFORE.contains(&name.as_str()))
    }

    fn closure(&mut self, input: ParseStream<'_>) -> syn::Result<()> {
        input.parse::<Token![|]>()?;
        while !input.peek(Token![|]) {
            self.bind(&Pat::parse_single(input)?);
            if input.parse::<Option<Token![:]>>()?.is_some() {
                let of = input.parse::<Type>()?.to_token_stream();
                self.inside(of, Self::walk);
            }
            if !input.peek(Token![|]) {
                input.parse::<Token![,]>()?;
            }
        }
        input.parse::<Token![|]>().map(drop)
    }

    fn group(&mut self, group: &Group) {
        let braced = group.delimiter() == Delimiter::Brace;
        let walk = if braced && has_arrow(group.stream()) { Self::arms } else { Self::walk };
        self.inside(group.stream(), walk);
    }

    fn bind(&mut self, pattern: &Pat) {
        pattern::names(pattern, &mut |name| {
            self.bound.insert(name);
        });
    }
}

fn has_arrow(tokens: TokenStream) -> bool {
    let mut before = ' ';
    tokens.into_iter().any(|token| {
        let char = if let TokenTree::Punct(punct) = &token { punct.as_char() } else { ' ' };
        std::mem::replace(&mut before, char) == '=' && char == '>'
    })
}

fn refused(parameter: &Ident, ident: &Ident, what: &str) -> Error {
    let instead = if ident == "Self" {
        "name the type"
    } else {
        "use a constant, or build a dependency and say `dependency = …`"
    };
    let problem = format!(
        "`{parameter}` is evaluated once, outside of the function, and cannot use {what}; {instead}"
    );
    Error::new(ident.span(), problem)
}

#[cfg(test)]
mod tests {
    use quote::{format_ident, quote};

    use super::*;

    fn refuses(value: TokenStream) -> bool {
        let scope = Scope {
            arguments: ["id", "name", "a"].map(String::from).into(),
            generics: ["T"].map(String::from).into(),
        };
        scope.check(&format_ident!("setting"), value).is_some()
    }

    #[test]
    fn what_a_value_binds_itself_is_its_own() {
        for value in [
            quote!(|id: u8| id),
            quote!(move |(id, Own { name, .. }): (u8, Own)| id + name),
            quote!(|_, mut id, ref name| id),
            quote!(f(|id| id, || 1)),
            quote!({
                let (id, name) = pair();
                id + name
            }),
            quote!({
                let Some(id) = one() else { panic!() };
                id
            }),
            quote!({
                for id in 0..3 {
                    add(id);
                }
            }),
            quote!(match one() {
                Some(id) if id > 0 => id,
                Own { id, .. } | Other(id) => {
                    id
                }
                _ => 1,
            }),
            quote!(if let Some(id) = one() { id } else { 0 }),
            quote!(own.id().name),
            quote!(own::id),
            quote!(Own { id: 1 }),
            quote!(id::constant()),
            quote!(id!(1)),
            quote!(f::<'a>()),
        ] {
            assert!(!refuses(value.clone()), "{value}");
        }
    }

    #[test]
    fn a_name_of_the_function_is_found_wherever_it_stands() {
        for value in [
            quote!(id),
            quote!(id.len()),
            quote!(Own { a: id }),
            quote!(Own { id }),
            quote!(0..id),
            quote!(..=id),
            quote!(one | id),
            quote!(f(1) | id | g(2)),
            quote!(|other| other + id),
            quote!(f(|id| id)(id)),
            quote!(match one() {
                Some(id) => id,
                None => id,
            }),
            quote!({
                {
                    let id = 1;
                }
                id
            }),
            quote!(match id {
                0 => 1,
                _ => 2,
            }),
            quote!(|one: T| one),
            quote!(T::default()),
            quote!(Self::default()),
            quote!(self.own),
        ] {
            assert!(refuses(value.clone()), "{value}");
        }
    }
}
