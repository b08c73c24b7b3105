//! The event log of Windows: the source in the registry, and a layer that writes to it. Numbers are those of
//! `events::Event`; what has none is not written, since the daily file has it.

use std::fmt::{Debug, Write};
use std::io;
use std::path::Path;

use stopgap_windows::{EventLog, Severity};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use windows_registry::LOCAL_MACHINE;

/// The source's name, in the log "Application".
pub const SOURCE: &str = "Stopgap Mitigation Service";

const SOURCES: &str = "SYSTEM\\CurrentControlSet\\Services\\EventLog\\Application";

/// Error, warning and information (EVENTLOG_ERROR_TYPE and so on).
const TYPES: u32 = 1 | 2 | 4;

/// Enters the source; `program` holds its messages.
pub fn register(program: &Path) -> io::Result<()> {
    let program = program.to_str().ok_or_else(|| io::Error::other("the program's path is no text"))?;
    let entered = LOCAL_MACHINE.create(format!("{SOURCES}\\{SOURCE}")).and_then(|key| {
        key.set_expand_string("EventMessageFile", program)?;
        key.set_u32("TypesSupported", TYPES)
    });
    entered.map_err(|error| io::Error::other(error.message()))
}

/// Takes the source out; `false`: it was not there.
pub fn unregister() -> io::Result<bool> {
    if LOCAL_MACHINE.open(format!("{SOURCES}\\{SOURCE}")).is_err() {
        return Ok(false);
    }
    let sources = LOCAL_MACHINE.options().read().write().open(SOURCES);
    let removed = sources.and_then(|sources| sources.remove_tree(SOURCE));
    removed.map(|()| true).map_err(|error| io::Error::other(error.message()))
}

/// The layer.
pub struct Events(EventLog);

impl Events {
    /// Opens the source.
    pub fn open() -> io::Result<Events> {
        EventLog::open(SOURCE).map(Events)
    }
}

impl<S: Subscriber> Layer<S> for Events {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let Some(id) = fields.id else { return };
        let severity = match *event.metadata().level() {
            Level::ERROR => Severity::Error,
            Level::WARN => Severity::Warning,
            _ => Severity::Information,
        };
        // A log that is full holds up nobody: the daily file has it.
        let _ = self.0.report(severity, id, &fields.message);
    }
}

#[derive(Default)]
struct Fields {
    id: Option<u32>,
    message: String,
}

impl Visit for Fields {
    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "event" {
            self.id = u32::try_from(value).ok();
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            // Writing to a string cannot fail.
            let _ = write!(self.message, "{value:?}");
        }
    }
}
