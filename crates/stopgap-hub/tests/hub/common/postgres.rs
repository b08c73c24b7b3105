//! A private PostgreSQL.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use nix::unistd::{Uid, User};
use tempfile::TempDir;

/// A server that ends with this value.
pub struct Cluster {
    folder: TempDir,
    programs: PathBuf,
    server: Mutex<Option<Child>>,
    databases: AtomicU32,
}

static SHARED: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());

impl Cluster {
    /// The cluster of this process's tests; the first that needs it starts it, the last ends it.
    pub fn shared(test: &str) -> Option<Arc<Cluster>> {
        let mut shared = SHARED.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(cluster) = shared.upgrade() {
            return Some(cluster);
        }
        let cluster = Cluster::private(test)?;
        *shared = Arc::downgrade(&cluster);
        Some(cluster)
    }

    /// A cluster of this test alone, which may stop it.
    pub fn private(test: &str) -> Option<Arc<Cluster>> {
        let Some(programs) = programs() else {
            assert!(std::env::var_os("CI").is_none(), "postgres is missing: Debian's package postgresql");
            println!("skipped (no postgres): {test}");
            return None;
        };
        Some(Arc::new(Cluster::make(programs)))
    }

    fn make(programs: PathBuf) -> Cluster {
        let folder = tempfile::Builder::new().prefix("pg").tempdir_in("/tmp").unwrap();
        let cluster = Cluster { folder, programs, server: Mutex::new(None), databases: AtomicU32::new(0) };
        if let Some(user) = unprivileged() {
            chown(cluster.folder.path(), Some(user.uid.as_raw()), Some(user.gid.as_raw())).unwrap();
        }
        let data = cluster.data();
        let made = cluster
            .program("initdb")
            .args(["--username=hub", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-D"])
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        cluster.start();
        cluster
    }

    /// Starts the server and waits until it answers.
    pub fn start(&self) {
        let mut server = self.program("postgres");
        server.arg("-D").arg(self.data()).arg("-k").arg(self.folder.path());
        server.args(["-c", "listen_addresses=", "-c", "max_connections=200", "-c", "shared_buffers=16MB"]);
        *self.server.lock().unwrap() =
            Some(server.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
        let began = Instant::now();
        while !self.psql("postgres", "SELECT 1").status.success() {
            assert!(began.elapsed() < Duration::from_secs(60), "PostgreSQL does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends the server at once, as a crash or a restart does for its clients.
    pub fn stop(&self) {
        if let Some(mut server) = self.server.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take() {
            // SIGINT is PostgreSQL's fast shutdown: it waits for no client.
            let pid = nix::unistd::Pid::from_raw(i32::try_from(server.id()).unwrap());
            let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT);
            let _ = server.wait();
        }
    }

    /// A new, empty database: its URL.
    pub fn database(&self) -> String {
        let name = format!("hub{}", self.databases.fetch_add(1, Ordering::Relaxed));
        let made = self.psql("postgres", &format!("CREATE DATABASE {name}"));
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let socket = self.folder.path().to_string_lossy().replace('/', "%2f");
        format!("postgres://hub@{socket}/{name}")
    }

    fn psql(&self, database: &str, sql: &str) -> std::process::Output {
        self.program("psql")
            .arg("-h")
            .arg(self.folder.path())
            .args(["-U", "hub", "-d", database, "-q", "-X", "-c", sql])
            .output()
            .unwrap()
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.programs.join(name));
        command.current_dir(self.folder.path()).stdin(Stdio::null()).env("LC_ALL", "C");
        if let Some(user) = unprivileged() {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop();
    }
}

/// PostgreSQL refuses to run as root: then it is the user of its package.
fn unprivileged() -> Option<User> {
    if !Uid::effective().is_root() {
        return None;
    }
    ["postgres", "nobody"].iter().find_map(|name| User::from_name(name).unwrap())
}

/// The folder of the newest version's programs.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.flatten().map(|entry| entry.path()).max_by_key(|path| number(path))?;
    let programs = newest.join("bin");
    programs.join("postgres").exists().then_some(programs)
}
