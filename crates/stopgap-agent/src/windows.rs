//! The agent on Windows: as a service, its registration, its folder, its place in the event log.
//!
//! The cycle and everything below it is the same everywhere; what differs in the machine is `stopgap-drivers`' `host`.
//! The calls that no safe library has are in `stopgap-windows`.

pub mod events;
pub mod facts;
pub mod folder;
pub mod registration;
pub mod run;

/// The service's name, as `sc.exe query` and `Get-Service` know it.
pub const SERVICE: &str = "StopgapMitigation";

/// The name that people read.
pub const DISPLAY: &str = "Stopgap Mitigation Service";
