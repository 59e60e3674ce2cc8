//! What stands in the attribute, checked; every mistake in it is found in one go.

use proc_macro2::TokenStream;
use quote::{ToTokens as _, quote};
use syn::meta::ParseNestedMeta;
use syn::parse::{ParseStream, Parser as _};
use syn::{Error, Expr, ExprPath, Ident, Lit, Path, Token, Type, TypePath, parse_quote};

use crate::duration::Written;
use crate::parameters::{self, Kind, Setting};
use crate::suggest;

/// The attribute.
pub(crate) struct Attribute {
    /// Where dace is.
    pub(crate) dace: Path,
    pub(crate) dependency_id: Option<Expr>,
    pub(crate) runtime: Option<Type>,
    pub(crate) dependency: Option<Expr>,
    pub(crate) fallback: Option<Expr>,
    pub(crate) classify: Option<Expr>,
    pub(crate) settings: Vec<Given>,
    /// What was given so far.
    seen: Vec<Ident>,
}

/// A setting that was given.
pub(crate) struct Given {
    /// The parameter, where it stands.
    pub(crate) name: Ident,
    /// What the setter is called with.
    pub(crate) arguments: Vec<TokenStream>,
    /// The value, for comparison with that of another function.
    pub(crate) text: String,
}

/// The features of dace that parameters need.
#[derive(Clone, Copy)]
pub(crate) struct Features {
    pub(crate) statsd: bool,
    pub(crate) tls: bool,
}

impl Features {
    pub(crate) const ON: Self =
        Self { statsd: cfg!(feature = "statsd"), tls: cfg!(feature = "tls") };

    /// The feature that is missing.
    fn missing(self, name: &str) -> Option<&'static str> {
        match name {
            "statsd" if !self.statsd => Some("statsd"),
            "tls" | "root_certificate" | "identity" | "verification" if !self.tls => Some("rustls"),
            _ => None,
        }
    }
}

impl Attribute {
    /// The attribute as far as it can be understood; what cannot is in `errors`.
    pub(crate) fn parse(tokens: TokenStream, features: Features, errors: &mut Vec<Error>) -> Self {
        let mut attribute = Self {
            dace: parse_quote!(::dace),
            dependency_id: None,
            runtime: None,
            dependency: None,
            fallback: None,
            classify: None,
            settings: Vec::new(),
            seen: Vec::new(),
        };
        // First, since the others name it.
        let mut dace = None;
        let parser = syn::meta::parser(|meta| {
            if meta.path.is_ident("crate") {
                dace = Some(meta.value()?.parse()?);
            } else if meta.input.peek(Token![=]) {
                skip(&meta)?;
            }
            Ok(())
        });
        // A mistake is found again below.
        let _ = parser.parse2(tokens.clone());
        attribute.dace = dace.unwrap_or(attribute.dace);
        let parser = syn::meta::parser(|meta| attribute.parameter(&meta, features, errors));
        if let Err(error) = parser.parse2(tokens) {
            errors.push(error);
        }
        attribute.check(errors);
        attribute
    }

    fn parameter(
        &mut self,
        meta: &ParseNestedMeta<'_>,
        features: Features,
        errors: &mut Vec<Error>,
    ) -> syn::Result<()> {
        let Some(name) = meta.path.get_ident().cloned() else {
            errors.push(meta.error("a parameter is a single name, such as `timeout`"));
            return skip(meta);
        };
        let text = name.to_string();
        let setting = parameters::setting(&text);
        if setting.is_none() && !parameters::OTHERS.contains(&text.as_str()) {
            errors.push(Error::new(name.span(), unknown(&text)));
            return skip(meta);
        }
        if let Some(feature) = features.missing(&text) {
            let problem = format!(
                "`{text}` needs the feature `{feature}` of dace: switch it on in Cargo.toml"
            );
            errors.push(Error::new(name.span(), problem));
            return skip(meta);
        }
        if self.seen.contains(&name) && !setting.is_some_and(|setting| setting.several) {
            errors.push(Error::new(name.span(), format!("`{text}` is given twice; leave one out")));
            return skip(meta);
        }
        self.seen.push(name.clone());
        match setting {
            Some(setting) => self.setting(name, setting, meta, errors),
            None => self.other(&name, &text, meta, errors),
        }
    }

