//! Where mistakes are told that only the compiler can see.

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote};
use syn::spanned::Spanned as _;
use syn::{Expr, Path, Type};

/// All of it at one place, but for what is in brackets.
pub(crate) fn at(span: Span, tokens: TokenStream) -> TokenStream {
    let placed = tokens.into_iter().map(|mut token| {
        token.set_span(token.span().located_at(span));
        token
    });
    placed.collect()
}

/// `generic<of>`, all but `of` at one place.
pub(crate) fn around(span: Span, generic: TokenStream, of: &impl ToTokens) -> TokenStream {
    let (open, close) = (at(span, quote!(#generic <)), at(span, quote!(>)));
    quote!(#open #of #close)
}

/// Where a type is told of: at its name. Errors at one place are one error.
pub(crate) fn of_type(of: &Type) -> Span {
    match of {
        Type::Path(of) => name_in(&of.path),
        _ => of.span(),
    }
}

/// Where a function is told of: at its name.
pub(crate) fn of_function(function: &Expr) -> Span {
    match function {
        Expr::Path(function) => name_in(&function.path),
        _ => function.span(),
    }
}

fn name_in(path: &Path) -> Span {
    path.segments.last().map_or_else(|| path.span(), |last| last.ident.span())
}
