//! A machine with one target, an agent and its feed.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{LazyLock, Mutex};

use jiff::{SignedDuration, Timestamp};
use stopgap_agent::cycle::{Done, Input, Mode, Target, cycle};
use stopgap_agent::fetch::{Failure, Fault, Fetched, Validators};
use stopgap_agent::home::{Home, HomeError};
use stopgap_agent::operator;
use stopgap_core::facts::Facts;
use stopgap_core::ledger::FATAL_DEATHS;
use stopgap_core::select::TargetView;
use stopgap_drivers::Host;
use stopgap_testkit::fire::Tree;
use stopgap_testkit::host::{FakeHost, Node};
use stopgap_testkit::pki::TestPki;

use crate::config::config;
use crate::feed::document;
use crate::machines::{Kind, Memory};

pub const DATA: &str = "/data";

/// Signs the feed; every test uses one, since making keys takes time.
pub static PUBLISHER: LazyLock<TestPki> = LazyLock::new(TestPki::default);
/// Bears the publisher's names, and is not the publisher.
pub static STRANGER: LazyLock<TestPki> = LazyLock::new(TestPki::default);

static SIGNED: Mutex<BTreeMap<(String, Timestamp), Vec<u8>>> = Mutex::new(BTreeMap::new());

pub struct World {
    pub kind: Kind,
    pub host: FakeHost,
    pub memory: Memory,
    pub feed: Fetched,
    pub now: Timestamp,
}

impl World {
    pub fn new(kind: Kind) -> World {
        let (host, memory) = kind.machine();
        host.put("/etc/stopgap/trust.toml", PUBLISHER.trust_toml());
        *memory.lock().unwrap() = kind.rules(&host.tree("/"));
        let feed = Fetched::Failed(Failure::new(Fault::Unreachable, "nothing is published yet"));
        World { kind, host, memory, feed, now: "2026-11-22T03:00:00Z".parse().unwrap() }
    }

    /// The same machine after the power came back, with this disk: the server reads its rules anew.
    pub fn on(&self, disk: &Tree) -> World {
        let (host, memory) = self.kind.machine();
        host.take("/");
        for (path, node) in disk {
            match node {
                Node::File(octets) => host.put(path, octets.clone()),
                Node::Folder => host.create_dir_all(path, 0o755).unwrap(),
                Node::Link(to) => host.link(path, to),
            }
        }
        self.kind.boot(&host);
        *memory.lock().unwrap() = self.kind.rules(disk);
        World { kind: self.kind, host, memory, feed: self.feed.clone(), now: self.now }
    }

    pub fn publish(&mut self, words: &str) {
        let words: Vec<String> = words.split(' ').map(|word| self.in_its_words(word)).collect();
        let words = words.join(" ");
        // No two signatures of the same text are the same; a story is told many times.
        let mut signed = SIGNED.lock().unwrap();
        let bytes =
            signed.entry((words.clone(), self.now)).or_insert_with(|| document(&words, self.now)).clone();
        self.feed = Fetched::Document { bytes, validators: Validators::default() };
    }

    /// A mitigation of a feed's words, as it is where pools or services are taken out.
    fn in_its_words(&self, word: &str) -> String {
        match (self.kind.option(), word.split_once('(')) {
            (Some(option), Some((id, options))) => format!("{id}({option},{options}"),
            (Some(option), None) if word.starts_with('M') => format!("{word}({option})"),
            _ => word.to_owned(),
        }
    }

    pub fn bring(&mut self, words: &str) {
        self.publish(words);
        let done = self.cycle(&self.host, Mode::Apply).unwrap();
        assert!(!done.failed, "{:#?}", done.report);
    }

    /// The operator has what was skipped or left after two deaths tried again. Whether there was any.
    pub fn retry(&self) -> bool {
        let home = Home::at(Path::new(DATA));
        let mut ledger = home.ledger(&self.host).unwrap();
        let skipped = ledger.failures.iter().filter(|(_, failure)| failure.deaths >= FATAL_DEATHS);
        let mut left: Vec<String> = skipped.map(|(key, _)| key.id.to_string()).collect();
        left.extend(ledger.targets.keys().filter(|target| ledger.is_deadly(target)).cloned());
        let again = left.iter().filter(|what| operator::retry(&mut ledger, what)).count() > 0;
        home.save_ledger(&self.host, &ledger).unwrap();
        again
    }

    pub fn wait(&mut self) {
        self.now = self.now.checked_add(SignedDuration::from_secs(1)).unwrap();
    }

    /// What the agent does from its start to the end of a cycle.
    pub fn cycle(&self, host: &dyn Host, mode: Mode) -> Result<Done, HomeError> {
        let facts = Facts::default();
        let sites = BTreeMap::from([("Default Web Site".to_owned(), vec!["site".to_owned()])]);
        let name = self.kind.name().to_owned();
        let view = TargetView { name, facts: facts.clone(), sites, takes: self.kind.takes() };
        let targets = [Target { driver: self.kind.driver(), view }];
        cycle(Input {
            host,
            home: &Home::open(host, Path::new(DATA))?,
            config: &config(),
            targets: &targets,
            facts: &facts,
            fetched: BTreeMap::from([("example".parse().unwrap(), self.feed.clone().into())]),
            jump: Vec::new(),
            mode,
            now: self.now,
        })
    }
}
