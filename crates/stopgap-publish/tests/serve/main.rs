//! The server as a client sees it: real sockets, real files, a real rename.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may panic, and says what it skips"
)]

mod beside;
mod client;
mod diagnostics;
mod documents;
mod limits;
mod tls;
mod warnings;
