//! For tests only.

pub mod feeds;
pub mod fire;
pub mod host;
#[cfg(target_os = "linux")]
pub mod machine;
pub mod pki;
