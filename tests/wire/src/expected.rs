//! What is allowed to differ between backends, and why.

/// The differences: a field for each, with its reason, and what each backend is expected to do. The page
/// `docs/conformance.md` is written from the same text.
macro_rules! expected {
    ($($(#[doc = $doc:literal])* $field:ident: $type:ty = hyper $hyper:expr, isahc $isahc:expr;)*) => {
        /// What is allowed to differ between backends. Each contract that a difference concerns checks it,
        /// in both ways. On both an unsafe request never arrives twice, secrets are never shown, and every
        /// answer is bounded; but a replay-safe request without a body may be sent again by libcurl, and
        /// libcurl's own bound of heads holds (300 KiB).
        #[derive(Clone, Copy, Debug)]
        pub struct Expected {
            $($(#[doc = $doc])* pub $field: $type,)*
        }

        impl Expected {
            /// hyper is what the seam was cut for.
            pub const HYPER: Self = Self { $($field: $hyper,)* };

            /// What libcurl does not do.
            pub const ISAHC: Self = Self { $($field: $isahc,)* };

            /// Field, reason, and the two values as text.
            #[cfg(test)]
            pub(crate) fn rows() -> Vec<(&'static str, String, [String; 2])> {
                vec![$((
                    stringify!($field),
                    [$($doc),*].concat(),
                    [format!("{:?}", Self::HYPER.$field), format!("{:?}", Self::ISAHC.$field)],
                )),*]
            }
        }
    };
}

expected! {
    /// Whether idle connections are watched: closed at `idle_timeout`, and soon after a byte arrived
    /// on them. libcurl looks at them with the next request only.
    watches_idle: bool = hyper true, isahc false;
    /// Whether a replay-safe request without a body is sent again, below the seam, if the reused
    /// connection that it went out on died. libcurl cannot be kept from it; the core may do the same.
    resends_safe: bool = hyper false, isahc true;
    /// Whether an HTTP/2 connection that broke under one exchange takes no other. libcurl may find that
    /// out with the next one, which then fails likewise.
    leaves_broken: bool = hyper true, isahc false;
    /// Whether a request without a body that must not arrive twice may use a connection again. Under
    /// libcurl it may not, or libcurl would send it again.
    reuses_for_bodiless: bool = hyper true, isahc false;
    /// Whether the system's reason for a failed connect reaches the caller. libcurl has one code for
    /// all of them.
    tells_refused: bool = hyper true, isahc false;
    /// Whether a body that breaks its framing is told from one that was reset. libcurl has one code
    /// for both.
    tells_bad_chunks: bool = hyper true, isahc false;
    /// Whether a head that is cut off after its `Content-Length: 0` is noticed. libcurl takes it for
    /// whole, and nothing is left by which to tell.
    tells_cut_heads: bool = hyper true, isahc false;
    /// Whether a limit of heads can be set. libcurl has its own, and a setting that does nothing is an
    /// error.
    limits_heads: bool = hyper true, isahc false;
    /// Whether the status is told with which a proxy refused a tunnel. isahc hands on none of libcurl's
    /// own words.
    tells_tunnel_status: bool = hyper true, isahc false;
    /// Whether what arrived just before TLS was cut off is looked at. libcurl's rustls throws it away if it
    /// is read at once, and a whole answer with it.
    reads_before_a_cut: bool = hyper true, isahc false;
    /// Whether a stream that was given up is reset at once. libcurl learns of it with the next that
    /// arrives on the stream.
    resets_at_once: bool = hyper true, isahc false;
    /// Whether an exchange above the server's limit of streams waits for its turn. libcurl makes another
    /// connection.
    waits_for_streams: bool = hyper true, isahc false;
    /// Whether the TLS alert that arrives after the client's own handshake is done is told from any
    /// other end of the connection.
    tells_late_alerts: bool = hyper true, isahc false;
    /// Whether a stream of HTTP/2 that the server never looked at is known as such. Where it is not,
    /// it is never sent again all the same.
    tells_refused_streams: bool = hyper true, isahc false;
    /// Whether a TLS server that has no choice (no ALPN) is refused where nothing but HTTP/2 is spoken.
    /// libcurl speaks it to such a one as it would without TLS.
    insists_on_http2: bool = hyper true, isahc false;
    /// What a SOCKS proxy is greeted with where user and password are given: the methods that the client
    /// can sign in by.
    socks_greeting_with_credentials: &'static [u8] = hyper &[5, 1, 2], isahc &[5, 2, 0, 2];
}
