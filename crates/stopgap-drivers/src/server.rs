//! What the drivers of servers with a configuration of their own have in common: where such a server is, its own
//! test of staged files, and the processes that run.

pub(crate) mod process;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use stopgap_core::observed::Listener;
use stopgap_core::plan::Change;

use crate::driver::{Checked, DriverError};
use crate::host::{Bind, Host};
use crate::set::Sets;

/// Where a server is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The target's name.
    pub name: String,
    /// The folder of its sets: `data/<target>`.
    pub folder: PathBuf,
    /// `/`, or a tree laid out as the server's file system.
    pub root: PathBuf,
    /// The program.
    pub binary: PathBuf,
    /// Its main configuration file.
    pub config: PathBuf,
    /// Where probes go; empty: as bound. A host that is an address is replaced by the site's name.
    pub listeners: Vec<Listener>,
}

impl Settings {
    /// Debian's places of a program and, below `root`, its configuration.
    pub(crate) fn at(name: &str, folder: PathBuf, root: PathBuf, binary: &str, config: &str) -> Settings {
        let (binary, config) = (binary.into(), root.join(config));
        Settings { name: name.to_owned(), folder, binary, config, root, listeners: Vec::new() }
    }

    pub(crate) fn error(&self, message: String) -> DriverError {
        DriverError::Settings { target: self.name.clone(), message }
    }

    pub(crate) fn cannot_run(&self, error: io::Error) -> DriverError {
        self.error(format!("cannot run {}: {error}; is it installed there?", self.binary.display()))
    }

    pub(crate) fn broken(&self, message: String) -> DriverError {
        DriverError::BrokenBefore { target: self.name.clone(), message }
    }

    pub(crate) fn not_taken(&self, message: impl Into<String>) -> DriverError {
        DriverError::NotTaken { target: self.name.clone(), message: message.into() }
    }

    pub(crate) fn test_failed(&self, error: TestError) -> DriverError {
        match error {
            TestError::Other(e) => self.cannot_run(e),
            TestError::Forbidden => self.cannot_run(io::ErrorKind::PermissionDenied.into()),
        }
    }

    /// What is configured instead of `bound`, if anything is; `name` gives the host for an address.
    pub(crate) fn listeners_or(
        &self,
        bound: impl FnOnce() -> Vec<Listener>,
        name: impl Fn(SocketAddr) -> String,
    ) -> Vec<Listener> {
        if self.listeners.is_empty() {
            return bound();
        }
        let host =
            |l: &Listener| if l.host.parse::<IpAddr>().is_ok() { name(l.address) } else { l.host.clone() };
        self.listeners.iter().map(|l| Listener { host: host(l), ..l.clone() }).collect()
    }
}

/// The test itself could not be made.
pub(crate) enum TestError {
    /// No private mount namespace here.
    Forbidden,
    Other(io::Error),
}

impl From<io::Error> for TestError {
    fn from(error: io::Error) -> TestError {
        match error.kind() {
            io::ErrorKind::PermissionDenied => TestError::Forbidden,
            _ => TestError::Other(error),
        }
    }
}

/// What a server's own test of its configuration says: `Err`, rejected, in its words.
pub(crate) type Tested = Result<Result<(), String>, TestError>;

/// A server that can test its configuration.
pub(crate) trait Server {
    fn settings(&self) -> &Settings;

    fn sets(&self) -> &Sets;

    /// The server's own test, with a folder laid over another if asked.
    fn test(&self, host: &dyn Host, bind: Option<Bind>) -> Tested;

    /// Has the server take what is live. One that does not run reads it when it starts.
    fn reload(&self, host: &dyn Host) -> Result<(), DriverError>;
}

/// Somebody may have broken a file of ours, which is for us to repair.
pub(crate) fn is_edited(server: &impl Server, host: &dyn Host) -> Result<bool, DriverError> {
    Ok(!server.sets().observe(host)?.foreign.is_empty())
}

/// Does `work` with a folder without rules to lay over ours.
pub(crate) fn without_ours<T>(
    server: &impl Server,
    host: &dyn Host,
    work: impl FnOnce(Bind) -> T,
) -> Result<T, DriverError> {
    let staged = server.sets().stage(host, None)?;
    let done = work(Bind { staged, live: server.settings().folder.clone() });
    server.sets().unstage(host)?;
    Ok(done)
}

/// See [`crate::Driver::check`]: without our change first, then over the staged files.
pub(crate) fn check(server: &impl Server, host: &dyn Host, change: &Change) -> Result<Checked, DriverError> {
    let settings = server.settings();
    let mut before = server.test(host, None);
    if matches!(before, Ok(Err(_))) && is_edited(server, host)? {
        // Where that cannot be seen, the first answer holds.
        match without_ours(server, host, |bind| server.test(host, Some(bind)))? {
            Err(TestError::Forbidden) => (),
            tested => before = tested,
        }
    }
    if let Err(message) = before.map_err(|e| settings.test_failed(e))? {
        return Err(settings.broken(message));
    }
    let staged = server.sets().stage(host, change.after.as_ref())?;
    let tested = server.test(host, Some(Bind { staged, live: settings.folder.clone() }));
    server.sets().unstage(host)?;
    let (tested, checked) = match tested {
        Ok(tested) => (tested, Checked::Staged),
        Err(TestError::Forbidden) => {
            tracing::warn!(
                target = settings.name,
                "no private mount namespace is to be had here: the rules are swapped in for the server's own test, and \
                 back"
            );
            (test_swapped(server, host, change)?, Checked::SwappedAndRestored)
        }
        Err(other) => return Err(settings.test_failed(other)),
    };
    let target = || settings.name.clone();
    tested.map(|()| checked).map_err(|message| DriverError::Rejected { target: target(), message })
}

/// Without a mount namespace: swapped, tested, restored. The journal already holds the change.
fn test_swapped(
    server: &impl Server,
    host: &dyn Host,
    change: &Change,
) -> Result<Result<(), String>, DriverError> {
    let tested = server.sets().swap(host, change).map(|()| server.test(host, None));
    server.sets().restore(host, change)?;
    tested?.map_err(|e| server.settings().test_failed(e))
}

/// See [`crate::Driver::revert`]. With a configuration that somebody broke there is no reload: the files are back,
/// and the server keeps serving by what it holds until they repair it.
pub(crate) fn revert(server: &impl Server, host: &dyn Host, change: &Change) -> Result<(), DriverError> {
    server.sets().restore(host, change)?;
    match server.reload(host) {
        Err(DriverError::BrokenBefore { target, message }) => Err(DriverError::NotTaken {
            target,
            message: format!("the files are as before, but its configuration is broken: {message}"),
        }),
        other => other,
    }
}

/// A wildcard is reached over loopback.
pub(crate) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// An address as `Host` has it.
pub(crate) fn address_host(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => format!("[{ip}]"),
    }
}
