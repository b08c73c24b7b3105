//! A private PostgreSQL of Debian's package, as an unprivileged user.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid, User};

use crate::cargo::succeed;

/// Ended when dropped.
pub struct Cluster {
    folder: PathBuf,
    programs: PathBuf,
    server: Child,
}

impl Cluster {
    /// A new one, with PostgreSQL's own defaults; `None`: there is no such package here.
    pub fn start() -> Result<Option<Cluster>> {
        let Some(programs) = programs() else { return Ok(None) };
        // The user of the database cannot enter the folder of whoever measures; and a socket's path is short.
        let folder = PathBuf::from(format!("/tmp/stopgap-bench-{}", std::process::id()));
        std::fs::create_dir_all(&folder)?;
        if let Some(user) = unprivileged()? {
            chown(&folder, Some(user.uid.as_raw()), Some(user.gid.as_raw()))?;
        }
        let data = folder.join("data");
        let mut made = program(&programs, "initdb", &folder)?;
        made.args(["--username=hub", "--auth=trust", "--encoding=UTF8", "--locale=C", "-D"]).arg(&data);
        succeed(made.stdout(Stdio::null()))?;
        let mut server = program(&programs, "postgres", &folder)?;
        server.arg("-D").arg(&data).arg("-k").arg(&folder).args(["-c", "listen_addresses="]);
        let server = server.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
        let cluster = Cluster { folder, programs, server };
        let began = Instant::now();
        while !cluster.asks("CREATE DATABASE fleet")? {
            if began.elapsed() > Duration::from_secs(60) {
                bail!("PostgreSQL does not answer");
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(Some(cluster))
    }

    pub fn url(&self) -> String {
        format!("postgres://hub@{}/fleet", self.folder.to_string_lossy().replace('/', "%2f"))
    }

    fn asks(&self, sql: &str) -> Result<bool> {
        let mut psql = program(&self.programs, "psql", &self.folder)?;
        psql.arg("-h").arg(&self.folder).args(["-U", "hub", "-d", "postgres", "-q", "-X", "-c", sql]);
        Ok(psql.stdout(Stdio::null()).stderr(Stdio::null()).status()?.success())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // PostgreSQL's fast shutdown: it waits for no client.
        if let Ok(pid) = i32::try_from(self.server.id()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGINT);
        }
        let _ = self.server.wait();
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

fn program(programs: &Path, name: &str, folder: &Path) -> Result<Command> {
    let mut command = Command::new(programs.join(name));
    command.current_dir(folder).stdin(Stdio::null()).env("LC_ALL", "C");
    if let Some(user) = unprivileged()? {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
    Ok(command)
}

/// PostgreSQL refuses to run as root: then it is the user of its package.
fn unprivileged() -> Result<Option<User>> {
    if Uid::effective().is_root() { Ok(User::from_name("postgres")?) } else { Ok(None) }
}

/// The folder of the newest version's programs.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let number = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions.flatten().map(|entry| entry.path()).max_by_key(|path| number(path))?;
    let programs = newest.join("bin");
    programs.join("postgres").exists().then_some(programs)
}
