//! What every test here shares: a world of its own (a temporary folder with a publisher, an agent's
//! configuration and its data), and the binary.
//!
//! ```text
//!   <temporary folder>/
//!     etc/stopgap.toml   data/   logs/      the agent's
//!     NAME/                                 a publisher's feed folder
//!     nginx/                                a server that is not ours
//! ```

mod client;
mod hub;
mod nginx;
mod origin;
mod process;
mod publisher;
mod revisions;
mod snapshot;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

pub use client::{KeepAlive, Seen, ask, get, send};
pub use hub::{Authority, Hub, Liar, http, try_http};
pub use nginx::{Nginx, nginx_is_here};
pub use origin::Origin;
pub use process::{Gateway, Process, free_port};
pub use publisher::Publisher;
pub use revisions::{ATTACK, BENIGN, REQUESTS, REVISIONS, config, probe, refuses};
pub use snapshot::{Entry, Snapshot, differences, snapshot};

/// The binary under test.
pub const STOPGAP: &str = env!("CARGO_BIN_EXE_stopgap");

/// The repository.
pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Builds of Exchange to which M1 applies, and to which it does not.
pub const VULNERABLE: &str = "15.2.721.2";
pub const FIXED: &str = "15.2.1118.20";

/// How long anything may take before a wait gives up; far more than it does.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// One server, its publisher, and nobody else.
pub struct World {
    folder: TempDir,
}

/// What a command did.
#[derive(Debug)]
pub struct Ran {
    /// The exit code; 128 and the number where a signal ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl World {
    /// An empty world.
    pub fn new() -> World {
        let folder = tempfile::Builder::new().prefix("stopgap-e2e-").tempdir().unwrap();
        fs::create_dir_all(folder.path().join("etc")).unwrap();
        World { folder }
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The data folder of the agent.
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// A new feed named `example`, made by `feed init`, without mitigations.
    pub fn publisher(&self) -> Publisher {
        self.publisher_named("example")
    }

    /// A new feed, made by `feed init`, without mitigations.
    pub fn publisher_named(&self, name: &str) -> Publisher {
        Publisher::init(self.path(name), name)
    }

    /// Writes `etc/stopgap.toml`: the folders of this world, then `text`. Keys of the file itself
    /// (`soak`, `settle`) come first in it, tables after them.
    pub fn config(&self, text: &str) {
        self.config_of("Server1", text);
    }

    /// The same for a server of this name, where several worlds meet at one hub.
    pub fn config_of(&self, server: &str, text: &str) {
        let head = format!(
            "data = {:?}\nlogs = {:?}\nserver = {server:?}\n",
            self.data().to_str().unwrap(),
            self.path("logs").to_str().unwrap(),
        );
        self.write("etc/stopgap.toml", &format!("{head}{text}"));
    }

    /// Writes a file of this world; its folder is made where it is missing.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// States the installed build of Exchange, in a drop-in of its own.
    pub fn exchange(&self, build: &str) {
        self.write("etc/facts.d/exchange.toml", &format!("exchange = \"{build}\"\n"));
    }

    /// Runs `stopgap` with this world's configuration, to its end.
    pub fn stopgap(&self, args: &[&str]) -> Ran {
        run(self.command(args))
    }

    /// Runs it with `--json`, and requires this exit code.
    pub fn json(&self, code: i32, args: &[&str]) -> Value {
        let ran = self.stopgap(&[args, &["--json"]].concat());
        assert_eq!(ran.code, code, "{args:?}: {ran:#?}");
        ran.json()
    }

    /// Runs it, and requires exit code 0.
    pub fn ok(&self, args: &[&str]) -> Ran {
        let ran = self.stopgap(args);
        assert_eq!(ran.code, 0, "{args:?}: {ran:#?}");
        ran
    }

    /// The command, for tests that start it themselves.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(STOPGAP);
        command.args(args).arg("--config").arg(self.path("etc/stopgap.toml"));
        command
    }

    /// Starts the service. It is killed when the guard is dropped.
    pub fn agent(&self) -> Process {
        let log = fs::File::options().create(true).append(true).open(self.path("agent.stderr")).unwrap();
        Process::start(self.command(&["agent", "run"]).stderr(log))
    }

    /// Starts a gateway in front of `upstream`, on a free port, with its rules in this world's data.
    pub fn gateway(&self, upstream: std::net::SocketAddr) -> Gateway {
        Gateway::start(&self.data().join("gateway"), "127.0.0.1:0".parse().unwrap(), upstream)
    }

    /// What `status --json` says of one mitigation.
    pub fn mitigation(&self, id: &str) -> Value {
        mitigation(&self.json(0, &["status"]), id)
    }

    /// Waits until `status --json` gives a mitigation this status.
    pub fn await_status(&self, id: &str, status: &str) -> Value {
        let mut last = Value::Null;
        wait_until(&format!("{id} is {status}"), || {
            let ran = self.stopgap(&["status", "--json"]);
            if ran.code == 0 {
                last = find(&ran.json(), id);
            }
            last["status"] == status
        });
        last
    }
}

impl Ran {
    /// Its standard output as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self:#?}"))
    }
}

/// Runs a command to its end.
pub fn run(mut command: Command) -> Ran {
    use std::os::unix::process::ExitStatusExt;
    let output = command.stdin(Stdio::null()).output().unwrap();
    Ran {
        code: output.status.code().or(output.status.signal().map(|s| 128 + s)).unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs `stopgap` without a configuration, as a publisher does.
pub fn stopgap(args: &[&str]) -> Ran {
    let mut command = Command::new(STOPGAP);
    command.args(args);
    run(command)
}

/// One mitigation of a report; it must be there.
pub fn mitigation(report: &Value, id: &str) -> Value {
    let found = find(report, id);
    assert!(!found.is_null(), "{id} is not in {report:#}");
    found
}

fn find(report: &Value, id: &str) -> Value {
    let mut all = report["mitigations"].as_array().into_iter().flatten();
    all.find(|m| m["id"] == id).cloned().unwrap_or_default()
}

/// Waits until something is so; gives up after [`PATIENCE`].
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited {} s in vain until {what}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A path as text, for arguments.
pub fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
