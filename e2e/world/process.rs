//! Processes that end with the test.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{STOPGAP, text, wait_until};

/// A child; killed when dropped.
pub struct Process(pub Child);

impl Process {
    /// Starts a command without input and output.
    pub fn start(command: &mut Command) -> Process {
        Process(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.0.id()
    }

    /// Asks it to end (SIGTERM), and waits until it has.
    pub fn terminate(mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        let mut status = None;
        wait_until("a process ends when asked", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        status.unwrap()
    }

    /// Ends it as `kill -9` does.
    pub fn kill(mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }

    /// Whether it still runs.
    pub fn runs(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }

    fn signal(&self, signal: Signal) {
        let _ = kill(Pid::from_raw(i32::try_from(self.id()).unwrap()), signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A running gateway.
pub struct Gateway {
    pub address: SocketAddr,
    pub process: Process,
}

impl Gateway {
    /// Starts it with the rules and the socket of a target's folder, and waits until it listens.
    pub fn start(folder: &Path, listen: SocketAddr, upstream: SocketAddr) -> Gateway {
        std::fs::create_dir_all(folder).unwrap();
        let mut child = Command::new(STOPGAP)
            .args(["gateway", "run", "--listen", &listen.to_string()])
            .args(["--upstream", &format!("http://{upstream}")])
            .args(["--rules", text(&folder.join("live/rules.xml"))])
            .args(["--control", text(&folder.join("control.sock"))])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let process = Process(child);
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("listening on http://").map(|a| a.parse().unwrap()))
            .expect("the gateway ended before it listened");
        // Read to the end, so that it never waits for a full pipe.
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Gateway { address, process }
    }

    /// Its `[[target]]`: it plays the Default Web Site.
    pub fn target(&self) -> String {
        format!(
            "[[target]]\nkind = \"gateway\"\nsites = {{ \"Default Web Site\" = [\"mail.example.org\"] }}\n\
             listeners = [\"http://{}\"]\n",
            self.address
        )
    }
}

/// A port that nobody listens on, below those that the system gives to clients. Somebody may still
/// take it before it is used: whoever listens on it tries again with another.
pub fn free_port() -> u16 {
    const FIRST: u32 = 10_000;
    const COUNT: u32 = 20_000;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let start = std::process::id().wrapping_mul(257);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(FIRST + start.wrapping_add(step) % COUNT).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}
