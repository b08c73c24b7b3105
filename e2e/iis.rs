//! A server with IIS's configuration: the agent puts rules into its files, `gateway run --iis` serves what they come to.
//!
//! Modeled, not run on IIS: the server is `stopgap`'s own model of it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::world::*;

#[allow(dead_code, reason = "helpers of tests elsewhere")]
#[path = "../crates/stopgap-iis/tests/common/exchange.rs"]
mod exchange;

/// A pool of its own for `ecp`, and a default for the others.
const POOLS: &str = "    <system.applicationHost>\n        <applicationPools>\n            <add name=\"DefaultAppPool\" />\n            \
    <add name=\"Own\" />\n            <add name=\"MSExchangeECPAppPool\" autoStart=\"true\" startMode=\"AlwaysRunning\" />\n        \
    </applicationPools>\n    </system.applicationHost>\n";

const NESTED: [&str; 3] = ["/owa/Calendar/", "/owa/Integrated/", "/owa/oma/"];

/// One vulnerable Exchange, with a feed.
struct Stage {
    world: World,
    publisher: Publisher,
    server: Model,
}

/// The modeled server, which reads its files again when they change.
struct Model {
    address: SocketAddr,
    _process: Process,
}

impl Stage {
    fn set() -> Stage {
        let world = World::new();
        write_files(&world);
        let server = Model::start(&world);
        let publisher = world.publisher();
        let stage = Stage { world, publisher, server };
        stage.configure("");
        stage.world.exchange(VULNERABLE);
        stage
    }

    /// The configuration, with tables of a test's own.
    fn configure(&self, more: &str) {
        let target = format!(
            "[[target]]\nkind = \"iis\"\nroot = {:?}\nsites = {{ \"Default Web Site\" = [\"Default Web Site\"] }}\n\
             listeners = [\"http://{}\"]\n",
            self.world.path("c"),
            self.server.address
        );
        let head = "settle = \"3s\"\n";
        self.world.config(&format!("{head}{}{target}{more}", self.publisher.table()));
    }

    fn file(&self, path: &str) -> PathBuf {
        self.world.path("c").join(path.strip_prefix("C:\\").unwrap().replace('\\', "/"))
    }

    fn files(&self) -> Snapshot {
        snapshot(&self.world.path("c"), &[])
    }
}

/// The files of a server with Exchange's applications, below `c`.
pub fn write_files(world: &World) {
    let host = exchange::host(POOLS)
        .replace(r#"path="/ecp""#, r#"path="/ecp" applicationPool="MSExchangeECPAppPool""#)
        .replace('\n', "\r\n");
    for (path, text) in [(exchange::HOST, host.as_str()), (exchange::OWA, CLEARED), (exchange::ROOT, EMPTY)] {
        world.write(&format!("c/{}", path.strip_prefix("C:\\").unwrap().replace('\\', "/")), text);
    }
}

const EMPTY: &str = "<configuration>\n</configuration>\n";

/// What `owa` brings along: its folder clears what it inherits, so that M2 has to stand in this file.
const CLEARED: &str = "<configuration>\r\n  <location path=\".\" inheritInChildApplications=\"false\">\r\n    \
    <system.webServer>\r\n      <rewrite>\r\n        <outboundRules>\r\n          <clear />\r\n        </outboundRules>\r\n      \
    </rewrite>\r\n    </system.webServer>\r\n  </location>\r\n</configuration>\r\n";

impl Model {
    fn start(world: &World) -> Model {
        let mut child = Command::new(STOPGAP)
            .args(["gateway", "run", "--iis", world.path("c").to_str().unwrap()])
            .args(["--listen", "Default Web Site=127.0.0.1:0"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let process = Process(child);
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| {
                line.strip_prefix("Default Web Site: http://").map(|a| a.trim().parse().unwrap())
            })
            .expect("it ended before it listened");
        std::thread::spawn(move || lines.map_while(Result::ok).for_each(drop));
        Model { address, _process: process }
    }

    fn ask(&self, target: &str) -> Seen {
        get(self.address, "mail.example.org", target)
    }

    /// The policy that a browser is given.
    fn policy(&self, target: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nHost: mail.example.org\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let field = answer.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-security-policy").then(|| value.trim().to_owned())
        });
        field.unwrap_or_default()
    }
}

