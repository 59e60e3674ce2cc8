//! Real receivers, on loopback: what they say that they got is what dace says that it did.
//!
//! The tests start and stop them: Etsy's statsd, collectd, and promtool. `tests/receivers/install.sh`
//! installs them; where one is missing, its tests fail and say so.

mod collectd;
mod etsy;
mod process;
mod prometheus;
mod script;
