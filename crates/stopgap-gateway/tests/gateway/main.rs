//! The gateway as its users meet it: real sockets on both sides, an origin of our own behind it.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of tests fail as tests do"
)]

mod control;
mod framing;
mod harness;
mod limits;
mod proxying;
mod refusing;
mod responses;
mod settling;
mod swapping;
mod upgrading;
mod wires;
