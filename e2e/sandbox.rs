//! What the packaged units allow, and what they do not: on a machine with a systemd of its own, the service alone puts a rule on nginx, Apache,
//! HAProxy and the gateway, a pool of php-fpm and services out of service, looks after them over a restart, and takes
//! it all off again. No command of an operator does any of it, since one would run outside of the unit.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;
use serde_json::Value;
use stopgap_testkit::feeds;
use stopgap_testkit::machine::{Machine, Root};
use stopgap_testkit::pki::{Options, TestPki};

use crate::world::{ROOT, STOPGAP, wait_until};

/// A server that takes rules.
struct Web {
    /// As a target is named.
    kind: &'static str,
    /// Its program.
    binary: &'static str,
    unit: &'static str,
    port: u16,
    /// Its `[[target]]` beside the kind.
    target: &'static str,
    /// What a client gets for a refused request: a status, or nothing where the connection is closed.
    refused: &'static str,
    /// It reads our rules by lines in its configuration.
    hooked: bool,
}

const WEB: [Web; 4] = [
    Web {
        kind: "nginx",
        binary: "/usr/sbin/nginx",
        unit: "nginx.service",
        port: 8081,
        target: "",
        refused: "",
        hooked: true,
    },
    Web {
        kind: "apache",
        binary: "/usr/sbin/apache2",
        unit: "apache2.service",
        port: 8082,
        target: "",
        refused: "403",
        hooked: true,
    },
    Web {
        kind: "haproxy",
        binary: "/usr/sbin/haproxy",
        unit: "haproxy.service",
        port: 8083,
        target: "",
        refused: "",
        hooked: true,
    },
    Web {
        kind: "gateway",
        binary: STOPGAP,
        unit: "stopgap-gateway.service",
        port: 8084,
        target: "control = \"/run/stopgap-gateway/control.sock\"\nlisteners = [\"http://127.0.0.1:8084\"]\n",
        refused: "",
        hooked: false,
    },
];

/// What is stopped, by the file that its unit has: one that is masked, and one that gets a drop-in.
const SERVICES: [(&str, &str); 2] =
    [("printd.service", "/usr/lib/systemd/system"), ("watchd.service", "/etc/systemd/system")];

/// Files of the machine, and what is in them.
const FILES: [(&str, &str); 8] = [
    (
        "/etc/nginx/sites-enabled/default",
        "server {\n    listen 127.0.0.1:8081;\n    location / { return 200 ok; }\n}\n",
    ),
    ("/etc/apache2/ports.conf", "Listen 127.0.0.1:8082\n"),
    (
        "/etc/apache2/sites-enabled/000-default.conf",
        "<VirtualHost 127.0.0.1:8082>\n    ServerName localhost\n    RedirectMatch 404 ^/gone\n    \
         DocumentRoot /srv/www\n    FallbackResource /index.html\n    <Directory /srv/www>\n        \
         Require all granted\n    </Directory>\n</VirtualHost>\n",
    ),
    ("/srv/www/index.html", "ok"),
    // As Debian has it: chroot, a user of its own, and the socket of its administrators.
    (
        "/etc/haproxy/haproxy.cfg",
        "global\n    chroot /var/lib/haproxy\n    stats socket /run/haproxy/admin.sock mode 660 level admin\n    \
         user haproxy\n    group haproxy\n    daemon\ndefaults\n    mode http\n    timeout connect 5s\n    \
         timeout client 50s\n    timeout server 50s\nfrontend www\n    bind 127.0.0.1:8083\n    \
         default_backend app\nbackend app\n    server app 127.0.0.1:8085\n",
    ),
    (
        "/etc/stopgap/gateway.env",
        "STOPGAP_GATEWAY=--listen 127.0.0.1:8084 --upstream http://127.0.0.1:8085\n",
    ),
    (
        "/etc/php/8.2/fpm/pool.d/shop.conf",
        "[shop]\nuser = www-data\ngroup = www-data\nlisten = /run/php/shop.sock\npm = ondemand\n\
         pm.max_children = 2\n",
    ),
    // What is behind HAProxy and the gateway.
    (
        "/usr/lib/systemd/system/origin.service",
        "[Service]\nExecStart=/usr/bin/python3 -m http.server --bind 127.0.0.1 --directory /srv/www 8085\n\
         [Install]\nWantedBy=multi-user.target\n",
    ),
];

