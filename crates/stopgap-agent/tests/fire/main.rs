//! The journal under fire: the power goes, the agent dies or the machine refuses at every call of a cycle in turn, on
//! every kind of target. Afterwards a server is in one of the two states that it may be in: as before the change, or as
//! after it, with its files, the ledger and the journal of one mind.
//!
//! What is drawn from a cycle, and how a disk loses what was not written through, is `stopgap_testkit::fire`. A quick
//! share runs always; `STOPGAP_FIRE=all` runs every state and, for every wait for the disk, whether something breaks
//! without it. What is not here: real disks.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests fail as tests do, and the counts are for whoever reads them"
)]

#[path = "../cycle/config.rs"]
mod config;
#[path = "../cycle/feed.rs"]
mod feed;
mod machines;
mod power;
mod process;
mod reached;
mod shared;
mod story;
mod twice;
mod waits;
mod world;
