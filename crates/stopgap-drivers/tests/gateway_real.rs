//! The driver against the gateway, with an origin behind it.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stopgap_core::observed::Listener;
use stopgap_core::plan::{Change, Wanted};
use stopgap_core::proof::{Answer, Judgement};
use stopgap_drivers::gateway::{Gateway, Settings};
use stopgap_drivers::host::{Bounds, Host};
use stopgap_drivers::probe::{self, Patience};
use stopgap_drivers::{Driver, DriverError, Machine};
use stopgap_feed::document::{ActionKind, Expect, Probe};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use common::{ATTACK, m1, observing, ok, serve_origin, until};

struct Server {
    folder: TempDir,
    driver: Gateway,
    listener: Listener,
    origin: Arc<Mutex<Vec<String>>>,
    _runtime: Runtime,
}

impl Server {
    fn start() -> Server {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("edge");
        fs::create_dir(&data).unwrap();
        let control = Settings::default_control(&data);
        let origin = Arc::new(Mutex::new(Vec::new()));
        let upstream = format!("http://{}", serve_origin(origin.clone())).parse().unwrap();
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let settings = stopgap_gateway::Settings::new(
            vec![free],
            upstream,
            data.join("live/rules.xml"),
            control.clone(),
        );
        let runtime = Runtime::new().unwrap();
        let gateway = runtime.block_on(stopgap_gateway::Gateway::bind(settings)).unwrap();
        let listener =
            Listener { tls: false, address: gateway.local_addrs()[0], host: "edge.example".into() };
        runtime.spawn(gateway.run(std::future::pending()));
        let driver = Gateway::new(Settings {
            name: "edge".into(),
            folder: data,
            control,
            listeners: vec![listener.clone()],
            site: "gateway".into(),
        });
        Server { folder, driver, listener, origin, _runtime: runtime }
    }

    fn plan(&self, wanted: &[Wanted]) -> Change {
        let observed = self.driver.observe(&Machine).unwrap();
        self.driver.render(wanted, &observed).change.expect("a change")
    }

    fn ask(&self, target: &str) -> Answer {
        let probe = Probe { head: format!("GET {target} HTTP/1.1\r\n\r\n"), expect: Expect::Allowed };
        probe::ask(&Machine, &self.listener, &probe, &"test:M1".parse().unwrap(), 1)
    }

    fn names(&self) -> Vec<PathBuf> {
        let mut names: Vec<PathBuf> =
            fs::read_dir(self.folder.path().join("edge")).unwrap().map(|e| e.unwrap().path()).collect();
        names.sort();
        names
    }
}

#[test]
fn m1_is_put_on_proven_and_taken_off() {
    let server = Server::start();
    let untouched = server.names();
    let wanted = m1();
    let observed = server.driver.observe(&Machine).unwrap();
    assert_eq!((observed.live.active, observed.warnings.len()), (Some(true), 0));
    let rendered = server.driver.render(&wanted, &observed);
    let questions = probe::questions(&Machine, &wanted, &rendered.placements, &observed, 1);
    assert!(
        questions.len() == wanted[0].probes.len() && questions.iter().all(|q| q.before == ok()),
        "{questions:?}"
    );
    let change = rendered.change.unwrap();
    server.driver.check(&Machine, &change).unwrap();
    server.driver.apply(&Machine, &change).unwrap();
    server.driver.settle(&Machine, &change).unwrap();
    server.origin.lock().unwrap().clear();
    let shown = probe::prove(&Machine, questions, Patience::default(), 2);
    assert!(shown.iter().all(|s| s.judgement == Judgement::Proven), "{shown:?}");
    assert_eq!(*server.origin.lock().unwrap(), ["/autodiscover/autodiscover.xml"]);
    assert_eq!(server.driver.observe(&Machine).unwrap().live.active, Some(true));
    let off = server.plan(&[]);
    server.driver.apply(&Machine, &off).unwrap();
    server.driver.settle(&Machine, &off).unwrap();
    assert_eq!(server.ask(ATTACK), ok());
    assert_eq!(server.names(), untouched);
}

#[test]
fn what_older_rules_still_answer_is_told_until_it_ends() {
    let server = Server::start();
    let mut upload = TcpStream::connect(server.listener.address).unwrap();
    write!(upload, "POST /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 2\r\n\r\n1")
        .unwrap();
    // The origin has it: the rules of now have let it through.
    until(|| !server.origin.lock().unwrap().is_empty());
    let change = server.plan(&m1());
    server.driver.apply(&Machine, &change).unwrap();
    assert_eq!(server.ask(ATTACK), Answer::Closed, "the first step is done");
    let warnings = || server.driver.observe(&Machine).unwrap().warnings;
    assert!(warnings().iter().any(|w| w.contains("1 connection of before")), "{:?}", warnings());
    upload.write_all(b"2").unwrap();
    until(|| warnings().is_empty());
}

