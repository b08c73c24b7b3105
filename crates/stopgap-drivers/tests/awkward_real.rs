//! Sites where a probe meets something in front of the rules: an allow list, a sign-in, a client certificate, a default
//! server that drops, the PROXY protocol. On nginx, Apache and HAProxy none of them is a reason to revert, nothing is
//! proven that the rule did not do, and the rule works behind all of them.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stopgap_core::proof::Judgement;
use stopgap_drivers::apache::{self, Apache};
use stopgap_drivers::haproxy::{self, Haproxy};
use stopgap_drivers::hook::Hooked;
use stopgap_drivers::nginx::{self, Nginx};
use stopgap_drivers::probe::{self, Patience};
use stopgap_drivers::server::Settings;
use stopgap_drivers::{Driver, Machine};
use stopgap_feed::document::Expect;
use tempfile::TempDir;

use common::server::is_here;
use common::{ATTACK, free_port, m1, serve_origin, until};

/// Where each site listens: the last two share a port, as a default server and a site beside it do.
struct Ports {
    allow: u16,
    auth: u16,
    cert: u16,
    proxy: u16,
    drop: u16,
}

/// A server's own part of the test.
struct Kind {
    binary: &'static str,
    configuration: fn(&Path, &Ports, SocketAddr) -> String,
    command: fn(&Path) -> Vec<String>,
    driver: fn(Settings) -> Box<dyn Both>,
    places: fn(&str, std::path::PathBuf, std::path::PathBuf) -> Settings,
    /// What the attacks of M1 show at each site that is probed.
    shown: &'static [(&'static str, &'static str)],
}

trait Both: Driver + Hooked {}
impl<T: Driver + Hooked> Both for T {}

const NGINX: Kind = Kind {
    binary: "/usr/sbin/nginx",
    configuration: nginx_configuration,
    command: |config| vec!["-g".into(), "daemon off;".into(), "-c".into(), text(config)],
    driver: |settings| Box::new(Nginx::new(settings)),
    places: nginx::settings,
    // nginx asks the rules before it looks who it is.
    shown: &[("_", "unproven"), ("allow", "proven"), ("auth", "proven"), ("real", "proven")],
};

const APACHE: Kind = Kind {
    binary: "/usr/sbin/apache2",
    configuration: apache_configuration,
    command: |config| vec!["-D".into(), "FOREGROUND".into(), "-f".into(), text(config)],
    driver: |settings| Box::new(Apache::new(settings)),
    places: apache::settings,
    // Apache looks who it is before the rules refuse, and the refusal of an allow list is the same 403 as theirs.
    shown: &[("allow", "unproven"), ("auth", "unproven"), ("drop", "unproven"), ("real", "proven")],
};

const HAPROXY: Kind = Kind {
    binary: "/usr/sbin/haproxy",
    configuration: haproxy_configuration,
    command: |config| vec!["-W".into(), "-db".into(), "-f".into(), text(config)],
    driver: |settings| Box::new(Haproxy::new(settings, None)),
    places: haproxy::settings,
    // The hook comes before every other line; what drops and what the rule does look alike.
    shown: &[("allow", "proven"), ("auth", "proven"), ("drop", "unproven")],
};

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

/// Ended with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // The parent ends its workers; killing it outright would leave them with the listeners.
        let _ = kill(Pid::from_raw(self.0.id() as i32), Signal::SIGTERM);
        let _ = self.0.wait();
    }
}

fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    // Workers without privileges read the passwords.
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let made = rcgen::generate_simple_self_signed(["cert".to_owned()]).unwrap();
    let pem = made.cert.pem() + &made.signing_key.serialize_pem();
    fs::write(folder.path().join("site.pem"), pem).unwrap();
    fs::write(folder.path().join("ca.pem"), made.cert.pem()).unwrap();
    fs::write(folder.path().join("users"), "u:{SHA}UWuXg/ylF+7L0dBk2i0WUxCxl1k=\n").unwrap();
    for name in ["data", "tmp"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    folder
}

