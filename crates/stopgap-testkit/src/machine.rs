//! A machine of its own with a real systemd as its first process, in namespaces of this one.
//!
//! It has processes, mounts, a host name, a network (its loopback alone), IPC and control groups of its
//! own, and nothing that it does reaches the machine below: not its services, its clock or its kernel's
//! settings. It can be restarted on the same root. It needs root's rights; when the value is dropped, or
//! the test's process ends in any way, all of it is gone.
//!
//! No virtual machine: the kernel is the one below, there are no devices, and nobody logs in.
#![allow(clippy::panic, clippy::expect_used, reason = "a fixture that cannot be made is a broken test")]
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

mod host;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};
use std::thread;
use std::time::Duration;

/// What the machine's file system is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// This machine's, under a layer in memory: its programs and units are there, and what is changed
    /// is gone with the machine. Nothing but what its packages start by themselves is enabled.
    Overlay,
    /// A folder that holds a Debian, as `debootstrap` makes it. What is changed stays.
    Folder(PathBuf),
}

/// A running machine.
pub struct Machine {
    /// Where its holder mounts its root, and the scripts.
    _folders: [tempfile::TempDir; 2],
    holder: Child,
    /// `None` once the machine is to end.
    words: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// The first process, as the system below numbers it.
    init: u32,
}

/// What it takes beside the kernel: program and what has to be there.
const TOOLS: [(&str, &str); 6] = [
    ("unshare", "/usr/bin/unshare"),
    ("nsenter", "/usr/bin/nsenter"),
    ("setpriv", "/usr/bin/setpriv"),
    ("systemd", "/lib/systemd/systemd"),
    ("systemctl", "/usr/bin/systemctl"),
    ("dbus-daemon", "/usr/bin/dbus-daemon"),
];

/// The whole start of a Debian takes a few seconds; a program in a test less than this.
const PATIENCE: Duration = Duration::from_secs(180);

impl Machine {
    /// A machine for `test`; `None`, said as a skipped test, where this one has not what it takes. Panics
    /// where that is so in CI, or where the machine does not come up.
    pub fn for_test(test: &str, root: Root) -> Option<Machine> {
        let Some(missing) = missing(&root) else { return Some(Machine::boot(root)) };
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no {missing}: {test}");
        println!("skipped (no {missing}): {test}");
        None
    }

    /// A machine that has started: every unit of `multi-user.target` has been started or has failed.
    pub fn boot(root: Root) -> Machine {
        let folder = tempfile::Builder::new().prefix("machine-").tempdir().expect("a folder");
        // Beside it, since the folder itself is covered by the machine's.
        let scripts = tempfile::tempdir().expect("a folder");
        for (name, text) in
            [("hold.sh", include_str!("machine/hold.sh")), ("boot.sh", include_str!("machine/boot.sh"))]
        {
            fs::write(scripts.path().join(name), text).expect("a script");
        }
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh"]);
        command.arg(scripts.path().join("hold.sh")).arg(folder.path());
        match &root {
            Root::Overlay => command.args(["/", "overlay"]),
            Root::Folder(folder) => command.arg(folder),
        };
        // A group of its own, so that an interrupt of the test's leaves it the time to clean up.
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().expect("unshare");
        let words = holder.stdin.take();
        let answers = BufReader::new(holder.stdout.take().expect("its output"));
        let mut machine = Machine { _folders: [folder, scripts], holder, words, answers, init: 0 };
        machine.start();
        machine
    }

    fn start(&mut self) {
        let unshare = self.ask("boot");
        let children = format!("/proc/{unshare}/task/{unshare}/children");
        self.init = until("the machine's first process", || {
            let children = fs::read_to_string(&children).ok()?;
            children.split_whitespace().next()?.parse().ok()
        });
        let proc = PathBuf::from(format!("/proc/{}", self.init));
        // Before it is systemd, it sees the files of the machine below.
        until("systemd", || (fs::read_to_string(proc.join("comm")).ok()? == "systemd\n").then_some(()));
        until("systemd's socket", || proc.join("root/run/systemd/private").exists().then_some(()));
        // `degraded` is up, too: what failed is for the test to look at.
        let state = self.run(&["systemctl", "is-system-running", "--wait"]);
        let state = String::from_utf8_lossy(&state.stdout).trim().to_owned();
        if !matches!(state.as_str(), "running" | "degraded") {
            let journal = self.run(&["journalctl", "--no-pager", "-b", "-n", "100"]);
            panic!("the machine is `{state}`:\n{}", String::from_utf8_lossy(&journal.stdout));
        }
    }

