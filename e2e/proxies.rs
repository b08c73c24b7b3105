//! Apache httpd and HAProxy in front of an origin, as an operator meets them: the hook is placed, M1 comes and is proven,
//! what it does to requests, and that nothing of it is left.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::world::*;

/// What is different between them.
pub struct Kind {
    pub name: &'static str,
    binary: &'static str,
    /// What plays the Default Web Site.
    site: &'static str,
    /// Where the file's name stands in the arguments.
    args: &'static [&'static str],
    configuration: fn(&Path, SocketAddr, SocketAddr) -> String,
    /// AbortRequest.
    pub refused: Seen,
}

impl Kind {
    /// Whether there is one; where there is none it says so for `test`, or panics in CI.
    pub fn is_here(&self, test: &str) -> bool {
        let here = Path::new(self.binary).exists();
        if !here {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "no {}: {test}", self.name);
            println!("skipped (no {}): {test}", self.name);
        }
        here
    }
}

pub const APACHE: Kind = Kind {
    name: "apache",
    binary: "/usr/sbin/apache2",
    site: "mail.example.org",
    args: &["-D", "FOREGROUND", "-f"],
    configuration: apache,
    refused: Seen::Status(403),
};

pub const HAPROXY: Kind = Kind {
    name: "haproxy",
    binary: "/usr/sbin/haproxy",
    site: "www",
    args: &["-W", "-db", "-f"],
    configuration: haproxy,
    refused: Seen::Closed,
};

/// A running server with one site, ended with the test.
pub struct Server {
    folder: PathBuf,
    pub address: SocketAddr,
    parent: Child,
}

impl Server {
    pub fn start(world: &World, kind: &Kind, origin: SocketAddr) -> Server {
        let folder = world.path(kind.name);
        fs::create_dir_all(folder.join("run")).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let config = folder.join("server.conf");
        fs::write(&config, (kind.configuration)(&folder, address, origin)).unwrap();
        let log = || fs::File::options().append(true).create(true).open(folder.join("run/log")).unwrap();
        let mut command = Command::new(kind.binary);
        command.args(kind.args).arg(&config).stdin(Stdio::null()).stdout(log()).stderr(log());
        let server = Server { folder, address, parent: command.spawn().unwrap() };
        wait_until("the server listens", || TcpStream::connect(address).is_ok());
        server
    }

    /// Its files, but for what it writes itself.
    pub fn files(&self) -> Snapshot {
        snapshot(&self.folder, &["run"])
    }

    /// Its `[[target]]`: its site plays the Default Web Site.
    pub fn target(&self, kind: &Kind) -> String {
        format!(
            "[[target]]\nkind = {:?}\nconfig = {:?}\nsites = {{ \"Default Web Site\" = [{:?}] }}\n",
            kind.name,
            text(&self.folder.join("server.conf")),
            kind.site
        )
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The parent ends its workers; killing it outright would leave them with the listeners.
        let _ = kill(Pid::from_raw(i32::try_from(self.parent.id()).unwrap()), Signal::SIGTERM);
        let _ = self.parent.wait();
    }
}

fn apache(folder: &Path, address: SocketAddr, origin: SocketAddr) -> String {
    let run = folder.join("run");
    let run = text(&run);
    let modules = ["mpm_event", "authz_core", "alias", "setenvif", "proxy", "proxy_http"]
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .concat();
    let user = if nix::unistd::geteuid().is_root() { "User www-data\nGroup www-data\n" } else { "" };
    format!(
        "ServerRoot {run}\nDefaultRuntimeDir {run}\nPidFile {run}/pid\nErrorLog {run}/error.log\n{user}\
         ServerName localhost\n{modules}Listen {address}\nStartServers 1\nServerLimit 4\nThreadsPerChild 4\n\
         MaxRequestWorkers 16\n<VirtualHost *:{}>\n    ServerName mail.example.org\n    \
         ProxyPass / http://{origin}/ nocanon disablereuse=on\n    AllowEncodedSlashes NoDecode\n</VirtualHost>\n",
        address.port()
    )
}

fn haproxy(folder: &Path, address: SocketAddr, origin: SocketAddr) -> String {
    format!(
        "global\n    stats socket {}/run/admin.sock mode 600 level admin\ndefaults\n    mode http\n    \
         timeout client 30s\n    timeout connect 30s\n    timeout server 30s\nfrontend www\n    bind {address}\n    \
         default_backend app\nbackend app\n    server app {origin}\n",
        folder.display()
    )
}

fn m1_comes_and_goes(kind: &Kind, test: &str) {
    if !kind.is_here(test) {
        return;
    }
    let (world, origin) = (World::new(), Origin::start());
    let server = Server::start(&world, kind, origin.address);
    let publisher = world.publisher();
    publisher.write_m1(3);
    publisher.publish();
    world.config(&format!("{}{}", publisher.table(), server.target(kind)));
    world.exchange(VULNERABLE);
    let untouched = server.files();
    let ask = |target: &str| {
        origin.clear();
        (ask(server.address, target), origin.hits() > 0)
    };

    // Without the hook nothing is put on, and what is missing is said.
    let lacking = world.ok(&["agent", "hook", kind.name]);
    assert!(lacking.stdout.contains("It lacks in"), "{lacking:?}");
    world.stopgap(&["apply"]);
    let m1 = world.mitigation("M1");
    assert_eq!(m1["in_force"], false, "{m1:#}");
    assert_eq!(ask(ATTACK), (Seen::Status(200), true));

    world.ok(&["agent", "hook", kind.name, "--insert"]);
    let hooked = server.files();
    let all = world.ok(&["agent", "hook", kind.name]);
    assert!(all.stdout.contains("Every site has it"), "{all:?}");
    world.stopgap(&["retry", kind.name]);
    world.ok(&["apply"]);
    assert_eq!(ask(ATTACK), (kind.refused, false));
    assert_eq!(ask(BENIGN), (Seen::Status(200), true));
    let m1 = world.mitigation("M1");
    assert_eq!((&m1["status"], &m1["in_force"]), (&"Applied".into(), &true.into()), "{m1:#}");
    let place = &m1["actions"][0]["targets"][0];
    assert_eq!((&place["site"], &place["proof"]), (&kind.site.into(), &"proven".into()), "{m1:#}");
    assert_eq!(server.files(), hooked, "the server's own files are not touched");

    world.ok(&["revert", "M1"]);
    assert_eq!(ask(ATTACK), (Seen::Status(200), true));
    world.ok(&["agent", "hook", kind.name, "--remove"]);
    assert_eq!(differences(&untouched, &server.files()), Vec::<PathBuf>::new(), "to the byte");
    assert!(!world.data().join(kind.name).exists(), "nothing of it is left");
}

#[test]
fn m1_comes_and_goes_on_apache() {
    m1_comes_and_goes(&APACHE, "m1_comes_and_goes_on_apache");
}

#[test]
fn m1_comes_and_goes_on_haproxy() {
    m1_comes_and_goes(&HAPROXY, "m1_comes_and_goes_on_haproxy");
}
