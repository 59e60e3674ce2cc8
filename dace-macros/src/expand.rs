//! The expansion: the function as callers see it, around its body as it was written.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Error, Expr, Path, Type};

use crate::attribute::{Attribute, Features, Given, id_tokens};
use crate::function::Function;
use crate::signature::{Shape, with_self_renamed};

pub(crate) fn expand(attribute: TokenStream, item: TokenStream) -> TokenStream {
    let function: Function = match syn::parse2(item.clone()) {
        Ok(function) => function,
        Err(error) => {
            let error = error.into_compile_error();
            return quote!(#error #item);
        }
    };
    let mut errors = Vec::new();
    let attribute = Attribute::parse(attribute, Features::ON, &mut errors);
    let shape = Shape::of(function.signature, &attribute.dace, &mut errors);
    check_scope(&attribute, &shape, &mut errors);
    let finder = finder(&attribute, &shape, &mut errors);
    let Function { attributes, visibility, body, .. } = function;
    let signature = &shape.signature;
    let Some(error) = errors.into_iter().reduce(|mut all, error| {
        all.combine(error);
        all
    }) else {
        let body = around(&attribute, &shape, finder, body.stream());
        return quote!(#(#attributes)* #visibility #signature { #body });
    };
    let error = error.into_compile_error();
    let names = shape.arguments.iter().map(|argument| &argument.name);
    // Callers find the function all the same.
    quote!(#error #(#attributes)* #visibility #signature { let _ = (#(&#names,)*); loop {} })
}

fn check_scope(attribute: &Attribute, shape: &Shape, errors: &mut Vec<Error>) {
    for Given { name, arguments, .. } in &attribute.settings {
        errors.extend(arguments.iter().filter_map(|value| shape.scope.check(name, value.clone())));
    }
    let outside = [
        ("dependency_id", attribute.dependency_id.as_ref().map(|id| id.to_token_stream())),
        ("runtime", attribute.runtime.as_ref().map(|path| path.to_token_stream())),
    ];
    for (name, value) in outside {
        let name = Ident::new(name, Span::call_site());
        errors.extend(value.and_then(|value| shape.scope.check(&name, value)));
    }
}

/// Where the dependency comes from.
fn finder(attribute: &Attribute, shape: &Shape, errors: &mut Vec<Error>) -> TokenStream {
    let dace = &attribute.dace;
    if let Some(given) = &attribute.dependency {
        return quote_spanned!(given.span()=> #dace::decorated::given(&#given));
    }
    let call: TokenStream = match (&attribute.runtime, &shape.call) {
        (Some(runtime), _) => quote_spanned!(runtime.span()=> #dace::decorated::CallOn<#runtime>),
        (None, Some(call)) => {
            if is_generic(&call.of, shape) {
                let problem = "which runtime? name the call's, as in `dace::tokio::Call`, or give `dependency = …`";
                errors.push(Error::new_spanned(&call.of, problem));
            }
            call.of.to_token_stream()
        }
        // With `dependency` that was not understood, there is a mistake already.
        (None, None) => {
            let problem = "which runtime? say `runtime = dace::tokio::Tokio` or `dace::smol::Smol`, or take a \
                           `call: &dace::tokio::Call`";
            errors.push(Error::new(shape.signature.ident.span(), problem));
            return TokenStream::new();
        }
    };
    let id = id_tokens(attribute.dependency_id.as_ref(), dace);
    let texts = attribute.settings.iter().map(|Given { name, text, .. }| {
        let name = name.to_string();
        quote!((#name, #text))
    });
    let builder = Ident::new("__builder", Span::mixed_site());
    let settings = settings(dace, &attribute.settings, &builder);
    quote!({
        static __SITE: #dace::decorated::Site<#call> = #dace::decorated::Site::new(#id, &[#(#texts),*]);
        fn __settings(#builder: #dace::decorated::Builder<#call>) -> #dace::decorated::Builder<#call> {
            #settings
        }
        match __SITE.dependency(__settings) {
            #dace::decorated::Ok(__dependency) => __dependency,
            #dace::decorated::Err(__error) => return #dace::decorated::Err(#dace::Error::Config(__error)),
        }
    })
}

fn is_generic(of: &Type, shape: &Shape) -> bool {
    let runtime = Ident::new("runtime", Span::call_site());
    shape.scope.check(&runtime, of.to_token_stream()).is_some()
}

/// The setters, one after the other.
fn settings(dace: &Path, given: &[Given], builder: &Ident) -> TokenStream {
    let (statsd, setters): (Vec<_>, Vec<_>) = given.iter().partition(|one| one.name == "statsd");
    let mut chain = builder.to_token_stream();
    for Given { name, arguments, .. } in statsd {
        let setter = Ident::new("statsd", name.span());
        chain = quote!(#dace::StatsdExt::#setter(#chain, #(#arguments),*));
    }
    for Given { name, arguments, .. } in setters {
        chain = quote!(#chain.#name(#(#arguments),*));
    }
    chain
}

/// The call, around the body.
fn around(
    attribute: &Attribute,
    shape: &Shape,
    finder: TokenStream,
    body: TokenStream,
) -> TokenStream {
    let dace = &attribute.dace;
    let hygienic = |name| Ident::new(name, Span::mixed_site());
    let (dependency, attempt) = (hygienic("__dependency"), hygienic("__attempt"));
    let this = hygienic("__this");
    let mut lent = lent(dace, shape, |argument| &argument.pattern);
    let mut kept = self::lent(dace, shape, |argument| &argument.name);
    let mut body = body;
    let keeps = keeps_arguments(attribute);
    if let Some(receiver) = shape.owned_receiver() {
        let (word, exclusive) = (receiver.self_token.to_token_stream(), &receiver.mutability);
        let from = if keeps { this.to_token_stream() } else { word.clone() };
        let span = receiver.span();
        kept.extend(quote_spanned!(span=> let #this = #dace::decorated::lend(&#word);));
        lent.extend(quote_spanned!(span=> let #exclusive #this = #dace::decorated::lend(&#from);));
        body = with_self_renamed(body, &this);
    }
    let (parameter, call) = match &shape.call {
        None => (quote!(_), TokenStream::new()),
        Some(call) => {
            let pattern = &call.pattern;
            let lent = if call.by_reference { quote!(&#attempt) } else { quote!(#attempt) };
            (quote!(#attempt), quote!(let #pattern = #lent;))
        }
    };
    let returns = returns(attribute, shape);
    let mut attempts = quote!(move |#parameter| {
        #lent
        async move {
            #returns
            #call
            #body
        }
    });
    if keeps {
        attempts = quote!({ #kept #attempts });
    }
    let classify = attribute.classify.as_ref().map(|classify| {
        let (value, error) = &shape.output;
        quote!(.classify(#dace::decorated::classifier::<#value, #error, _>(#classify)))
    });
    let fallback = attribute.fallback.as_ref().map(|fallback| self::fallback(fallback, shape));
    quote! {
        let #dependency = #finder;
        #dependency.call(#attempts) #classify #fallback.await
    }
}

/// One `let` for each argument.
fn lent<'a, P: quote::ToTokens + 'a>(
    dace: &Path,
    shape: &'a Shape,
    bind: impl Fn(&'a crate::signature::Argument) -> &'a P,
) -> TokenStream {
    let one = |argument| {
        let (bound, crate::signature::Argument { name, of, .. }) = (bind(argument), argument);
        let lent = quote_spanned!(of.span()=> #dace::decorated::lend(&#name));
        quote!(let #bound = #lent;)
    };
    shape.arguments.iter().map(one).collect()
}

/// Whether the arguments are needed beside the attempts, which else are given them.
fn keeps_arguments(attribute: &Attribute) -> bool {
    attribute.fallback.is_some() || matches!(attribute.classify, Some(Expr::Closure(_)))
}

/// Says what the body returns, before it says it itself: `?` and coercions go by it.
fn returns(attribute: &Attribute, shape: &Shape) -> TokenStream {
    let dace = &attribute.dace;
    let (value, error) = &shape.output;
    let typed = Ident::new("__typed", Span::mixed_site());
    let of = if attribute.classify.is_some() {
        quote!(#dace::decorated::returns::<#value, #error>())
    } else {
        quote!(#dace::decorated::returns_classified::<#value, #error>())
    };
    quote!(if let #dace::decorated::Some(#typed) = #of { return #typed; })
}

fn fallback(path: &Expr, shape: &Shape) -> TokenStream {
    let error = Ident::new("__error", Span::mixed_site());
    let names = shape.arguments.iter().map(|argument| &argument.name);
    let receiver = shape.receiver.as_ref().filter(|_| is_of_self(path)).map(|receiver| {
        let word = &receiver.self_token;
        quote!(#word,)
    });
    let call = quote_spanned!(path.span()=> #path(#receiver #error, #(#names),*));
    quote!(.fallback(move |#error| #call))
}

/// `Self::name`: a method, which gets `self` too.
fn is_of_self(path: &Expr) -> bool {
    match path {
        Expr::Path(path) => path.path.segments.first().is_some_and(|first| first.ident == "Self"),
        _ => false,
    }
}
