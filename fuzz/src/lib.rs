//! What each fuzz target asserts. One function a target: bytes in, a panic if a property does not hold.
//!
//! The fuzz binaries call them, and so does an ordinary test (`tests/corpus.rs`), over the committed corpus.

mod gzip;
mod hints;
mod machine;
mod netloc;
mod no_proxy;
mod peer;
mod policy;
mod redirects;
mod statsd;

pub use gzip::gzip;
pub use hints::hints;
pub use machine::machine;
pub use netloc::netloc;
pub use no_proxy::no_proxy;
pub use policy::policy;
pub use redirects::redirects;
pub use statsd::statsd;

/// Takes what a fuzzer made.
type Target = fn(&[u8]);

/// The name of every target, and what it does.
pub const TARGETS: [(&str, Target); 8] = [
    ("gzip", gzip),
    ("hints", hints),
    ("machine", machine),
    ("netloc", netloc),
    ("no_proxy", no_proxy),
    ("policy", policy),
    ("redirects", redirects),
    ("statsd", statsd),
];

type Dependency = dace::Dependency<dace::sim::SimRuntime, peer::Peer>;
type Call = dace::Call<dace::sim::SimRuntime, peer::Peer>;
