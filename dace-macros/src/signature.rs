//! The signature: which parameter is the call, what the others lend to every attempt, and what callers see.

use std::collections::HashSet;

use proc_macro2::{TokenStream, TokenTree};
use quote::{ToTokens as _, format_ident, quote};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned as _;
use syn::{
    Error, FnArg, GenericArgument, Ident, Pat, PatType, Path, PathArguments, Receiver,
    ReceiverKind, ReturnType, Safety, Signature, Token, Type, parse_quote, parse_quote_spanned,
};

use crate::scope::Scope;
use crate::{pattern, place};

/// The signature, taken apart.
pub(crate) struct Shape {
    /// What callers see.
    pub(crate) signature: Signature,
    pub(crate) call: Option<CallParameter>,
    pub(crate) receiver: Option<Receiver>,
    pub(crate) arguments: Vec<Argument>,
    pub(crate) output: Output,
    pub(crate) scope: Scope,
}

/// What the function returns, as it can be written in the body.
pub(crate) struct Output {
    /// The type of success.
    pub(crate) value: TokenStream,
    /// The type of failure.
    pub(crate) error: TokenStream,
    /// The whole, if it is not written as a `Result<T, E>`.
    pub(crate) alias: Option<Type>,
}

/// The parameter that callers do not pass.
pub(crate) struct CallParameter {
    pub(crate) pattern: Pat,
    /// Without the reference.
    pub(crate) of: Type,
    pub(crate) by_reference: bool,
}

/// A parameter that callers pass.
pub(crate) struct Argument {
    /// In the signature.
    pub(crate) name: Ident,
    /// In the body.
    pub(crate) pattern: Pat,
    pub(crate) of: Type,
}

impl Shape {
    /// The signature as far as it can be understood; what cannot is in `errors`.
    pub(crate) fn of(mut signature: Signature, dace: &Path, errors: &mut Vec<Error>) -> Self {
        check_qualifiers(&mut signature, errors);
        let inputs = std::mem::take(&mut signature.inputs);
        let marked =
            inputs.iter().any(|input| matches!(input, FnArg::Typed(one) if is_marked(one)));
        let (mut call, mut receiver, mut arguments) = (None, None, Vec::new());
        let mut kept = Punctuated::<FnArg, Token![,]>::new();
        for input in inputs {
            match input {
                FnArg::Receiver(mut one) => {
                    check_receiver(&one, errors);
                    receiver = Some(one.clone());
                    if let ReceiverKind::Value | ReceiverKind::Typed(..) = one.kind {
                        one.mutability = None;
                    }
                    kept.push(FnArg::Receiver(one));
                }
                FnArg::Typed(one) if if marked { is_marked(&one) } else { is_call(&one.ty) } => {
                    if call.is_some() {
                        let problem = "a second call parameter; a function has one, or marks it with `#[call]`";
                        errors.push(Error::new_spanned(&one, problem));
                    }
                    call = Some(call_parameter(one, errors));
                }
                FnArg::Typed(mut one) => {
                    let argument = argument(&mut one, arguments.len(), errors);
                    arguments.push(argument);
                    kept.push(FnArg::Typed(one));
                }
            }
        }
        signature.inputs = kept;
        let output = output(&mut signature, dace, errors);
        let mut names = HashSet::new();
        for Argument { pattern, .. } in &arguments {
            pattern::names(pattern, &mut |name| {
                names.insert(name);
            });
        }
        let scope = Scope {
            arguments: names,
            generics: signature
                .generics
                .type_params()
                .map(|one| &one.ident)
                .chain(signature.generics.const_params().map(|one| &one.ident))
                .map(Ident::to_string)
                .collect(),
        };
        Self { signature, call, receiver, arguments, output, scope }
    }

    /// The receiver that every attempt gets one of, if it is no reference.
    pub(crate) fn owned_receiver(&self) -> Option<&Receiver> {
        self.receiver.as_ref().filter(|receiver| match &receiver.kind {
            ReceiverKind::Typed(_, of) => !matches!(**of, Type::Reference(_)),
            ReceiverKind::Value => true,
            _ => false,
        })
    }
}

fn check_qualifiers(signature: &mut Signature, errors: &mut Vec<Error>) {
    if signature.asyncness.is_none() && signature.constness.is_none() {
        let problem = "only an async function can be decorated: write `async fn`";
        errors.push(Error::new(signature.fn_token.span, problem));
    }
    if let Some(constant) = signature.constness.take() {
        let problem = "a `const` function cannot be decorated: write `async fn`";
        errors.push(Error::new(constant.span, problem));
    }
    if let Safety::Unsafe(word) = &signature.safety {
        let problem = "an `unsafe` function cannot be decorated: dace would call it again; wrap it in a safe one";
        errors.push(Error::new(word.span, problem));
    }
    if let Some(abi) = signature.abi.take() {
        let problem = "a function with an ABI cannot be decorated: leave `extern` out";
        errors.push(Error::new_spanned(abi, problem));
    }
    if let Some(variadic) = signature.variadic.take() {
        let problem = "variadic arguments cannot be lent to every attempt: take a slice";
        errors.push(Error::new_spanned(variadic.dots, problem));
    }
    signature.asyncness.get_or_insert(Token![async](signature.fn_token.span));
}

fn check_receiver(receiver: &Receiver, errors: &mut Vec<Error>) {
    let exclusive = match &receiver.kind {
        ReceiverKind::Reference(_, _, exclusive) => exclusive.is_some(),
        ReceiverKind::Typed(_, of) => is_exclusive(of),
        _ => false,
    };
    if exclusive {
        let problem =
            "`&mut self` cannot be lent to every attempt: take `&self`, with a lock inside";
        errors.push(Error::new_spanned(receiver, problem));
    }
}

