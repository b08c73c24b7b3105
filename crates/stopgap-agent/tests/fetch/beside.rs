//! What the tests of what stands beside a document share: files that are served, a co-signer, and a
//! publisher whose certificates name revocation lists.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use stopgap_agent::fetch::Fetcher;
use stopgap_feed::{Revocation, verify};
use stopgap_testkit::feeds::{PING, feed, signed};
use stopgap_testkit::pki::{Options, TestPki};

use crate::server::{Server, ok, status};
use crate::world::{Agent, PUBLISHER, STRANGER, fetcher, followed, limits, network, now, result};

/// Files that are served, and can be changed.
#[derive(Clone, Default)]
pub struct Files(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl Files {
    pub fn serve(&self) -> Server {
        self.serve_at("127.0.0.1")
    }

    pub fn serve_at(&self, host: &str) -> Server {
        let files = self.clone();
        Server::start(
            host,
            None,
            Arc::new(move |asked, out| {
                let found = files.0.lock().unwrap().get(&asked.target).cloned();
                match found {
                    Some(octets) => ok(out, "", &octets),
                    None => status(out, "404 Not Found", ""),
                }
            }),
        )
    }

    pub fn put(&self, path: &str, octets: Vec<u8>) {
        self.0.lock().unwrap().insert(path.to_owned(), octets);
    }

    pub fn take(&self, path: &str) {
        self.0.lock().unwrap().remove(path);
    }
}

pub fn agent_fetcher() -> Fetcher {
    fetcher(&network(), limits())
}

/// An agent for which the stranger is a co-signer, and two must sign.
pub fn two_signatures() -> Agent {
    let agent = Agent::new("signatures = 2\ncosigners = [\"second.toml\"]\n");
    agent.host.put("/etc/stopgap/second.toml", STRANGER.trust_toml());
    agent
}

/// Somebody's co-signature of a document.
pub fn cosignature(document: &[u8], by: &TestPki) -> Vec<u8> {
    let release = verify(&PUBLISHER.trust(), document, None, &Revocation::off(), now()).unwrap();
    let (serial, sha256) = (release.document().serial.unwrap(), release.sha256());
    signed(&format!("<Cosignature feed=\"example\" serial=\"{serial}\" sha256=\"{sha256}\"/>"), by)
}

/// A publisher whose certificates name revocation lists on a server.
pub struct Revoking {
    pub agent: Agent,
    pub files: Files,
    pub server: Server,
    pub pki: TestPki,
}

pub type Day = (i32, u8, u8);
pub const FROM: Day = (2026, 11, 20);
pub const TO: Day = (2026, 11, 27);

impl Revoking {
    pub fn new(mode: &str) -> Revoking {
        let files = Files::default();
        let server = files.serve();
        let lists = Some(format!("http://{}", server.address));
        let pki = TestPki::new(Options { lists, ..Options::default() });
        let agent = Agent::of(&pki, &format!("revocation = \"{mode}\"\n"));
        let world = Revoking { agent, files, server, pki };
        world.release(1);
        world.files.put("/issuer.crl", world.pki.issuer_list(false, FROM, TO));
        world.files.put("/root.crl", world.pki.root_list(false, FROM, TO));
        world
    }

    pub fn release(&self, serial: u64) {
        self.files.put("/feed.xml", signed(&feed("example", serial, now(), PING), &self.pki));
    }

    pub async fn cycle(&self) -> Result<u64, String> {
        self.cycle_at(now()).await
    }

    pub async fn cycle_at(&self, now: Timestamp) -> Result<u64, String> {
        let feed = followed(format!("http://{}/feed.xml", self.server.address));
        let delivery = self.agent.fetch_at(&agent_fetcher(), &feed, now).await;
        result(&self.agent.judge_at(delivery, now))
    }

    pub fn asked(&self) -> Vec<String> {
        self.server.take_asked().into_iter().map(|asked| asked.target).collect()
    }
}

pub fn later(hours: i64) -> Timestamp {
    now().checked_add(SignedDuration::from_hours(hours)).unwrap()
}
