//! A web server with one site in front of the origin, as its distribution ships it, and the driver for it.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stopgap_drivers::apache::{self, Apache};
use stopgap_drivers::haproxy::{self, Haproxy};
use stopgap_drivers::hook::Hooked;
use stopgap_drivers::nginx::{self, Nginx};
use stopgap_drivers::server::Settings;
use stopgap_drivers::{Driver, Machine};
use tempfile::TempDir;

use crate::common::{free_port, until};

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Nginx,
    Apache,
    /// It is told rules through its stats socket.
    HaproxySocket,
    /// It has none, and is reloaded.
    HaproxyReload,
}

impl Kind {
    pub fn binary(self) -> &'static str {
        match self {
            Kind::Nginx => "/usr/sbin/nginx",
            Kind::Apache => "/usr/sbin/apache2",
            Kind::HaproxySocket | Kind::HaproxyReload => "/usr/sbin/haproxy",
        }
    }

    /// Has the server read its configuration anew.
    fn reload(self) -> Signal {
        match self {
            Kind::Nginx => Signal::SIGHUP,
            Kind::Apache => Signal::SIGUSR1,
            Kind::HaproxySocket | Kind::HaproxyReload => Signal::SIGUSR2,
        }
    }

    /// What its log says once for each reload.
    fn reloaded(self) -> &'static str {
        match self {
            Kind::Nginx => "signal 1 (SIGHUP) received",
            Kind::Apache => "AH00493",
            Kind::HaproxySocket | Kind::HaproxyReload => "Reloading HAProxy",
        }
    }
}

/// A driver whose server has a hook.
pub trait Web: Driver + Hooked {}

impl<T: Driver + Hooked> Web for T {}

/// A running server with the hook in its one site.
pub struct Server {
    pub folder: TempDir,
    pub driver: Box<dyn Web>,
    pub address: SocketAddr,
    kind: Kind,
    master: Child,
}

impl Server {
    pub fn start(kind: Kind, origin: SocketAddr) -> Server {
        let folder = tempfile::tempdir().unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let root = folder.path();
        fs::create_dir(root.join("data")).unwrap();
        let (driver, mut command): (Box<dyn Web>, Command) = match kind {
            Kind::Nginx => with_nginx(root, address, origin),
            Kind::Apache => with_apache(root, address, origin),
            Kind::HaproxySocket | Kind::HaproxyReload => with_haproxy(root, kind, address, origin),
        };
        let edits = driver.hook_edits(&Machine).unwrap();
        driver.edit(&Machine, &edits).unwrap();
        let log = fs::File::create(root.join("stderr.log")).unwrap();
        let master = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            // Apache ends its whole group, with workers of some kinds.
            .process_group(0)
            .spawn()
            .unwrap();
        let mut server = Server { driver, address, kind, master, folder };
        server.wait_for_start();
        server
    }

