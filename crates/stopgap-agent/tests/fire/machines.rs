//! The servers: what each is on a machine in memory, and what it does to a request.

mod pools;
mod units;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use stopgap_core::observed::Listener;
use stopgap_core::plan::sha256_hex;
use stopgap_drivers::host::Output;
use stopgap_drivers::{Driver, gateway, iis, nginx, phpfpm, systemd};
use stopgap_feed::document::ActionType;
use stopgap_testkit::fire::Tree;
use stopgap_testkit::host::{FakeHost, Node};

/// A kind of target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Gateway,
    Nginx,
    Iis,
    Systemd,
    Phpfpm,
}

pub const KINDS: [Kind; 5] = [Kind::Gateway, Kind::Nginx, Kind::Iis, Kind::Systemd, Kind::Phpfpm];

/// What a server goes by now, which is gone when the power is.
pub type Memory = Arc<Mutex<String>>;

const NGINX_CONF: &str = "pid /run/nginx.pid;\nhttp {\n  include /data/nginx/live/http*.conf;\n  server {\n    \
    listen 80; server_name site;\n    include /data/nginx/live/server*.conf;\n  }\n}\n";

const IIS_CONF: &str = "/c/Windows/System32/inetsrv/config/applicationHost.config";
const IIS_TEXT: &str = "<configuration>\r\n  <configSections>\r\n    <sectionGroup name=\"system.webServer\">\r\n      \
    <sectionGroup name=\"rewrite\">\r\n        <section name=\"rules\" />\r\n      </sectionGroup>\r\n    \
    </sectionGroup>\r\n  </configSections>\r\n  <system.applicationHost>\r\n    <sites>\r\n      \
    <site name=\"site\" id=\"1\">\r\n        <application path=\"/\">\r\n          \
    <virtualDirectory path=\"/\" physicalPath=\"C:\\one\" />\r\n        </application>\r\n      </site>\r\n    \
    </sites>\r\n  </system.applicationHost>\r\n</configuration>\r\n";

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Gateway => "gateway",
            Kind::Nginx => "nginx",
            Kind::Iis => "iis",
            Kind::Systemd => "systemd",
            Kind::Phpfpm => "phpfpm",
        }
    }

    pub fn takes(self) -> &'static [ActionType] {
        match self {
            Kind::Iis => &[ActionType::UrlRewrite, ActionType::AppPool],
            Kind::Systemd => &[ActionType::Service],
            Kind::Phpfpm => &[ActionType::AppPool],
            _ => &[ActionType::UrlRewrite],
        }
    }

    pub fn driver(self) -> Box<dyn Driver> {
        let (name, folder) = (self.name().to_owned(), Path::new("/data").join(self.name()));
        let listeners =
            vec![Listener { tls: false, address: "127.0.0.1:80".parse().unwrap(), host: "site".into() }];
        match self {
            Kind::Gateway => Box::new(gateway::Gateway::new(gateway::Settings {
                name,
                folder,
                control: "/run/gateway.sock".into(),
                listeners,
                site: "site".into(),
            })),
            Kind::Nginx => Box::new(nginx::Nginx::new(nginx::settings(&name, folder, "/".into()))),
            Kind::Iis => Box::new(iis::Iis::new(iis::Settings {
                name,
                folder,
                root: "/c".into(),
                listeners,
                probed: vec![],
            })),
            Kind::Systemd => Box::new(systemd::Systemd::new(systemd::Settings {
                name,
                folder,
                never_touch: vec![],
                max_stopped: 5,
                stop_within: systemd::JOB,
            })),
            Kind::Phpfpm => Box::new(phpfpm::Phpfpm::new(phpfpm::settings(&name, folder, "/".into(), "8.2"))),
        }
    }

    /// The option of a feed's words for what this kind of target does; none: rules.
    pub fn option(self) -> Option<&'static str> {
        match self {
            Kind::Systemd => Some("service"),
            Kind::Phpfpm => Some("pool"),
            _ => None,
        }
    }

    /// The machine, without anything of ours, and what is in its server's memory.
    pub fn machine(self) -> (FakeHost, Memory) {
        match self {
            Kind::Systemd => return units::machine(),
            Kind::Phpfpm => return pools::machine(),
            _ => (),
        }
        let memory = Memory::default();
        let (asked, controlled, run) = (memory.clone(), memory.clone(), memory.clone());
        let host = FakeHost::new()
            .on_exchange(move |host, _, request| {
                if self == Kind::Iis {
                    *asked.lock().unwrap() = self.rules(&host.tree("/"));
                }
                answer(&asked.lock().unwrap(), &String::from_utf8_lossy(request))
            })
            .on_control(move |host, _, line| {
                let mut memory = controlled.lock().unwrap();
                if line.contains("activate") {
                    *memory = self.rules(&host.tree("/"));
                }
                Ok(format!(r#"{{"active":"{}","error":null}}"#, sha256_hex(memory.as_bytes())))
            })
            .on_run(move |host, command| {
                let done =
                    |text: String| Ok(Output { status: Some(0), stdout: text.into(), ..Output::default() });
                match command.args[0].as_str() {
                    "-T" => done(format!("# configuration file /etc/nginx/nginx.conf:\n{NGINX_CONF}\n")),
                    "-t" => done(String::new()),
                    "-s" => {
                        *run.lock().unwrap() = self.rules(&host.tree("/"));
                        done(String::new())
                    }
                    other => panic!("{other}"),
                }
            });
        match self {
            Kind::Gateway => host.put("/run/gateway.sock", ""),
            Kind::Nginx => {
                host.put("/run/nginx.pid", "7\n");
                host.put("/proc/7/comm", "nginx\n");
            }
            _ => host.put(IIS_CONF, IIS_TEXT),
        }
        (host, memory)
    }

    /// The machine has these files, and starts.
    pub fn boot(self, host: &FakeHost) {
        if self == Kind::Phpfpm {
            pools::boot(host);
        }
    }

    /// What its server reads of a disk: the rules, or what it starts. Torn ones are what nobody may ever read.
    pub fn rules(self, disk: &Tree) -> String {
        let live = |name: &str| {
            let link = format!("/data/{}/live", self.name());
            match disk.get(Path::new(&link)) {
                Some(Node::Link(to)) => text(disk, &Path::new(&link).with_file_name("").join(to).join(name)),
                None => String::new(),
                other => panic!("live is {other:?}"),
            }
        };
        match self {
            Kind::Gateway => live("rules.xml"),
            Kind::Nginx => live("http.conf") + &live("server.conf"),
            Kind::Iis => text(disk, Path::new(IIS_CONF)),
            Kind::Systemd => units::rules(disk),
            Kind::Phpfpm => pools::rules(disk),
        }
    }

    /// What a client sees, by what is in the server's memory.
    pub fn refuses(self, memory: &Memory, path: &str) -> bool {
        let memory = memory.lock().unwrap();
        let name = path.trim_start_matches('/');
        match self {
            Kind::Systemd => !memory.lines().any(|unit| unit == format!("{name}.service")),
            Kind::Phpfpm => !memory.lines().any(|pool| pool == name),
            _ => answer(&memory, &format!("GET {path} HTTP/1.1\r\n")).unwrap().is_empty(),
        }
    }
}

fn lines(names: impl Iterator<Item = String>) -> String {
    names.map(|name| name + "\n").collect()
}

fn text(disk: &Tree, path: &Path) -> String {
    match disk.get(path) {
        Some(Node::File(octets)) => String::from_utf8_lossy(octets).into_owned(),
        _ => String::new(),
    }
}

/// A server that refuses `/m1` while a rule of M1 is there; a greedy M2 refuses what is below `/m2`, too.
fn answer(rules: &str, request: &str) -> io::Result<Vec<u8>> {
    let path = request.split(' ').nth(1).unwrap_or_default();
    let refused = ["1", "2"].iter().any(|number| {
        let there = rules.contains(&format!("M{number}.1"));
        let (exact, below) = (format!("/m{number}"), format!("/m{number}/"));
        // What a test calls harmful has no end in its pattern.
        let greedy =
            [format!("/m{number}\""), format!("[Mm]{number}\"")].iter().any(|end| rules.contains(end));
        there && (path == exact || greedy && path.starts_with(&below))
    });
    if refused {
        return Ok(Vec::new());
    }
    Ok(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n".to_vec())
}
