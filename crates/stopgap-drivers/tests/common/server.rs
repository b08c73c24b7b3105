//! A web server of this test's own, with a configuration in a temporary folder, and the origin behind it.
#![allow(dead_code, reason = "each test uses its own part")]
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

use std::collections::BTreeMap;
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stopgap_core::observed::Observed;
use stopgap_core::plan::{Change, Rendered, Wanted};
use stopgap_core::proof::Answer;
use stopgap_drivers::hook::{Edit, Hooked};
use stopgap_drivers::{Driver, Machine};
use tempfile::TempDir;

/// Whether a program of Debian's is here; where it is not, that is said for `test`, and fails in CI.
pub fn is_here(program: &str, test: &str) -> bool {
    let (here, name) = (Path::new(program).exists(), Path::new(program).file_name().unwrap().display());
    if !here {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no {name}: {test}");
        println!("skipped (no {name}): {test}");
    }
    here
}

/// Ended with the test.
pub struct Server<D> {
    pub folder: TempDir,
    pub master: Child,
    pub driver: D,
    /// The targets of the requests that the origin saw.
    pub origin: Arc<Mutex<Vec<String>>>,
}

impl<D: Driver> Server<D> {
    /// Waits until all of its three listeners take connections, and `is_up` says so, too.
    pub fn wait(&self, is_up: impl Fn(&Self) -> bool) {
        let sites = self.observe().sites;
        let listeners: Vec<SocketAddr> =
            sites.iter().flat_map(|site| &site.listeners).map(|listener| listener.address).collect();
        assert_eq!(listeners.len(), 3);
        for _ in 0..1_000 {
            if listeners.iter().all(|address| TcpStream::connect(address).is_ok()) && is_up(self) {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("{} does not start: {}", self.driver.target(), self.log());
    }

    /// What it said.
    fn log(&self) -> String {
        ["stderr.log", "error.log", "run/error.log"]
            .map(|name| fs::read_to_string(self.path(name)).unwrap_or_default())
            .concat()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn observe(&self) -> Observed {
        self.driver.observe(&Machine).unwrap()
    }

    pub fn render(&self, wanted: &[Wanted]) -> Rendered {
        self.driver.render(wanted, &self.observe())
    }

    pub fn bring(&self, wanted: &[Wanted]) -> Change {
        let change = self.render(wanted).change.expect("a change");
        self.driver.check(&Machine, &change).unwrap();
        self.driver.apply(&Machine, &change).unwrap();
        change
    }

    /// What a client gets at every listener of a site for a request target.
    pub fn ask(&self, site: &str, target: &str) -> Vec<Answer> {
        super::ask(&self.observe(), site, target)
    }

    /// Every file of the configuration and the data, but for what the server writes while it runs.
    pub fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut files = super::files(self.folder.path());
        files.retain(|path, _| !path.starts_with(self.path("run")));
        files
    }
}

impl<D: Driver + Hooked> Server<D> {
    /// Places the hook where `wanted` says, by file.
    pub fn hook(&self, wanted: impl Fn(&Edit) -> bool) {
        let edits: Vec<Edit> = self.driver.hook_edits(&Machine).unwrap().into_iter().filter(wanted).collect();
        assert!(!edits.is_empty());
        self.driver.edit(&Machine, &edits).unwrap();
    }

    /// Everywhere but in the second site.
    pub fn hook_one(&self) {
        self.hook(|edit| !edit.path.ends_with("two.conf"));
    }
}

impl<D> Drop for Server<D> {
    fn drop(&mut self) {
        // The parent ends its workers; killing it outright would leave them with the listeners.
        let _ = kill(Pid::from_raw(self.master.id() as i32), Signal::SIGTERM);
        let _ = self.master.wait();
    }
}
