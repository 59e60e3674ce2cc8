//! Netlocs and URLs: one name for a server, whoever spells it, and no other server than other parsers see.

use dace::Target;
use dace::http::Url;

/// A URL; after a line break, a reference that is resolved against it.
pub fn netloc(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (text, reference) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(url) = Url::parse(text) {
        check(&url);
        let (scheme, authority) =
            rfc3986(text).expect("what is accepted has a scheme and an authority");
        assert!(scheme.eq_ignore_ascii_case(url.scheme().as_str()), "{text:?}");
        assert_eq!(host_of(authority), url.host(), "{text:?}");
        assert_eq!(authority.contains('@') && has_userinfo(text), url.has_userinfo(), "{text:?}");
        if let Ok(joined) = url.join(reference) {
            check(&joined);
        }
    }
    match text.parse::<Target>() {
        Ok(target) => {
            let url = Url::parse(text).expect("a target is a URL");
            assert_eq!(url.target(), target);
            assert!(
                !text.contains('@') || !has_userinfo(text),
                "a target has no userinfo: {text:?}"
            );
            check_target(&target);
            let netloc = target.netloc().as_str();
            let pair = Target::try_from((target.scheme().as_str(), netloc)).expect("as a pair");
            assert_eq!(pair, target);
        }
        Err(error) => {
            let shown = error.to_string();
            assert!(shown.len() < 3 * text.len() + 200, "{shown:?}");
            assert!(!shown.contains(char::is_control), "{shown:?}");
            if let Ok(url) = url::Url::parse(text) {
                // Before an `@` there may be a password, so nothing of it is shown.
                let has_at = text.contains('@');
                let raw = text.split(['?', '#']).next().filter(|_| !has_at).unwrap_or_default();
                hides(&shown, &url, &raw.replace(char::is_control, ""));
            }
        }
    }
}

fn check(url: &Url) {
    let again = Url::parse(url.as_str()).expect("what was printed is read");
    assert_eq!(again, *url, "what was printed is the same");
    check_target(&url.target());
    check_spelling(url);
    let bad = |char: char| char.is_control() || char == ' ' || !char.is_ascii();
    assert!(!url.path_and_query().contains(bad), "{:?}", url.path_and_query());
    assert!(url.path_and_query().starts_with('/'), "{:?}", url.path_and_query());
    let other = url::Url::parse(url.as_str()).expect("the other parser reads it");
    assert_eq!(other.host_str(), Some(url.host()));
    assert_eq!(other.port_or_known_default(), Some(url.port()));
    for shown in [url.to_string(), format!("{url:?}")] {
        hides(&shown, &other, "");
        assert!(!shown.contains(bad), "{shown:?}");
    }
}

/// In capitals and with a dot at its end a name is the same server.
fn check_spelling(url: &Url) {
    let (scheme, host, port) = (url.scheme().as_str(), url.host(), url.port());
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_uppercase();
    if !name.ends_with(']') {
        let other = format!("{scheme}://{name}.:{port}");
        assert_eq!(other.parse().as_ref(), Ok(&url.target()), "{other:?}");
    }
}

fn check_target(target: &Target) {
    let netloc = target.netloc().as_str();
    let (host, port) = netloc.rsplit_once(':').expect("the port is always there");
    assert!(port.parse::<u16>().is_ok(), "{netloc:?}");
    assert!(!host.is_empty(), "{netloc:?}");
    let bad = |char: char| char.is_whitespace() || char.is_control() || "@/?#\\".contains(char);
    assert!(!netloc.contains(bad), "{netloc:?}");
    assert!(!netloc.contains(|char: char| char.is_ascii_uppercase()), "{netloc:?}");
    let again: Target = target.to_string().parse().expect("what was printed is read");
    assert_eq!(again, *target, "what was printed is the same");
}

/// What is secret in `url` is not in `shown`, unless it stands elsewhere too.
fn hides(shown: &str, url: &url::Url, raw: &str) {
    let open = format!("{}{}{raw}", url.host_str().unwrap_or_default(), url.path());
    let secrets = [Some(url.username()), url.password(), url.query(), url.fragment()];
    for secret in secrets.into_iter().flatten().filter(|secret| secret.len() >= 12) {
        assert!(open.contains(secret) || !shown.contains(secret), "{secret:?} is in {shown:?}");
    }
}

fn has_userinfo(text: &str) -> bool {
    url::Url::parse(text).is_ok_and(|url| !url.username().is_empty() || url.password().is_some())
}

/// Scheme and authority as RFC 3986, appendix B, finds them, which is how many others parse.
fn rfc3986(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.trim_matches(' ').split_once(':')?;
    let rest = rest.strip_prefix("//")?;
    Some((scheme, rest.split(['/', '?', '#']).next()?))
}

/// The host of an authority, in the form that it has in a URL.
fn host_of(authority: &str) -> String {
    let place = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    let host = match place.rsplit_once(':') {
        Some((host, port)) if !port.contains(']') => host,
        _ => place,
    };
    url::Host::parse(host).map(|host| host.to_string()).unwrap_or_default()
}
