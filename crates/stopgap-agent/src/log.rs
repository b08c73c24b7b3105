//! The machine's own log beside ours: the journal of systemd, with the event's number as the field
//! `STOPGAP_EVENT`, or else syslog, with `event=1005` in the text; on Windows the event log. Where none listens, nothing.
//!
//! The daily file is in `events`; what goes to the terminal is the binary's.

#[cfg(unix)]
mod syslog;

use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

/// What records are found by: `journalctl -t stopgap`, `grep stopgap /var/log/syslog`.
pub const IDENTIFIER: &str = "stopgap";

/// A layer that writes to the machine's own log.
pub type MachineLog<S> = Box<dyn Layer<S> + Send + Sync>;

/// The journal where it listens, else syslog where that does; `None` where neither does.
pub fn machine<S>() -> Option<MachineLog<S>>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    #[cfg(target_os = "linux")]
    if let Ok(journal) = tracing_journald::layer() {
        let journal = journal
            .with_field_prefix(Some(IDENTIFIER.to_uppercase()))
            .with_syslog_identifier(IDENTIFIER.to_owned());
        return Some(Box::new(journal));
    }
    #[cfg(unix)]
    if let Ok(syslog) = syslog::Syslog::open(std::path::Path::new(syslog::SOCKET)) {
        return Some(Box::new(syslog));
    }
    #[cfg(windows)]
    if let Ok(events) = crate::windows::events::Events::open() {
        return Some(Box::new(events));
    }
    None
}

/// Whether standard error already ends in the journal, as systemd says by `JOURNAL_STREAM`
/// (systemd.exec(5)): what is sent to both would stand there twice.
pub fn stderr_is_the_journal() -> bool {
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::MetadataExt;
        let said = std::env::var("JOURNAL_STREAM").unwrap_or_default();
        let stream = said
            .split_once(':')
            .and_then(|(device, inode)| Some((device.parse::<u64>().ok()?, inode.parse::<u64>().ok()?)));
        let stderr = std::fs::metadata("/proc/self/fd/2").ok().map(|it| (it.dev(), it.ino()));
        stream.is_some() && stream == stderr
    }
    #[cfg(not(target_os = "linux"))]
    false
}
