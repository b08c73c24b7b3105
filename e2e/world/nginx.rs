//! A real nginx, as a distribution ships it, in a tree of its own.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::{PATIENCE, World, free_port, text};

const BINARY: &str = "/usr/sbin/nginx";

/// Whether there is an nginx; where there is none it says so for `test`, or panics in CI.
pub fn nginx_is_here(test: &str) -> bool {
    let here = Path::new(BINARY).exists();
    if !here {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "no nginx: {test}");
        println!("skipped (no nginx): {test}");
    }
    here
}

/// A running nginx that forwards its sites to an origin.
///
/// ```text
///   <world>/nginx/nginx.conf
///                 conf.d/          what http includes
///                 sites/NAME.conf  one server block each
///                 run/             what nginx itself writes
/// ```
pub struct Nginx {
    pub folder: PathBuf,
    master: Child,
    /// Sites with their addresses, in order.
    pub sites: Vec<(String, SocketAddr)>,
    origin: SocketAddr,
}

impl Nginx {
    /// Starts one with these sites.
    pub fn start(world: &World, sites: &[&str], origin: SocketAddr) -> Nginx {
        let folder = world.path("nginx");
        for name in ["conf.d", "sites", "run"] {
            fs::create_dir_all(folder.join(name)).unwrap();
        }
        write_main(&folder);
        for _ in 0..10 {
            let sites: Vec<_> = sites.iter().map(|name| write_site(&folder, name, origin)).collect();
            if let Some(master) = launch(&folder, &sites) {
                return Nginx { folder, master, sites, origin };
            }
        }
        panic!("nginx does not start: {}", fs::read_to_string(folder.join("run/stderr.log")).unwrap());
    }

    /// A site's address.
    pub fn address(&self, site: &str) -> SocketAddr {
        self.sites.iter().find(|(name, _)| name == site).unwrap().1
    }

    /// A site's file.
    pub fn site_file(&self, site: &str) -> PathBuf {
        self.folder.join(format!("sites/{site}.conf"))
    }

    /// Adds a site and reloads.
    pub fn add_site(&mut self, name: &str) {
        let site = write_site(&self.folder, name, self.origin);
        self.sites.push(site);
        self.reload();
        let address = self.address(name);
        super::wait_until("the new site is served", || TcpStream::connect(address).is_ok());
    }

    /// `nginx -s reload`, as an administrator does.
    pub fn reload(&self) {
        let ran = super::run(self.command(&["-s", "reload"]));
        assert_eq!(ran.code, 0, "{ran:#?}");
    }

    /// An nginx command on this configuration.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(BINARY);
        command.args(args).arg("-c").arg(self.folder.join("nginx.conf"));
        command
    }

    /// The workers that serve now.
    pub fn workers(&self) -> Vec<u32> {
        let id = self.master.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap();
        let serving = |pid: &u32| {
            let title = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            title.starts_with("nginx: worker process") && !title.contains("shutting down")
        };
        children.split_whitespace().map(|pid| pid.parse().unwrap()).filter(serving).collect()
    }

    /// How often it has read its configuration anew since it started.
    pub fn reloads(&self) -> usize {
        let log = fs::read_to_string(self.folder.join("run/error.log")).unwrap_or_default();
        log.matches("signal 1 (SIGHUP) received").count()
    }

    /// Its `[[target]]`: `site` plays the Default Web Site.
    pub fn target(&self, sites: &[&str]) -> String {
        format!(
            "[[target]]\nkind = \"nginx\"\nconfig = {:?}\nsites = {{ \"Default Web Site\" = {sites:?} }}\n",
            text(&self.folder.join("nginx.conf"))
        )
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master ends its workers; killing it outright would leave them with the listeners.
        let _ = kill(Pid::from_raw(i32::try_from(self.master.id()).unwrap()), Signal::SIGTERM);
        let _ = self.master.wait();
    }
}

fn write_main(folder: &Path) {
    let run = folder.join("run");
    let run = text(&run);
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("    {kind}_temp_path {run}/{kind};\n"))
        .concat();
    let main = format!(
        "pid {run}/nginx.pid;\nerror_log {run}/error.log notice;\nworker_processes 1;\n\
         events {{ worker_connections 256; }}\n\
         http {{\n{temporary}    access_log {run}/access.log;\n    large_client_header_buffers 4 32k;\n    \
         include conf.d/*.conf;\n    include sites/*.conf;\n}}\n"
    );
    fs::write(folder.join("nginx.conf"), main).unwrap();
}

fn write_site(folder: &Path, name: &str, origin: SocketAddr) -> (String, SocketAddr) {
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let site = format!(
        "server {{\n    listen {address};\n    server_name {name};\n    \
         location / {{ proxy_pass http://{origin}; }}\n}}\n"
    );
    fs::write(folder.join(format!("sites/{name}.conf")), site).unwrap();
    (name.to_owned(), address)
}

/// `None`: it ended, most likely because somebody took a port in the meantime.
fn launch(folder: &Path, sites: &[(String, SocketAddr)]) -> Option<Child> {
    let stderr = fs::File::create(folder.join("run/stderr.log")).unwrap();
    let mut master = Command::new(BINARY)
        .args(["-g", "daemon off;", "-c"])
        .arg(folder.join("nginx.conf"))
        .stdin(Stdio::null())
        .stderr(stderr)
        .spawn()
        .unwrap();
    let start = Instant::now();
    while start.elapsed() < PATIENCE && master.try_wait().unwrap().is_none() {
        // The number is written when every port is its own.
        let pid = fs::read_to_string(folder.join("run/nginx.pid")).unwrap_or_default();
        let up = pid.trim() == master.id().to_string();
        if up && sites.iter().all(|(_, address)| TcpStream::connect(address).is_ok()) {
            return Some(master);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = master.kill();
    let _ = master.wait();
    None
}