/// The answer to raw octets, until the peer closes.
fn raw(port: u16, octets: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(octets.as_bytes()).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn nothing_in_front_of_a_site_misleads(kind: &Kind, test: &str) {
    if !is_here(kind.binary, test) {
        return;
    }
    let folder = folder();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let origin = serve_origin(seen.clone());
    let ports = Ports {
        allow: free_port(),
        auth: free_port(),
        cert: free_port(),
        proxy: free_port(),
        drop: free_port(),
    };
    let config = folder.path().join("server.conf");
    fs::write(&config, (kind.configuration)(folder.path(), &ports, origin)).unwrap();
    let places = (kind.places)("server", folder.path().join("data/server"), "/".into());
    let driver = (kind.driver)(Settings { config: config.clone(), ..places });
    let edits = driver.hook_edits(&Machine).unwrap();
    driver.edit(&Machine, &edits).unwrap();
    let log = || fs::File::options().append(true).create(true).open(folder.path().join("log")).unwrap();
    let mut command = Command::new(kind.binary);
    command.args((kind.command)(&config)).stdin(Stdio::null()).stdout(log()).stderr(log());
    let _running = Running(command.spawn().unwrap());
    let all = [ports.allow, ports.auth, ports.cert, ports.proxy, ports.drop];
    until(|| all.iter().all(|port| TcpStream::connect(("127.0.0.1", *port)).is_ok()));
    until(|| driver.observe(&Machine).unwrap().warnings.len() == 2);

    let observed = driver.observe(&Machine).unwrap();
    for why in [
        "site cert: a listener is not probed: it demands a client certificate",
        "site proxy: a listener is not probed: it expects the PROXY protocol",
    ] {
        assert!(observed.warnings.iter().any(|warning| warning == why), "{:?}", observed.warnings);
    }
    let rendered = driver.render(&m1(), &observed);
    assert_eq!(rendered.refused, []);
    let questions = probe::questions(&Machine, &m1(), &rendered.placements, &observed, 1);
    let change = rendered.change.unwrap();
    driver.check(&Machine, &change).unwrap();
    driver.apply(&Machine, &change).unwrap();
    let shown = probe::prove(&Machine, questions, Patience::default(), 2);
    assert_eq!(probe::harms(&shown).count(), 0, "{shown:?}");
    let mut told: BTreeMap<&str, &str> = BTreeMap::new();
    for one in shown.iter().filter(|one| one.question.probe.expect == Expect::Blocked) {
        let word = match one.judgement {
            Judgement::Proven => "proven",
            Judgement::Unproven(_) => "unproven",
            _ => "wrong",
        };
        let before = told.insert(&one.question.site, word);
        assert!(before.is_none_or(|before| before == word), "{shown:?}");
    }
    assert_eq!(told, kind.shown.iter().copied().collect(), "{shown:?}");

    // A client that what stands in front lets through: the rule works there, proven or not.
    let signed = "Host: auth\r\nAuthorization: Basic dTpw\r\nConnection: close\r\n\r\n";
    let proxied = "PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\r\n";
    let real = "Host: real\r\nConnection: close\r\n\r\n";
    let ask = |target: &str| {
        seen.lock().unwrap().clear();
        let answers = [
            raw(ports.auth, &format!("GET {target} HTTP/1.1\r\n{signed}")),
            raw(
                ports.proxy,
                &format!("{proxied}GET {target} HTTP/1.1\r\nHost: proxy\r\nConnection: close\r\n\r\n"),
            ),
            raw(ports.drop, &format!("GET {target} HTTP/1.1\r\n{real}")),
        ];
        (answers, seen.lock().unwrap().len())
    };
    let (answers, count) = ask("/");
    assert!(answers.iter().all(|answer| answer.starts_with("HTTP/1.1 200")), "{answers:?}");
    assert_eq!(count, 3);
    let (answers, count) = ask(ATTACK);
    assert!(
        answers.iter().all(|answer| answer.is_empty() || answer.starts_with("HTTP/1.1 403")),
        "{answers:?}"
    );
    assert_eq!(count, 0, "nothing reaches the application");
}

#[test]
fn nothing_in_front_of_a_site_of_nginx_misleads() {
    nothing_in_front_of_a_site_misleads(&NGINX, "nothing_in_front_of_a_site_of_nginx_misleads");
}

#[test]
fn nothing_in_front_of_a_site_of_apache_misleads() {
    nothing_in_front_of_a_site_misleads(&APACHE, "nothing_in_front_of_a_site_of_apache_misleads");
}

#[test]
fn nothing_in_front_of_a_site_of_haproxy_misleads() {
    nothing_in_front_of_a_site_misleads(&HAPROXY, "nothing_in_front_of_a_site_of_haproxy_misleads");
}

fn nginx_configuration(folder: &Path, ports: &Ports, origin: SocketAddr) -> String {
    let path = folder.display();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {path}/tmp/{kind};\n"))
        .concat();
    let site = |listen: String, name: &str, more: &str| {
        format!(
            "server {{\n listen 127.0.0.1:{listen};\n server_name {name};\n {more}\n \
             location / {{ proxy_pass http://{origin}; }}\n}}\n"
        )
    };
    let tls = format!(
        "ssl_certificate {path}/site.pem;\n ssl_certificate_key {path}/site.pem;\n ssl_verify_client on;\n ssl_client_certificate {path}/ca.pem;"
    );
    [
        format!("pid {path}/nginx.pid;\nerror_log {path}/error.log;\nevents {{ }}\nhttp {{\n{temporary}access_log off;\n"),
        site(ports.allow.to_string(), "allow", "allow 192.0.2.0/24; deny all;"),
        site(ports.auth.to_string(), "auth", &format!("auth_basic a; auth_basic_user_file {path}/users;")),
        site(format!("{} ssl", ports.cert), "cert", &tls),
        site(format!("{} proxy_protocol", ports.proxy), "proxy", ""),
        site(format!("{} default_server", ports.drop), "_", "return 444;"),
        site(ports.drop.to_string(), "real", ""),
        "}\n".to_owned(),
    ]
    .concat()
}

fn apache_configuration(folder: &Path, ports: &Ports, origin: SocketAddr) -> String {
    let path = folder.display();
    let modules = [
        "mpm_event",
        "authz_core",
        "authz_host",
        "authz_user",
        "auth_basic",
        "authn_core",
        "authn_file",
        "alias",
        "setenvif",
        "proxy",
        "proxy_http",
        "ssl",
        "socache_shmcb",
        "remoteip",
    ];
    let modules: String = modules
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .concat();
    let user = if nix::unistd::geteuid().is_root() { "User www-data\nGroup www-data\n" } else { "" };
    let listen = [ports.allow, ports.auth, ports.cert, ports.proxy, ports.drop];
    let listen: String = listen.map(|port| format!("Listen 127.0.0.1:{port}\n")).concat();
    let site = |port: u16, name: &str, more: &str| {
        format!(
            "<VirtualHost *:{port}>\nServerName {name}\n{more}\nProxyPass / http://{origin}/ disablereuse=on\n</VirtualHost>\n"
        )
    };
    let location = |text: &str| format!("<Location />\n{text}\n</Location>");
    let auth = format!("AuthType Basic\nAuthName a\nAuthUserFile {path}/users\nRequire valid-user");
    let tls = format!(
        "SSLEngine on\nSSLCertificateFile {path}/site.pem\nSSLCACertificateFile {path}/ca.pem\nSSLVerifyClient require"
    );
    [
        format!("ServerRoot {path}\nDefaultRuntimeDir {path}\nPidFile {path}/pid\nErrorLog {path}/error.log\n{user}ServerName localhost\n{modules}{listen}"),
        "StartServers 1\nServerLimit 4\nThreadsPerChild 4\nMaxRequestWorkers 16\n".to_owned(),
        site(ports.allow, "allow", &location("Require ip 192.0.2.0/24")),
        site(ports.auth, "auth", &location(&auth)),
        site(ports.cert, "cert", &tls),
        site(ports.proxy, "proxy", "RemoteIPProxyProtocol On"),
        site(ports.drop, "drop", &location("Require all denied")),
        site(ports.drop, "real", ""),
    ]
    .concat()
}

fn haproxy_configuration(folder: &Path, ports: &Ports, origin: SocketAddr) -> String {
    let path = folder.display();
    let site = |name: &str, bind: String, more: &str| {
        format!("frontend {name}\n bind 127.0.0.1:{bind}\n {more}\n default_backend app\n")
    };
    [
        format!("global\n stats socket {path}/admin.sock mode 600 level admin\ndefaults\n mode http\n timeout client 30s\n timeout connect 30s\n timeout server 30s\nuserlist users\n user u insecure-password p\n"),
        site("allow", ports.allow.to_string(), "http-request deny unless { src 192.0.2.0/24 }"),
        site("auth", ports.auth.to_string(), "http-request auth unless { http_auth(users) }"),
        site("cert", format!("{} ssl crt {path}/site.pem ca-file {path}/ca.pem verify required", ports.cert), ""),
        site("proxy", format!("{} accept-proxy", ports.proxy), ""),
        site("drop", ports.drop.to_string(), "http-request reject unless { hdr(host) real }"),
        format!("backend app\n server app {origin}\n"),
    ]
    .concat()
}
