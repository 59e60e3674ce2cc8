//! The expansion: the function as callers see it, around its body as it was written.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::spanned::Spanned as _;
use syn::{Error, Expr, Path, Type};

use crate::attribute::{Attribute, Features, Given, id_tokens};
use crate::function::Function;
use crate::place::{self, around, at};
use crate::receiver;
use crate::signature::{Output, Shape};

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
    let (items, call) = finder(&attribute, &shape, &mut errors);
    let Function { attributes, visibility, body, .. } = function;
    if shape.owned_receiver().is_some() {
        receiver::check_texts(body.stream(), &mut errors);
    }
    let signature = &shape.signature;
    let Some(error) = errors.into_iter().reduce(|mut all, error| {
        all.combine(error);
        all
    }) else {
        let body = calling(&attribute, &shape, call, body.stream());
        return quote!(#(#attributes)* #visibility #signature { #items #body });
    };
    let error = error.into_compile_error();
    let names = shape.arguments.iter().map(|argument| &argument.name);
    // Callers find the function all the same. The error is its value, so that an `impl Trait` that it
    // returns is not asked for.
    quote!(#(#attributes)* #visibility #signature { let _ = (#(&#names,)*); #error })
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

/// Where the dependency comes from: items, and the expression that finds it by them, up to its `call`.
fn finder(
    attribute: &Attribute,
    shape: &Shape,
    errors: &mut Vec<Error>,
) -> (TokenStream, TokenStream) {
    let dace = &attribute.dace;
    if let Some(given) = &attribute.dependency {
        let given = quote_spanned!(given.span()=> #dace::decorated::given(&#given).call);
        return (TokenStream::new(), given);
    }
    let (call, named) = match (&attribute.runtime, &shape.call) {
        (Some(runtime), _) => {
            let place = place::of_type(runtime);
            (around(place, quote!(#dace::decorated::CallOn), runtime), runtime)
        }
        (None, Some(call)) => {
            if is_generic(&call.of, shape) {
                let problem = "which runtime? name the call's, as in `dace::tokio::Call`, or give `dependency = …`";
                errors.push(Error::new_spanned(&call.of, problem));
            }
            (call.of.to_token_stream(), &call.of)
        }
        // With `dependency` that was not understood, there is a mistake already.
        (None, None) => {
            let problem = "which runtime? say `runtime = dace::tokio::Tokio` or `dace::smol::Smol`, or take a \
                           `call: &dace::tokio::Call`";
            errors.push(Error::new(shape.signature.ident.span(), problem));
            return (TokenStream::new(), TokenStream::new());
        }
    };
    let id = id_tokens(attribute.dependency_id.as_ref(), dace);
    let lines =
        attribute.settings.iter().map(|Given { name, text, .. }| format!("{name} = {text}"));
    let lines = lines.map(|line| line.replace('\n', " ")).collect::<Vec<_>>().join("\n");
    let builder = Ident::new("to", Span::mixed_site());
    // A type that is no call is told at its place.
    let place = place::of_type(named);
    let site = around(place, quote!(#dace::decorated::SiteOf), &call);
    let builder_type = around(place, quote!(#dace::decorated::Builder), &call);
    let error = &shape.output.error;
    let (site_of, set) = (at(place, quote!(__SITE.dependency)), at(place, quote!(__set)));
    let called = at(place, quote!((#set)?.call));
    let settings = settings(dace, &attribute.settings, &builder);
    let items = quote! {
        static __SITE: #site = #dace::decorated::Site::new(#id, #lines);
        fn __set(#builder: #builder_type) -> #builder_type {
            #settings
        }
    };
    (items, quote!(#site_of::<#error, _>#called))
}

fn is_generic(of: &Type, shape: &Shape) -> bool {
    let runtime = Ident::new("runtime", Span::call_site());
    shape.scope.check(&runtime, of.to_token_stream()).is_some()
}

/// The setters, one after the other: first the policy, on top of which the others set theirs.
fn settings(dace: &Path, given: &[Given], builder: &Ident) -> TokenStream {
    let mut chain = builder.to_token_stream();
    let mut set = |of: &dyn Fn(&Ident) -> bool| {
        for Given { name, arguments, .. } in given.iter().filter(|one| of(&one.name)) {
            chain = if name == "statsd" {
                let setter = Ident::new("statsd", name.span());
                quote!(#dace::StatsdExt::#setter(#chain, #(#arguments),*))
            } else {
                quote!(#chain.#name(#(#arguments),*))
            };
        }
    };
    set(&|name| name == "policy");
    set(&|name| name == "statsd");
    set(&|name| name != "policy" && name != "statsd");
    chain
}

/// The call, around the body.
fn calling(
    attribute: &Attribute,
    shape: &Shape,
    call_of: TokenStream,
    body: TokenStream,
) -> TokenStream {
    let dace = &attribute.dace;
    let hygienic = |name| Ident::new(name, Span::mixed_site());
    let (attempt, this) = (hygienic("__attempt"), hygienic("__this"));
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
        body = receiver::renamed(body, &this);
    }
    let (parameter, call) = match &shape.call {
        None => (quote!(_), TokenStream::new()),
        Some(call) => {
            let pattern = &call.pattern;
            let lent = if call.by_reference { quote!(&#attempt) } else { quote!(#attempt) };
            (quote!(#attempt), quote!(let #pattern = #lent;))
        }
    };
    let attempt = one_attempt(dace, &shape.output, quote!(#call #body));
    let mut attempts = quote!(move |#parameter| {
        #lent
        #attempt
    });
    let copies = kept.clone();
    if keeps {
        attempts = quote!({ #kept #attempts });
    }
    let classify = attribute.classify.as_ref().map(|classify| {
        let Output { value, error, .. } = &shape.output;
        let place = place::of_function(classify);
        let result = hygienic("__result");
        let function = match classify {
            Expr::Closure(closure) => closure.to_token_stream(),
            path => {
                let given = at(place, quote!(#result));
                let called = at(place, quote!((#given)));
                quote!(|#result| #path #called)
            }
        };
        let typed = quote!(.classify(#dace::decorated::classifier::<#value, #error, _>(#function)));
        at(place, typed)
    });
    let mut before = TokenStream::new();
    let fallback = attribute.fallback.as_ref().map(|path| {
        if !matches!(attribute.classify, Some(Expr::Closure(_))) {
            let fallback = fallback(dace, path, shape, None);
            return at(place::of_function(path), quote!(.fallback(#fallback)));
        }
        // The classifier has the arguments as well, so this has copies.
        let name = hygienic("__fallback");
        let fallback = fallback(dace, path, shape, Some(&this));
        before = quote!(let #name = { #copies #fallback };);
        at(place::of_function(path), quote!(.fallback(#name)))
    });
    // An error that does not say what it means is told at its type.
    let awaited = match (&attribute.classify, &attribute.fallback) {
        (None, _) => at(shape.output.error.span(), quote!(.await)),
        (Some(_), Some(last)) | (Some(last), None) => at(place::of_function(last), quote!(.await)),
    };
    quote!(#before #call_of(#attempts) #classify #fallback #awaited)
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

/// The body, after it was said what it returns: `?` and coercions go by it.
fn one_attempt(dace: &Path, output: &Output, body: TokenStream) -> TokenStream {
    let Output { value, error, alias } = output;
    let returns = match alias {
        None => quote!(returns::<#value, #error>),
        Some(alias) => quote!(returns_as::<#alias>),
    };
    let attempt = quote! {
        async move {
            if false { return #dace::decorated::#returns(); }
            #body
        }
    };
    let Some(alias) = alias else { return attempt };
    let place = place::of_type(alias);
    quote_spanned!(place=> <#alias as #dace::decorated::Outcome>::attempt(#attempt))
}

/// What comes after the final error. `this` is `self`, if that was lent already.
fn fallback(dace: &Path, path: &Expr, shape: &Shape, this: Option<&Ident>) -> TokenStream {
    let error = Ident::new("__error", Span::mixed_site());
    let names = shape.arguments.iter().map(|argument| &argument.name);
    let receiver = shape.receiver.as_ref().filter(|_| is_of_self(path)).map(|receiver| {
        let lent = this.filter(|_| shape.owned_receiver().is_some());
        let word =
            lent.map_or_else(|| receiver.self_token.to_token_stream(), Ident::to_token_stream);
        quote!(#word,)
    });
    let Output { value, error: of, .. } = &shape.output;
    let place = place::of_function(path);
    let call = quote_spanned!(place=> #path(#receiver #error, #(#names),*));
    let rescue = at(place, quote!(#dace::decorated::rescue::<#value, #of, _>(#call).await));
    quote!(move |#error| async move { #rescue })
}

/// `Self::name`: a method, which gets `self` too.
fn is_of_self(path: &Expr) -> bool {
    match path {
        Expr::Path(path) => path.path.segments.first().is_some_and(|first| first.ident == "Self"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Read it after a change: it is what users see when they expand the attribute.
    #[test]
    fn the_expansion_is_small_and_reads_well() {
        let attribute = quote! {
            dependency_id = "users", load_balancer = pick_users, fallback = cached_user,
            timeout = "5s", retry_attempts = 3, retry_on_timeout = false, max_open_per_netloc = 10,
            circuit_reset_timeout = "10s", expected_in = "200ms", http_pool_size = 10,
            connect_timeout = "1s", use_proxy = false
        };
        let function = quote! {
            /// The user.
            pub async fn user(call: &Call, id: u64) -> Result<User, HttpError> {
                call.http().get(&format!("/users/{id}")).send().await?.json().await
            }
        };
        let expanded = expand(attribute, function);
        let file = syn::parse2(expanded).expect("it is a file of Rust");
        let text = prettyplease::unparse(&file);
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/expansion.rs.txt");
        if std::env::var_os("DACE_BLESS").is_some() {
            std::fs::write(path, &text).expect("the file can be written");
        }
        let written = std::fs::read_to_string(path).unwrap_or_default();
        assert_eq!(text, written, "look at it, then write it with DACE_BLESS=1");
    }

    #[test]
    fn every_path_of_the_expansion_begins_at_dace() {
        for attribute in
            [quote!(timeout = "1s", fallback = f), quote!(dependency = d, classify = c)]
        {
            let function = quote!(
                async fn f(call: Call, x: u8) -> R {
                    body
                }
            );
            let text = expand(attribute, function).to_string();
            for (at, _) in text.match_indices(":: ") {
                let before = text[..at].trim_end();
                let continues =
                    before.ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == '>');
                let turbofish = text[at..].starts_with(":: <");
                assert!(
                    continues || turbofish || text[at..].starts_with(":: dace"),
                    "{}",
                    &text[at..]
                );
            }
        }
    }
}
