//! Changes of real servers, many in a row.
//!
//! ```text
//!   wrk, kept connections  ---+
//!   wrk, new connections   ---+-->  nginx, Apache, HAProxy  -->  origin: counts, and notes each attack
//!   attacks, new connections -+              |
//!                                  driver: check, apply, revert     or, as the control, plain reloads
//! ```
//!
//! `rounds`: what a change costs those who send ordinary requests, beside what as many plain reloads cost them in the
//! same run, and that no attack reaches the origin once the rules are in force. `truth`: what a plan prints is what
//! differs in the files after it.
//!
//! `STOPGAP_ROUNDS` and `STOPGAP_TRUTH_CHANGES` make more of them. Not in here: what a single change does (the tests of
//! each driver), and what a rule refuses (`e2e/servers`).
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking, and prints what it measured"
)]

#[path = "../common/mod.rs"]
mod common;
#[path = "../../../stopgap-rules/tests/common/dice.rs"]
mod dice;

mod attacks;
mod load;
mod origin;
mod rounds;
mod server;
mod truth;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// How many, where nobody says another number.
fn setting(name: &str, usual: usize) -> usize {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

/// One test at a time: each measures, or has the machine to itself.
fn turn() -> MutexGuard<'static, ()> {
    static TURNS: Mutex<()> = Mutex::new(());
    TURNS.lock().unwrap_or_else(PoisonError::into_inner)
}
