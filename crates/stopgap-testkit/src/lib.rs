//! For tests only.

pub mod host;
