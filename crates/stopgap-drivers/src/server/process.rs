//! Running processes, as `/proc` tells them.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::host::{Command, Host, Output};

/// How soon it is looked again whether a server has taken its rules.
const POLL: Duration = Duration::from_millis(5);

/// How late at most.
const POLL_MAX: Duration = Duration::from_millis(50);

/// What is kept of a server's words in an error.
const WORDS_MAX: usize = 2_000;

/// What a program said on its way to failing.
pub(crate) fn words(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let text: String = text.trim().chars().take(WORDS_MAX).collect();
    if text.is_empty() { format!("it ended with {:?} and said nothing", output.status) } else { text }
}

/// The process whose number is in a file, where it is one of `programs`; `None`: there is none.
///
/// What cannot be read is an error and not "none": a server that is taken for one that does not run is not told of its
/// new rules.
pub(crate) fn in_pid_file(host: &dyn Host, pid_file: &Path, programs: &[&str]) -> io::Result<Option<u32>> {
    let Some(text) = read_if_there(host, pid_file, 64)? else { return Ok(None) };
    let pid: Option<u32> = String::from_utf8(text).ok().and_then(|text| text.trim().parse().ok());
    pid.map_or(Ok(None), |pid| where_one_of(host, pid, programs))
}

/// The process of this number, where it is one of `programs`.
pub(crate) fn where_one_of(host: &dyn Host, pid: u32, programs: &[&str]) -> io::Result<Option<u32>> {
    let comm = read_if_there(host, &proc(pid, "comm"), 64)?;
    Ok(comm.filter(|comm| is_named(comm, programs)).map(|_| pid))
}

/// A file that may be gone, with its process.
pub(crate) fn read_if_there(host: &dyn Host, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    match host.read(path, limit) {
        Ok(octets) => Ok(Some(octets)),
        Err(e) if e.kind() == io::ErrorKind::NotFound || e.raw_os_error() == Some(NO_SUCH_PROCESS) => {
            Ok(None)
        }
        Err(e) => Err(e),
    }
}

/// `ESRCH`: it ended while its file was read.
const NO_SUCH_PROCESS: i32 = 3;

/// Whether a process is one of `programs`: a number outlives its process, and another may have it now.
pub(crate) fn is_one_of(host: &dyn Host, pid: u32, programs: &[&str]) -> bool {
    host.read(&proc(pid, "comm"), 64).is_ok_and(|comm| is_named(&comm, programs))
}

fn is_named(comm: &[u8], programs: &[&str]) -> bool {
    let comm = String::from_utf8_lossy(comm).trim().to_owned();
    // The kernel keeps 15 octets of a name.
    programs.iter().any(|name| name.get(..15).unwrap_or(name) == comm)
}

/// The children of a process; `None` where the system does not tell.
pub(crate) fn children(host: &dyn Host, pid: u32) -> Option<Vec<u32>> {
    let text = host.read(&proc(pid, &format!("task/{pid}/children")), 1 << 16).ok()?;
    let text = String::from_utf8(text).ok()?;
    Some(text.split_whitespace().filter_map(|word| word.parse().ok()).collect())
}

/// The sockets that a process has open, by inode; `None` where it has ended or the system does not tell.
pub(crate) fn sockets(host: &dyn Host, pid: u32) -> Option<BTreeSet<u64>> {
    open(host, pid, "socket:[")
}

/// The pipes that a process has open, in the same way.
pub(crate) fn pipes(host: &dyn Host, pid: u32) -> Option<BTreeSet<u64>> {
    open(host, pid, "pipe:[")
}

fn open(host: &dyn Host, pid: u32, kind: &str) -> Option<BTreeSet<u64>> {
    let folder = proc(pid, "fd");
    let inode = |name: String| {
        let to = host.read_link(&folder.join(name)).ok()?;
        to.to_str()?.strip_prefix(kind)?.strip_suffix(']')?.parse().ok()
    };
    Some(host.list(&folder).ok()?.into_iter().filter_map(inode).collect())
}

/// A TCP socket, as the system lists it.
struct Row<'a> {
    /// Its own address and port, in the system's hex.
    local: &'a str,
    listens: bool,
    inode: u64,
}

/// The rows of `/proc/net/tcp`; what is no row is left out.
fn rows(table: &str) -> impl Iterator<Item = Row<'_>> {
    table.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        let (local, state) = (words.nth(1)?, words.nth(1)?);
        Some(Row { local, listens: state == LISTEN, inode: words.nth(5)?.parse().ok()? })
    })
}

/// A socket on which somebody listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Listening {
    pub(crate) port: Option<u16>,
    pub(crate) inode: u64,
}

/// The TCP sockets that take connections, of those that a process can see.
///
/// They are at the head of the system's tables, before all connections (Linux, Documentation/networking/proc_net_tcp),
/// and nothing behind them is read: this is asked again and again while a server takes its rules, and a busy one has a
/// hundred thousand connections.
pub(crate) fn tcp_listening(host: &dyn Host, pid: u32) -> Vec<Listening> {
    let mut found = Vec::new();
    for table in TABLES {
        let path = proc(pid, table);
        let mut text = head(host, &path, HEAD);
        if rows(&text).all(|row| row.listens) {
            text = head(host, &path, HEAD_MAX);
        }
        found.extend(rows(&text).take_while(|row| row.listens).map(|row| {
            let port = row.local.rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
            Listening { port, inode: row.inode }
        }));
    }
    found
}