#[test]
fn a_set_that_the_gateway_refuses_leaves_the_rules_that_it_has() {
    let server = Server::start();
    let change = server.plan(&m1());
    server.driver.apply(&Machine, &change).unwrap();
    server.driver.settle(&Machine, &change).unwrap();
    let mut bad = server.plan(&[]);
    bad.after = change.after.clone();
    if let Some(set) = &mut bad.after {
        set.files.insert("rules.xml".into(), "<rewrite><rules><rule/></rules></rewrite>".into());
        set.id = "0".repeat(64);
    }
    assert!(matches!(server.driver.check(&Machine, &bad), Err(DriverError::Rejected { .. })));
    let error = server.driver.apply(&Machine, &bad).unwrap_err();
    assert!(
        matches!(&error, DriverError::NotTaken { message, .. } if message.contains("rules.xml")),
        "{error}"
    );
    assert_eq!(server.ask(ATTACK), Answer::Closed, "the old rules are still in force");
    server.driver.revert(&Machine, &bad).unwrap();
    let observed = server.driver.observe(&Machine).unwrap();
    assert_eq!((observed.live.active, observed.live.set), (Some(true), change.after.map(|set| set.id)));
}

/// Two mitigations with the rule and the precondition of M2, under the same names.
#[test]
fn rules_for_responses_are_put_on_under_names_of_their_own() {
    let rewrite = r#"<rewrite><outboundRules>
        <rule preCondition="pages" name="CSP"><match serverVariable="RESPONSE_Content_Security_Policy" pattern="(.*)"/>
            <action type="Rewrite" value="{R:1}x"/></rule>
        <rule name="plain"><match serverVariable="RESPONSE_X_Plain" pattern="(.*)"/>
            <action type="Rewrite" value="{R:1}y"/></rule>
        <preConditions><preCondition name="pages">
            <add input="{RESPONSE_CONTENT_TYPE}" pattern="^text/html"/><add input="{REQUEST_URI}" pattern="^/owa/"/>
        </preCondition></preConditions>
    </outboundRules></rewrite>"#;
    let server = Server::start();
    let mut wanted = m1();
    wanted.truncate(1);
    wanted[0].action.kind = ActionKind::UrlRewrite { rewrite: rewrite.to_owned() };
    wanted.push(Wanted { key: "other:M2".parse().unwrap(), ..wanted[0].clone() });
    let observed = server.driver.observe(&Machine).unwrap();
    let rendered = server.driver.render(&wanted, &observed);
    assert!(rendered.refused.is_empty(), "{:?}", rendered.refused);
    let change = rendered.change.unwrap();
    server.driver.check(&Machine, &change).unwrap();
    server.driver.apply(&Machine, &change).unwrap();
    let head = |target: &str| {
        let mut stream = TcpStream::connect(server.listener.address).unwrap();
        write!(stream, "GET {target} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer.to_ascii_lowercase()
    };
    let owa = head("/owa/");
    assert!(owa.contains("content-security-policy: xx\r\n") && owa.contains("x-plain: yy\r\n"), "{owa}");
    let ecp = head("/ecp/");
    assert!(!ecp.contains("content-security-policy") && ecp.contains("x-plain: yy\r\n"), "{ecp}");
}

#[test]
fn what_is_observed_goes_to_the_origin_and_is_counted_until_it_is_to_refuse() {
    let server = Server::start();
    let change = server.plan(&observing(m1()));
    server.driver.check(&Machine, &change).unwrap();
    server.driver.apply(&Machine, &change).unwrap();
    server.driver.settle(&Machine, &change).unwrap();
    server.origin.lock().unwrap().clear();
    // Without the field of a probe, which is not counted.
    let attack = || {
        let mut client = TcpStream::connect(server.listener.address).unwrap();
        write!(client, "GET {ATTACK} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        let _ = client.read_to_string(&mut answer);
        answer
    };
    assert!(attack().starts_with("HTTP/1.1 200 "));
    assert_eq!(server.ask("/owa/"), ok());
    assert_eq!(*server.origin.lock().unwrap(), [ATTACK, "/owa/"]);
    let status = || {
        let control = Settings::default_control(&server.folder.path().join("edge"));
        let bounds = Bounds { octets: 1 << 20, time: Duration::from_secs(20) };
        Machine.control(&control, "{\"command\":\"status\"}", bounds).unwrap()
    };
    assert!(
        status().contains("\"observed\":1,\"observed_by_rule\":{\"Stopgap (observes) example M1.1 "),
        "{}",
        status()
    );
    assert!(status().contains("\"refused\":0"), "{}", status());

    let change = server.plan(&m1());
    server.driver.apply(&Machine, &change).unwrap();
    assert_eq!(attack(), "");
    assert!(status().contains("\"observed\":1"), "{}", status());
}
