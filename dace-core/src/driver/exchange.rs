//! One exchange: asked for, sent, and answered. What it holds meanwhile is in [`enter`](super::enter).

use core::future::Future;
use core::time::Duration;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;

use super::call::Call;
use super::enter::{Enter, Exchange, Limits};
use super::reading::Reading;
use super::response::Response;
use super::shared::Shared;
use super::timer::{Elapsed, Within, turn};
use crate::cluster::{End, Wish};
use crate::http::advice::{self, Advice};
use crate::http::decoding::Decoding;
use crate::http::error::class_of_fault;
use crate::http::redirect;
use crate::http::request::Again;
use crate::http::{
    self, Fault, FaultKind, Head, Header, HttpErrorKind, Request, Sent, Url, Version, header,
};
use crate::policy::{ClientRules, Hints};
use crate::{Class, HttpBackend, HttpError, Instant, Runtime, Scheme};

/// How a request is sent.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) rules: Arc<ClientRules>,
    /// What the user says about sending it twice.
    pub(super) idempotent: Option<bool>,
    pub(super) limits: Limits,
    /// Whether dace asked for a compressed answer.
    pub(super) decode: bool,
}

impl Order {
    /// Whether `request` may be sent twice.
    fn is_replay_safe(&self, request: &Request) -> bool {
        match self.idempotent {
            Some(idempotent) => idempotent && request.body.is_replayable(),
            None => request.is_replay_safe(),
        }
    }

    /// Within `timeout` from now.
    pub(super) fn new<R: Runtime, B>(
        call: &Call<R, B>,
        rules: Arc<ClientRules>,
        timeout: Duration,
    ) -> Self {
        let until = match timeout {
            Duration::MAX => Instant::NEVER,
            timeout => call.shared.runtime.now().after(timeout),
        };
        Self { rules, idempotent: None, limits: Limits { until, timeout }, decode: false }
    }
}

pub(super) const INSECURE: &str = "plain http is refused: `https_only` is set";

/// What comes of a request: the answer, and what was sent, if the answer is a redirect.
type Answered<R, B> = Result<(Response<R, B>, Option<Box<Again>>), HttpError>;

/// Sends one request, and charges, counts and times it.
///
/// Whoever calls moves this future about, so it is to be small: what is rare has a box of its own, and no
/// output of a step is held over the next.
#[expect(clippy::manual_async_fn, reason = "an `async fn` keeps its arguments twice")]
pub(super) fn send<'a, R: Runtime, B: HttpBackend>(
    call: &'a Call<R, B>,
    mut request: Request,
    order: &'a Order,
) -> impl Future<Output = Answered<R, B>> + use<'a, R, B> {
    async move {
        let Order { rules, limits, .. } = order;
        let replay_safe = order.is_replay_safe(&request);
        request.options.connect_timeout = call.connect_timeout.unwrap_or(rules.connect_timeout);
        request.options.replay_safe = replay_safe;
        request.options.deadline = call.deadline.min(limits.until);
        request.options.ends = limits.until;
        request.proxy = rules.fixed.proxies.route(&request.url).cloned();
        if rules.https_only && request.url.scheme() == Scheme::Http {
            return Err(HttpError::unsent(HttpErrorKind::Request(INSECURE)));
        }
        if let Err(what) = check_headers(&request) {
            return Err(HttpError::unsent(HttpErrorKind::Request(what)));
        }
        let wish = Wish { to: request.url.netloc(), replay_safe, until: call.deadline };
        let exchange = match Enter::new(call, wish, *limits).await {
            Ok(exchange) => exchange,
            Err(error) => return Err(after_a_turn(error).await),
        };
        let kept = Again::of(&request);
        announce(call, rules, &mut request);
        // The deadline of the attempt binds also where the function's own future does not drop this one: in
        // another task.
        let (now, until) = (exchange.begun_at, request.options.deadline);
        let sending = Sending { call, order, replay_safe, until, exchange, kept };
        let backend = &call.shared.backend;
        let said = Within::new(&call.shared.runtime, now, until, backend.send(request)).await;
        match sending.heard(said) {
            Heard::All(answered) => answered,
            Heard::GoOn(sending, again) => Box::pin(sending.go_on(again)).await,
        }
    }
}

