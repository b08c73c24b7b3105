//! The one door to the machine: files, processes, the listeners of this server and local sockets,
//! as primitives.
//!
//! Whatever a driver or the agent's ledger does to the machine is a sequence of these calls, so a
//! test can stand in for the machine, record every call and fail at any of them. Deciding is not
//! done here.

#[cfg(unix)]
mod control;
mod files;
#[cfg(target_os = "linux")]
mod namespace;
#[cfg(windows)]
mod pipe;
#[cfg(any(windows, test))]
mod pointer;
mod process;
pub mod services;
pub mod systemd;
mod tls;
mod wire;

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use stopgap_core::observed::Listener;

pub use files::Machine;

/// The machine. Paths are absolute; every call is bounded.
pub trait Host: Send + Sync {
    /// The octets of a file. A file above `limit` octets is [`io::ErrorKind::FileTooLarge`].
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>>;

    /// The first octets of a file, `limit` of them at most: for one that the kernel writes while it is read, so that
    /// the rest costs nothing.
    fn read_head(&self, path: &Path, limit: usize) -> io::Result<Vec<u8>> {
        let mut bytes = self.read(path, u64::MAX)?;
        bytes.truncate(limit);
        Ok(bytes)
    }

    /// What stands at `path` itself (a link is not followed); `None`: nothing.
    fn kind(&self, path: &Path) -> io::Result<Option<Kind>>;

    /// Where a symbolic link points, as written.
    fn read_link(&self, path: &Path) -> io::Result<PathBuf>;

    /// The permission bits of a file, links followed.
    fn mode(&self, path: &Path) -> io::Result<u32>;

    /// The names in a folder, sorted. More than [`LIST_MAX`] names are an error.
    fn list(&self, folder: &Path) -> io::Result<Vec<String>>;

    /// Makes a folder and the missing ones above it, each with `mode`.
    fn create_dir_all(&self, folder: &Path, mode: u32) -> io::Result<()>;

    /// Makes a file that must not exist yet, and returns when it is on the disk.
    fn write_new(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()>;

    /// Makes a file that must not exist yet with the owner, the group and the permission bits of another one, and
    /// returns when it is on the disk. On Windows with its access control list, and its owner where that may be given.
    fn write_like(&self, path: &Path, bytes: &[u8], like: &Path) -> io::Result<()> {
        self.write_new(path, bytes, self.mode(like)?)
    }

    /// Adds to the end of a file, made with `mode` where it is missing, and returns when it is on
    /// the disk.
    fn append(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()>;

    /// Renames within one file system; a file or link at `to` is replaced in one step.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Exchanges two names of one file system in one step. [`io::ErrorKind::Unsupported`] where
    /// the system cannot.
    fn exchange_names(&self, a: &Path, b: &Path) -> io::Result<()>;

    /// Removes a file or a link.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes an empty folder; one that is not empty is
    /// [`io::ErrorKind::DirectoryNotEmpty`].
    fn remove_dir(&self, folder: &Path) -> io::Result<()>;

    /// Removes the folder `path` with everything in it. It must lie strictly below `ours`, by its
    /// words, so that no slip removes anything else.
    fn remove_tree(&self, ours: &Path, path: &Path) -> io::Result<()>;

    /// Makes the symbolic link `link` that points to `to`.
    fn symlink(&self, to: &Path, link: &Path) -> io::Result<()>;

    /// Returns when a folder's names are on the disk.
    fn sync_dir(&self, folder: &Path) -> io::Result<()>;

    /// Runs a program to its end.
    fn run(&self, command: &Command) -> io::Result<Output>;

    /// Sends `request` to a listener and collects the answer until `complete` says that it is
    /// enough, the peer closes, or the bounds are reached. An empty answer means that the peer
    /// closed or reset the connection without one octet. No connection, no TLS and a time-out are
    /// errors.
    fn exchange(
        &self,
        listener: &Listener,
        request: &[u8],
        bounds: Bounds,
        complete: fn(&[u8]) -> bool,
    ) -> io::Result<Vec<u8>>;

    /// Sends one line to a local socket and returns the line that comes back, without its end.
    fn control(&self, socket: &Path, line: &str, bounds: Bounds) -> io::Result<String>;

    /// Sends one line to a local socket and returns all that comes back until the peer closes.
    fn converse(&self, socket: &Path, line: &str, bounds: Bounds) -> io::Result<String>;

    /// Asks systemd over the system's bus. [`io::ErrorKind::NotConnected`] where there is none.
    fn systemd(&self, _ask: &systemd::Ask<'_>, _time: Duration) -> io::Result<Vec<systemd::Properties>> {
        Err(io::Error::from(io::ErrorKind::NotConnected))
    }

    /// Asks the service control manager of Windows. [`io::ErrorKind::NotConnected`] where there is none.
    fn services(&self, _ask: &services::Ask<'_>, _time: Duration) -> io::Result<Vec<services::Service>> {
        Err(io::Error::from(io::ErrorKind::NotConnected))
    }

    /// A clock that only moves forward, from an arbitrary start.
    fn monotonic(&self) -> Duration;

    /// Waits.
    fn pause(&self, time: Duration);
}

/// Above so many names in one folder, something is wrong with it.
pub const LIST_MAX: usize = 10_000;

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    File,
    Folder,
    Link,
    /// A socket, a device, a pipe.
    Other,
}

/// How much and how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Octets that come back at most; what is above is not read.
    pub octets: usize,
    /// From the first try to connect to the last octet.
    pub time: Duration,
}

