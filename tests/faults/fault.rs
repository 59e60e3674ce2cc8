//! One fault, as data: where the request goes, what the server does, and what the client waits for.

use std::sync::OnceLock;
use std::time::Duration;

use dace_wire::{Authority, ServerTls, Step};

/// In every value that must not be seen.
pub(crate) const SECRET: &str = "s3cret";

/// The name that servers with TLS have a certificate for.
pub(crate) const NAME: &str = "service.invalid";

/// What goes wrong, for every request alike.
pub(crate) struct Fault {
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) wait: Wait,
    /// Whether a request before it is answered on the connection that then fails; all others are well.
    pub(crate) warm: bool,
    /// Whether HTTP/2 is spoken without asking.
    pub(crate) http2: bool,
    /// Whether the server says that it did nothing with the request, or sends the client on: only then
    /// may what must not happen twice arrive again.
    pub(crate) invites: bool,
}

/// Where the request goes.
pub(crate) enum Place {
    /// An address where nobody listens.
    Refusing,
    /// An address that answers no SYN.
    Hanging,
    /// A name that cannot be resolved.
    Nowhere,
    /// A server each of whose connections plays this script.
    Server(Vec<Step>),
    /// The same, asked by `https`.
    Secure(Vec<Step>),
    /// A proxy, of this scheme, that plays this script; the request goes to a name behind it.
    Proxy(&'static str, Vec<Step>),
    /// A proxy where nobody listens.
    NoProxy,
}

/// What ends the wait, if the client waits: so it takes that long, and not much longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    /// Nothing: the failure is there to see.
    Nothing,
    /// `connect_timeout`, in each attempt.
    Connect,
    /// The request's own `timeout`.
    Request,
    /// `stall_timeout`.
    Stall,
    /// `attempt_timeout`, with `retry_on_timeout`.
    Attempt,
    /// The call's `timeout`.
    Call,
    /// The server's own wish: before another attempt.
    Hint,
}

impl Wait {
    /// How long one wait is. Where the request has to arrive first, that has time.
    pub(crate) const fn long(self) -> Duration {
        match self {
            Self::Nothing => Duration::ZERO,
            Self::Connect | Self::Stall => Duration::from_millis(300),
            Self::Request | Self::Attempt | Self::Call | Self::Hint => Duration::from_secs(1),
        }
    }

    /// How often a call of so many attempts waits.
    pub(crate) const fn times(self, attempts: u32) -> u32 {
        match self {
            Self::Nothing => 0,
            Self::Hint => attempts - 1,
            Self::Call => 1,
            _ => attempts,
        }
    }

    pub(crate) const fn describe(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Connect => "`connect_timeout`",
            Self::Request => "the request's `timeout`",
            Self::Stall => "`stall_timeout`",
            Self::Attempt => "`attempt_timeout`",
            Self::Call => "`timeout`",
            Self::Hint => "the server's wish",
        }
    }
}

/// A fault of this name, there.
pub(crate) fn fault(name: &str, place: Place) -> Fault {
    let name = name.to_owned();
    Fault { name, place, wait: Wait::Nothing, warm: false, http2: false, invites: false }
}

/// A server that reads a whole request, and then does this.
pub(crate) fn then(name: &str, steps: impl Into<Vec<Step>>) -> Fault {
    let script = std::iter::once(Step::ReadRequest).chain(steps.into()).collect();
    fault(name, Place::Server(script))
}

/// A server that answers every request with this, for as long as the client keeps the connection.
pub(crate) fn answers(name: &str, answer: impl AsRef<[u8]>) -> Fault {
    let turn = [Step::ReadRequestIfAny, dace_wire::send(answer)];
    fault(name, Place::Server([vec![turn; 8].concat(), vec![Step::Drain]].concat()))
}

impl Fault {
    pub(crate) fn waits(self, wait: Wait) -> Self {
        Self { wait, ..self }
    }

    pub(crate) fn invites(self) -> Self {
        Self { invites: true, ..self }
    }

    /// On a connection that has answered a request before. All others are well.
    pub(crate) fn warm(self) -> Self {
        Self { warm: true, ..self }
    }
}

/// The head of an answer, with secrets in it; more fields may follow, and the empty line must.
pub(crate) fn head(status: &str) -> String {
    format!("HTTP/1.1 {status} s3cret\r\nset-cookie: id=s3cret-answer\r\n")
}

/// An answer of this status with these fields, each with its line's end, and a secret body.
pub(crate) fn status(status: &str, fields: &str) -> String {
    format!("{}{fields}content-length: 6\r\n\r\ns3cret", head(status))
}

/// Who vouches for the servers of all cells, and nobody else does.
pub(crate) fn authority() -> &'static Authority {
    static AUTHORITY: OnceLock<Authority> = OnceLock::new();
    AUTHORITY.get_or_init(Authority::new)
}

/// A server that the client trusts.
pub(crate) fn trusted() -> ServerTls {
    static TRUSTED: OnceLock<ServerTls> = OnceLock::new();
    TRUSTED.get_or_init(|| authority().server(NAME)).clone()
}
