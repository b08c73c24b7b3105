//! A server in memory: an agent with one gateway target, the gateway, and a publisher.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

use jiff::{SignedDuration, Timestamp};
use stopgap_agent::config::Config;
use stopgap_agent::cycle::{Done, Input, Mode, Target, cycle};
use stopgap_agent::fetch::{Failure, Fault, Fetched, Validators};
use stopgap_agent::home::{Home, HomeError};
use stopgap_agent::operator::Operator;
use stopgap_core::Ledger;
use stopgap_core::facts::Facts;
use stopgap_core::observed::Listener;
use stopgap_core::plan::sha256_hex;
use stopgap_core::select::TargetView;
use stopgap_drivers::gateway::{Gateway, Settings};
use stopgap_rules::{Connection, Engine, EngineLimits, Outcome, Request, RuleSet};
use stopgap_testkit::host::{FakeHost, Node};
use stopgap_testkit::pki::TestPki;

use crate::config::config;

pub const DATA: &str = "/data";
pub const LIVE: &str = "/data/gateway/live";

/// Signs the feed; every test uses one, since making keys takes time.
pub static PUBLISHER: LazyLock<TestPki> = LazyLock::new(TestPki::default);
/// Bears the publisher's names, and is not the publisher.
pub static STRANGER: LazyLock<TestPki> = LazyLock::new(TestPki::default);

/// The gateway, and what stands in front of it.
#[derive(Default)]
pub struct Server {
    /// The rules in its memory.
    rules: Vec<u8>,
    /// A sign-in in front answers everything with 401.
    pub sign_in: bool,
    /// The site sends everybody elsewhere.
    pub moved: bool,
    /// It listens nowhere that a probe reaches.
    pub silent: bool,
}

impl Server {
    fn answer(&self, request: &[u8]) -> io::Result<Vec<u8>> {
        if self.silent {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        if self.sign_in {
            return Ok(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_vec());
        }
        let rules = String::from_utf8(self.rules.clone()).unwrap();
        if !rules.is_empty() {
            let mut set = RuleSet::parse(&rules).unwrap();
            set.rules.retain(|rule| !rule.name.starts_with("Stopgap (observes) "));
            let engine = Engine::compile(&set, &EngineLimits::default()).unwrap();
            let request = Request::parse_head(request, &Connection::default()).unwrap();
            if engine.evaluate(&request).action == Outcome::AbortRequest {
                return Ok(Vec::new());
            }
        }
        if self.moved {
            return Ok(b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n".to_vec());
        }
        Ok(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n".to_vec())
    }
}

pub struct World {
    pub host: FakeHost,
    pub server: Arc<Mutex<Server>>,
    pub home: Home,
    pub config: Config,
    pub facts: BTreeMap<String, String>,
    /// What the feed's address answers.
    pub feed: Fetched,
    pub now: Timestamp,
}

impl World {
    pub fn new() -> World {
        let server = Arc::new(Mutex::new(Server::default()));
        let (asked, controlled) = (server.clone(), server.clone());
        let host = FakeHost::new()
            .on_exchange(move |_, _, request| asked.lock().unwrap().answer(request))
            .on_control(move |host, _, line| {
                let mut server = controlled.lock().unwrap();
                if line.contains("activate") {
                    server.rules = host.peek("/data/gateway/live/rules.xml").unwrap_or_default();
                }
                Ok(format!(r#"{{"active":"{}","observes":true,"error":null}}"#, sha256_hex(&server.rules)))
            });
        host.put("/etc/stopgap/trust.toml", PUBLISHER.trust_toml());
        let home = Home::open(&host, Path::new(DATA)).unwrap();
        World {
            host,
            server,
            home,
            config: config(),
            facts: BTreeMap::new(),
            feed: unreachable("nothing is published yet"),
            now: "2026-11-22T03:00:00Z".parse().unwrap(),
        }
    }

    pub fn publish(&mut self, document: Vec<u8>) {
        self.feed = Fetched::Document { bytes: document, validators: Validators::default() };
    }

    pub fn wait(&mut self, time: SignedDuration) {
        self.now = self.now.checked_add(time).unwrap();
    }

    pub fn cycle(&self, mode: Mode) -> Result<Done, HomeError> {
        let facts: Facts =
            self.facts.iter().map(|(name, version)| (name.as_str(), version.as_str())).collect();
        let sites = BTreeMap::from([("Default Web Site".to_owned(), vec!["site".to_owned()])]);
        let view = TargetView {
            name: "gateway".into(),
            facts: facts.clone(),
            sites,
            takes: &[stopgap_feed::document::ActionType::UrlRewrite],
        };
        let targets = [Target { driver: Box::new(Gateway::new(settings())), view }];
        cycle(Input {
            host: &self.host,
            home: &self.home,
            config: &self.config,
            targets: &targets,
            facts: &facts,
            fetched: BTreeMap::from([("example".parse().unwrap(), self.feed.clone().into())]),
            jump: Vec::new(),
            mode,
            now: self.now,
        })
    }

    /// A cycle that must run to its end.
    pub fn apply(&self) -> Done {
        self.cycle(Mode::Apply).unwrap()
    }

    pub fn operator(&self, change: impl FnOnce(&mut Operator)) {
        let mut operator = self.home.operator(&self.host).unwrap();
        change(&mut operator);
        self.home.save_operator(&self.host, &operator).unwrap();
    }

    pub fn ledger(&self) -> Ledger {
        self.home.ledger(&self.host).unwrap()
    }

    /// What a client sees: whether the gateway refuses a path.
    pub fn refuses(&self, path: &str) -> bool {
        let request = format!("GET {path} HTTP/1.1\r\nHost: site\r\n\r\n");
        self.server.lock().unwrap().answer(request.as_bytes()).is_ok_and(|answer| answer.is_empty())
    }

    /// The rules that a gateway which starts now would read.
    pub fn rules_on_disk(&self) -> Option<Vec<u8>> {
        self.host.peek(Path::new(LIVE).join("rules.xml"))
    }

    /// Where the live rules really are, past the link.
    pub fn rules_file(&self) -> PathBuf {
        match self.host.tree(LIVE).get(Path::new(LIVE)) {
            Some(Node::Link(to)) => Path::new("/data/gateway").join(to).join("rules.xml"),
            other => panic!("live is {other:?}"),
        }
    }

    /// Every file of the data folder, but the books that tell one moment from another, and sets that
    /// are not live: a crash may leave one behind, which goes with the next change.
    pub fn files(&self) -> BTreeMap<PathBuf, Node> {
        let mut tree = self.host.tree(DATA);
        let live = match tree.get(Path::new(LIVE)) {
            Some(Node::Link(to)) => Path::new("/data/gateway").join(to),
            _ => PathBuf::from("/none"),
        };
        let books = ["ledger.json", "journal.jsonl", "example.trouble.json"];
        tree.retain(|path, _| {
            !books.iter().any(|book| path.ends_with(book))
                && (!path.starts_with("/data/gateway/sets") || path.starts_with(&live))
        });
        tree
    }
}

/// Nobody answers.
pub fn unreachable(message: &str) -> Fetched {
    Fetched::Failed(Failure::new(Fault::Unreachable, message))
}

fn settings() -> Settings {
    Settings {
        name: "gateway".into(),
        folder: "/data/gateway".into(),
        control: "/run/gateway.sock".into(),
        listeners: vec![Listener {
            tls: false,
            address: "127.0.0.1:8080".parse().unwrap(),
            host: "site".into(),
        }],
        site: "site".into(),
    }
}
