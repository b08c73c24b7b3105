//! A steady load by `wrk`, and what it says went wrong.

use std::fs;
use std::iter::Sum;
use std::net::SocketAddr;
use std::ops::Add;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::common::until;
use crate::origin::Reached;

/// What `wrk` counted.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    pub sent: u64,
    /// The connection ended before there was a whole answer.
    pub closed: u64,
    /// No connection, no answer in time, or another than 200.
    pub failed: u64,
}

impl Add for Count {
    type Output = Count;

    fn add(self, other: Count) -> Count {
        Count {
            sent: self.sent + other.sent,
            closed: self.closed + other.closed,
            failed: self.failed + other.failed,
        }
    }
}

/// What the load on kept connections counted, and that with a new connection for each request.
///
/// They are told apart since they fail differently: a server that takes its old workers out of service closes kept
/// connections that are idle, and may do so just when the next request comes (RFC 9112, 9.3.1: a client sends it again
/// by itself, which `wrk` does not). With a new connection there is no such moment.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub kept: Count,
    pub new: Count,
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Counts>>(all: I) -> Counts {
        all.fold(Counts::default(), |sum, one| Counts { kept: sum.kept + one.kept, new: sum.new + one.new })
    }
}

/// Connections of each of both.
const CONNECTIONS: usize = 4;

const SCRIPT: &str = "done = function(summary, latency, requests)\n  local e = summary.errors\n  \
                      io.write(string.format('counted %d %d %d\\n', summary.requests, e.read + e.write, \
                      e.connect + e.timeout + e.status))\nend\n";

/// Runs while `work` is done.
pub fn under_load(address: SocketAddr, folder: &Path, reached: &Reached, work: &mut dyn FnMut()) -> Counts {
    let script = folder.join("counted.lua");
    fs::write(&script, SCRIPT).unwrap();
    let before = (reached.kept.load(Ordering::Relaxed), reached.new.load(Ordering::Relaxed));
    let kept = Wrk::start(&script, address, "kept", "keep-alive");
    let new = Wrk::start(&script, address, "new", "close");
    let since = |counter: &AtomicU64, before: u64| counter.load(Ordering::Relaxed) - before;
    until(|| since(&reached.kept, before.0) > 50 && since(&reached.new, before.1) > 50);
    work();
    let counts = Counts { kept: kept.end(), new: new.end() };
    // Each answer was the origin's.
    assert!(since(&reached.kept, before.0) + counts.kept.failed >= counts.kept.sent, "{counts:?}");
    assert!(since(&reached.new, before.1) + counts.new.failed >= counts.new.sent, "{counts:?}");
    counts
}

/// Ends with the test, however that ends.
struct Wrk(Option<Child>);

impl Wrk {
    fn start(script: &Path, address: SocketAddr, path: &str, connection: &str) -> Wrk {
        let child = Command::new("wrk")
            .args(["-t1", &format!("-c{CONNECTIONS}"), "-d1h", "-H", &format!("Connection: {connection}")])
            // A slow machine is no failure of the server's.
            .args(["--timeout", "60s", "-s"])
            .arg(script)
            .arg(format!("http://{address}/{path}"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Wrk(Some(child))
    }

    fn end(mut self) -> Count {
        let child = self.0.take().unwrap();
        kill(Pid::from_raw(child.id() as i32), Signal::SIGINT).unwrap();
        let said = child.wait_with_output().unwrap().stdout;
        let said = String::from_utf8_lossy(&said).into_owned();
        let line = said.lines().find_map(|line| line.strip_prefix("counted "));
        let numbers =
            line.map(|line| line.split(' ').map(|word| word.parse().unwrap()).collect::<Vec<u64>>());
        match numbers.as_deref() {
            Some([sent, closed, failed]) => Count { sent: *sent, closed: *closed, failed: *failed },
            _ => panic!("wrk printed no count: {said}"),
        }
    }
}

impl Drop for Wrk {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
