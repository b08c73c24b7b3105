//! The HAProxy that runs here: what its maps hold, new entries for them through its socket, and its reload.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use stopgap_rules::translate::haproxy::{Entry, HaproxyConfig, Replacement, gate_file};

use crate::driver::DriverError;
use crate::host::{Bounds, Command, Host};
use crate::server::process::{
    Workers, children, in_pid_file, listening, proc, read_if_there, signal, wait, where_one_of, words,
};
use crate::server::{Settings, Tested};

/// What a map prints; a rule has some KiB, and there may be 10,000.
pub(super) const ANSWER: Bounds = Bounds { octets: 64 << 20, time: Duration::from_secs(30) };

/// HAProxy reads its whole configuration anew, certificates and all.
const HANDOVER: Duration = Duration::from_secs(20);

/// `haproxy -c`, with a folder laid over another if asked.
pub(super) fn test(settings: &Settings, host: &dyn Host, bind: Option<crate::host::Bind>) -> Tested {
    let config = settings.config.to_string_lossy();
    let mut command = Command::new(&settings.binary, &["-c", "-f", &config]);
    command.bind = bind;
    let output = host.run(&command)?;
    Ok(if output.success() { Ok(()) } else { Err(words(&output)) })
}

/// What of the rules a running HAProxy says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Shown {
    /// Its maps hold exactly these rules.
    These,
    /// They hold others.
    Others,
    /// It has no such maps: it has not read the hook.
    NoHook,
}

/// Compares what is in force with what is expected.
pub(super) fn show(host: &dyn Host, socket: &Path, map: &str, expected: &HaproxyConfig) -> io::Result<Shown> {
    for (file, text) in [(map.to_owned(), expected.map()), (gate_file(map), expected.gate())] {
        let answer = host.converse(socket, &format!("show map {file}"), ANSWER)?;
        if answer.starts_with("Unknown map") {
            return Ok(Shown::NoHook);
        }
        // `<address> <pattern> <value>`
        let found = answer.lines().filter_map(|line| line.split_once(' ')).map(|(_, entry)| entry);
        if !found.eq(entries(&text)) {
            return Ok(Shown::Others);
        }
    }
    Ok(Shown::These)
}

/// What kept new entries out of a running HAProxy.
#[derive(Debug)]
pub(super) enum NotPut {
    /// The socket does not answer.
    Io(io::Error),
    /// It answered something else than expected, such as that it has no permission or no such map.
    Refused(String),
}

impl From<io::Error> for NotPut {
    fn from(error: io::Error) -> NotPut {
        NotPut::Io(error)
    }
}

/// Brings rules into a running HAProxy. A request meets the old ones or the new ones, never a half.
pub(super) fn put(host: &dyn Host, socket: &Path, map: &str, config: &HaproxyConfig) -> Result<(), NotPut> {
    config.replacements(map).iter().try_for_each(|replacement| put_one(host, socket, replacement))
}

fn put_one(host: &dyn Host, socket: &Path, replacement: &Replacement) -> Result<(), NotPut> {
    let ask = |command: &str| host.converse(socket, command, ANSWER);
    let answer = ask(&replacement.prepare())?;
    let version = answer.trim().strip_prefix("New version created: ").and_then(|text| text.parse().ok());
    let Some(version) = version else { return Err(NotPut::Refused(answer.trim().to_owned())) };
    for command in replacement.commands(version) {
        let answer = ask(&command)?;
        if !answer.trim().is_empty() {
            return Err(NotPut::Refused(answer.trim().to_owned()));
        }
    }
    Ok(())
}

/// The rules of the files of a set, as [`HaproxyConfig`] prints them.
pub(super) fn of_files(map: &str, gate: &str) -> HaproxyConfig {
    let pair = |entry: &str| entry.split_once(' ').map(|(key, value)| (key.to_owned(), value.to_owned()));
    let entry = |(key, value)| Entry { key, value, comment: String::new() };
    HaproxyConfig {
        entries: entries(map).filter_map(pair).map(entry).collect(),
        gate: entries(gate).filter_map(pair).map(|(pattern, _)| pattern).collect(),
    }
}

/// The lines of a map's file that are not comments.
fn entries(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// The process whose number is in the pid file; `None`: there is none.
pub(super) fn in_file(settings: &Settings, host: &dyn Host, pid_file: &Path) -> io::Result<Option<u32>> {
    in_pid_file(host, pid_file, &programs(settings))
}

/// The parent of the process that answers on a socket, where it is a HAProxy, too; `None`: there is none.
pub(super) fn parent(settings: &Settings, host: &dyn Host, socket: &Path) -> io::Result<Option<u32>> {
    let number = |text: &str, label: &str| {
        text.lines().find_map(|line| line.strip_prefix(label)).and_then(|number| number.trim().parse().ok())
    };
    let answer = match host.converse(socket, "show info", ANSWER) {
        Err(e) if does_not_listen(&e) => return Ok(None),
        other => other?,
    };
    let Some(worker) = number(&answer, "Pid: ") else { return Ok(None) };
    let Some(status) = read_if_there(host, &proc(worker, "status"), 1 << 16)? else { return Ok(None) };
    let parent = number(&String::from_utf8_lossy(&status), "PPid:");
    parent.map_or(Ok(None), |parent| where_one_of(host, parent, &programs(settings)))
}

/// Nobody has this socket open.
pub(super) fn does_not_listen(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

/// Has the master process start new workers by the files as they are, and waits until no worker of before takes
/// connections.
pub(super) fn reload(settings: &Settings, host: &dyn Host, master: u32) -> Result<(), DriverError> {
    if children(host, master).is_some_and(|children| children.is_empty()) {
        return Err(settings.not_taken(
            "it runs without a master process (-W or -Ws), so it cannot be reloaded: restart it, or add `stats \
             socket … level admin`, by which rules need no reload",
        ));
    }
    let now = || Workers::of(host, master, &programs(settings), &listening(host, master));
    let before = now();
    signal(host, "USR2", master).map_err(|e| settings.not_taken(e.to_string()))?;
    // Where the workers cannot be seen, probes tell.
    let Some(before) = before.filter(|before| !before.are_unseen()) else { return Ok(()) };
    if wait(host, HANDOVER, || now().is_some_and(|now| now.have_replaced(&before))) {
        return Ok(());
    }
    Err(settings.not_taken("it keeps serving by its old configuration; its log tells why"))
}

/// How many workers of before a reload still end what they had begun.
pub(super) fn ending(settings: &Settings, host: &dyn Host, master: u32) -> usize {
    Workers::ending(host, master, &programs(settings), &listening(host, master))
}

fn programs(settings: &Settings) -> [&str; 2] {
    let own = settings.binary.file_name().and_then(|name| name.to_str()).unwrap_or("haproxy");
    ["haproxy", own]
}

/// Where a HAProxy writes its number.
pub(super) fn pid_file(settings: &Settings, named: Option<&str>) -> PathBuf {
    settings.root.join(named.map_or("run/haproxy.pid", |path| path.trim_start_matches('/')))
}
