//! The machine as a driver sees one: its files, and its programs.
//!
//! A path's links are followed as the machine below names them, so that only paths without absolute links
//! above their last name are the machine's own.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use stopgap_core::observed::Listener;
use stopgap_drivers::host::{self, Bounds, Command, Host, Kind, Output, systemd};

use super::Machine;

const BELOW: host::Machine = host::Machine;

impl Machine {
    /// Where a file of the machine is on the machine below.
    pub fn below(&self, path: &Path) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.init));
        root.join(path.strip_prefix("/").unwrap_or(path))
    }
}

impl Host for Machine {
    fn read(&self, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
        BELOW.read(&self.below(path), limit)
    }

    fn kind(&self, path: &Path) -> io::Result<Option<Kind>> {
        BELOW.kind(&self.below(path))
    }

    fn read_link(&self, path: &Path) -> io::Result<PathBuf> {
        BELOW.read_link(&self.below(path))
    }

    fn mode(&self, path: &Path) -> io::Result<u32> {
        BELOW.mode(&self.below(path))
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        BELOW.list(&self.below(folder))
    }

    fn create_dir_all(&self, folder: &Path, mode: u32) -> io::Result<()> {
        BELOW.create_dir_all(&self.below(folder), mode)
    }

    fn write_new(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        BELOW.write_new(&self.below(path), bytes, mode)
    }

    fn append(&self, path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
        BELOW.append(&self.below(path), bytes, mode)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        BELOW.rename(&self.below(from), &self.below(to))
    }

    fn exchange_names(&self, a: &Path, b: &Path) -> io::Result<()> {
        BELOW.exchange_names(&self.below(a), &self.below(b))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        BELOW.remove_file(&self.below(path))
    }

    fn remove_dir(&self, folder: &Path) -> io::Result<()> {
        BELOW.remove_dir(&self.below(folder))
    }

    fn remove_tree(&self, ours: &Path, path: &Path) -> io::Result<()> {
        BELOW.remove_tree(&self.below(ours), &self.below(path))
    }

    fn symlink(&self, to: &Path, link: &Path) -> io::Result<()> {
        BELOW.symlink(to, &self.below(link))
    }

    fn sync_dir(&self, folder: &Path) -> io::Result<()> {
        BELOW.sync_dir(&self.below(folder))
    }

    /// [`Machine::run`], with the command's own bound.
    fn run(&self, command: &Command) -> io::Result<Output> {
        let program = command.program.to_string_lossy();
        let words: Vec<&str> =
            [program.as_ref()].into_iter().chain(command.args.iter().map(String::as_str)).collect();
        let output = self.run_for(command.timeout, &words, b"");
        // As timeout(1) reports a program that it had to kill.
        if output.status.code() == Some(137) || output.status.code().is_none() {
            let message = format!("{program} ran longer than {:?}", command.timeout);
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        Ok(Output {
            status: output.status.code(),
            stdout: output.stdout,
            stderr: output.stderr,
            truncated: false,
        })
    }

    fn exchange(&self, _: &Listener, _: &[u8], _: Bounds, _: fn(&[u8]) -> bool) -> io::Result<Vec<u8>> {
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    fn control(&self, socket: &Path, line: &str, bounds: Bounds) -> io::Result<String> {
        BELOW.control(&self.below(socket), line, bounds)
    }

    fn converse(&self, socket: &Path, line: &str, bounds: Bounds) -> io::Result<String> {
        BELOW.converse(&self.below(socket), line, bounds)
    }

    fn systemd(&self, ask: &systemd::Ask<'_>, time: Duration) -> io::Result<Vec<systemd::Properties>> {
        systemd::ask(&self.below(Path::new(systemd::SYSTEM_BUS)), ask, time)
    }

    fn monotonic(&self) -> Duration {
        BELOW.monotonic()
    }

    fn pause(&self, time: Duration) {
        BELOW.pause(time);
    }
}
