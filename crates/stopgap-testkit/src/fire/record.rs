//! A host that writes down every call that changes anything, and has the other one do it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use stopgap_core::observed::Listener;
use stopgap_drivers::host::{Bounds, Command, Host, Kind, Output, systemd};

use super::Tree;
use crate::host::FakeHost;

/// A call that was made, and succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Op {
    CreateDirs(PathBuf),
    /// A new file, written through.
    Write(PathBuf, Vec<u8>),
    /// More octets at its end, written through.
    Append(PathBuf, Vec<u8>),
    Rename(PathBuf, PathBuf),
    Exchange(PathBuf, PathBuf),
    /// A file, a link or an empty folder.
    Remove(PathBuf),
    RemoveTree(PathBuf),
    Symlink(PathBuf, PathBuf),
    SyncDir(PathBuf),
    /// A program, a probe or a command over a socket, and the files of the machine after it where it changed them.
    Outside(String, Option<Tree>),
}

impl Op {
    /// Its kind, and the file or folder that it is about.
    pub fn words(&self) -> (&'static str, String) {
        let shown = |path: &Path| path.display().to_string();
        match self {
            Op::CreateDirs(path) => ("make folder", shown(path)),
            Op::Write(path, _) => ("write", shown(path)),
            Op::Append(path, _) => ("append", shown(path)),
            Op::Rename(_, to) => ("rename to", shown(to)),
            Op::Exchange(_, to) => ("exchange", shown(to)),
            Op::Remove(path) => ("remove", shown(path)),
            Op::RemoveTree(path) => ("remove folder", shown(path)),
            Op::Symlink(_, link) => ("link", shown(link)),
            Op::SyncDir(path) => ("sync folder", shown(path)),
            Op::Outside(words, _) => ("outside", words.clone()),
        }
    }

    /// Whether it waits for the disk.
    pub fn syncs(&self) -> bool {
        matches!(self, Op::Write(..) | Op::Append(..) | Op::SyncDir(_))
    }
}

/// A host that records.
pub struct Recorder<'a> {
    host: &'a FakeHost,
    ops: Mutex<Vec<Op>>,
    limit: usize,
}

impl<'a> Recorder<'a> {
    /// Over `host`.
    pub fn new(host: &'a FakeHost) -> Recorder<'a> {
        Recorder::killed_after(host, usize::MAX)
    }

    /// Whoever uses it is killed after so many recorded calls: no further one is made.
    pub fn killed_after(host: &'a FakeHost, limit: usize) -> Recorder<'a> {
        Recorder { host, ops: Mutex::default(), limit }
    }

    /// What was recorded.
    pub fn ops(&self) -> Vec<Op> {
        self.ops.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn alive(&self) -> io::Result<&FakeHost> {
        let made = self.ops.lock().unwrap_or_else(PoisonError::into_inner).len();
        if made < self.limit { Ok(self.host) } else { Err(io::Error::other("it was killed before this")) }
    }

    fn note<T>(
        &self,
        work: impl FnOnce(&FakeHost) -> io::Result<T>,
        op: impl FnOnce() -> Op,
    ) -> io::Result<T> {
        let done = work(self.alive()?);
        if done.is_ok() {
            self.ops.lock().unwrap_or_else(PoisonError::into_inner).push(op());
        }
        done
    }

    fn outside<T>(&self, words: String, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        let before = self.alive()?.tree("/");
        let done = work();
        let after = self.host.tree("/");
        let changed = (before != after).then_some(after);
        self.ops.lock().unwrap_or_else(PoisonError::into_inner).push(Op::Outside(words, changed));
        done
    }
}

impl Host for Recorder<'_> {
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        self.alive()?.read(path, limit)
    }

    fn kind(&self, path: &Path) -> io::Result<Option<Kind>> {
        self.alive()?.kind(path)
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        self.alive()?.read_link(path)
    }

    fn mode(&self, path: &Path) -> io::Result<u32> {
        self.alive()?.mode(path)
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        self.alive()?.list(folder)
    }

    fn create_dir_all(&self, folder: &Path, mode: u32) -> io::Result<()> {
        self.note(|host| host.create_dir_all(folder, mode), || Op::CreateDirs(folder.to_owned()))
    }

    fn write_new(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        self.note(|host| host.write_new(path, bytes, mode), || Op::Write(path.to_owned(), bytes.to_vec()))
    }

    fn append(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        self.note(|host| host.append(path, bytes, mode), || Op::Append(path.to_owned(), bytes.to_vec()))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.note(|host| host.rename(from, to), || Op::Rename(from.to_owned(), to.to_owned()))
    }

    fn exchange_names(&self, a: &Path, b: &Path) -> io::Result<()> {
        self.note(|host| host.exchange_names(a, b), || Op::Exchange(a.to_owned(), b.to_owned()))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.note(|host| host.remove_file(path), || Op::Remove(path.to_owned()))
    }

    fn remove_dir(&self, folder: &Path) -> io::Result<()> {
        self.note(|host| host.remove_dir(folder), || Op::Remove(folder.to_owned()))
    }

    fn remove_tree(&self, ours: &Path, path: &Path) -> io::Result<()> {
        self.note(|host| host.remove_tree(ours, path), || Op::RemoveTree(path.to_owned()))
    }

    fn symlink(&self, to: &Path, link: &Path) -> io::Result<()> {
        self.note(|host| host.symlink(to, link), || Op::Symlink(to.to_owned(), link.to_owned()))
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        self.note(|host| host.sync_dir(folder), || Op::SyncDir(folder.to_owned()))
    }

    fn run(&self, command: &Command) -> io::Result<Output> {
        let name = command.program.file_name().unwrap_or_default().to_string_lossy();
        let verb = command.args.iter().find(|word| !word.starts_with("--")).cloned().unwrap_or_default();
        self.outside(format!("run {name} {verb}"), || self.host.run(command))
    }

    fn exchange(
        &self,
        listener: &Listener,
        request: &[u8],
        bounds: Bounds,
        complete: fn(&[u8]) -> bool,
    ) -> io::Result<Vec<u8>> {
        self.outside("probe".to_owned(), || self.host.exchange(listener, request, bounds, complete))
    }

    fn control(&self, socket: &Path, line: &str, bounds: Bounds) -> io::Result<String> {
        self.outside(format!("control {line}"), || self.host.control(socket, line, bounds))
    }

    fn converse(&self, socket: &Path, line: &str, bounds: Bounds) -> io::Result<String> {
        self.outside(format!("control {line}"), || self.host.converse(socket, line, bounds))
    }

    fn systemd(&self, ask: &systemd::Ask<'_>, time: Duration) -> io::Result<Vec<systemd::Properties>> {
        self.outside("systemd".to_owned(), || self.host.systemd(ask, time))
    }

    fn monotonic(&self) -> Duration {
        self.host.monotonic()
    }

    fn pause(&self, time: Duration) {
        self.host.pause(time);
    }
}
