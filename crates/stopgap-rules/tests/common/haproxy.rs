//! A real HAProxy with one frontend a site, each on a socket in a temporary folder, for as long as the value
//! lives. Behind the hook a frontend answers 200 itself, with a header that no rule can make.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use stopgap_rules::translate::haproxy::{HaproxyConfig, gate_file};

pub struct Haproxy {
    child: Child,
    folder: PathBuf,
    open: HashMap<usize, UnixStream>,
}

/// What the client saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The connection was closed with no byte.
    Nothing,
    /// A status that the request was refused with.
    Status(u16),
    /// It went on.
    Passed,
}

/// Prints and returns false where HAProxy is not installed; in CI that is a failure.
pub fn installed(test: &str) -> bool {
    let found =
        Command::new(program()).arg("-v").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok();
    if !found {
        assert!(std::env::var_os("CI").is_none(), "haproxy is not installed");
        println!("skipped (no haproxy): {test}");
    }
    found
}

/// Debian puts it where a user's `PATH` may not lead.
fn program() -> &'static str {
    let system = "/usr/sbin/haproxy";
    if std::path::Path::new(system).exists() { system } else { "haproxy" }
}

/// What a frontend of the tests has beside the hook.
#[derive(Clone, Copy, Default)]
pub struct Shape<'a> {
    /// Lines for each frontend, before the hook.
    pub frontend: &'a str,
    /// Lines for the `global` section.
    pub global: &'a str,
    /// More sections.
    pub more: &'a str,
}

impl Haproxy {
    /// Starts it with these rules in the map's file.
    pub fn start(config: &HaproxyConfig, names: &[String], shape: Shape) -> Haproxy {
        Haproxy::with_maps(&config.map(), &config.gate(), names, shape)
    }

    /// Starts it with these texts in the files of the map and of its gate.
    pub fn with_maps(map: &str, gate: &str, names: &[String], shape: Shape) -> Haproxy {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name =
            format!("stopgap-haproxy-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let file = folder.join("rules.map").display().to_string();
        std::fs::write(&file, map).unwrap();
        std::fs::write(gate_file(&file), gate).unwrap();
        let path = folder.display();
        let hook = HaproxyConfig::hook(&file).unwrap();
        let frontends: String = names
            .iter()
            .enumerate()
            .map(|(at, name)| {
                format!(
                    "frontend {name}\n bind unix@{path}/{at}.sock\n{}\n{hook}\n\
                     http-request return status 200 hdr x-passed yes\n",
                    shape.frontend
                )
            })
            .collect();
        let config = format!(
            "global\n stats socket {path}/stats mode 600 level admin\n{}\n\
             defaults\n mode http\n timeout client 60s\n timeout connect 60s\n timeout server 60s\n\
             {frontends}\n{}\n",
            shape.global, shape.more
        );
        std::fs::write(folder.join("haproxy.cfg"), config).unwrap();
        let log = || std::fs::File::options().append(true).create(true).open(folder.join("log")).unwrap();
        let child = Command::new(program())
            .arg("-db")
            .arg("-f")
            .arg(folder.join("haproxy.cfg"))
            .stdout(log())
            .stderr(log())
            .spawn()
            .unwrap();
        let mut haproxy = Haproxy { child, folder, open: HashMap::new() };
        for _ in 0..1_000 {
            let there = |name: String| haproxy.folder.join(name).exists();
            if there("stats".into())
                && (0..names.len()).all(|site| there(format!("{site}.sock")))
                && UnixStream::connect(haproxy.folder.join("stats")).is_ok()
            {
                return haproxy;
            }
            if haproxy.child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("HAProxy does not start: {}", haproxy.log());
    }

    /// What it said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// A command to the stats socket, and its answer.
    pub fn command(&self, command: &str) -> String {
        let mut stream = UnixStream::connect(self.folder.join("stats")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(format!("{command}\n").as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// The map's file.
    pub fn map_file(&self) -> String {
        self.folder.join("rules.map").display().to_string()
    }

    /// Puts these rules in place of those in force, through the socket.
    pub fn update(&self, config: &HaproxyConfig) {
        for replacement in config.replacements(&self.map_file()) {
            let answer = self.command(&replacement.prepare());
            let version =
                answer.trim().strip_prefix("New version created: ").expect(&answer).parse().unwrap();
            for command in replacement.commands(version) {
                let answer = self.command(&command);
                assert_eq!(answer.trim(), "", "{command}");
            }
        }
    }

    /// The entries of the map, and the patterns of its gate, in force, in order.
    pub fn entries(&self) -> (Vec<(String, String)>, Vec<String>) {
        let show = |file: String| -> Vec<(String, String)> {
            self.command(&format!("show map {file}"))
                .lines()
                .filter_map(|line| line.split_once(' ')?.1.split_once(' '))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect()
        };
        let gate = show(gate_file(&self.map_file()));
        (show(self.map_file()), gate.into_iter().map(|(key, _)| key).collect())
    }

    /// Sends a request head to a site and reads the answer.
    pub fn ask(&mut self, site: usize, head: &[u8]) -> Answer {
        for _ in 0..2 {
            let fresh = !self.open.contains_key(&site);
            let mut stream = match self.open.remove(&site) {
                Some(stream) => stream,
                None => {
                    let stream = UnixStream::connect(self.folder.join(format!("{site}.sock"))).unwrap();
                    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                    stream
                }
            };
            if stream.write_all(head).is_err() && !fresh {
                continue;
            }
            match read(&mut stream) {
                // A connection that was used before may have been closed just now.
                None if !fresh => continue,
                None => return Answer::Nothing,
                Some((answer, keep)) => {
                    if keep {
                        self.open.insert(site, stream);
                    }
                    return answer;
                }
            }
        }
        unreachable!("the second turn is on a fresh connection")
    }

    /// CPU time so far, in milliseconds (Linux counts in hundredths of a second).
    pub fn cpu_ms(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap_or_default();
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
        (ticks(11) + ticks(12)) * 10.0
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The answer, and whether the connection stays open.
fn read(stream: &mut impl Read) -> Option<(Answer, bool)> {
    let mut answer = Vec::new();
    let mut buffer = [0u8; 4096];
    loop {
        let head = answer.windows(4).position(|w| w == b"\r\n\r\n");
        if let Some(head) = head {
            let text = String::from_utf8_lossy(&answer[..head]).to_ascii_lowercase();
            let field = |name: &str| {
                text.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim().to_owned())
            };
            let length: usize = field("content-length:").and_then(|v| v.parse().ok()).unwrap_or(0);
            if answer.len() >= head + 4 + length {
                let status = text.split(' ').nth(1)?.split('\r').next()?.parse().ok()?;
                let keep = text.starts_with("http/1.1") && field("connection:").as_deref() != Some("close");
                let passed = field("x-passed:").is_some();
                return Some((if passed { Answer::Passed } else { Answer::Status(status) }, keep));
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
        }
    }
}