/// The attempt is over. Polled once more, its call sees that itself, and ends as a timeout; an exchange in
/// another task has to be told.
async fn after_a_turn(error: HttpError) -> HttpError {
    if matches!(error.kind(), HttpErrorKind::AttemptOver) {
        turn().await;
    }
    error
}

/// A request that was sent.
struct Sending<'a, R: Runtime, B> {
    call: &'a Call<R, B>,
    order: &'a Order,
    replay_safe: bool,
    until: Instant,
    exchange: Exchange<R, B>,
    kept: Again,
}

/// What a backend said, and when; or that the time was up.
type Said<B> = Result<
    (
        Result<
            http::Response<<B as HttpBackend>::Head, <B as HttpBackend>::Body>,
            <B as HttpBackend>::Error,
        >,
        Instant,
    ),
    Elapsed,
>;

/// What came of it.
enum Heard<'a, R: Runtime, B: HttpBackend> {
    All(Answered<R, B>),
    /// With a request that goes out once more, since the connection was stale; without, the attempt has ended.
    GoOn(Sending<'a, R, B>, Option<Request>),
}

impl<'a, R: Runtime, B: HttpBackend> Sending<'a, R, B> {
    /// Whether the attempt has ended, and not the request's own time.
    fn is_late(&self, said: &Said<B>) -> bool {
        said.is_err() && self.until < self.order.limits.until
    }

    fn heard(self, said: Said<B>) -> Heard<'a, R, B> {
        let again = match &said {
            said if self.is_late(said) => return Heard::GoOn(self, None),
            Ok((Err(error), _)) if is_stale(B::fault(error), self.replay_safe) => {
                self.kept.request()
            }
            _ => None,
        };
        match again {
            Some(again) => Heard::GoOn(self, Some(again)),
            None => Heard::All(self.conclude(said)),
        }
    }

    async fn go_on(self, again: Option<Request>) -> Answered<R, B> {
        if let Some(mut again) = again {
            let now = self.exchange.resent();
            // A connection of its own: others that lay idle may be as stale.
            again.options.persistent = false;
            announce(self.call, &self.order.rules, &mut again);
            let Shared { runtime, backend, .. } = &*self.call.shared;
            let said = Within::new(runtime, now, self.until, backend.send(again)).await;
            if !self.is_late(&said) {
                return self.conclude(said);
            }
        }
        // The clock passed the deadline since the call looked at it.
        let netloc = Some(self.kept.url.netloc());
        let over = HttpError::new(HttpErrorKind::AttemptOver, Sent::MaybeSent, netloc);
        Err(after_a_turn(over).await)
    }

    fn conclude(mut self, said: Said<B>) -> Answered<R, B> {
        let Order { rules, limits, decode, .. } = self.order;
        let (replay_safe, url) = (self.replay_safe, self.kept.url.clone());
        let runtime = &self.call.shared.runtime;
        let advice = Advice::default();
        let end = |class, sent| End {
            class,
            sent,
            answered: false,
            replay_safe,
            multiplexed: false,
            advice,
        };
        match said {
            Err(Elapsed) => {
                self.exchange.answered(runtime.now(), end(Class::Timeout, Sent::MaybeSent));
                let kind = HttpErrorKind::Timeout(limits.timeout);
                Err(HttpError::new(kind, Sent::MaybeSent, Some(url.netloc())))
            }
            Ok((Err(error), now)) => {
                let fault = B::fault(&error);
                self.exchange
                    .answered(now, end(class_of_fault(fault.kind, fault.sent), fault.sent));
                Err(HttpError::fault(fault, url.netloc(), error))
            }
            Ok((Ok(http::Response { head, .. }), now))
                if !is_sound(&head, rules.fixed.head_limit) =>
            {
                self.exchange.answered(now, end(Class::Failure, Sent::Sent));
                let kind = HttpErrorKind::Fault(FaultKind::Malformed);
                Err(HttpError::new(kind, Sent::Sent, Some(url.netloc())))
            }
            Ok((Ok(http::Response { head, body }), now)) => {
                let advice = advised(runtime, rules.fixed.hints.as_deref(), &head);
                let class = match (head.status(), Class::of_status(head.status())) {
                    (_, Class::Throttled(_)) => Class::Throttled(advice.wait),
                    (403 | 503, _) if advice.wait.is_some() => Class::Throttled(advice.wait),
                    (_, class) => class,
                };
                let multiplexed = matches!(head.version(), Version::Http2 | Version::Http3);
                let end = end(class, Sent::Sent);
                self.exchange.answered(now, End { multiplexed, answered: true, advice, ..end });
                let decoding = if *decode { Decoding::of(&head) } else { Decoding::None };
                let (rules, until) = (rules.clone(), self.call.deadline);
                let reading = Reading::new(body, decoding, self.exchange, rules, *limits, until);
                let sent = redirect::is_redirect(head.status()).then(|| Box::new(self.kept));
                Ok((Response::new(head, url, reading, advice.wait), sent))
            }
        }
    }
}

