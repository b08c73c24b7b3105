//! For tests only.

pub mod feeds;
pub mod host;
pub mod pki;