    fn setting(
        &mut self,
        name: Ident,
        setting: &Setting,
        meta: &ParseNestedMeta<'_>,
        errors: &mut Vec<Error>,
    ) -> syn::Result<()> {
        if setting.kind == Kind::Flag {
            if meta.input.peek(Token![=]) {
                let problem = format!("`{name}` takes no value; write the name alone");
                errors.push(Error::new(name.span(), problem));
                return skip(meta);
            }
            self.settings.push(Given { name, arguments: Vec::new(), text: String::new() });
            return Ok(());
        }
        let Some(value) = value(&name, setting.kind, meta, errors)? else {
            return Ok(());
        };
        match arguments(&name, setting.kind, &value, &self.dace) {
            Ok((arguments, text)) => self.settings.push(Given { name, arguments, text }),
            Err(error) => errors.push(error),
        }
        Ok(())
    }

    fn other(
        &mut self,
        name: &Ident,
        text: &str,
        meta: &ParseNestedMeta<'_>,
        errors: &mut Vec<Error>,
    ) -> syn::Result<()> {
        if !meta.input.peek(Token![=]) {
            let example = match text {
                "dependency_id" => "\"users\"",
                "runtime" => "dace::tokio::Tokio",
                "crate" => "my_dace",
                "dependency" => "self.dependency",
                _ => "path::to::function",
            };
            let problem = format!("`{text}` needs a value: `{text} = {example}`");
            errors.push(Error::new(name.span(), problem));
            return skip(meta);
        }
        if text == "crate" {
            let value = meta.value()?;
            if value.parse::<Path>().is_err() {
                errors.push(value.error("name a path: `crate = my_dace`"));
            }
            return skip(meta);
        }
        let expr: Expr = meta.value()?.parse()?;
        let wrong = |problem: &str| Error::new_spanned(&expr, problem);
        match (text, &expr) {
            ("dependency_id", Expr::Lit(literal)) if !matches!(literal.lit, Lit::Str(_)) => {
                errors.push(wrong("an id is text: `dependency_id = \"users\"`, or a `const` of type `&str`"));
            }
            ("dependency_id", Expr::Lit(literal)) if is_empty(&literal.lit) => {
                errors.push(wrong("an id must not be empty; leave it out for the function's path"));
            }
            ("dependency_id", _) => self.dependency_id = Some(expr),
            ("runtime", Expr::Path(path)) => {
                let ExprPath { attrs, qself, path } = path.clone();
                self.runtime = Some(Type::Path(TypePath { attrs, qself, path }));
            }
            ("runtime", _) => errors.push(wrong(
                "name a type: `runtime = dace::tokio::Tokio`, `dace::smol::Smol` or an `Adapter` of yours",
            )),
            ("fallback", Expr::Path(_)) => self.fallback = Some(expr),
            ("fallback", _) => errors.push(wrong(
                "name an async function that takes the error and the arguments: `fallback = cached_user`",
            )),
            ("classify", Expr::Path(_) | Expr::Closure(_)) => self.classify = Some(expr),
            ("classify", _) => errors.push(wrong(
                "name a function from `&Result<T, E>` to `dace::Class`, or write a closure",
            )),
            ("dependency", Expr::Lit(_)) => {
                errors.push(wrong("`dependency` takes a `Dependency`; a name is `dependency_id`"));
            }
            _ => self.dependency = Some(expr),
        }
        Ok(())
    }

    /// What fits together.
    fn check(&self, errors: &mut Vec<Error>) {
        let seen = |name: &str| self.seen.iter().find(|seen| *seen == name);
        if let (Some(_), Some(none)) = (seen("timeout"), seen("no_timeout")) {
            errors.push(Error::new(none.span(), "`timeout` is given as well; leave one out"));
        }
        if seen("dependency").is_none() {
            return;
        }
        for name in &self.seen {
            let fits =
                ["dependency", "fallback", "classify", "crate"].iter().any(|fits| name == fits);
            if !fits {
                let problem = format!(
                    "`{name}` is said where the dependency is built, not beside `dependency`; move it there"
                );
                errors.push(Error::new(name.span(), problem));
            }
        }
    }
}

fn unknown(name: &str) -> String {
    match suggest::parameter(name) {
        Some(known) => format!("unknown parameter `{name}`; is it `{known}`?"),
        None => format!(
            "unknown parameter `{name}`; parameters are the setters of `dace::DependencyBuilder`, and {}",
            parameters::OTHERS.map_join()
        ),
    }
}

