//! Servers and proxies that others wrote, started and stopped by each scenario, on loopback.
//!
//! `install.sh` installs them. A scenario that cannot find its server fails and says so.

mod haproxy;
mod httpbin;
mod nginx;
mod process;
mod proxies;
#[cfg(all(feature = "rustls", feature = "http2"))]
mod tls;
