//! What the core's part of the HTTP client goes by.

use core::time::Duration;

use alloc::boxed::Box;
use alloc::sync::Arc;

use super::{Hints, Policy};
use crate::DeadlineHeader;
use crate::http::Header;
use crate::http::proxy::Proxies;

/// Settings of every request of a dependency.
#[derive(Clone, Debug)]
pub(crate) struct ClientRules {
    pub(crate) https_only: bool,
    pub(crate) max_redirects: u32,
    pub(crate) connect_timeout: Duration,
    pub(crate) stall_timeout: Duration,
    pub(crate) body_limit: usize,
    /// What no policy says.
    pub(crate) fixed: Arc<Fixed>,
}

/// What is settled when the dependency is built.
#[derive(Debug)]
pub(crate) struct Fixed {
    /// Bytes of an answer's head.
    pub(crate) head_limit: usize,
    /// For requests that have none of the same name.
    pub(crate) headers: Arc<[Header]>,
    pub(crate) proxies: Proxies,
    /// What of answers is read beside `Retry-After`, if anything is.
    pub(crate) hints: Option<Box<Hints>>,
    /// What each request says of the call that it is made in, if anything is.
    pub(crate) announced: Option<Box<Announced>>,
}

/// What each request says of the call that it is made in.
#[derive(Clone, Debug)]
pub(crate) struct Announced {
    /// What is left of its deadline.
    pub(crate) deadline: Option<DeadlineHeader>,
    /// The number of the attempt, in the header of this name.
    pub(crate) attempt: Option<Box<str>>,
}

impl ClientRules {
    pub(crate) fn new(policy: &Policy, fixed: Arc<Fixed>) -> Self {
        Self {
            https_only: policy.https_only,
            max_redirects: policy.max_redirects,
            connect_timeout: policy.connect_timeout,
            stall_timeout: policy.stall_timeout,
            body_limit: policy.body_limit,
            fixed,
        }
    }
}
