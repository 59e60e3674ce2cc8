//! What observers see, and what sinks make of it, in virtual time.

mod agreement;
mod docs;
mod hostile;
mod logs;
mod metrics_page;
mod observers;
mod statsd;
mod story;
mod support;
