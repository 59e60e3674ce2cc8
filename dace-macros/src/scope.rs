//! What a setting may not name: it is evaluated once, outside of the function.

use std::collections::HashSet;

use proc_macro2::{TokenStream, TokenTree};
use syn::{Error, Ident};

/// The names of the function: arguments, generic parameters, `self` and `Self`.
pub(crate) struct Scope {
    pub(crate) arguments: HashSet<String>,
    pub(crate) generics: HashSet<String>,
}

impl Scope {
    /// The first name of the function that stands in the value.
    pub(crate) fn check(&self, parameter: &Ident, value: TokenStream) -> Option<Error> {
        let mut bound = HashSet::new();
        self.find(parameter, value, &mut bound)
    }

    fn find(
        &self,
        parameter: &Ident,
        value: TokenStream,
        bound: &mut HashSet<String>,
    ) -> Option<Error> {
        let tokens: Vec<TokenTree> = value.into_iter().collect();
        for (at, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Group(group) => {
                    if let Some(error) = self.find(parameter, group.stream(), bound) {
                        return Some(error);
                    }
                }
                TokenTree::Ident(ident) => {
                    let name = ident.to_string();
                    let before = at.checked_sub(1).and_then(|before| tokens.get(before));
                    // `|name|` and `let name` bind it anew; `.name` and `::name` are somebody else's.
                    if is(before, '|') && is(tokens.get(at + 1), '|') || is_let(before) {
                        bound.insert(name);
                    } else if !bound.contains(&name) && !is(before, '.') && !is(before, ':') {
                        let path = is(tokens.get(at + 1), ':');
                        if let Some(what) = self.what(&name, path) {
                            return Some(refused(parameter, ident, what));
                        }
                    }
                }
                _ => {}
            }
        }
        None
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

fn is(token: Option<&TokenTree>, char: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == char)
}

fn is_let(token: Option<&TokenTree>) -> bool {
    matches!(token, Some(TokenTree::Ident(ident)) if ident == "let")
}
