//! The service: the cycle, fetching, the ledger and the journal.
//!
//! ```text
//!   timer ┐
//!   push  ├─► fetch (network, no lock) ─► cycle (one lock: verify, select, render, plan,
//!   file  │                                       execute, report) ─► ledger, log
//!   hand  ┘
//! ```
//!
//! Everything that can start a cycle runs the same function, with no hint of what changed.

pub mod config;
pub mod cycle;
pub mod diagnostics;
pub mod events;
pub mod facts;
pub mod feeds;
pub mod fetch;
pub mod follow;
pub mod home;
pub mod hub;
pub mod journal;
pub mod leave;
pub mod log;
pub mod metrics;
pub mod monitor;
pub mod operator;
pub mod replay;
pub mod service;
pub mod targets;
pub mod tell;
pub mod trust;
pub mod watch;
#[cfg(windows)]
pub mod windows;
