//! What every driver keeps, on a machine that fails at every operation in turn.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use stopgap_core::observed::Listener;
use stopgap_core::plan::{Change, Wanted, sha256_hex};
use stopgap_core::proof::RefusalForm;
use stopgap_drivers::hook::Hooked;
use stopgap_drivers::host::Output;
use stopgap_drivers::{Checked, Driver, DriverError, apache, gateway, haproxy, iis, nginx};
use stopgap_feed::document::{Action, ActionKind, Scope};
use stopgap_rules::translate::haproxy::HaproxyConfig;
use stopgap_testkit::host::{FakeHost, Fault, Node};

/// A server on a machine, and the rules that it holds in its memory.
struct Target {
    driver: Box<dyn Driver>,
    host: FakeHost,
    in_use: Arc<Mutex<Vec<u8>>>,
}

type Make = fn() -> Target;

const TARGETS: [(&str, Make); 5] =
    [("gateway", gateway), ("nginx", nginx), ("apache", apache), ("haproxy", haproxy), ("iis", iis)];

fn gateway() -> Target {
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

const NGINX_CONF: &str = "pid /run/nginx.pid;\nhttp {\n  include /data/nginx/live/http*.conf;\n  server {\n    \
    listen 80; server_name one;\n    include /data/nginx/live/server*.conf;\n  }\n  server { listen 81; server_name two; }\n}\n";

fn nginx() -> Target {
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

const APACHE_CONF: &str = "PidFile /run/apache2.pid\nListen 80\nIncludeOptional /data/apache/live/server*.conf\n\
    <VirtualHost *:80>\nServerName one\n</VirtualHost>\n";

const APACHE_DUMP: &str = "Included configuration files:\n  (*) /etc/apache2/apache2.conf\n\
    VirtualHost configuration:\n*:80     one (/etc/apache2/apache2.conf:4)\nPidFile: \"/run/apache2.pid\"\n\
    Loaded Modules:\n setenvif_module (shared)\n alias_module (shared)\n";

/// An Apache with one worker, which each graceful restart replaces; it reads the file of the server level then.
fn apache() -> Target {
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
fn apache_worker(host: &FakeHost, pid: u32, pipe: u32) {
    host.put("/proc/7/task/7/children", format!("{pid} "));
    host.put(format!("/proc/{pid}/comm"), "apache2\n");
    host.link(format!("/proc/{pid}/fd/4"), "socket:[555]");
    host.link(format!("/proc/{pid}/fd/5"), format!("pipe:[{pipe}]"));
}

const HAPROXY_MAP: &str = "/data/haproxy/live/rules.map";

/// A HAProxy that keeps its maps in memory; the rules' one is what is in use.
fn haproxy() -> Target {
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

const IIS_CONF: &str = "/c/Windows/System32/inetsrv/config/applicationHost.config";

/// An IIS, which holds what its files say.
fn iis() -> Target {
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

fn wanted(id: &str, word: &str) -> Wanted {
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
    fn plan(&self, wanted: &[Wanted]) -> Option<Change> {
        let observed = self.driver.observe(&self.host).unwrap();
        self.driver.render(wanted, &observed).change
    }

    fn bring(&self, wanted: &[Wanted]) {
        let change = self.plan(wanted).expect("a change");
        self.driver.check(&self.host, &change).unwrap();
        self.driver.apply(&self.host, &change).unwrap();
        self.driver.settle(&self.host, &change).unwrap();
    }

    fn holds(&self) -> Vec<String> {
        let live = self.driver.observe(&self.host).unwrap().live;
        assert_eq!(live.foreign, Vec::<String>::new());
        live.holds.iter().map(|hold| format!("{} {}", hold.key, hold.action)).collect()
    }

    fn data(&self) -> BTreeMap<PathBuf, Node> {
        self.host.tree("/data")
    }

    fn memory(&self) -> Vec<u8> {
        self.host.peek(IIS_CONF).unwrap_or_else(|| self.in_use.lock().unwrap().clone())
    }
}

#[test]
fn what_is_applied_is_observed_and_then_nothing_is_left_to_do() {
    for (name, make) in TARGETS {
        let target = make();
        assert!(target.plan(&[]).is_none(), "{name}");
        let untouched = (target.data(), target.memory());
        let (one, two) = (wanted("M1", "autodiscover"), wanted("M2", "owa"));
        target.bring(std::slice::from_ref(&one));
        assert_eq!(target.holds(), ["example:M1 M1.1"], "{name}");
        let memory = String::from_utf8(target.memory()).unwrap();
        // HAProxy holds patterns, and no comments.
        assert!(
            memory.contains(if name == "haproxy" { " abort" } else { "example M1.1" }),
            "{name}: {memory}"
        );
        assert!(target.plan(std::slice::from_ref(&one)).is_none(), "{name}");
        let both = [two.clone(), one.clone()];
        let change = target.plan(&both).unwrap();
        assert_eq!((change.puts_on.len(), change.takes_off.len()), (1, 0));
        target.bring(&both);
        assert_eq!(target.holds(), ["example:M1 M1.1", "example:M2 M2.1"], "{name}: in the order of the ids");
        target.bring(&[two]);
        assert_eq!(target.holds(), ["example:M2 M2.1"], "{name}");
        target.bring(&[]);
        assert_eq!((target.data(), target.memory()), untouched, "{name}: to the byte");
    }
}

#[test]
fn a_new_revision_of_an_action_is_a_change_of_it() {
    for (name, make) in TARGETS {
        let target = make();
        target.bring(&[wanted("M1", "autodiscover")]);
        let change = target.plan(&[wanted("M1", "other")]).unwrap();
        assert_eq!((change.puts_on.len(), change.takes_off.len()), (1, 0), "{name}");
    }
}

#[test]
fn an_apply_cut_short_anywhere_is_reverted_on_disk_and_in_the_server() {
    for (name, make) in TARGETS {
        for live in [vec![], vec![wanted("M1", "autodiscover")]] {
            for after in [vec![], vec![wanted("M2", "owa")]] {
                if live.is_empty() && after.is_empty() {
                    continue;
                }
                for fault in [Fault::Crash as fn(usize) -> Fault, Fault::Once] {
                    for n in 0.. {
                        let target = make();
                        if !live.is_empty() {
                            target.bring(&live);
                        }
                        let (data, memory) = (target.data(), target.memory());
                        let change = target.plan(&after).unwrap();
                        target.host.set_fault(Some(fault(n)));
                        let applied = target.driver.apply(&target.host, &change);
                        let reached = target.host.operations().len() > n;
                        target.host.set_fault(None);
                        assert!(reached || applied.is_ok());
                        target
                            .driver
                            .revert(&target.host, &change)
                            .unwrap_or_else(|e| panic!("{name} at {n}: {e:?}"));
                        assert_eq!(target.data(), data, "{name}, stopped at {n}");
                        assert_eq!(target.memory(), memory, "{name}, stopped at {n}");
                        if !reached {
                            break;
                        }
                    }
                }
            }
        }
    }
}

/// Whatever of its process cannot be read: it may run all the same, and then has to be told.
#[test]
fn a_process_number_that_cannot_be_read_is_not_a_server_that_does_not_run() {
    let without_socket = || {
        let target = haproxy();
        let hook = HaproxyConfig::hook(HAPROXY_MAP).unwrap();
        let config = format!("defaults\n mode http\nfrontend one\n bind :80\n{hook}");
        target.host.put("/etc/haproxy/haproxy.cfg", config);
        target.host.put("/run/haproxy.pid", "7\n");
        target.host.put("/proc/7/comm", "haproxy\n");
        target
    };
    let makes = [
        ("nginx", nginx as fn() -> Target, "/run/nginx.pid"),
        ("Apache", apache, "/run/apache2.pid"),
        ("HAProxy", without_socket, "/run/haproxy.pid"),
    ];
    for (name, make, pid_file) in makes {
        for path in [pid_file, "/proc/7/comm"] {
            let words = format!("it cannot be told whether {name} runs");
            let target = make();
            let change = target.plan(&[wanted("M1", "autodiscover")]).unwrap();
            let refuse = |work: &dyn Fn(&Target)| {
                let calm = make();
                calm.host.set_fault(None);
                work(&calm);
                let calls = calm.host.operations();
                let at = calls.iter().position(|call| *call == format!("read {path}")).unwrap();
                target.host.set_fault(Some(Fault::Once(at)));
            };
            refuse(&|calm| drop(calm.driver.observe(&calm.host)));
            let warnings = target.driver.observe(&target.host).unwrap().warnings.join("; ");
            assert!(warnings.contains(&words) && !warnings.contains("does not run"), "{path}: {warnings}");
            refuse(&|calm| drop(calm.driver.apply(&calm.host, &change)));
            let error = target.driver.apply(&target.host, &change).unwrap_err().to_string();
            assert!(error.contains(&words), "{path}: {error}");
        }
    }
}

/// There is no pid file here: the socket alone tells which process it is.
#[test]
fn a_haproxy_that_answers_and_whose_parent_cannot_be_read_is_not_one_that_does_not_run() {
    let make = || {
        let target = haproxy();
        let host =
            FakeHost::new().on_run(|_, _| Ok(Output { status: Some(0), ..Output::default() })).on_control(
                |_, _, line| Ok(if line == "show info" { "Pid: 8\n" } else { "no permission\n" }.into()),
            );
        for (path, node) in target.host.tree("/") {
            match node {
                Node::File(octets) => host.put(path, octets),
                Node::Link(to) => host.link(path, to),
                Node::Folder => (),
            }
        }
        host.put("/proc/8/status", "PPid:\t7\n");
        host.put("/proc/7/comm", "haproxy\n");
        Target { host, ..target }
    };
    let change = make().plan(&[wanted("M1", "autodiscover")]).unwrap();
    let calm = make();
    calm.host.set_fault(None);
    calm.driver.apply(&calm.host, &change).unwrap();
    for path in ["/proc/8/status", "/proc/7/comm"] {
        let calls = calm.host.operations();
        let at = calls.iter().position(|call| *call == format!("read {path}")).unwrap();
        let target = make();
        target.host.set_fault(Some(Fault::Once(at)));
        let error = target.driver.apply(&target.host, &change).unwrap_err().to_string();
        assert!(error.contains("it cannot be told whether HAProxy runs"), "{path}: {error}");
    }
}

#[test]
fn an_edit_from_outside_is_seen_and_repaired_and_kept_for_its_author() {
    // IIS reads nothing of a set; what is edited of its own files is in tests of their own.
    for (name, make) in TARGETS.into_iter().filter(|(name, _)| *name != "iis") {
        let target = make();
        let one = [wanted("M1", "autodiscover")];
        target.bring(&one);
        let good = target.memory();
        let path = target
            .data()
            .into_keys()
            .find(|p| {
                p.extension().is_some_and(|e| ["conf", "xml", "map"].iter().any(|x| e == *x))
                    && !p.starts_with("/data/haproxy/none")
            })
            .unwrap();
        target.host.put(&path, "# by hand\n");
        let live = target.driver.observe(&target.host).unwrap().live;
        assert_eq!((live.foreign.len(), live.holds.len()), (1, 0), "{name}");
        let change = target.plan(&one).expect("a repair");
        assert_eq!(change.before, change.after.as_ref().map(|set| set.id.clone()));
        target.bring(&one);
        assert_eq!((target.holds().len(), target.memory()), (1, good), "{name}");
        let kept =
            target.data().into_values().filter(|node| *node == Node::File(b"# by hand\n".to_vec())).count();
        assert_eq!(kept, 1, "{name}");
    }
}

#[test]
fn one_action_that_a_target_cannot_express_does_not_keep_the_others_from_it() {
    for (name, make) in TARGETS {
        let target = make();
        let mut bad = wanted("M0", "x");
        bad.action.kind =
            ActionKind::UrlRewrite { rewrite: "<rewrite><rules><rule/></rules></rewrite>".into() };
        let mut service = wanted("M3", "x");
        service.action.kind = ActionKind::Service { names: vec!["x".into()] };
        let observed = target.driver.observe(&target.host).unwrap();
        let rendered = target.driver.render(&[service, wanted("M1", "autodiscover"), bad], &observed);
        let refused: Vec<&str> = rendered.refused.iter().map(|(what, _)| what.action.as_str()).collect();
        assert_eq!(refused, ["M0.1", "M3.1"], "{name}");
        assert!(rendered.refused[1].1.contains("Service"));
        assert_eq!(rendered.change.unwrap().puts_on.len(), 1);
        // Of the sites, only those that read our rules; and the refusal is the server's own.
        let placed: Vec<_> = rendered.placements.iter().map(|p| (p.site.as_str(), p.form)).collect();
        let expected = match name {
            "gateway" => ("gateway", RefusalForm::Close),
            "apache" => ("one", RefusalForm::Status(403)),
            _ => ("one", RefusalForm::Close),
        };
        assert_eq!(placed, [expected]);
    }
}

#[test]
fn an_action_for_a_site_that_is_not_here_is_not_for_the_gateway() {
    let target = gateway();
    let elsewhere = Wanted { sites: Some(vec![]), ..wanted("M2", "owa") };
    assert_eq!(target.plan(std::slice::from_ref(&elsewhere)), None);
    target.bring(&[wanted("M1", "autodiscover"), elsewhere]);
    let rules = String::from_utf8(target.host.peek("/data/edge/live/rules.xml").unwrap()).unwrap();
    assert!(rules.contains("autodiscover") && !rules.contains("owa"), "{rules}");
}

#[test]
fn the_gateway_s_rules_are_the_action_s_own_but_for_their_name() {
    let target = gateway();
    target.bring(&[wanted("M1", "autodiscover")]);
    let text = String::from_utf8(target.memory()).unwrap();
    assert!(
        text.contains(
            r#"<rule name="Stopgap example M1.1 block &quot;autodiscover&quot; &amp; co" stopProcessing="true"><match url=".*"/>
  <conditions><add input="{UrlDecode:{REQUEST_URI}}" pattern="(?=.*autodiscover)(?=.*powershell)"/></conditions>
  <action type="AbortRequest"/></rule>"#
        ),
        "{text}"
    );
}

#[test]
fn a_gateway_that_refuses_a_set_is_an_error_that_a_revert_answers() {
    let mut target = gateway();
    let host = std::mem::take(&mut target.host);
    target.host = host.on_control(|_, _, _| Ok(r#"{"active":"e3b0","rules":0,"error":"rule 1: no"}"#.into()));
    let change = target.plan(&[wanted("M1", "autodiscover")]).unwrap();
    let error = target.driver.apply(&target.host, &change).unwrap_err();
    assert_eq!(error.to_string(), "edge did not take the new rules: rule 1: no");
}

#[test]
fn a_gateway_that_uses_other_rules_than_the_live_ones_is_told_again() {
    let target = gateway();
    let one = [wanted("M1", "autodiscover")];
    target.bring(&one);
    let good = target.memory();
    target.in_use.lock().unwrap().clear();
    assert_eq!(target.driver.observe(&target.host).unwrap().live.active, Some(false));
    target.bring(&one);
    assert_eq!(target.memory(), good);
    assert!(target.plan(&one).is_none());
}

#[test]
fn a_gateway_that_does_not_run_is_reported_and_finds_its_rules_when_it_starts() {
    let mut target = gateway();
    let host = std::mem::take(&mut target.host);
    target.host = host.on_control(|_, _, _| Err(io::Error::from(io::ErrorKind::ConnectionRefused)));
    let observed = target.driver.observe(&target.host).unwrap();
    assert_eq!(observed.live.active, Some(false));
    assert!(observed.warnings[0].contains("/data/edge/control.sock"), "{:?}", observed.warnings);
    let one = [wanted("M1", "autodiscover")];
    target.bring(&one);
    assert!(target.host.peek("/data/edge/live/rules.xml").is_some());
    assert!(target.plan(&one).is_none(), "there is nothing more that a change could do");
}

#[test]
fn nginx_without_a_mount_namespace_is_tested_swapped_and_restored() {
    let mut target = nginx();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let host = std::mem::take(&mut target.host);
    target.host = host.on_run(move |host, command| {
        if command.bind.is_some() {
            return Err(io::Error::from(io::ErrorKind::PermissionDenied));
        }
        let ours = host.peek("/data/nginx/live/http.conf").is_some();
        log.lock().unwrap().push((command.args[0].clone(), ours));
        let stdout = format!("# configuration file /etc/nginx/nginx.conf:\n{NGINX_CONF}\n").into_bytes();
        let reject = command.args[0] == "-t" && ours && host.peek("/reject").is_some();
        Ok(Output {
            status: Some(i32::from(reject)),
            stdout,
            stderr: b"nginx: [emerg] no".to_vec(),
            truncated: false,
        })
    });
    let change = target.plan(&[wanted("M1", "autodiscover")]).unwrap();
    let before = target.data();
    assert_eq!(target.driver.check(&target.host, &change).unwrap(), Checked::SwappedAndRestored);
    assert_eq!(target.data(), before);
    let tests: Vec<bool> =
        seen.lock().unwrap().iter().filter(|(arg, _)| arg == "-t").map(|(_, ours)| *ours).collect();
    assert_eq!(tests, [false, true], "tested without and with our files");
    target.host.put("/reject", "");
    let error = target.driver.check(&target.host, &change).unwrap_err();
    assert!(
        matches!(&error, DriverError::Rejected { message, .. } if message.contains("[emerg] no")),
        "{error}"
    );
    assert_eq!(target.data(), before);
}

/// The system lists them behind the sockets that listen: 23 MB of them here.
#[test]
fn a_server_with_very_many_connections_is_still_seen_to_listen() {
    let Target { driver, host, .. } = apache();
    let connection = format!(" 1: 0100007F:0050 0100007F:{:0<110}", "8000 06 0 0 0 0 0 0 ");
    let rows = [" 0: a b 0A c d e 0 0 555\n".to_owned(), format!("{connection}\n").repeat(170_000)].concat();
    host.put("/proc/7/net/tcp", format!("sl local\n{rows}"));
    let change = driver.render(&[wanted("M1", "one")], &driver.observe(&host).unwrap()).change.unwrap();
    driver.check(&host, &change).unwrap();
    driver.apply(&host, &change).unwrap();
}

#[test]
fn every_socket_of_very_many_that_listen_is_seen() {
    let Target { driver, host, .. } = apache();
    let others = (0..2_000).map(|n| format!(" 0: 0100007F:0050 00000000:0000 0A c d e 0 0 {}\n", 10_000 + n));
    let rows: String = others.collect();
    host.put("/proc/7/net/tcp", format!("sl local\n{rows} 0: a b 0A c d e 0 0 555\n"));
    let change = driver.render(&[wanted("M1", "one")], &driver.observe(&host).unwrap()).change.unwrap();
    driver.check(&host, &change).unwrap();
    driver.apply(&host, &change).unwrap();
}

/// Apache starts workers when it has too few that are idle, also between a look at them and a restart.
#[test]
fn a_worker_that_apache_started_by_the_old_files_is_not_taken_for_a_new_one() {
    let Target { driver, host, .. } = apache();
    let change = driver.render(&[wanted("M1", "one")], &driver.observe(&host).unwrap()).change.unwrap();
    let late = host.on_run(|host, command| {
        if command.program == Path::new("/bin/sh") {
            host.take("/proc/8");
            apache_worker(host, 9, 8);
            host.take("/proc/7/fd/5");
            host.link("/proc/7/fd/5", "pipe:[9]");
        }
        let stdout = if command.args.len() > 3 { APACHE_DUMP } else { "" };
        Ok(Output { status: Some(0), stdout: stdout.into(), ..Output::default() })
    });
    let error = driver.apply(&late, &change).unwrap_err();
    assert!(matches!(&error, DriverError::NotTaken { .. }), "{error}");
}