/// A program to run. Its environment is emptied but for a fixed `PATH` and the `C` locale, its
/// input is empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The program, absolute.
    pub program: PathBuf,
    /// Its arguments.
    pub args: Vec<String>,
    /// After this it is killed with its process group: [`io::ErrorKind::TimedOut`].
    pub timeout: Duration,
    /// Runs it in a private mount namespace with a folder laid over another.
    /// [`io::ErrorKind::PermissionDenied`] where the system forbids that.
    pub bind: Option<Bind>,
}

/// One folder laid over another for one program alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bind {
    /// What the program sees.
    pub staged: PathBuf,
    /// Where it sees it. Exists.
    pub live: PathBuf,
}

impl Command {
    /// `program` with `args`, for 30 seconds at most, in the open.
    pub fn new(program: impl Into<PathBuf>, args: &[&str]) -> Command {
        Command {
            program: program.into(),
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            timeout: Duration::from_secs(30),
            bind: None,
        }
    }
}

/// What a program left.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// Its exit code; `None`: ended by a signal.
    pub status: Option<i32>,
    /// At most [`OUTPUT_MAX`] octets.
    pub stdout: Vec<u8>,
    /// At most [`OUTPUT_MAX`] octets.
    pub stderr: Vec<u8>,
    /// More came than was kept.
    pub truncated: bool,
}

impl Output {
    /// It ended with exit code 0.
    pub fn success(&self) -> bool {
        self.status == Some(0)
    }
}

/// What is kept of a program's output. The whole configuration of a large nginx has a few MiB.
pub const OUTPUT_MAX: usize = 32 << 20;

/// Makes a folder whose name is on the disk, too, with the missing ones above it: what is written into it is a record of
/// what was done elsewhere, and must not be lost with the folder. One that is there with nothing in it was made by
/// somebody who was stopped before he could wait for the disk, for all that is known.
pub fn make_durable_folder(host: &dyn Host, folder: &Path, mode: u32) -> io::Result<()> {
    let mut new = Vec::new();
    for at in folder.ancestors() {
        match host.kind(at)? {
            Some(Kind::Folder) if !host.list(at)?.is_empty() => break,
            _ => new.push(at),
        }
    }
    for at in new.into_iter().rev() {
        host.create_dir_all(at, mode)?;
        if let Some(above) = at.parent() {
            host.sync_dir(above)?;
        }
    }
    Ok(())
}

/// Makes or replaces a file so that it is the old one or the new one at any moment: a temporary
/// file beside it, written through, renamed over it, and the folder written through.
pub fn replace(host: &dyn Host, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str())) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not the path of a file"));
    };
    let temporary = folder.join(format!(".{name}.stopgap-new"));
    // Left behind by a crash; nobody else uses the name.
    remove_if_there(host, &temporary)?;
    host.write_new(&temporary, bytes, mode)?;
    host.rename(&temporary, path)?;
    host.sync_dir(folder)
}

/// The same, where the file does not hold these octets already.
pub fn replace_if_other(host: &dyn Host, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    match host.read(path, bytes.len() as u64) {
        Ok(there) if there == bytes => Ok(()),
        _ => replace(host, path, bytes, mode),
    }
}

/// Removes a file or a link, if there is one.
pub fn remove_if_there(host: &dyn Host, path: &Path) -> io::Result<()> {
    match host.remove_file(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
