//! Fetching against real servers: TLS, proxies, redirects and what an attacker does with them. Each
//! attack stands beside the fetch that succeeds on the same server, and has its own code.
//!
//! 127.0.0.1 plays the internet and 127.0.0.2 a private network; names are resolved by the test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests fail as tests do"
)]

mod beside;
mod conditions;
mod cosignatures;
mod files;
mod folders;
mod lists;
mod mirrors;
mod proxies;
mod redirects;
mod server;
mod tls;
mod transport;
mod whole;
mod world;