/// Says what is left of the deadline, and which attempt this is, if that is asked for. It is said anew each time that a request
/// is sent, so it is no part of what is kept of one.
fn announce<R: Runtime, B>(call: &Call<R, B>, rules: &ClientRules, request: &mut Request) {
    let Some(announced) = &rules.fixed.announced else {
        return;
    };
    let mut say = |name: &str, value: String| {
        if header::find(&request.headers, name).is_none() {
            request.headers.extend(Header::new(name, value));
        }
    };
    if let Some(name) = &announced.attempt {
        say(name, alloc::format!("{}", call.number));
    }
    let until = request.options.deadline;
    if let Some(header) = announced.deadline.as_ref().filter(|_| !until.is_never()) {
        let left = until.since(call.shared.runtime.now());
        say(header.name(), header.write(left));
    }
}

/// What no request may say, however it was put together.
fn check_headers(request: &Request) -> Result<(), &'static str> {
    for header in &request.headers {
        if let Some(problem) = header::reserved(header.name()) {
            return Err(problem);
        }
        if header.name() == "host" && !names(&request.url, header.value()) {
            return Err("the header `host` must name the host of the URL");
        }
    }
    Ok(())
}

/// Whether a `Host` header says what the URL says.
fn names(url: &Url, host: &[u8]) -> bool {
    let (name, port) = (url.host(), url.port());
    let with_port: String = alloc::format!("{name}:{port}");
    host.eq_ignore_ascii_case(name.as_bytes()) && !url.has_own_port()
        || host.eq_ignore_ascii_case(with_port.as_bytes())
}

/// A connection that had been idle was closed by the server before it saw the request: the race is
/// nobody's fault, so the request goes out once more without counting as an attempt, if it may: it does
/// no harm twice, or nothing of it was sent.
fn is_stale(fault: Fault, replay_safe: bool) -> bool {
    let closed = matches!(fault.kind, FaultKind::Closed | FaultKind::Reset);
    fault.reused && closed && (replay_safe || fault.sent == Sent::Unsent)
}

/// Whether a head can be believed: its fields are not too long (backends stop earlier where they can; this
/// is what holds on all of them), and it has no length beside an encoding that has none, of which two
/// readers may see two answers (RFC 9112, 6.3).
fn is_sound(head: &impl Head, limit: usize) -> bool {
    let (mut bytes, mut has_length, mut has_encoding) = (0, false, false);
    for (name, value) in head.iter() {
        bytes += name.len() + value.len() + 4;
        has_length |= name.eq_ignore_ascii_case("content-length");
        has_encoding |= name.eq_ignore_ascii_case("transfer-encoding");
    }
    bytes <= limit && !(has_length && has_encoding)
}

/// What an answer says of trying again.
fn advised<R: Runtime>(runtime: &R, hints: Option<&Hints>, head: &impl Head) -> Advice {
    let wait = retry_after(runtime, head);
    match hints {
        None => Advice { wait, no_retry: false },
        Some(hints) => advice::of_head(hints, head, wait, || runtime.unix_time()),
    }
}

fn retry_after<R: Runtime>(runtime: &R, head: &impl Head) -> Option<Duration> {
    if !matches!(head.status(), 429 | 503) {
        return None;
    }
    let value = head.get("retry-after")?;
    http::hint::retry_after(value, head.get("date"), runtime.unix_time())
}
