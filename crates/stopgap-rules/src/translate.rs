//! The same rules as another server's configuration: exact, or refused with the reason.

pub mod nginx;