fn details(report: &Value, step: &str) -> Vec<String> {
    let steps = report["steps"].as_array().unwrap().iter().filter(|one| one["kind"] == step);
    steps.map(|one| one["detail"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn m1_is_proven_and_m2_s_header_is_on_owa_while_everything_below_it_answers() {
    let stage = Stage::set();
    let before = stage.files();
    for path in ["/owa/"].into_iter().chain(NESTED) {
        assert_eq!(stage.server.ask(path), Seen::Status(200), "{path}");
    }
    stage.publisher.add("M1");
    stage.publisher.add("M2");
    stage.publisher.publish();

    let plan = stage.world.json(0, &["plan"]);
    let said = details(&plan, "check");
    assert!(said.iter().any(|one| one.starts_with("rules at Default Web Site/owa: ")), "{said:#?}");
    assert!(details(&plan, "edit").iter().any(|one| one.contains("Stopgap example M2.1")), "{plan:#}");
    assert_eq!(stage.files(), before, "a plan changes nothing");

    stage.world.ok(&["apply"]);
    for id in ["M1", "M2"] {
        let mitigation = stage.world.mitigation(id);
        assert_eq!(mitigation["in_force"], true, "{mitigation:#}");
        assert!(!mitigation["proven_at"].is_null(), "{mitigation:#}");
    }
    for (target, since) in REQUESTS {
        let expected = if since.is_some() { Seen::Closed } else { Seen::Status(200) };
        assert_eq!(stage.server.ask(target), expected, "{target}");
    }
    assert!(
        stage.server.policy("/owa/").ends_with("; script-src-attr 'none'"),
        "{}",
        stage.server.policy("/owa/")
    );
    for path in NESTED {
        assert_eq!(stage.server.ask(path), Seen::Status(200), "{path}");
    }

    // A cumulative update brings its own file: the agent's first cycle sees it, and then the file's change starts one.
    let agent = stage.world.agent();
    for _ in 0..2 {
        fs::write(stage.file(exchange::OWA), CLEARED).unwrap();
        let is_back =
            || fs::read_to_string(stage.file(exchange::OWA)).unwrap().contains("Stopgap example M2.1");
        wait_until("the rule is back", is_back);
        stage.world.await_status("M2", "Applied");
    }
    wait_until("the header is back", || stage.server.policy("/owa/").contains("script-src-attr"));
    drop(agent);

    stage.world.ok(&["revert", "M1"]);
    stage.world.ok(&["revert", "M2"]);
    assert_eq!(stage.files(), before, "nothing of it is left");
}

#[test]
fn an_error_that_was_not_there_before_takes_the_change_back_and_says_why() {
    let stage = Stage::set();
    let before = stage.files();
    let trust = fs::read_to_string(stage.publisher.trust()).unwrap();
    let more = trust.replace("\"UrlRewrite\"]", "\"UrlRewrite\", \"AppPool\"]");
    assert_ne!(more, trust);
    fs::write(stage.publisher.trust(), more).unwrap();
    stage.publisher.write("X1", STOPS_ECP, &["/ecp/attack"], &["/owa/"]);
    let ran = stage.publisher.publish();
    assert_eq!(stage.server.ask("/ecp/"), Seen::Status(200));
    let ran = (stage.world.stopgap(&["apply", "--json"]), ran);
    let report = ran.0.json();
    let x1 = mitigation(&report, "X1");
    assert_eq!(x1["status"], "Failed", "{ran:#?}");
    let why = x1["reason"].as_str().unwrap();
    assert!(why.contains("status 200") && why.contains("status 503"), "{why}");
    assert_eq!(stage.files(), before);
    wait_until("the application answers again", || stage.server.ask("/ecp/") == Seen::Status(200));
}

/// A pool that a request needs, which its publisher thought legitimate.
const STOPS_ECP: &str = r#"<Config id="X1" desc="stops too much">
  <ActionList><Action id="X1.1" type="AppPool" scope="Server" desc="ecp"><Value>MSExchangeECPAppPool</Value></Action></ActionList>
  <Probes><Request expect="allowed">GET /ecp/ HTTP/1.1</Request></Probes>
</Config>
"#;

#[test]
fn an_application_that_clears_what_it_inherits_is_told_and_a_new_file_of_an_update_gets_the_rule_again() {
    let stage = Stage::set();
    stage.publisher.add("M1");
    stage.publisher.add("M2");
    stage.publisher.publish();
    stage.world.ok(&["apply"]);
    assert_eq!(stage.world.mitigation("M1")["status"], "Applied");

    let ecp = stage.file(exchange::ECP);
    fs::create_dir_all(ecp.parent().unwrap()).unwrap();
    let inside = "<system.webServer><rewrite><rules><clear /></rules></rewrite></system.webServer>";
    fs::write(&ecp, format!("<configuration>\n{inside}\n</configuration>\n")).unwrap();
    let m1 = stage.world.mitigation("M1");
    assert_eq!(m1["status"], "Partial", "{m1:#}");
    let told = m1.to_string();
    assert!(told.contains("Default Web Site/ecp") && told.contains("<clear> in line 2"), "{m1:#}");
    let below = ATTACK.replace("/autodiscover", "/ecp/autodiscover");
    let expected = |cleared| if cleared { Seen::Status(200) } else { Seen::Closed };
    wait_until("the status says what a client sees", || stage.server.ask(&below) == expected(true));
    assert_eq!(stage.server.ask(ATTACK), Seen::Closed);
    fs::remove_file(&ecp).unwrap();
    wait_until("it is inherited again", || stage.server.ask(&below) == expected(false));
    assert_eq!(stage.world.mitigation("M1")["status"], "Applied");

    // An installer removes a file and makes another one of its name.
    let agent = stage.world.agent();
    stage.world.await_status("M2", "Applied");
    let owa = stage.file(exchange::OWA);
    fs::remove_file(&owa).unwrap();
    fs::write(&owa, CLEARED).unwrap();
    let is_back = || fs::read_to_string(&owa).is_ok_and(|text| text.contains("Stopgap example M2.1"));
    wait_until("the rule is back", is_back);
    wait_until("the header is back", || stage.server.policy("/owa/").contains("script-src-attr"));
    drop(agent);
}

#[test]
fn a_file_that_somebody_edits_between_plan_and_apply_is_left_and_planned_anew() {
    use std::os::unix::fs::PermissionsExt;
    let stage = Stage::set();
    stage.publisher.add("M1");
    stage.publisher.publish();
    let host = stage.file(exchange::HOST);
    let hook = stage.world.path("by-hand");
    let script = format!("#!/bin/sh\nprintf '<!-- by hand -->' >> '{}'\n", host.display());
    fs::write(&hook, script).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    stage.configure(&format!("[hooks]\nbefore = [{hook:?}]\n"));
    let original = fs::read_to_string(&host).unwrap();
    let ran = stage.world.stopgap(&["apply", "--json"]);
    let m1 = mitigation(&ran.json(), "M1");
    assert!(
        m1["reason"].as_str().unwrap_or_default().contains("changed since it was read"),
        "{m1:#} {ran:#?}"
    );
    assert_eq!(fs::read_to_string(&host).unwrap(), format!("{original}<!-- by hand -->"));
    stage.configure("");
    stage.world.ok(&["apply", "--now", "M1"]);
    assert_eq!(stage.server.ask(ATTACK), Seen::Closed);
    assert!(fs::read_to_string(&host).unwrap().ends_with("<!-- by hand -->"));
}
