//! The hub over its interfaces: what people, scripts and agents may ask, and its console, on each database.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test may fail loudly"
)]

mod common;

mod agents;
mod behind;
mod bounds;
#[cfg(target_os = "linux")]
mod browser;
mod console;
mod fronts;
mod herd;
mod history;
mod openapi;
mod outage;
mod owners;
mod people;
mod places;
mod polls;
mod settings;
mod store;
mod tell;
mod together;
mod wire;