const CONFIG: &str = "soak = \"0s\"\n[[feed]]\nname = \"example\"\nurl = \"file:///srv/feed.xml\"\n\
     trust = \"trust.toml\"\n[[target]]\nkind = \"systemd\"\n[[target]]\nkind = \"phpfpm\"\n";

const RUNS: &str = "[Service]\nType=exec\nExecStart=sleep infinity\n[Install]\nWantedBy=multi-user.target\n";

const PACKAGE: [&str; 2] = ["stopgap.service", "stopgap-gateway.service"];

/// A mitigation that takes what is named out of service: a service or a pool.
fn out_of_service(id: &str, kind: &str, names: &[&str]) -> String {
    let actions = names.iter().zip(1..).map(|(name, n)| {
        format!(
            "<Action id=\"{id}.{n}\" type=\"{kind}\" scope=\"Server\" desc=\"takes it out\"><Value>{name}</Value></Action>"
        )
    });
    let actions: String = actions.collect();
    format!("<Config id=\"{id}\" desc=\"Out of service\"><ActionList>{actions}</ActionList></Config>")
}

struct Server {
    machine: Machine,
    pki: TestPki,
}

impl Server {
    fn release(&self, serial: u64, content: &str) {
        let feed = feeds::feed("example", serial, Timestamp::now(), content);
        self.machine.write("/srv/feed.xml", feeds::signed(&feed, &self.pki), 0o644);
        // The service looks at a file when it looks at all: at its start, among others.
        self.machine.ok(&["systemctl", "restart", "stopgap.service"]);
    }

    /// What `status --json` says of a mitigation; null before anything is known of it.
    fn status(&self, id: &str) -> Value {
        let json = self.machine.run(&["stopgap", "status", "--json"]).stdout;
        let report: Value = serde_json::from_slice(&json).unwrap_or_default();
        let mut all = report["mitigations"].as_array().into_iter().flatten();
        all.find(|mitigation| mitigation["id"] == id).cloned().unwrap_or_default()
    }

    /// The status of the answer; nothing where the connection is closed.
    fn ask(&self, port: u16, path: &str) -> String {
        let script = "exec 3<>/dev/tcp/127.0.0.1/$0; printf 'GET %s HTTP/1.1\\r\\nHost: localhost\\r\\n\
                      Connection: close\\r\\n\\r\\n' \"$1\" >&3; head -n 1 <&3";
        let line = self.machine.ok(&["bash", "-c", script, &port.to_string(), path]);
        line.split_whitespace().nth(1).unwrap_or_default().to_owned()
    }

    /// Every file of the configuration, by mode, owner and digest; what enables the agent is not of it.
    fn files(&self) -> BTreeSet<String> {
        let script = "find /etc -xdev ! -name stopgap.service -printf '%p %y %m %U:%G %l\\n'; \
                      find /etc -xdev -type f -exec sha256sum {} +";
        self.machine.ok(&["sh", "-c", script]).lines().map(str::to_owned).collect()
    }

    /// What runs: units and the sockets of pools.
    fn running(&self) -> String {
        let units = SERVICES.map(|(unit, _)| unit).into_iter().chain(["php8.2-fpm.service"]);
        let state = |unit| {
            let shown =
                self.machine.ok(&["systemctl", "show", "-P", "ActiveState", "-P", "UnitFileState", unit]);
            format!("{unit} {}\n", shown.trim().replace('\n', " "))
        };
        let units: String = units.chain(WEB.map(|web| web.unit)).map(state).collect();
        // `php-fpm.sock` is Debian's link to the socket of `www`, made when the unit starts and the pool is there.
        units + &self.machine.ok(&["sh", "-c", "ls /run/php | grep 'sock$' | grep -v ^php-fpm"])
    }

