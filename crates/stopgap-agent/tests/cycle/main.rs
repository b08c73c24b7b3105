//! Whole cycles on a machine in memory: the gateway's own driver, feeds that are really signed, rules
//! that are really evaluated. What is not here: real processes, files and sockets (`e2e`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod config;
mod crash;
mod feed;
mod golden;
mod prospects;
mod script;
mod truth;
mod word;
mod world;
