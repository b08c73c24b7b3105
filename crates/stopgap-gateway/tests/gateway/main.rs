//! The gateway as its users meet it: real sockets on both sides, an origin of our own behind it.

#![cfg(unix)]

mod control;
mod framing;
mod harness;
mod limits;
mod proxying;
mod refusing;
mod swapping;
mod upgrading;
