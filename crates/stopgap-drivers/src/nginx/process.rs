//! The nginx that runs here: its own test of a configuration, and its reload.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::driver::DriverError;
use crate::host::{Bind, Command, Host, Output};
use crate::server::process::{children, in_pid_file, proc, wait, words};
use crate::server::{Settings, Tested};

/// nginx starts new workers at once and retires the old ones about 100 ms later.
const HANDOVER: Duration = Duration::from_secs(5);

/// `nginx -T`, with a folder laid over another if asked: the configuration as nginx reads it, or its
/// words where it rejects it.
pub(super) fn dump(settings: &Settings, host: &dyn Host, bind: Option<Bind>) -> Result<String, DriverError> {
    let output = run(settings, host, &["-T", "-q"], bind)?;
    if !output.success() {
        return Err(settings.broken(words(&output)));
    }
    if output.truncated {
        return Err(settings.error("its configuration is larger than what is read of it".into()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `nginx -t`, with a folder laid over another if asked. `Ok(Err)`: rejected, in nginx's words.
pub(super) fn test(settings: &Settings, host: &dyn Host, bind: Option<Bind>) -> Tested {
    let output = command(settings, host, &["-t", "-q"], bind)?;
    Ok(if output.success() { Ok(()) } else { Err(words(&output)) })
}

/// The number of the running master process; `None`: nginx does not run.
pub(super) fn master(settings: &Settings, host: &dyn Host, pid_file: &Path) -> io::Result<Option<u32>> {
    let name = settings.binary.file_name().unwrap_or_default().to_string_lossy();
    in_pid_file(host, pid_file, &[&name])
}

/// Has nginx read its files anew, and waits until no worker takes connections by the old ones.
pub(super) fn reload(settings: &Settings, host: &dyn Host, master: u32) -> Result<(), DriverError> {
    let before = children(host, master);
    let output = run(settings, host, &["-s", "reload"], None)?;
    if !output.success() {
        return Err(settings.not_taken(words(&output)));
    }
    // Where the workers cannot be seen, probes tell.
    let Some(before) = before else { return Ok(()) };
    let taken = || {
        let now = children(host, master).unwrap_or_default();
        let serving = |pid: &u32| is_serving(host, *pid);
        let (old, new): (Vec<u32>, Vec<u32>) =
            now.into_iter().filter(serving).partition(|pid| before.contains(pid));
        old.is_empty() && !new.is_empty()
    };
    if wait(host, HANDOVER, taken) {
        return Ok(());
    }
    Err(settings.not_taken("it keeps serving by its old configuration; its error log tells why"))
}

/// How many workers of before a reload still end what they had begun; they take no connections.
pub(super) fn ending(host: &dyn Host, master: u32) -> usize {
    let is_ending = |pid: &u32| {
        let title = title(host, *pid);
        is_worker(&title) && says_ending(&title)
    };
    children(host, master).unwrap_or_default().iter().filter(|pid| is_ending(pid)).count()
}

/// A worker says in its title that it is shutting down; then it has closed its listeners.
fn is_serving(host: &dyn Host, pid: u32) -> bool {
    let title = title(host, pid);
    is_worker(&title) && !says_ending(&title)
}

fn is_worker(title: &[u8]) -> bool {
    title.starts_with(b"nginx: worker process")
}

fn says_ending(title: &[u8]) -> bool {
    title.windows(13).any(|words| words == b"shutting down")
}

fn title(host: &dyn Host, pid: u32) -> Vec<u8> {
    host.read(&proc(pid, "cmdline"), 1 << 12).unwrap_or_default()
}

/// The pid file that nginx was built with, for configurations that name none.
pub(super) fn built_in_pid_file(settings: &Settings, host: &dyn Host) -> Option<PathBuf> {
    let output = host.run(&Command::new(&settings.binary, &["-V"])).ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let path = text.split_whitespace().find_map(|word| word.strip_prefix("--pid-path="))?;
    Some(PathBuf::from(path))
}

fn run(
    settings: &Settings,
    host: &dyn Host,
    args: &[&str],
    bind: Option<Bind>,
) -> Result<Output, DriverError> {
    command(settings, host, args, bind).map_err(|e| settings.cannot_run(e))
}

fn command(settings: &Settings, host: &dyn Host, args: &[&str], bind: Option<Bind>) -> io::Result<Output> {
    let config = settings.config.to_string_lossy();
    let prefix = settings.root.to_string_lossy();
    let mut args = [args, &["-c", &config]].concat();
    if settings.root != Path::new("/") {
        args.extend(["-p", &prefix]);
    }
    let mut command = Command::new(&settings.binary, &args);
    command.bind = bind;
    host.run(&command)
}