    /// Everything is in force, by what the service says and by what a client, php-fpm and systemd do.
    fn is_protected(&self) {
        for id in ["M1", "P1", "S1"] {
            wait_until(&format!("{id} is in force"), || self.status(id)["in_force"] == true);
        }
        for web in WEB {
            assert_eq!(self.ask(web.port, "/evil"), web.refused, "{}", web.kind);
            assert_eq!(self.ask(web.port, "/"), "200", "{}", web.kind);
        }
        let running = self.running();
        for line in ["printd.service inactive masked", "watchd.service inactive enabled"] {
            assert!(running.contains(line), "{running}");
        }
        assert!(running.contains("php8.2-fpm.service active") && running.contains("shop.sock"), "{running}");
        assert!(!running.contains("php8.2-fpm.sock"), "{running}");
    }

    /// What the service logged, and what systemd and the audit say of it.
    fn log(&self) -> String {
        self.machine.ok(&["journalctl", "--no-pager", "-o", "cat", "-u", "stopgap.service"])
    }
}

fn configure(server: &Server) {
    let machine = &server.machine;
    machine.copy(STOPGAP.as_ref(), "/usr/bin/stopgap");
    for unit in PACKAGE {
        let from = Path::new(ROOT).join("packaging").join(unit);
        machine.copy(&from, &format!("/usr/lib/systemd/system/{unit}"));
    }
    for (path, text) in FILES {
        machine.write(path, text, 0o644);
    }
    for (unit, folder) in SERVICES {
        machine.write(&format!("{folder}/{unit}"), RUNS, 0o644);
    }
    let targets = WEB.map(|web| format!("[[target]]\nkind = \"{}\"\n{}", web.kind, web.target)).concat();
    machine.write("/etc/stopgap/stopgap.toml", format!("{CONFIG}{targets}"), 0o644);
    machine.write("/etc/stopgap/trust.toml", server.pki.trust_toml(), 0o644);
    // Its leftovers are the machine's below.
    machine.ok(&["sh", "-c", "rm -rf /var/lib/stopgap /var/log/stopgap"]);
    machine.ok(&["systemctl", "daemon-reload"]);
    let web = WEB.map(|web| web.unit);
    let units = [&web[..], &["origin", "printd", "watchd", "php8.2-fpm"]].concat();
    machine.ok(&[&["systemctl", "enable", "--quiet"], &units[..]].concat());
    machine.ok(&[&["systemctl", "restart"], &units[..]].concat());
    for web in WEB.iter().filter(|web| web.hooked) {
        machine.ok(&["stopgap", "agent", "hook", web.kind, "--insert"]);
    }
    machine.ok(&["systemctl", "reload", "haproxy"]);
    for web in WEB {
        wait_until(web.kind, || !server.ask(web.port, "/evil").is_empty());
    }
}

#[test]
fn the_packaged_units_allow_what_every_target_needs_and_the_way_back() {
    let test = "the_packaged_units_allow_what_every_target_needs_and_the_way_back";
    let needed = WEB.map(|web| web.binary).into_iter().chain(["/usr/sbin/php-fpm8.2", "/usr/bin/python3"]);
    for program in needed {
        if !Path::new(program).exists() {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "no {program}: {test}");
            println!("skipped (no {program}): {test}");
            return;
        }
    }
    let Some(machine) = Machine::for_test(test, Root::Overlay) else { return };
    let mut server = Server { machine, pki: TestPki::new(Options::default()) };
    configure(&server);
    let asked = |server: &Server| WEB.map(|web| (server.ask(web.port, "/evil"), server.ask(web.port, "/")));
    let (files, running, answers) = (server.files(), server.running(), asked(&server));

    server.machine.ok(&["systemctl", "enable", "--quiet", "stopgap.service"]);
    let content = feeds::rule("M1", "^/evil", "/evil")
        + &out_of_service("P1", "AppPool", &["www"])
        + &out_of_service("S1", "Service", &["printd", "watchd"]);
    server.release(1, &content);
    server.is_protected();
    let m1 = server.status("M1");
    let places = m1["actions"][0]["targets"].as_array().unwrap();
    for web in WEB {
        let place = places.iter().find(|place| place["target"] == web.kind);
        assert_eq!(place.unwrap()["proof"], "proven", "{m1:#}");
    }

    server.machine.ok(&["stopgap", "agent", "check"]);

    server.machine.reboot();
    server.is_protected();

    server.release(
        2,
        &["M1", "P1", "S1"].map(|id| format!("<Withdrawn id=\"{id}\" reason=\"test\"/>")).concat(),
    );
    for id in ["M1", "P1", "S1"] {
        wait_until(id, || server.status(id)["in_force"] != true);
    }
    let log = server.log();
    let differ: Vec<String> = files.symmetric_difference(&server.files()).cloned().collect();
    assert_eq!(differ, [""; 0], "to the byte: {log}");
    assert_eq!(server.running(), running, "{log}");
    assert_eq!(asked(&server), answers, "{log}");
    let forbidden =
        ["not permitted", "ermission denied", "ead-only file system", "no private mount namespace"];
    assert!(!forbidden.iter().any(|words| log.contains(words)), "{log}");
    assert_eq!(
        server.machine.ok(&["systemctl", "show", "-P", "NRestarts", "stopgap.service"]),
        "0\n",
        "{log}"
    );
}

