//! The gateway as its users meet it: real sockets on both sides, an origin of our own behind it.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    dead_code,
    reason = "the helpers of tests fail as tests do"
)]

mod control;
#[path = "../../../stopgap-iis/tests/common/exchange.rs"]
mod exchange;
mod framing;
mod harness;
mod iis;
#[path = "../../../stopgap-iis/tests/common/mod.rs"]
mod iis_corpus;
mod limits;
mod proxying;
mod refusing;
mod responses;
mod settling;
mod swapping;
mod upgrading;
mod wires;
