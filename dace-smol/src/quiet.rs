//! isahc without a voice.
//!
//! It records every URL with its query as a span of `tracing`, and where somebody listens for that it has
//! libcurl tell all that goes over the wire, credentials included. Neither is for logs; so its work is
//! begun where nobody listens.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tracing::Dispatch;
use tracing::dispatcher::with_default;

/// A future of isahc's, begun and polled unheard.
pub(crate) struct Quiet<F>(F);

impl<F: Future + Unpin> Quiet<F> {
    pub(crate) fn new(begin: impl FnOnce() -> F) -> Self {
        Self(with_default(&Dispatch::none(), begin))
    }
}

impl<F: Future + Unpin> Future for Quiet<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        with_default(&Dispatch::none(), || Pin::new(&mut self.0).poll(cx))
    }
}