    fn wait_for_start(&mut self) {
        for _ in 0..3_000 {
            let ended = self.master.try_wait().unwrap();
            assert!(ended.is_none(), "it does not start: {}", self.log());
            // A warning says that it does not run: its pid file is not there yet.
            if TcpStream::connect(self.address).is_ok()
                && !self.workers().is_empty()
                && !self.driver.observe(&Machine).unwrap().warnings.iter().any(|w| w.contains("not run"))
            {
                return;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("it does not start: {}", self.log());
    }

    /// What it said.
    pub fn log(&self) -> String {
        ["stderr.log", "error.log"]
            .map(|name| fs::read_to_string(self.folder.path().join(name)).unwrap_or_default())
            .concat()
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its main configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join(match self.kind {
            Kind::Nginx => "nginx.conf",
            Kind::Apache => "etc/apache2/apache2.conf",
            Kind::HaproxySocket | Kind::HaproxyReload => "etc/haproxy/haproxy.cfg",
        })
    }

    /// The link to the set that it reads.
    pub fn live(&self) -> PathBuf {
        self.folder.path().join("data").join(self.driver.target()).join("live")
    }

    /// Whether it does not start without that link.
    pub fn needs_live(&self) -> bool {
        matches!(self.kind, Kind::HaproxySocket | Kind::HaproxyReload)
    }

    /// How often it was reloaded, by its own log.
    pub fn reloads(&self) -> usize {
        self.log().matches(self.kind.reloaded()).count()
    }

    fn workers(&self) -> Vec<u32> {
        let pid = self.master.id();
        let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        text.split_whitespace().map(|word| word.parse().unwrap()).collect()
    }

    /// A reload as an operator makes it, until new workers are there and none of before is; how long that took.
    pub fn reload(&self) -> Duration {
        let start = Instant::now();
        let before = self.workers();
        kill(self.pid(), self.kind.reload()).unwrap();
        until(|| {
            let now = self.workers();
            !now.is_empty() && now.iter().all(|worker| !before.contains(worker))
        });
        start.elapsed()
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.master.id() as i32)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The master ends its workers; killing it outright would leave them with the listeners.
        let _ = kill(self.pid(), Signal::SIGTERM);
        let _ = self.master.wait();
    }
}

fn with_nginx(root: &Path, address: SocketAddr, origin: SocketAddr) -> (Box<dyn Web>, Command) {
    for name in ["conf.d", "tmp"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {}/tmp/{kind};\n", root.display()))
        .concat();
    let config = root.join("nginx.conf");
    let text = format!(
        "pid {0}/nginx.pid;\nerror_log {0}/error.log notice;\nworker_processes 2;\nevents {{ }}\nhttp {{\n{temporary}  \
         access_log off;\n  include conf.d/*.conf;\n  upstream app {{ server {origin}; keepalive 32; }}\n  server {{\n    \
         listen {address};\n    server_name one.example;\n    location / {{\n      proxy_pass http://app;\n      \
         proxy_http_version 1.1;\n      proxy_set_header Connection \"\";\n    }}\n  }}\n}}\n",
        root.display()
    );
    fs::write(&config, text).unwrap();
    let settings = nginx::settings("nginx", root.join("data/nginx"), "/".into());
    let mut command = Command::new(Kind::Nginx.binary());
    command.args(["-g", "daemon off;", "-c"]).arg(&config);
    (Box::new(Nginx::new(Settings { config, ..settings })), command)
}

/// With the numbers of processes that Debian's has.
fn with_apache(root: &Path, address: SocketAddr, origin: SocketAddr) -> (Box<dyn Web>, Command) {
    let etc = root.join("etc/apache2");
    for name in ["conf-enabled", "sites-enabled", "mods-enabled"] {
        fs::create_dir_all(etc.join(name)).unwrap();
    }
    for name in ["run", "htdocs"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    let write = |name: &str, text: String| fs::write(etc.join(name), text).unwrap();
    let user = if nix::unistd::geteuid().is_root() { "User www-data\nGroup www-data\n" } else { "" };
    write("envvars", format!("export APACHE_RUN_DIR={}/run\n", root.display()));
    write(
        "apache2.conf",
        format!(
            "DefaultRuntimeDir ${{APACHE_RUN_DIR}}\nPidFile ${{APACHE_RUN_DIR}}/apache2.pid\n{user}\
             ErrorLog {0}/error.log\nServerName localhost\nDocumentRoot {0}/htdocs\n\
             IncludeOptional mods-enabled/*.load\nStartServers 2\nMinSpareThreads 25\nMaxSpareThreads 75\n\
             ThreadsPerChild 25\nMaxRequestWorkers 150\nListen {address}\nIncludeOptional conf-enabled/*.conf\n\
             IncludeOptional sites-enabled/*.conf\n",
            root.display()
        ),
    );
    for name in ["authz_core", "alias", "setenvif", "proxy", "proxy_http", "headers", "mpm_event"] {
        write(
            &format!("mods-enabled/{name}.load"),
            format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"),
        );
    }
    write(
        "sites-enabled/one.conf",
        format!(
            "<VirtualHost *:{}>\n\tServerName one.example\n\tProxyPass / http://{origin}/ nocanon\n\t\
             AllowEncodedSlashes NoDecode\n</VirtualHost>\n",
            address.port()
        ),
    );
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", ". \"$0\" && exec \"$@\""])
        .arg(etc.join("envvars"))
        .args([Kind::Apache.binary(), "-D", "FOREGROUND", "-d"])
        .arg(&etc)
        .arg("-f")
        .arg(etc.join("apache2.conf"));
    let settings = apache::settings("apache", root.join("data/apache"), root.to_owned());
    (Box::new(Apache::new(settings)), command)
}

fn with_haproxy(root: &Path, kind: Kind, address: SocketAddr, origin: SocketAddr) -> (Box<dyn Web>, Command) {
    for name in ["etc/haproxy", "run"] {
        fs::create_dir_all(root.join(name)).unwrap();
    }
    let config: PathBuf = root.join("etc/haproxy/haproxy.cfg");
    let stats = match kind {
        Kind::HaproxyReload => String::new(),
        _ => format!(
            "    stats socket {}/run/admin.sock mode 600 level admin expose-fd listeners\n",
            root.display()
        ),
    };
    let text = format!(
        "global\n    maxconn 1000\n{stats}\ndefaults\n    mode http\n    timeout client 30s\n    \
         timeout connect 30s\n    timeout server 30s\n\nfrontend one\n    bind {address}\n    default_backend app\n\n\
         backend app\n    server app {origin}\n"
    );
    fs::write(&config, text).unwrap();
    let mut command = Command::new(kind.binary());
    command.args(["-W", "-db", "-f"]).arg(&config).arg("-p").arg(root.join("run/haproxy.pid"));
    let settings = haproxy::settings("haproxy", root.join("data/haproxy"), root.to_owned());
    (Box::new(Haproxy::new(settings, None)), command)
}
