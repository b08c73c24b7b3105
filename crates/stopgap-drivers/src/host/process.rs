//! Running a program: a fixed environment, no input, bounded output, a time after which it and
//! its process group are killed.

use std::io::{self, Read};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::{Command, OUTPUT_MAX, Output};

/// How often the end of a program is looked for.
const POLL: Duration = Duration::from_millis(5);

/// After a program ended, its output may be held open by what it started; that is not waited for
/// any longer than this.
const DRAIN: Duration = Duration::from_secs(1);

/// Runs it, in the open or with a folder laid over another.
pub(super) fn run(command: &Command) -> io::Result<Output> {
    match &command.bind {
        None => run_here(command),
        #[cfg(target_os = "linux")]
        Some(bind) => super::namespace::inside(bind, || run_here(command)),
        #[cfg(not(target_os = "linux"))]
        Some(_) => {
            Err(io::Error::new(io::ErrorKind::PermissionDenied, "this system has no mount namespaces"))
        }
    }
}

fn run_here(command: &Command) -> io::Result<Output> {
    let mut spawn = std::process::Command::new(&command.program);
    spawn
        .args(&command.args)
        .env_clear()
        .envs(environment())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    #[cfg(unix)]
    {
        spawn.current_dir("/");
        std::os::unix::process::CommandExt::process_group(&mut spawn, 0);
    }
    let mut child = spawn.spawn()?;
    let stdout = child.stdout.take().map(collect);
    let stderr = child.stderr.take().map(collect);
    let status = wait(&mut child, command)?;
    let (stdout, more_out) = drained(stdout);
    let (stderr, more_err) = drained(stderr);
    Ok(Output { status: status.code(), stdout, stderr, truncated: more_out || more_err })
}

/// The same for every program, whoever started this one.
#[cfg(not(windows))]
fn environment() -> [(&'static str, &'static str); 2] {
    [("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), ("LC_ALL", "C")]
}

/// What no program of Windows can do without (it does not even find its libraries), from our own.
#[cfg(windows)]
fn environment() -> Vec<(&'static str, std::ffi::OsString)> {
    const KEPT: [&str; 7] = ["SystemRoot", "SystemDrive", "windir", "ComSpec", "ProgramData", "TEMP", "TMP"];
    let mut kept: Vec<_> =
        KEPT.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))).collect();
    let root = std::env::var_os("SystemRoot").unwrap_or_else(|| "C:\\Windows".into());
    let (mut path, root) = (std::path::PathBuf::from(&root).join("System32").into_os_string(), root);
    path.push(";");
    path.push(root);
    kept.push(("PATH", path));
    kept
}

fn wait(child: &mut Child, command: &Command) -> io::Result<std::process::ExitStatus> {
    let deadline = Instant::now() + command.timeout;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            kill_group(child);
            child.wait()?;
            let message = format!("{} ran longer than {:?}", command.program.display(), command.timeout);
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
        thread::sleep(POLL);
    }
}

#[cfg(unix)]
fn kill_group(child: &mut Child) {
    use nix::sys::signal::{Signal, killpg};
    use nix::unistd::Pid;
    // The child leads a group of its own (process_group above) and has not been waited for, so its
    // number cannot have passed to anybody else.
    if let Ok(pid) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(pid), Signal::SIGKILL);
    }
    let _ = child.kill();
}

#[cfg(not(unix))]
fn kill_group(child: &mut Child) {
    let _ = child.kill();
}

type Collected = mpsc::Receiver<(Vec<u8>, bool)>;

/// Reads to the end in a thread of its own, keeping [`OUTPUT_MAX`], so that a program with much to
/// say never waits for us.
fn collect(mut from: impl Read + Send + 'static) -> Collected {
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let mut kept = Vec::new();
        let read = from.by_ref().take(OUTPUT_MAX as u64).read_to_end(&mut kept);
        let more = read.is_ok() && io::copy(&mut from, &mut io::sink()).is_ok_and(|n| n > 0);
        let _ = send.send((kept, more));
    });
    receive
}

fn drained(output: Option<Collected>) -> (Vec<u8>, bool) {
    output.and_then(|receive| receive.recv_timeout(DRAIN).ok()).unwrap_or((Vec::new(), true))
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;
    use crate::host::{Bind, Host, Machine};

    #[test]
    fn a_program_sees_a_fixed_environment_and_its_output_comes_back() {
        let output = Machine.run(&Command::new("/usr/bin/env", &[])).unwrap();
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        assert!(output.success());
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(text.contains("LC_ALL=C"));
        let output = Machine.run(&Command::new("/bin/sh", &["-c", "echo no >&2; exit 3"])).unwrap();
        assert_eq!((output.status, output.stderr.as_slice()), (Some(3), b"no\n".as_slice()));
    }

    #[test]
    fn a_program_that_does_not_end_is_killed_with_what_it_started() {
        let mut command = Command::new("/bin/sh", &["-c", "sleep 600 & sleep 600"]);
        command.timeout = Duration::from_millis(50);
        assert_eq!(Machine.run(&command).unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn endless_output_is_cut() {
        let script = format!("head -c {} /dev/zero", OUTPUT_MAX + 10);
        let output = Machine.run(&Command::new("/bin/sh", &["-c", &script])).unwrap();
        assert_eq!((output.stdout.len(), output.truncated), (OUTPUT_MAX, true));
    }

    #[test]
    fn a_staged_folder_is_seen_by_one_program_alone() {
        let folder = tempfile::tempdir().unwrap();
        let (live, staged) = (folder.path().join("live"), folder.path().join("live/staged"));
        std::fs::create_dir_all(&staged).unwrap();
        std::fs::write(live.join("which"), "live").unwrap();
        std::fs::write(staged.join("which"), "staged").unwrap();
        let which = live.join("which");
        let mut command = Command::new("/bin/cat", &[which.to_str().unwrap()]);
        command.bind = Some(Bind { staged, live });
        match Machine.run(&command) {
            Ok(output) => assert_eq!(output.stdout, b"staged"),
            // What the caller falls back on where the system forbids it.
            Err(e) => assert_eq!(e.kind(), io::ErrorKind::PermissionDenied, "{e}"),
        }
        assert_eq!(std::fs::read(&which).unwrap(), b"live");
    }
}