/// The gateway takes what strangers send.
#[test]
fn the_gateway_s_unit_leaves_it_one_capability_and_no_secret_and_is_not_started_again_for_nonsense() {
    let test =
        "the_gateway_s_unit_leaves_it_one_capability_and_no_secret_and_is_not_started_again_for_nonsense";
    let Some(machine) = Machine::for_test(test, Root::Overlay) else { return };
    machine.copy(STOPGAP.as_ref(), "/usr/bin/stopgap");
    let (unit, file) = ("stopgap-gateway.service", "/etc/stopgap/gateway.env");
    machine.copy(&Path::new(ROOT).join("packaging").join(unit), &format!("/usr/lib/systemd/system/{unit}"));
    // As the package has it, before anybody has said what it stands in front of.
    machine.copy(&Path::new(ROOT).join("packaging/gateway.env"), file);
    machine.ok(&["systemctl", "daemon-reload"]);
    let show = |property: &str| machine.ok(&["systemctl", "show", "-P", property, unit]).trim().to_owned();
    assert!(!machine.run(&["systemctl", "start", unit]).status.success());
    assert_eq!(
        (show("ActiveState"), show("NRestarts"), show("ExecMainStatus")),
        ("failed".into(), "0".into(), "2".into())
    );

    // A port for which one has to be privileged.
    machine.write(file, "STOPGAP_GATEWAY=--listen 127.0.0.1:80 --upstream http://127.0.0.1:9\n", 0o600);
    machine.ok(&["systemctl", "start", unit]);
    let process = show("MainPID");
    let status = machine.ok(&["cat", &format!("/proc/{process}/status")]);
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().next().unwrap_or_default().to_owned()
    };
    assert_ne!(of("Uid:"), "0", "{status}");
    // CAP_NET_BIND_SERVICE, 1 << 10.
    let capabilities = ["CapEff:", "CapPrm:", "CapBnd:", "CapAmb:"].map(&of);
    assert_eq!(capabilities, ["0000000000000400"; 4], "{status}");
    assert_eq!((of("NoNewPrivs:"), of("Seccomp:")), ("1".into(), "2".into()), "{status}");
    let seen = machine.run(&["ls", &format!("/proc/{process}/root/etc/stopgap/")]).stdout;
    assert_eq!(String::from_utf8_lossy(&seen), "", "what the agent trusts cannot be seen");
    let socket = "/run/stopgap-gateway/control.sock";
    let ask = "printf '{\"command\":\"status\"}\\n' | timeout 5 python3 -c 'import socket,sys; s=socket.socket(1); \
               s.connect(sys.argv[1]); s.send(sys.stdin.buffer.read()); print(s.recv(9999).decode())' \"$0\"";
    assert!(machine.ok(&["sh", "-c", ask, socket]).contains("\"active\""));
    let stranger = machine.run(&["setpriv", "--reuid=nobody", "--clear-groups", "sh", "-c", ask, socket]);
    assert!(!stranger.status.success(), "the socket is root's and the gateway's");
}
