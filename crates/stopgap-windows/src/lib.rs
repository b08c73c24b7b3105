//! The system calls of Windows that no safe library has: who may do what with a folder or file, a service's start
//! type and privileges, the event log, and the proxy of the machine. The rest of the workspace forbids `unsafe`; here it
//! is in one module, each call with its reason.
//!
//! What can be said safely is said where it is needed, with `windows-service` and `windows-registry`. Nothing is decided
//! here. On other systems the crate is empty.
#![cfg(windows)]

mod sys;

pub use sys::{
    EventLog, Severity, create_protected, machine_proxy, owner, permissions, protect, protect_like,
    set_privileges, set_start_type, start_dispatcher,
};