/// The first lines of a table, each whole.
fn head(host: &dyn Host, path: &Path, limit: usize) -> String {
    let text = host.read_head(path, limit).unwrap_or_default();
    let end = memchr::memrchr(b'\n', &text).map_or(0, |at| at + 1);
    String::from_utf8_lossy(text.get(..end).unwrap_or_default()).into_owned()
}

/// Their inodes.
pub(crate) fn listening(host: &dyn Host, pid: u32) -> BTreeSet<u64> {
    tcp_listening(host, pid).into_iter().map(|socket| socket.inode).collect()
}

/// The TCP sockets that do not listen, of those that a process can see, by inode.
fn connections(host: &dyn Host, pid: u32) -> BTreeSet<u64> {
    let mut found = BTreeSet::new();
    for table in TABLES {
        let text = host.read(&proc(pid, table), TABLE_MAX).unwrap_or_default();
        // A connection that nobody has open any more, such as one in TIME_WAIT, has inode 0.
        let text = String::from_utf8_lossy(&text);
        found.extend(rows(&text).filter(|row| !row.listens && row.inode != 0).map(|row| row.inode));
    }
    found
}

const TABLES: [&str; 2] = ["net/tcp", "net/tcp6"];
/// State of a listening socket in `/proc/net/tcp`.
const LISTEN: &str = "0A";
/// Some 400 sockets that listen; where there are more, [`HEAD_MAX`].
const HEAD: usize = 64 << 10;
/// Some 7,000.
const HEAD_MAX: usize = 1 << 20;
/// A hundred thousand connections; beyond, nothing is told of them.
const TABLE_MAX: u64 = 16 << 20;

/// The children of a server's parent process that are of the same program.
#[derive(Debug, Default)]
pub(crate) struct Workers {
    /// They listen.
    accepting: Vec<u32>,
    /// They do not, any more or at all.
    others: Vec<u32>,
}

impl Workers {
    /// `listening`: the sockets that take connections. `None` where the system does not tell.
    pub(crate) fn of(
        host: &dyn Host,
        parent: u32,
        programs: &[&str],
        listening: &BTreeSet<u64>,
    ) -> Option<Workers> {
        let workers = children(host, parent)?.into_iter().filter(|pid| is_one_of(host, *pid, programs));
        let accepts = |pid: &u32| sockets(host, *pid).is_some_and(|own| !own.is_disjoint(listening));
        let (accepting, others) = workers.partition(accepts);
        Some(Workers { accepting, others })
    }

    /// Whether there are new ones that listen, and none of before does.
    pub(crate) fn have_replaced(&self, before: &Workers) -> bool {
        let old = |pid: &u32| before.accepting.contains(pid) || before.others.contains(pid);
        !self.accepting.is_empty() && !self.accepting.iter().any(old)
    }

    /// Those that listen.
    pub(crate) fn accepting(&self) -> &[u32] {
        &self.accepting
    }

    /// Whether one of those that listened still does; of the others nothing is read.
    pub(crate) fn still_accept(&self, host: &dyn Host, listening: &BTreeSet<u64>) -> bool {
        let accepts = |pid: &u32| sockets(host, *pid).is_some_and(|own| !own.is_disjoint(listening));
        self.accepting.iter().any(accepts)
    }

    /// None of them can be seen to listen.
    pub(crate) fn are_unseen(&self) -> bool {
        self.accepting.is_empty()
    }

    /// How many listen no more and still have connections: what they had begun.
    pub(crate) fn ending(
        host: &dyn Host,
        parent: u32,
        programs: &[&str],
        listening: &BTreeSet<u64>,
    ) -> usize {
        let others = Workers::of(host, parent, programs, listening).unwrap_or_default().others;
        if others.is_empty() {
            return 0;
        }
        // Helpers, such as Apache's mod_cgid, are children, too, and have no connections.
        let connections = connections(host, parent);
        let serves = |pid: &&u32| sockets(host, **pid).is_some_and(|own| !own.is_disjoint(&connections));
        others.iter().filter(serves).count()
    }
}

/// Sends a signal by its name, such as `USR1`.
pub(crate) fn signal(host: &dyn Host, name: &str, pid: u32) -> io::Result<()> {
    // The shell's own, since there may be no program `kill`.
    let output =
        host.run(&Command::new("/bin/sh", &["-c", "kill -s \"$1\" \"$2\"", "sh", name, &pid.to_string()]))?;
    if output.success() { Ok(()) } else { Err(io::Error::other(words(&output))) }
}

/// Waits until `done`, or for as long as `limit`. Whether it is done.
pub(crate) fn wait(host: &dyn Host, limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let start = host.monotonic();
    loop {
        if done() {
            return true;
        }
        let waited = host.monotonic().saturating_sub(start);
        if waited >= limit {
            return false;
        }
        // A look costs the server the processor that it needs for what is waited for: the longer it takes, the fewer.
        host.pause((waited / 10).clamp(POLL, POLL_MAX));
    }
}

pub(crate) fn proc(pid: u32, name: &str) -> PathBuf {
    PathBuf::from(format!("/proc/{pid}/{name}"))
}