trait Join {
    fn map_join(&self) -> String;
}

impl Join for [&str] {
    fn map_join(&self) -> String {
        self.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    }
}

/// The value of a setting, `None` if there is none.
fn value(
    name: &Ident,
    kind: Kind,
    meta: &ParseNestedMeta<'_>,
    errors: &mut Vec<Error>,
) -> syn::Result<Option<Expr>> {
    if meta.input.peek(Token![=]) {
        return meta.value()?.parse().map(Some);
    }
    let problem = format!("`{name}` needs a value: `{name} = {}`", example(kind));
    errors.push(Error::new(name.span(), problem));
    skip(meta)?;
    Ok(None)
}

fn example(kind: Kind) -> &'static str {
    match kind {
        Kind::Duration { .. } => "\"10s\"",
        Kind::Integer { .. } => "3",
        Kind::Switch => "true",
        Kind::Pair => "(…, …)",
        Kind::Flag | Kind::Value => "…",
    }
}

/// What the setter is called with, and the value as text.
fn arguments(
    name: &Ident,
    kind: Kind,
    value: &Expr,
    dace: &Path,
) -> syn::Result<(Vec<TokenStream>, String)> {
    let wrong = |problem: String| Err(Error::new_spanned(value, problem));
    let form = |what: &str| wrong(format!("`{name}` is {what}: `{name} = {}`", example(kind)));
    let as_it_is = || Ok((vec![value.to_token_stream()], value.to_token_stream().to_string()));
    let zero = || wrong(format!("`{name}` must not be zero; leave it out for the default"));
    match (kind, literal(value)) {
        (Kind::Duration { zero: allowed }, Some(Lit::Str(text))) => {
            match Written::parse(&text.value()) {
                Some(written) if written.value.is_zero() && !allowed => zero(),
                Some(written) => {
                    Ok((vec![written.tokens(dace, text)], format!("{:?}", written.value)))
                }
                None => wrong(String::from(
                    "a duration is a whole number and a unit of `us`, `ms`, `s`, `m`, `h`: `\"1500ms\"`",
                )),
            }
        }
        (Kind::Duration { .. }, Some(Lit::Int(_) | Lit::Float(_))) => {
            wrong(format!("a duration has a unit: `{name} = \"10s\"`"))
        }
        (Kind::Duration { .. }, Some(_)) => form("a duration"),
        (Kind::Integer { zero: allowed }, Some(Lit::Int(number))) => {
            if number.base10_digits() == "0" && !allowed {
                return zero();
            }
            Ok((vec![value.to_token_stream()], String::from(number.base10_digits())))
        }
        (Kind::Integer { .. }, Some(_)) => form("a whole number"),
        (Kind::Integer { .. }, None) if matches!(value, Expr::Unary(minus) if matches!(minus.op, syn::UnOp::Neg(_))) => {
            form("a whole number, not below zero")
        }
        (Kind::Switch, Some(Lit::Bool(_))) => as_it_is(),
        (Kind::Switch, Some(_)) => form("`true` or `false`"),
        (Kind::Pair, _) => match value {
            Expr::Tuple(pair) if pair.elems.len() == 2 => {
                let arguments = pair.elems.iter().map(|one| one.to_token_stream()).collect();
                Ok((arguments, value.to_token_stream().to_string()))
            }
            _ => wrong(format!(
                "`{name}` takes two values: `{name} = (…, …)`; it may be given several times"
            )),
        },
        _ => as_it_is(),
    }
}

fn literal(value: &Expr) -> Option<&Lit> {
    match value {
        Expr::Lit(literal) => Some(&literal.lit),
        Expr::Group(group) => literal(&group.expr),
        _ => None,
    }
}

fn is_empty(literal: &Lit) -> bool {
    matches!(literal, Lit::Str(text) if text.value().is_empty())
}

/// Passes over a value, up to the next comma, so that the rest is read too.
fn skip(meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
    let input: ParseStream<'_> = meta.input;
    while !input.is_empty() && !input.peek(Token![,]) {
        input.parse::<proc_macro2::TokenTree>()?;
    }
    Ok(())
}

/// The id as the site takes it.
pub(crate) fn id_tokens(id: Option<&Expr>, dace: &Path) -> TokenStream {
    match id {
        Some(id) => quote!(#dace::decorated::Some(#id)),
        None => quote!(#dace::decorated::None),
    }
}
