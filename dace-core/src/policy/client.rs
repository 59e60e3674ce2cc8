//! What the core's part of the HTTP client goes by.

use alloc::sync::Arc;

use crate::http::Header;
use crate::http::proxy::Proxies;

/// Settings of every request of a dependency.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientRules {
    pub(crate) https_only: bool,
    pub(crate) max_redirects: u32,
    /// Bytes of an answer's head.
    pub(crate) head_limit: usize,
    /// For requests that have none of the same name.
    pub(crate) headers: Arc<[Header]>,
    pub(crate) proxies: Proxies,
}
