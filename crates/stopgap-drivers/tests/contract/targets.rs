//! The five targets that take rules, each on a machine of its own with what it is seen by.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use stopgap_core::observed::Listener;
use stopgap_core::plan::{Change, Wanted, sha256_hex};
use stopgap_drivers::hook::Hooked;
use stopgap_drivers::host::Output;
use stopgap_drivers::{Driver, apache, gateway, haproxy, iis, nginx};
use stopgap_feed::document::{Action, ActionKind, Scope};
use stopgap_rules::translate::haproxy::HaproxyConfig;
use stopgap_testkit::host::{FakeHost, Node};

/// A server on a machine, and the rules that it holds in its memory.
pub struct Target {
    pub driver: Box<dyn Driver>,
    pub host: FakeHost,
    pub in_use: Arc<Mutex<Vec<u8>>>,
}

pub type Make = fn() -> Target;

pub const TARGETS: [(&str, Make); 5] =
    [("gateway", gateway), ("nginx", nginx), ("apache", apache), ("haproxy", haproxy), ("iis", iis)];

pub fn gateway() -> Target {
    let in_use = Arc::new(Mutex::new(Vec::new()));
    let memory = in_use.clone();
    let host = FakeHost::new().on_control(move |host, socket, line| {
        assert_eq!(socket, Path::new("/data/edge/control.sock"));
        let mut memory = memory.lock().unwrap();
        if line == r#"{"command":"activate"}"# {
            *memory = host.peek("/data/edge/live/rules.xml").unwrap_or_default();
        }
        Ok(format!(r#"{{"active":"{}","rules":1,"error":null}}"#, sha256_hex(&memory)))
    });
    host.put("/data/edge/control.sock", "");
    let driver = gateway::Gateway::new(gateway::Settings {
        name: "edge".into(),
        folder: "/data/edge".into(),
        control: gateway::Settings::default_control("/data/edge".as_ref()),
        listeners: vec![Listener { tls: false, address: "127.0.0.1:80".parse().unwrap(), host: "a".into() }],
        site: "gateway".into(),
    });
    Target { driver: Box::new(driver), host, in_use }
}

pub const NGINX_CONF: &str = "pid /run/nginx.pid;\nhttp {\n  include /data/nginx/live/http*.conf;\n  server {\n    \
    listen 80; server_name one;\n    include /data/nginx/live/server*.conf;\n  }\n  server { listen 81; server_name two; }\n}\n";

pub fn nginx() -> Target {
    let in_use = Arc::new(Mutex::new(Vec::new()));
    let memory = in_use.clone();
    let host = FakeHost::new().on_run(move |host, command| {
        let done =
            |stdout: String| Ok(Output { status: Some(0), stdout: stdout.into_bytes(), ..Output::default() });
        assert_eq!(command.program, Path::new("/usr/sbin/nginx"));
        match command.args[0].as_str() {
            "-T" => done(format!("# configuration file /etc/nginx/nginx.conf:\n{NGINX_CONF}\n")),
            "-t" => done(String::new()),
            "-s" => {
                *memory.lock().unwrap() = host.peek("/data/nginx/live/http.conf").unwrap_or_default();
                done(String::new())
            }
            other => panic!("{other}"),
        }
    });
    host.put("/data/ledger", "");
    host.put("/run/nginx.pid", "7\n");
    host.put("/proc/7/comm", "nginx\n");
    let settings = nginx::settings("nginx", "/data/nginx".into(), "/".into());
    Target { driver: Box::new(nginx::Nginx::new(settings)), host, in_use }
}

pub const APACHE_CONF: &str = "PidFile /run/apache2.pid\nListen 80\nIncludeOptional /data/apache/live/server*.conf\n\
    <VirtualHost *:80>\nServerName one\n</VirtualHost>\n";

pub const APACHE_DUMP: &str = "Included configuration files:\n  (*) /etc/apache2/apache2.conf\n\
    VirtualHost configuration:\n*:80     one (/etc/apache2/apache2.conf:4)\nPidFile: \"/run/apache2.pid\"\n\
    Loaded Modules:\n setenvif_module (shared)\n alias_module (shared)\n";

/// An Apache with one worker, which each graceful restart replaces; it reads the file of the server level then.
pub fn apache() -> Target {
    let in_use = Arc::new(Mutex::new(Vec::new()));
    let memory = in_use.clone();
    let host = FakeHost::new().on_run(move |host, command| {
        let done = |text: &str| Ok(Output { status: Some(0), stdout: text.into(), ..Output::default() });
        if command.program == Path::new("/usr/sbin/apache2") {
            return done(if command.args.len() > 3 { APACHE_DUMP } else { "" });
        }
        assert_eq!(command.args[2..], ["sh", "USR1", "7"], "{command:?}");
        *memory.lock().unwrap() = host.peek("/data/apache/live/server.conf").unwrap_or_default();
        let children = host.peek("/proc/7/task/7/children").unwrap();
        let worker: u32 = String::from_utf8(children).unwrap().trim().parse().unwrap();
        host.take(format!("/proc/{worker}"));
        apache_worker(host, worker + 1, worker + 1);
        host.take("/proc/7/fd/5");
        host.link("/proc/7/fd/5", format!("pipe:[{}]", worker + 1));
        done("")
    });
    host.put("/data/ledger", "");
    host.put("/etc/apache2/apache2.conf", APACHE_CONF);
    host.put("/run/apache2.pid", "7\n");
    host.put("/proc/7/comm", "apache2\n");
    host.put("/proc/7/net/tcp", "sl local\n 0: a b 0A c d e 0 0 555\n");
    host.link("/proc/7/fd/3", "socket:[555]");
    host.link("/proc/7/fd/5", "pipe:[8]");
    apache_worker(&host, 8, 8);
    let settings = apache::settings("apache", "/data/apache".into(), "/".into());
    Target { driver: Box::new(apache::Apache::new(settings)), host, in_use }
}

/// `pipe`: what the workers of one reading of the files share with their parent.
pub fn apache_worker(host: &FakeHost, pid: u32, pipe: u32) {
    host.put("/proc/7/task/7/children", format!("{pid} "));
    host.put(format!("/proc/{pid}/comm"), "apache2\n");
    host.link(format!("/proc/{pid}/fd/4"), "socket:[555]");
    host.link(format!("/proc/{pid}/fd/5"), format!("pipe:[{pipe}]"));
}

pub const HAPROXY_MAP: &str = "/data/haproxy/live/rules.map";

/// A HAProxy that keeps its maps in memory; the rules' one is what is in use.
pub fn haproxy() -> Target {
    let in_use = Arc::new(Mutex::new(Vec::new()));
    let (memory, maps) = (in_use.clone(), Mutex::new(BTreeMap::new()));
    let host = FakeHost::new()
        .on_run(|_, command| {
            if command.program != Path::new("/bin/sh") {
                assert_eq!(command.args, ["-c", "-f", "/etc/haproxy/haproxy.cfg"]);
            }
            Ok(Output { status: Some(0), ..Output::default() })
        })
        .on_control(move |_, socket, line| {
            assert_eq!(socket, Path::new("/run/admin.sock"));
            let mut maps = maps.lock().unwrap();
            let mut words = line.splitn(3, ' ');
            let (verb, rest) = (words.next().unwrap(), words.nth(1).unwrap_or_default());
            let file = rest.split(' ').find(|word| word.starts_with('/')).unwrap_or_default();
            let (now, next): &mut (String, String) = maps.entry(file.to_owned()).or_default();
            let answer = match verb {
                "prepare" => {
                    next.clear();
                    "New version created: 1\n"
                }
                "add" => {
                    // A command loses a level of backslashes.
                    let entry = rest.split_once(".map ").or(rest.split_once(".gate ")).unwrap().1;
                    let entry = entry.replace("\\\\", "\0").replace('\\', "").replace('\0', "\\");
                    next.push_str(&format!("0x1 {entry}\n"));
                    ""
                }
                "commit" => {
                    now.clone_from(next);
                    if file == HAPROXY_MAP {
                        *memory.lock().unwrap() = now.clone().into_bytes();
                    }
                    ""
                }
                "show" => now.as_str(),
                other => panic!("{other}"),
            };
            Ok(format!("{answer}\n"))
        });
    let hook = HaproxyConfig::hook(HAPROXY_MAP).unwrap();
    let config = format!(
        "global\n stats socket /run/admin.sock level admin\ndefaults\n mode http\nfrontend one\n bind :80\n{hook}frontend two\n"
    );
    host.put("/etc/haproxy/haproxy.cfg", config);
    host.put("/data/ledger", "");
    let settings = haproxy::settings("haproxy", "/data/haproxy".into(), "/".into());
    let driver = haproxy::Haproxy::new(settings, None);
    // What the operator does with the hook.
    driver.edit(&host, &[]).unwrap();
    Target { driver: Box::new(driver), host, in_use }
}

pub const IIS_CONF: &str = "/c/Windows/System32/inetsrv/config/applicationHost.config";

/// An IIS, which holds what its files say.
pub fn iis() -> Target {
    let host = FakeHost::new();
    let text = "<configuration>\r\n  <configSections>\r\n    <sectionGroup name=\"system.webServer\">\r\n      \
        <sectionGroup name=\"rewrite\">\r\n        <section name=\"rules\" />\r\n      </sectionGroup>\r\n    \
        </sectionGroup>\r\n  </configSections>\r\n  <system.applicationHost>\r\n    <sites>\r\n      \
        <site name=\"one\" id=\"1\">\r\n        <application path=\"/\">\r\n          \
        <virtualDirectory path=\"/\" physicalPath=\"C:\\one\" />\r\n        </application>\r\n      </site>\r\n    \
        </sites>\r\n  </system.applicationHost>\r\n</configuration>\r\n";
    host.put(IIS_CONF, text);
    host.put("/data/ledger", "");
    let driver = iis::Iis::new(iis::Settings {
        name: "iis".into(),
        folder: "/data/iis".into(),
        root: "/c".into(),
        listeners: vec![],
        probed: vec![],
    });
    Target { driver: Box::new(driver), host, in_use: Arc::default() }
}

pub fn wanted(id: &str, word: &str) -> Wanted {
    let rewrite = format!(
        r#"<rewrite><rules><rule name="block &quot;{word}&quot; &amp; co" stopProcessing="true"><match url=".*"/>
  <conditions><add input="{{UrlDecode:{{REQUEST_URI}}}}" pattern="(?=.*{word})(?=.*powershell)"/></conditions>
  <action type="AbortRequest"/></rule></rules></rewrite>"#
    );
    Wanted {
        observe: false,
        key: format!("example:{id}").parse().unwrap(),
        digest: sha256_hex(rewrite.as_bytes()),
        action: Action {
            id: format!("{id}.1").parse().unwrap(),
            description: String::new(),
            scope: Scope::Site,
            target: None,
            platform: None,
            kind: ActionKind::UrlRewrite { rewrite },
        },
        probes: vec![],
        sites: None,
    }
}

impl Target {
    pub fn plan(&self, wanted: &[Wanted]) -> Option<Change> {
        let observed = self.driver.observe(&self.host).unwrap();
        self.driver.render(wanted, &observed).change
    }

    pub fn bring(&self, wanted: &[Wanted]) {
        let change = self.plan(wanted).expect("a change");
        self.driver.check(&self.host, &change).unwrap();
        self.driver.apply(&self.host, &change).unwrap();
        self.driver.settle(&self.host, &change).unwrap();
    }

    pub fn holds(&self) -> Vec<String> {
        let live = self.driver.observe(&self.host).unwrap().live;
        assert_eq!(live.foreign, Vec::<String>::new());
        live.holds.iter().map(|hold| format!("{} {}", hold.key, hold.action)).collect()
    }

    pub fn data(&self) -> BTreeMap<PathBuf, Node> {
        self.host.tree("/data")
    }

    pub fn memory(&self) -> Vec<u8> {
        self.host.peek(IIS_CONF).unwrap_or_else(|| self.in_use.lock().unwrap().clone())
    }
}
