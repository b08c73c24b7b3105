//! The nginx that runs here: its own test of a configuration, and its reload.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::driver::DriverError;
use crate::host::{Bind, Command, Host, Output};

use super::Settings;

/// nginx starts new workers at once and retires the old ones about 100 ms later.
const HANDOVER: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(5);

/// What is kept of nginx's words in an error.
const WORDS_MAX: usize = 2_000;

/// `nginx -T`, with a folder laid over another if asked: the configuration as nginx reads it, or its
/// words where it rejects it.
pub(super) fn dump(settings: &Settings, host: &dyn Host, bind: Option<Bind>) -> Result<String, DriverError> {
    let output = run(settings, host, &["-T", "-q"], bind)?;
    if !output.success() {
        return Err(DriverError::BrokenBefore { target: settings.name.clone(), message: words(&output) });
    }
    if output.truncated {
        return Err(settings.error("its configuration is larger than what is read of it".into()));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// `nginx -t`, with a folder laid over another if asked. `Ok(Err)`: rejected, in nginx's words.
pub(super) fn test(
    settings: &Settings,
    host: &dyn Host,
    bind: Option<Bind>,
) -> Result<Result<(), String>, TestError> {
    let output = command(settings, host, &["-t", "-q"], bind)?;
    Ok(if output.success() { Ok(()) } else { Err(words(&output)) })
}

/// The test itself could not be made.
pub(super) enum TestError {
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

/// The number of the running master process; `None`: nginx does not run.
pub(super) fn master(settings: &Settings, host: &dyn Host, pid_file: &Path) -> Option<u32> {
    let text = host.read(pid_file, 64).ok()?;
    let pid: u32 = String::from_utf8(text).ok()?.trim().parse().ok()?;
    // A number in a file outlives its process: what has it now must be this program.
    let comm = host.read(&PathBuf::from(format!("/proc/{pid}/comm")), 64).ok()?;
    let name = settings.binary.file_name()?.to_str()?;
    // The kernel keeps 15 octets of a name.
    let name = name.get(..15).unwrap_or(name);
    (String::from_utf8_lossy(&comm).trim() == name).then_some(pid)
}

/// Has nginx read its files anew, and waits until no worker takes connections by the old ones.
pub(super) fn reload(settings: &Settings, host: &dyn Host, master: u32) -> Result<(), DriverError> {
    let not_taken = |message| DriverError::NotTaken { target: settings.name.clone(), message };
    let before = workers(host, master);
    let output = run(settings, host, &["-s", "reload"], None)?;
    if !output.success() {
        return Err(not_taken(words(&output)));
    }
    // Where the workers cannot be seen, probes tell.
    let Some(before) = before else { return Ok(()) };
    let start = host.monotonic();
    loop {
        let now = workers(host, master).unwrap_or_default();
        let serving = |pid: &u32| is_serving(host, *pid);
        let (old, new): (Vec<u32>, Vec<u32>) =
            now.into_iter().filter(serving).partition(|pid| before.contains(pid));
        if old.is_empty() && !new.is_empty() {
            return Ok(());
        }
        if host.monotonic().saturating_sub(start) >= HANDOVER {
            return Err(not_taken(
                "it keeps serving by its old configuration; its error log tells why".into(),
            ));
        }
        host.pause(POLL);
    }
}

/// The children of the master; `None` where the system does not tell.
fn workers(host: &dyn Host, master: u32) -> Option<Vec<u32>> {
    let path = PathBuf::from(format!("/proc/{master}/task/{master}/children"));
    let text = String::from_utf8(host.read(&path, 1 << 16).ok()?).ok()?;
    Some(text.split_whitespace().filter_map(|word| word.parse().ok()).collect())
}

/// A worker says in its title that it is shutting down; then it has closed its listeners.
fn is_serving(host: &dyn Host, pid: u32) -> bool {
    let title = host.read(&PathBuf::from(format!("/proc/{pid}/cmdline")), 1 << 12).unwrap_or_default();
    title.starts_with(b"nginx: worker process") && !title.windows(13).any(|w| w == b"shutting down")
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

fn words(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let text: String = text.trim().chars().take(WORDS_MAX).collect();
    if text.is_empty() { format!("it ended with {:?} and said nothing", output.status) } else { text }
}
