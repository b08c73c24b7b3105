//! What the tests share: a publisher and an agent's configuration in a temporary folder, the binary, a modeled IIS.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const STOPGAP: &str = env!("CARGO_BIN_EXE_stopgap");
const MITIGATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../mitigations");

pub const ATTACK: &str = "/autodiscover/autodiscover.json?x/p%6Fwershell/";
pub const LEGITIMATE: &str = "/autodiscover/autodiscover.xml";

/// How long anything may take before a wait gives up; far more than it does.
const PATIENCE: Duration = Duration::from_secs(90);

/// What a command did.
#[derive(Debug)]
#[allow(dead_code, reason = "what went wrong, where a test fails")]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ran {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("no JSON ({error}): {self:#?}"))
    }
}

/// Runs `stopgap` to its end.
pub fn run(args: &[&str]) -> Ran {
    run_program(Path::new(STOPGAP), args)
}

pub fn run_program(program: &Path, args: &[&str]) -> Ran {
    let output = Command::new(program).args(args).stdin(Stdio::null()).output().unwrap();
    Ran {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

/// Runs it, and requires exit code 0.
pub fn ok(args: &[&str]) -> Ran {
    let ran = run(args);
    assert_eq!(ran.code, 0, "{args:?}: {ran:#?}");
    ran
}

pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < PATIENCE, "waited {} s in vain until {what}", PATIENCE.as_secs());
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A feed named `example` with M1, released.
pub struct World {
    folder: TempDir,
}

impl World {
    pub fn new() -> World {
        let world = World { folder: tempfile::Builder::new().prefix("stopgap-e2e-").tempdir().unwrap() };
        let feed = world.path("example");
        ok(&["feed", "init", feed.to_str().unwrap(), "--name", "example"]);
        let to = feed.join("mitigations").join("M1");
        fs::create_dir_all(&to).unwrap();
        for entry in fs::read_dir(Path::new(MITIGATIONS).join("M1")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                // Wine's own copying asks for more of a file than reading it.
                fs::write(to.join(path.file_name().unwrap()), fs::read(&path).unwrap()).unwrap();
            }
        }
        world.publish();
        world
    }

    pub fn publish(&self) {
        ok(&["feed", "publish", self.path("example").to_str().unwrap()]);
    }

    /// Adds a mitigation to the feed, whose subscribers take application pools, too.
    pub fn add(&self, id: &str, config: &str) {
        let folder = self.path("example").join("mitigations").join(id);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("mitigation.xml"), config).unwrap();
        for (file, target) in [("attack.http", "/ecp/attack"), ("benign.http", "/owa/")] {
            let head = format!("### {target}\nGET {target} HTTP/1.1\nHost: mail.example.org\n\n");
            fs::write(folder.join(file), head).unwrap();
        }
        let trust = self.path("example/trust.toml");
        let text = fs::read_to_string(&trust).unwrap();
        fs::write(trust, text.replace("\"UrlRewrite\"]", "\"UrlRewrite\", \"AppPool\"]")).unwrap();
        self.publish();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The agent's tables: the feed, and the IIS of drive C:. `probed`: where its sites answer.
    pub fn tables(&self, probed: Option<SocketAddr>) -> String {
        let url = format!("file:///{}", self.path("example/public/feed.xml").display()).replace('\\', "/");
        let trust = self.path("example/trust.toml");
        let listeners = probed.map(|at| format!("listeners = [\"http://{at}\"]\n")).unwrap_or_default();
        format!(
            "[[feed]]\nname = \"example\"\nurl = {url:?}\ntrust = {:?}\n\n[[target]]\nkind = \"iis\"\n\
             sites = {{ \"Default Web Site\" = [\"Default Web Site\"] }}\n{listeners}\n[facts]\nexchange = \"15.2.721.2\"\n",
            trust.to_str().unwrap()
        )
    }

    /// Writes `stopgap.toml`.
    pub fn configure(&self, probed: Option<SocketAddr>) {
        let folders = format!(
            "data = {:?}\nlogs = {:?}\nserver = \"Server1\"\nsettle = \"5s\"\n",
            self.path("data").to_str().unwrap(),
            self.path("logs").to_str().unwrap()
        );
        fs::write(self.path("stopgap.toml"), folders + &self.tables(probed)).unwrap();
    }

    /// Runs `stopgap` with this world's configuration, and requires exit code 0.
    pub fn ok(&self, args: &[&str]) -> Ran {
        let config = self.path("stopgap.toml");
        ok(&[args, &["--config", config.to_str().unwrap()]].concat())
    }

    /// What `status` says of one mitigation.
    pub fn mitigation(&self, id: &str) -> Value {
        mitigation(&self.ok(&["status", "--json"]).json(), id)
    }
}

/// One mitigation of a report; null where it is not there.
pub fn mitigation(report: &Value, id: &str) -> Value {
    let mut all = report["mitigations"].as_array().into_iter().flatten();
    all.find(|one| one["id"] == id).cloned().unwrap_or_default()
}

/// `stopgap`'s own model of an IIS, which serves what the files of drive C: come to.
pub struct Model {
    pub address: SocketAddr,
    process: Child,
}

impl Model {
    pub fn start() -> Model {
        let mut process = Command::new(STOPGAP)
            .args(["gateway", "run", "--iis", "C:\\", "--listen", "Default Web Site=127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| Some(line.strip_prefix("Default Web Site: http://")?.trim().parse().unwrap()))
            .expect("it ended before it listened");
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Model { address, process }
    }

    /// The status of an answer; nothing where the connection ends without one.
    pub fn status(&self, target: &str) -> Option<u16> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nHost: mail.example.org\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // A reset is an end without an answer, too.
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).split(' ').nth(1)?.parse().ok()
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
