//! The hands: what observes a server, applies a change to it and takes it off again.
//!
//! A driver is six verbs: observe, render and check change nothing; apply, revert and settle do. Everything that a driver does to the
//! machine goes through one door, [`Host`], so that a test can stand in for it, or stop it at any
//! point. Deciding is not done here: what to have in force comes in as [`Wanted`], and a
//! [`Change`] is carried out as it was printed.

pub mod apache;
mod driver;
pub mod gateway;
pub mod haproxy;
pub mod hook;
pub mod host;
pub mod iis;
pub mod nginx;
pub mod phpfpm;
pub mod probe;
mod render;
pub mod server;
pub mod set;
mod switched;
pub mod systemd;
pub mod winservice;

pub use driver::{Checked, Driver, DriverError, NotWritten};
pub use host::{Host, Machine};
pub use stopgap_core::plan::{Change, Rendered, Wanted};
