//! One rule, every server, the same verdict.
//!
//! ```text
//!   books      rule sets: the catalogue, M1's revisions, generated ones
//!   case       a request from a seed: an attack, a benign one or generated text, then mutations
//!      |
//!      +--> engine, in process ---------------------> what must happen
//!      +--> raw octets --> gateway, nginx, … --> origin
//!                             |                    | judges what arrives, once more
//!                             v                    v
//!                          what a client saw    what reached the application
//!   compare    equal, or excused by kind, or a disagreement: the test fails and prints it
//! ```
//!
//! Each rule set is a site of its own, on a port of its own; every server that can be told the set has that
//! site. The default run is a slice for every change; `cargo xtask equivalence` makes the long one.
//!
//! Not in here: what a translator writes (the tests of `stopgap-rules`), how an agent puts it on a server.
#![cfg(target_os = "linux")]
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod books;
mod case;
mod client;
mod compare;
mod equivalence;
mod mutate;
mod origin;
mod reloads;
mod server;
mod tally;

#[path = "../../crates/stopgap-rules/tests/common/dice.rs"]
mod dice;

/// The binary under test.
const STOPGAP: &str = env!("CARGO_BIN_EXE_stopgap");

/// The repository.
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Longer than anything takes on a loaded machine.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