    /// Runs a program on the machine, as root and to its end; it is killed after three minutes.
    pub fn run(&self, words: &[&str]) -> Output {
        self.run_with(words, b"")
    }

    /// The same with an input.
    pub fn run_with(&self, words: &[&str], input: &[u8]) -> Output {
        self.run_for(PATIENCE, words, input)
    }

    fn run_for(&self, time: Duration, words: &[&str], input: &[u8]) -> Output {
        let mut command = Command::new("timeout");
        let seconds = format!("{}", time.as_secs_f32());
        command.args(["-s", "KILL", &seconds, "nsenter", "--target", &self.init.to_string()]);
        command.args(["--mount", "--uts", "--ipc", "--net", "--pid", "--cgroup", "--"]).args(words);
        command.env_clear();
        command.envs([("PATH", PATH), ("LC_ALL", "C"), ("HOME", "/root"), ("SYSTEMD_PAGER", "")]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("timeout, nsenter");
        let mut to = child.stdin.take().expect("its input");
        thread::scope(|scope| {
            // A program that does not read its input closes it.
            scope.spawn(move || to.write_all(input));
            child.wait_with_output().expect("its output")
        })
    }

    /// What a program on the machine says. Panics where it fails.
    pub fn ok(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
        let (said, failed) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{words:?} ended with {}:\n{said}{failed}", output.status);
        said
    }

    /// Writes a file on the machine, with the folders above it.
    pub fn write(&self, path: &str, octets: impl AsRef<[u8]>, mode: u32) {
        let script = "mkdir -p \"${0%/*}\" && cat >\"$0\" && chmod \"$1\" \"$0\"";
        let output = self.run_with(&["sh", "-c", script, path, &format!("{mode:o}")], octets.as_ref());
        assert!(output.status.success(), "{path}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Copies a file of the machine below, such as a program, onto this one.
    pub fn copy(&self, from: &Path, to: &str) {
        let octets = fs::read(from).unwrap_or_else(|e| panic!("{}: {e}", from.display()));
        let mode = fs::metadata(from).expect("a file").mode() & 0o7777;
        self.write(to, octets, mode);
    }

    /// The octets of a file on the machine; `None`: there is none.
    pub fn read(&self, path: &str) -> Option<Vec<u8>> {
        let output = self.run(&["cat", path]);
        output.status.success().then_some(output.stdout)
    }

    /// Shuts the machine down in order and starts it again on the same root.
    pub fn reboot(&mut self) {
        self.run(&["systemctl", "reboot"]);
        self.ask("ended");
        self.start();
    }

    /// Ends every process of the machine at once, as a power failure does (but that what was written is
    /// on the disk), and starts it again.
    pub fn crash(&mut self) {
        self.start();
    }

    fn ask(&mut self, word: &str) -> String {
        let asked = self.words.as_mut().map(|words| writeln!(words, "{word}"));
        let mut answer = String::new();
        let read = asked.map(|asked| asked.and_then(|()| self.answers.read_line(&mut answer)));
        match read {
            Some(Ok(1..)) => answer.trim().to_owned(),
            other => panic!("the machine's holder does not answer ({other:?}); what it says is above"),
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The end of its words is the end of the machine.
        drop(self.words.take());
        let _ = self.holder.wait();
    }
}

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

fn missing(root: &Root) -> Option<String> {
    if fs::metadata("/proc/self").map_or(true, |me| me.uid() != 0) {
        return Some("root".into());
    }
    let base = match root {
        Root::Overlay => Path::new("/"),
        Root::Folder(folder) => folder,
    };
    let there = |path: &str, root: &Path| root.join(path.trim_start_matches('/')).exists();
    let here = |path: &str| there(path, Path::new("/"));
    let tool = TOOLS.iter().find(|(_, path)| match path.contains("nsenter") || path.contains("unshare") {
        true => !here(path),
        false => !there(path, base),
    });
    tool.map(|(name, _)| (*name).to_owned())
}

/// What `look` finds at last. A minute is far more than it takes.
fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..3000 {
        if let Some(found) = look() {
            return found;
        }
        thread::sleep(Duration::from_millis(20));
    }
    panic!("no {what} within a minute");
}
