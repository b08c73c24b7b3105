//! What is asked of systemd over the system's bus, and how: its manager's interface
//! (org.freedesktop.systemd1(5)), one connection for one question.
//!
//! An order is done when its job is: systemd says so in a signal.

use std::io;
use std::path::Path;
use std::time::Duration;

/// One question or order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask<'a> {
    /// These properties of each of these units; one that no unit has is `not-found`.
    Show {
        /// Full names, none of them a template's.
        units: &'a [String],
        /// As the interface of a unit names them.
        properties: &'a [&'a str],
    },
    /// Start it, and wait until it has started.
    Start(&'a str),
    /// Stop it, and wait until it has stopped.
    Stop(&'a str),
    /// Mask it for good, and have units read again.
    Mask(&'a str),
    /// Take that mask off, and have units read again.
    Unmask(&'a str),
    /// Have units read again.
    Reload,
}

/// A unit's properties by name, lists with a space between their items, truths as `yes` and `no`.
pub type Properties = Vec<(String, String)>;

/// Where the system's bus is (D-Bus Specification, "System message bus").
pub const SYSTEM_BUS: &str = "/run/dbus/system_bus_socket";

/// Asks over the bus at `socket`. [`io::ErrorKind::NotConnected`]: there is none, or systemd is not on it.
#[cfg(target_os = "linux")]
pub fn ask(socket: &Path, ask: &Ask<'_>, time: Duration) -> io::Result<Vec<Properties>> {
    std::thread::scope(|scope| {
        // A thread of its own: the caller's may belong to a runtime already.
        let asked = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            let answer = runtime.block_on(async { tokio::time::timeout(time, bus::ask(socket, ask)).await });
            answer
                .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, format!("not done within {time:?}")))?
        });
        asked
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread of a connection to the bus ended early")))
    })
}

/// There is no systemd here.
#[cfg(not(target_os = "linux"))]
pub fn ask(_: &Path, _: &Ask<'_>, _: Duration) -> io::Result<Vec<Properties>> {
    Err(io::Error::from(io::ErrorKind::NotConnected))
}

#[cfg(target_os = "linux")]
mod bus {
    use std::collections::HashMap;
    use std::io;
    use std::os::unix::net::UnixStream;
    use std::path::Path;

    use futures_util::StreamExt;
    use zbus::{Connection, OwnedObjectPath, OwnedVariant, Proxy, Variant, connection};

    use super::{Ask, Properties};

    const SYSTEMD: &str = "org.freedesktop.systemd1";
    const MANAGER: &str = "org.freedesktop.systemd1.Manager";
    const OBJECT: &str = "/org/freedesktop/systemd1";

    /// What systemd's errors are called where it is not there to answer.
    const ABSENT: [&str; 3] = [
        "org.freedesktop.DBus.Error.ServiceUnknown",
        "org.freedesktop.DBus.Error.NameHasNoOwner",
        "org.freedesktop.DBus.Error.Spawn.ChildExited",
    ];

    pub(super) async fn ask(socket: &Path, ask: &Ask<'_>) -> io::Result<Vec<Properties>> {
        let absent = |why: String| io::Error::new(io::ErrorKind::NotConnected, why);
        let stream = UnixStream::connect(socket).map_err(|e| absent(format!("{}: {e}", socket.display())))?;
        let built = connection::Builder::unix_stream(stream).build().await;
        let connection = built.map_err(|e| absent(e.to_string()))?;
        answer(&connection, ask).await.map_err(|error| match &error {
            zbus::Error::MethodError(name, _, _) if ABSENT.contains(&name.as_str()) => {
                absent(error.to_string())
            }
            zbus::Error::MethodError(_, Some(detail), _) => io::Error::other(detail.clone()),
            _ => io::Error::other(error.to_string()),
        })
    }

    async fn answer(connection: &Connection, ask: &Ask<'_>) -> zbus::Result<Vec<Properties>> {
        let manager = Proxy::new(connection, SYSTEMD, OBJECT, MANAGER).await?;
        match ask {
            Ask::Show { units, properties } => {
                let mut shown = Vec::new();
                for unit in *units {
                    shown.push(show(connection, &manager, unit, properties).await?);
                }
                return Ok(shown);
            }
            Ask::Start(unit) => job(&manager, "StartUnit", unit).await?,
            Ask::Stop(unit) => job(&manager, "StopUnit", unit).await?,
            Ask::Mask(unit) => {
                manager.call_method("MaskUnitFiles", &(vec![*unit], false, false)).await?;
                manager.call_method("Reload", &()).await?;
            }
            Ask::Unmask(unit) => {
                manager.call_method("UnmaskUnitFiles", &(vec![*unit], false)).await?;
                manager.call_method("Reload", &()).await?;
            }
            Ask::Reload => drop(manager.call_method("Reload", &()).await?),
        }
        Ok(Vec::new())
    }

    async fn show(
        connection: &Connection,
        manager: &Proxy<'_>,
        unit: &str,
        properties: &[&str],
    ) -> zbus::Result<Properties> {
        let path: OwnedObjectPath = manager.call("LoadUnit", &(unit,)).await?;
        let interface = "org.freedesktop.DBus.Properties";
        let all = connection
            .call_method(
                Some(SYSTEMD),
                path.as_str(),
                Some(interface),
                "GetAll",
                &("org.freedesktop.systemd1.Unit",),
            )
            .await?;
        let all: HashMap<String, OwnedVariant> = all.body().deserialize()?;
        let text = |name: &&str| Some(((*name).to_owned(), text(all.get(*name)?)?));
        Ok(properties.iter().filter_map(text).collect())
    }

    /// A value of one of the types that are asked for.
    fn text(value: &OwnedVariant) -> Option<String> {
        match &**value {
            Variant::Str(text) => Some(text.to_string()),
            Variant::Bool(truth) => Some(if *truth { "yes" } else { "no" }.to_owned()),
            Variant::Array(items) => {
                let items = items.iter().map(|item| match item {
                    Variant::Str(text) => Some(text.to_string()),
                    _ => None,
                });
                Some(items.collect::<Option<Vec<String>>>()?.join(" "))
            }
            _ => None,
        }
    }

    async fn job(manager: &Proxy<'_>, method: &str, unit: &str) -> zbus::Result<()> {
        manager.call_method("Subscribe", &()).await?;
        // Before the order: its job may have ended when the order's answer is here.
        let mut removed = manager.receive_signal("JobRemoved").await?;
        let job: OwnedObjectPath = manager.call(method, &(unit, "replace")).await?;
        while let Some(signal) = removed.next().await {
            let (_, path, _, result): (u32, OwnedObjectPath, String, String) = signal.body().deserialize()?;
            if path == job {
                return match result.as_str() {
                    "done" => Ok(()),
                    other => Err(zbus::Error::Failure(format!("its job ended with `{other}`"))),
                };
            }
        }
        Err(zbus::Error::Failure("the bus was closed before the job had ended".to_owned()))
    }
}