fn is_exclusive(of: &Type) -> bool {
    matches!(of, Type::Reference(reference) if reference.mutability.is_some())
}

fn is_marked(parameter: &PatType) -> bool {
    parameter.attrs.iter().any(|attribute| attribute.path().is_ident("call"))
}

fn is_call(of: &Type) -> bool {
    match of {
        Type::Reference(reference) => is_call(&reference.elem),
        Type::Group(group) => is_call(&group.elem),
        Type::Path(path) => path.path.segments.last().is_some_and(|last| last.ident == "Call"),
        _ => false,
    }
}

fn call_parameter(parameter: PatType, errors: &mut Vec<Error>) -> CallParameter {
    if is_exclusive(&parameter.ty) {
        let problem = "a call is lent: take `&Call`, or `Call`";
        errors.push(Error::new_spanned(&parameter.ty, problem));
    }
    let pattern = *parameter.pat;
    match *parameter.ty {
        Type::Reference(reference) => {
            CallParameter { pattern, of: *reference.elem, by_reference: true }
        }
        of => CallParameter { pattern, of, by_reference: false },
    }
}

fn argument(parameter: &mut PatType, position: usize, errors: &mut Vec<Error>) -> Argument {
    if is_exclusive(&parameter.ty) {
        let problem = "a `&mut` argument cannot be lent to every attempt: take `&`, with a lock inside, or a value";
        errors.push(Error::new_spanned(&parameter.ty, problem));
    }
    let pattern = (*parameter.pat).clone();
    let name = match &pattern {
        Pat::Ident(plain) if plain.by_ref.is_none() && plain.subpat.is_none() => {
            plain.ident.clone()
        }
        _ => format_ident!("__argument_{position}", span = pattern.span()),
    };
    *parameter.pat = parse_quote!(#name);
    Argument { name, pattern, of: (*parameter.ty).clone() }
}

/// Gives callers `dace::Error`, and the body what it returned before.
fn output(signature: &mut Signature, dace: &Path, errors: &mut Vec<Error>) -> Output {
    let ReturnType::Type(_, returned) = &mut signature.output else {
        let problem = "a decorated function returns a `Result`: write `-> Result<(), E>`";
        errors.push(Error::new(signature.paren_token.span.close(), problem));
        return nothing(signature, dace);
    };
    if let Some((value, error)) = literal_result(returned) {
        if has_impl(error) {
            let problem = "an error is a type that has a name, not `impl Trait`: write it out";
            errors.push(Error::new_spanned(&*error, problem));
            return nothing(signature, dace);
        }
        let (value, original) = (named(value), error.to_token_stream());
        *error = parse_quote_spanned!(error.span()=> #dace::Error<#error>);
        return Output { value, error: original, alias: None };
    }
    let refused = if has_impl(returned) {
        "`impl Trait` is seen in a literal `Result<impl Trait, E>` alone: write it out"
    } else if is_surely_none(returned) {
        "a decorated function returns a `Result`: write `Result<…, E>` around this"
    } else {
        ""
    };
    if !refused.is_empty() {
        errors.push(Error::new_spanned(&*returned, refused));
        return nothing(signature, dace);
    }
    let span = place::of_type(returned);
    let original = (**returned).clone();
    **returned = parse_quote_spanned!(span=> <#original as #dace::decorated::Outcome>::Decorated);
    Output {
        value: quote::quote_spanned!(span=> <#original as #dace::decorated::Outcome>::Ok),
        error: quote::quote_spanned!(span=> <#original as #dace::decorated::Outcome>::Err),
        alias: Some(original),
    }
}

/// Something in place of a type that is none.
fn nothing(signature: &mut Signature, dace: &Path) -> Output {
    signature.output =
        parse_quote!(-> #dace::decorated::Result<(), #dace::Error<#dace::HttpError>>);
    Output { value: quote!(()), error: quote!(#dace::HttpError), alias: None }
}

/// The two types of a `Result<T, E>` that is written out.
fn literal_result(returned: &mut Type) -> Option<(&Type, &mut Type)> {
    let Type::Path(path) = returned else { return None };
    let last = path.path.segments.last_mut()?;
    let PathArguments::AngleBracketed(arguments) = &mut last.arguments else { return None };
    if last.ident != "Result" || arguments.args.len() != 2 {
        return None;
    }
    let mut types = arguments.args.iter_mut();
    match (types.next(), types.next()) {
        (Some(GenericArgument::Type(value)), Some(GenericArgument::Type(error))) => {
            Some((value, error))
        }
        _ => None,
    }
}

/// Types that no alias of `Result` looks like.
fn is_surely_none(returned: &Type) -> bool {
    match returned {
        Type::Path(path) => path.path.segments.last().is_some_and(|last| {
            ["Option", "String", "Vec", "bool", "u8", "u16", "u32", "u64", "usize", "i32", "i64"]
                .iter()
                .any(|name| last.ident == name)
        }),
        Type::Tuple(_) | Type::Reference(_) | Type::Array(_) | Type::Slice(_) | Type::Never(_) => {
            true
        }
        _ => false,
    }
}

fn has_impl(of: &Type) -> bool {
    fn found(tokens: TokenStream) -> bool {
        tokens.into_iter().any(|token| match token {
            TokenTree::Ident(ident) => ident == "impl",
            TokenTree::Group(group) => found(group.stream()),
            _ => false,
        })
    }
    found(of.to_token_stream())
}

/// The type as it can be written in the body: one with `impl Trait` in it is inferred.
fn named(of: &Type) -> TokenStream {
    if has_impl(of) { quote::quote_spanned!(of.span()=> _) } else { of.to_token_stream() }
}
