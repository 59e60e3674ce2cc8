//! The decorated function: attributes and signature parsed, the body as it is.
//!
//! A body that is broken is then reported by the compiler, at the place, and the signature is there all
//! the same.

use proc_macro2::{Group, TokenTree};
use syn::parse::{Parse, ParseStream};
use syn::{Abi, Attribute, Error, Signature, Token, Visibility};

pub(crate) struct Function {
    pub(crate) attributes: Vec<Attribute>,
    pub(crate) visibility: Visibility,
    pub(crate) signature: Signature,
    pub(crate) body: Group,
}

impl Parse for Function {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attributes = input.call(Attribute::parse_outer)?;
        let visibility = input.parse()?;
        if !is_function(input) {
            let problem =
                "only an async function can be decorated: `async fn name(…) -> Result<T, E>`";
            return Err(input.error(problem));
        }
        let signature = input.parse()?;
        if let Some(semicolon) = input.parse::<Option<Token![;]>>()? {
            let problem =
                "a function without a body cannot be decorated; decorate those that have one";
            return Err(Error::new(semicolon.span, problem));
        }
        match input.parse()? {
            TokenTree::Group(body) if input.is_empty() => {
                Ok(Self { attributes, visibility, signature, body })
            }
            other => Err(Error::new(other.span(), "expected the body of a function, and no more")),
        }
    }
}

fn is_function(input: ParseStream<'_>) -> bool {
    let ahead = input.fork();
    let skipped = || -> syn::Result<()> {
        ahead.parse::<Option<Token![const]>>()?;
        ahead.parse::<Option<Token![async]>>()?;
        ahead.parse::<Option<Token![unsafe]>>()?;
        ahead.parse::<Option<Abi>>().map(drop)
    };
    skipped().is_ok() && ahead.peek(Token![fn])
}
