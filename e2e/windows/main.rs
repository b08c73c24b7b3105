//! The program on Windows: the service through the service control manager, services as targets, IIS's files on drive C:,
//! the demonstration.
//! Built for Windows on another system and run under Wine by `cargo xtask test --windows`; docs/windows.md lists what that
//! cannot prove.
#![cfg(windows)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout)]

mod demo;
mod drive;
mod iis;
mod service;
mod services;
mod world;
