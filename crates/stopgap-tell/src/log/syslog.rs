//! Records to a local syslog: one datagram each, `<priority>stopgap[pid]: event=1005 text`.
//!
//! That is the form of RFC 3164 as local daemons take it from `/dev/log`; the time stamp, which is optional
//! there and would have to be in the zone of the daemon, is left for the daemon to set. A record that the daemon
//! does not take at once is dropped: logging must not hold up a cycle, and the daily file has it.

use std::fmt::{Debug, Write};
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

/// Where the daemon listens.
pub(super) const SOCKET: &str = "/dev/log";

/// System daemons (RFC 5424, 6.2.1), shifted to its place in the priority.
const DAEMON: u8 = 3 << 3;
/// RFC 3164, 4.1: no more octets; daemons cut what is longer.
const RECORD_MAX: usize = 1024;

/// The connection.
pub(super) struct Syslog {
    socket: UnixDatagram,
    identifier: &'static str,
}

impl Syslog {
    /// Connects; an error where nobody listens.
    pub(super) fn open(path: &Path, identifier: &'static str) -> io::Result<Syslog> {
        let socket = UnixDatagram::unbound()?;
        socket.connect(path)?;
        socket.set_nonblocking(true)?;
        Ok(Syslog { socket, identifier })
    }
}

impl<S: Subscriber> Layer<S> for Syslog {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let text = record(self.identifier, event.metadata().level(), std::process::id(), &fields);
        let _ = self.socket.send(text.as_bytes());
    }
}

fn record(identifier: &str, level: &Level, pid: u32, fields: &Fields) -> String {
    let severity = match *level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    };
    let mut text = format!("<{}>{identifier}[{pid}]: {}{}", DAEMON | severity, fields.beside, fields.message);
    // One record is one line.
    text = text.replace(|c: char| c.is_control(), " ");
    text.truncate(text.floor_char_boundary(RECORD_MAX));
    text
}

/// The message, and the fields beside it as `name=value `.
#[derive(Default)]
struct Fields {
    message: String,
    beside: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.beside, "{name}={value:?} "),
        };
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn an_event_is_one_record_with_its_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let daemon = UnixDatagram::bind(&path).unwrap();
        let log = tracing_subscriber::registry().with(Syslog::open(&path, "stopgap").unwrap());
        tracing::subscriber::with_default(log, || {
            tracing::error!(event = 1008_u16, "{}", "two\nlines");
            tracing::info!(event = 1013_u16, "{}", "é".repeat(2000));
        });
        let mut octets = [0; 4096];
        let mut receive = || {
            let read = daemon.recv(&mut octets).unwrap();
            String::from_utf8(octets[..read].to_vec()).unwrap()
        };
        let pid = std::process::id();
        assert_eq!(receive(), format!("<27>stopgap[{pid}]: event=1008 two lines"));
        let long = receive();
        assert!(long.starts_with(&format!("<30>stopgap[{pid}]: event=1013 éé")), "{long}");
        assert!((1023..=1024).contains(&long.len()), "{}", long.len());
    }

    #[test]
    fn where_nobody_listens_there_is_no_syslog() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Syslog::open(&folder.path().join("log"), "stopgap").is_err());
    }
}
