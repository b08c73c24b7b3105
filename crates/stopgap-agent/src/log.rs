//! The machine's own log beside ours: that of `stopgap_tell::log`, and on Windows the event log.
//!
//! The daily file is in `events`; what goes to the terminal is the binary's.

pub use stopgap_tell::log::{MachineLog, stderr_is_the_journal};
use tracing::Subscriber;
use tracing_subscriber::registry::LookupSpan;

/// What records are found by: `journalctl -t stopgap`, `grep stopgap /var/log/syslog`.
pub const IDENTIFIER: &str = "stopgap";

/// The machine's own log where it listens.
pub fn machine<S>() -> Option<MachineLog<S>>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    #[cfg(windows)]
    if let Ok(events) = crate::windows::events::Events::open() {
        return Some(Box::new(events));
    }
    stopgap_tell::log::machine(IDENTIFIER)
}
