//! The machine's own log: the journal of systemd, with the event's number as the field `STOPGAP_EVENT`, or else
//! syslog, with `event=1005` in the text. Where neither listens, nothing.
//!
//! The event log of Windows is the agent's, and so is its daily file; what goes to the terminal is the binary's.

#[cfg(unix)]
mod syslog;

use tracing::Subscriber;
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

/// What a field's name begins with in the journal.
#[cfg(target_os = "linux")]
const PREFIX: &str = "STOPGAP";

/// A layer that writes to the machine's own log.
pub type MachineLog<S> = Box<dyn Layer<S> + Send + Sync>;

/// The journal where it listens, else syslog where that does; `None` where neither does. `identifier`: what records
/// are found by, `journalctl -t stopgap`, `grep stopgap /var/log/syslog`.
#[cfg_attr(windows, allow(unused_variables))]
pub fn machine<S>(identifier: &'static str) -> Option<MachineLog<S>>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    #[cfg(target_os = "linux")]
    if let Ok(journal) = tracing_journald::layer() {
        let journal =
            journal.with_field_prefix(Some(PREFIX.to_owned())).with_syslog_identifier(identifier.to_owned());
        return Some(Box::new(journal));
    }
    #[cfg(unix)]
    if let Ok(syslog) = syslog::Syslog::open(std::path::Path::new(syslog::SOCKET), identifier) {
        return Some(Box::new(syslog));
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
