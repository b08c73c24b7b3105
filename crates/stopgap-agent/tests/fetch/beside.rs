//! What stands beside a document: co-signatures, and the revocation lists that its signers name.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use jiff::{SignedDuration, Timestamp};
use stopgap_agent::config::FeedConfig;
use stopgap_agent::fetch::{Fetched, Fetcher};
use stopgap_agent::trust;
use stopgap_feed::{Revocation, verify};
use stopgap_testkit::feeds::{PING, feed, signed};
use stopgap_testkit::host::{Fault, Node};
use stopgap_testkit::pki::{Options, TestPki};

use crate::server::{Server, ok, status};
use crate::world::{Agent, PUBLISHER, STRANGER, fetcher, followed, limits, network, now, release, result};

/// Files that are served, and can be changed.
#[derive(Clone, Default)]
pub struct Files(Arc<Mutex<BTreeMap<String, Vec<u8>>>>);

impl Files {
    pub fn serve(&self) -> Server {
        self.serve_at("127.0.0.1")
    }

    fn serve_at(&self, host: &str) -> Server {
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

fn agent_fetcher() -> Fetcher {
    fetcher(&network(), limits())
}

/// An agent for which the stranger is a co-signer, and two must sign.
fn two_signatures() -> Agent {
    let agent = Agent::new("signatures = 2\ncosigners = [\"second.toml\"]\n");
    agent.host.put("/etc/stopgap/second.toml", STRANGER.trust_toml());
    agent
}

/// Somebody's co-signature of a document.
fn cosignature(document: &[u8], by: &TestPki) -> Vec<u8> {
    let release = verify(&PUBLISHER.trust(), document, None, &Revocation::off(), now()).unwrap();
    let (serial, sha256) = (release.document().serial.unwrap(), release.sha256());
    signed(&format!("<Cosignature feed=\"example\" serial=\"{serial}\" sha256=\"{sha256}\"/>"), by)
}

/// A feed with co-signatures on a server.
struct Cosigned {
    agent: Agent,
    files: Files,
    server: Server,
}

impl Cosigned {
    fn new() -> Cosigned {
        let files = Files::default();
        Cosigned { agent: two_signatures(), server: files.serve(), files }
    }

    fn feed(&self) -> FeedConfig {
        followed(format!("http://{}/feed.xml", self.server.address))
    }

    async fn cycle(&self) -> Result<u64, String> {
        let delivery = self.agent.fetch(&agent_fetcher(), &self.feed()).await;
        result(&self.agent.judge(delivery))
    }
}

const FIRST: &str = "/feed.xml.cosignature-1.xml";

#[tokio::test]
async fn two_signatures_are_fetched_kept_and_judged_again() {
    let world = Cosigned::new();
    world.files.put("/feed.xml", release(1));
    world.files.put(FIRST, cosignature(&release(1), &STRANGER));
    assert_eq!(world.cycle().await, Ok(1));
    let asked: Vec<String> = world.server.take_asked().into_iter().map(|asked| asked.target).collect();
    assert_eq!(asked, ["/feed.xml", FIRST], "as many as there are co-signers");
    // Nobody is asked: what is kept counts as it did.
    let kept = world.agent.judge(Fetched::Skipped);
    assert_eq!(result(&kept), Ok(1));
    assert_eq!(kept.verified.unwrap().cosigners().len(), 1);
}

#[tokio::test]
async fn a_co_signature_that_is_held_back() {
    let world = Cosigned::new();
    world.files.put("/feed.xml", release(1));
    world.files.put(FIRST, cosignature(&release(1), &STRANGER));
    assert_eq!(world.cycle().await, Ok(1));
    world.files.put("/feed.xml", release(2));
    // That of the release before is none of this one.
    assert_eq!(world.cycle().await, Err("too-few-signatures".to_owned()));
    world.files.take(FIRST);
    assert_eq!(world.cycle().await, Err("too-few-signatures".to_owned()));
    assert_eq!(
        world.agent.judge(Fetched::Skipped).report.serial,
        Some(1),
        "the last good one goes on counting"
    );
    world.files.put(FIRST, cosignature(&release(2), &PUBLISHER));
    assert_eq!(world.cycle().await, Err("too-few-signatures".to_owned()), "the publisher's own is no second");
    world.files.put(FIRST, cosignature(&release(2), &STRANGER));
    assert_eq!(world.cycle().await, Ok(2));
}

#[tokio::test]
async fn without_cosigners_none_is_asked_for() {
    let files = Files::default();
    let server = files.serve();
    files.put("/feed.xml", release(1));
    let agent = Agent::new("");
    let feed = followed(format!("http://{}/feed.xml", server.address));
    let delivery = agent.fetch(&agent_fetcher(), &feed).await;
    assert_eq!(result(&agent.judge(delivery)), Ok(1));
    assert_eq!(server.take_asked().len(), 1);
}

#[tokio::test]
async fn a_co_signature_without_end_is_left_out() {
    let world = Cosigned::new();
    world.files.put("/feed.xml", release(1));
    world.files.put(FIRST, cosignature(&release(1), &STRANGER));
    assert_eq!(world.cycle().await, Ok(1));
    world.files.put("/feed.xml", release(2));
    world.files.put(FIRST, vec![b' '; 300 << 10]);
    assert_eq!(world.cycle().await, Err("too-few-signatures".to_owned()));
}

/// A publisher whose certificates name revocation lists on a server.
struct Revoking {
    agent: Agent,
    files: Files,
    server: Server,
    pki: TestPki,
}

type Day = (i32, u8, u8);
const FROM: Day = (2026, 11, 20);
const TO: Day = (2026, 11, 27);

impl Revoking {
    fn new(mode: &str) -> Revoking {
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

    fn release(&self, serial: u64) {
        self.files.put("/feed.xml", signed(&feed("example", serial, now(), PING), &self.pki));
    }

    async fn cycle(&self) -> Result<u64, String> {
        self.cycle_at(now()).await
    }

    async fn cycle_at(&self, now: Timestamp) -> Result<u64, String> {
        let feed = followed(format!("http://{}/feed.xml", self.server.address));
        let delivery = self.agent.fetch_at(&agent_fetcher(), &feed, now).await;
        result(&self.agent.judge_at(delivery, now))
    }

    fn asked(&self) -> Vec<String> {
        self.server.take_asked().into_iter().map(|asked| asked.target).collect()
    }
}

fn later(hours: i64) -> Timestamp {
    now().checked_add(SignedDuration::from_hours(hours)).unwrap()
}

#[tokio::test]
async fn lists_that_the_certificates_name_are_fetched_and_kept_for_an_hour() {
    let world = Revoking::new("require");
    assert_eq!(world.cycle().await, Ok(1));
    assert_eq!(world.asked(), ["/feed.xml", "/issuer.crl", "/root.crl"]);
    assert_eq!(world.cycle_at(now().checked_add(SignedDuration::from_mins(10)).unwrap()).await, Ok(1));
    assert_eq!(world.asked(), ["/feed.xml"]);
    assert_eq!(world.cycle_at(later(1)).await, Ok(1));
    assert_eq!(world.asked(), ["/feed.xml", "/issuer.crl", "/root.crl"]);
    // What is kept goes on counting where the lists are held back.
    world.files.take("/issuer.crl");
    world.release(2);
    assert_eq!(world.cycle_at(later(2)).await, Ok(2));
    assert_eq!(world.agent.judge_at(Fetched::Skipped, later(2)).report.error, None);
}

#[tokio::test]
async fn without_revocation_no_list_is_asked_for() {
    let world = Revoking::new("off");
    assert_eq!(world.cycle().await, Ok(1));
    assert_eq!(world.asked(), ["/feed.xml"]);
}

#[tokio::test]
async fn a_required_list_that_is_held_back() {
    let world = Revoking::new("require");
    assert_eq!(world.cycle().await, Ok(1));
    let world = Revoking::new("require");
    world.files.take("/issuer.crl");
    world.files.take("/root.crl");
    assert_eq!(world.cycle().await, Err("crl-missing".to_owned()));
    let world = Revoking::new("prefer");
    world.files.take("/issuer.crl");
    assert_eq!(world.cycle().await, Ok(1), "a preferred one may be");
}

#[tokio::test]
async fn a_list_that_ran_out_is_asked_for_at_once() {
    let world = Revoking::new("require");
    assert_eq!(world.cycle().await, Ok(1));
    world.files.put("/issuer.crl", world.pki.issuer_list(false, (2026, 11, 26), (2026, 12, 5)));
    world.files.put("/root.crl", world.pki.root_list(false, (2026, 11, 26), (2026, 12, 5)));
    // Ten minutes before the old one's end, and ten minutes after it.
    let before: Timestamp = "2026-11-26T23:50:00Z".parse().unwrap();
    let stale = world.pki.issuer_list(false, FROM, TO);
    world.files.put("/issuer.crl", stale);
    assert_eq!(world.cycle_at(before).await, Ok(1));
    world.files.put("/issuer.crl", world.pki.issuer_list(false, (2026, 11, 26), (2026, 12, 5)));
    world.asked();
    let after: Timestamp = "2026-11-27T00:10:00Z".parse().unwrap();
    assert_eq!(world.cycle_at(after).await, Ok(1));
    assert!(world.asked().contains(&"/issuer.crl".to_owned()));
}

#[tokio::test]
async fn a_stolen_key_that_was_revoked() {
    for mode in ["prefer", "require"] {
        let world = Revoking::new(mode);
        assert_eq!(world.cycle().await, Ok(1));
        world.release(2);
        world.files.put("/issuer.crl", world.pki.issuer_list(true, (2026, 11, 21), TO));
        assert_eq!(world.cycle_at(later(1)).await, Err("revoked-certificate".to_owned()), "{mode}");
    }
}

#[tokio::test]
async fn a_new_release_is_judged_by_lists_of_this_minute() {
    let world = Revoking::new("prefer");
    let at = |minutes| now().checked_add(SignedDuration::from_mins(minutes)).unwrap();
    assert_eq!(world.cycle().await, Ok(1));
    world.files.put("/issuer.crl", world.pki.issuer_list(true, (2026, 11, 21), TO));
    assert_eq!(world.cycle_at(at(9)).await, Ok(1), "nothing new has come");
    world.release(2);
    assert_eq!(world.cycle_at(at(10)).await, Err("revoked-certificate".to_owned()));
}

#[tokio::test]
async fn a_revocation_is_not_undone_with_an_older_or_a_forged_list() {
    let world = Revoking::new("prefer");
    assert_eq!(world.cycle().await, Ok(1));
    world.files.put("/issuer.crl", world.pki.issuer_list(true, (2026, 11, 21), TO));
    assert_eq!(world.cycle_at(later(1)).await, Err("revoked-certificate".to_owned()));
    let other = TestPki::new(Options::default());
    for (hours, list) in [
        (2, world.pki.issuer_list(false, FROM, TO)),
        (3, other.issuer_list(false, (2026, 11, 22), TO)),
        (4, b"no list".to_vec()),
    ] {
        world.files.put("/issuer.crl", list);
        world.release(10 + u64::try_from(hours).unwrap());
        assert_eq!(world.cycle_at(later(hours)).await, Err("revoked-certificate".to_owned()), "{hours}");
    }
}

#[tokio::test]
async fn an_authoritys_revocation_is_not_undone_with_a_forged_list() {
    let world = Revoking::new("prefer");
    assert_eq!(world.cycle().await, Ok(1));
    world.files.put("/root.crl", world.pki.root_list(true, (2026, 11, 21), TO));
    assert_eq!(world.cycle_at(later(1)).await, Err("revoked-certificate".to_owned()));
    // Newer, of the same name, and by another key.
    let other = TestPki::new(Options::default());
    world.files.put("/root.crl", other.root_list(false, (2026, 11, 22), TO));
    assert_eq!(world.cycle_at(later(2)).await, Err("revoked-certificate".to_owned()));
    assert_eq!(world.cycle_at(later(3)).await, Err("revoked-certificate".to_owned()));
}

#[tokio::test]
async fn an_older_forged_or_future_list_takes_no_newer_ones_place() {
    let world = Revoking::new("require");
    let good = world.pki.issuer_list(false, (2026, 11, 21), TO);
    world.files.put("/issuer.crl", good.clone());
    assert_eq!(world.cycle().await, Ok(1));
    let kept = || {
        let lists = world.agent.standing().lists;
        lists.into_iter().find(|list| list.source.ends_with("/issuer.crl")).unwrap().bytes
    };
    assert_eq!(kept(), good);
    let other = TestPki::new(Options::default());
    for (hours, list) in [
        (1, world.pki.issuer_list(false, FROM, TO)),
        (2, other.issuer_list(false, (2026, 11, 22), TO)),
        (3, world.pki.issuer_list(false, (2026, 11, 25), TO)),
        (4, b"\x30\x03no".to_vec()),
    ] {
        world.files.put("/issuer.crl", list);
        assert_eq!(world.cycle_at(later(hours)).await, Ok(1), "{hours}");
        assert_eq!(kept(), good, "{hours}");
    }
    let newer = world.pki.issuer_list(false, (2026, 11, 22), TO);
    world.files.put("/issuer.crl", newer.clone());
    assert_eq!(world.cycle_at(later(5)).await, Ok(1));
    assert_eq!(kept(), newer);
}

#[tokio::test]
async fn certificates_that_nobody_verified_send_the_agent_nowhere() {
    let world = Revoking::new("prefer");
    assert_eq!(world.cycle().await, Ok(1));
    world.asked();
    let lists = Some(format!("http://{}/attacker", world.server.address));
    let attacker = TestPki::new(Options { lists, ..Options::default() });
    world.files.put("/feed.xml", signed(&feed("example", 2, now(), PING), &attacker));
    assert_eq!(world.cycle_at(later(2)).await, Err("unknown-root".to_owned()));
    assert_eq!(world.asked(), ["/feed.xml"]);
}

#[tokio::test]
async fn a_crash_or_a_full_disk_while_lists_are_kept_loses_none() {
    let whole = Revoking::new("require");
    assert_eq!(whole.cycle().await, Ok(1));
    let before: Vec<Vec<u8>> = whole.agent.standing().lists.into_iter().map(|list| list.bytes).collect();
    whole.files.put("/issuer.crl", whole.pki.issuer_list(false, (2026, 11, 21), TO));
    whole.files.put("/root.crl", whole.pki.root_list(false, (2026, 11, 21), TO));
    let feed = followed(format!("http://{}/feed.xml", whole.server.address));
    let delivery = whole.agent.fetch_at(&agent_fetcher(), &feed, later(1)).await;
    let after: Vec<Vec<u8>> = delivery.lists.iter().map(|list| list.bytes.clone()).collect();
    assert!(before.len() == 2 && after.len() == 2 && before != after);
    let (host, home) = (&whole.agent.host, &whole.agent.home);
    let judged = trust::judge(home, host, &feed, delivery, later(1));
    let untouched = host.tree("/data");
    let mut failures = 0;
    for fault in (0..).flat_map(|at| [Fault::Once(at), Fault::Crash(at)]) {
        host.set_fault(Some(fault));
        let stored = trust::store(home, host, &judged, later(1));
        host.set_fault(None);
        let kept: Vec<Vec<u8>> = whole.agent.standing().lists.into_iter().map(|list| list.bytes).collect();
        assert!(kept == before || kept == after, "{fault:?}");
        assert_eq!(result(&trust::judge(home, host, &feed, Fetched::Skipped, later(1))), Ok(1), "{fault:?}");
        if stored.is_ok() {
            assert_eq!(kept, after);
            break;
        }
        failures += 1;
        host.take("/data");
        host.put("/data/x", "");
        for (path, node) in &untouched {
            if let Node::File(octets) = node {
                host.put(path, octets.clone());
            }
        }
    }
    assert!(failures > 10, "{failures}");
    // And none that is not named any more.
    let files = host.tree("/data/crls");
    assert_eq!(files.keys().filter(|path| path.extension().is_some_and(|end| end == "crl")).count(), 2);
}

#[tokio::test]
async fn a_feed_of_the_internet_sends_no_server_to_its_own_network_for_lists() {
    for host in ["127.0.0.2", "lists.private.example"] {
        let files = Files::default();
        let (private, public) = (files.serve_at("127.0.0.2"), files.serve());
        let inside = files.serve_at("127.0.0.2");
        let lists = Some(format!("http://{host}:{}", private.address.port()));
        let pki = TestPki::new(Options { lists, ..Options::default() });
        files.put("/feed.xml", signed(&feed("example", 1, now(), PING), &pki));
        files.put("/issuer.crl", pki.issuer_list(false, FROM, TO));
        files.put("/root.crl", pki.root_list(false, FROM, TO));
        let at = |server: &Server| followed(format!("http://{}/feed.xml", server.address));
        let asked = async |feed: FeedConfig| {
            let agent = Agent::of(&pki, "revocation = \"prefer\"\n");
            let delivery = agent.fetch(&agent_fetcher(), &feed).await;
            assert_eq!(result(&agent.judge(delivery)), Ok(1));
            private.take_asked().len()
        };
        assert_eq!(asked(at(&public)).await, 0, "{host}");
        assert_eq!(asked(at(&inside)).await, 2, "a feed that is there itself: {host}");
        let allowed = FeedConfig { redirects_to_private: true, ..at(&public) };
        assert_eq!(asked(allowed).await, 2, "{host}");
    }
}

#[tokio::test]
async fn a_folder_carries_co_signatures_and_lists_along_and_needs_no_network() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, octets: Vec<u8>| std::fs::write(folder.path().join(name), octets).unwrap();
    let world = Revoking::new("require");
    let here = followed(url::Url::from_file_path(folder.path()).unwrap().to_string());
    let fetch = async || {
        let delivery = world.agent.fetch(&agent_fetcher(), &here).await;
        result(&world.agent.judge(delivery))
    };
    put("feed.xml", signed(&feed("example", 1, now(), PING), &world.pki));
    assert_eq!(fetch().await, Err("crl-missing".to_owned()));
    put("issuer.crl", world.pki.issuer_list(false, FROM, TO));
    put("root.crl", world.pki.root_list(false, FROM, TO));
    assert_eq!(fetch().await, Ok(1));
    // Also when the folder is gone again.
    assert_eq!(result(&world.agent.judge(Fetched::Skipped)), Ok(1));
    assert!(world.asked().is_empty());

    let agent = two_signatures();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("42.xml"), release(42)).unwrap();
    std::fs::write(folder.path().join("42.xml.cosignature-1.xml"), cosignature(&release(42), &STRANGER))
        .unwrap();
    let here = followed(url::Url::from_file_path(folder.path()).unwrap().to_string());
    let delivery = agent.fetch(&agent_fetcher(), &here).await;
    assert_eq!(result(&agent.judge(delivery)), Ok(42));
    assert_eq!(result(&agent.judge(Fetched::Skipped)), Ok(42));
}

/// A feed in a folder, whose signer must not be revoked.
struct Folder {
    folder: tempfile::TempDir,
    world: Revoking,
}

impl Folder {
    fn new() -> Folder {
        let made = Folder { folder: tempfile::tempdir().unwrap(), world: Revoking::new("prefer") };
        made.put("feed.xml", &signed(&feed("example", 1, now(), PING), &made.world.pki));
        made
    }

    fn put(&self, name: &str, octets: &[u8]) {
        std::fs::write(self.folder.path().join(name), octets).unwrap();
    }

    async fn cycle(&self, hours: i64) -> Result<u64, String> {
        let here = followed(url::Url::from_file_path(self.folder.path()).unwrap().to_string());
        let delivery = self.world.agent.fetch_at(&agent_fetcher(), &here, later(hours)).await;
        result(&self.world.agent.judge_at(delivery, later(hours)))
    }
}

#[tokio::test]
async fn whoever_fills_a_folder_makes_no_revocation_forgotten() {
    let world = Folder::new();
    let revoked = Err("revoked-certificate".to_owned());
    let (pki, crowd) = (&world.world.pki, "x".repeat(80));
    world.put("m.crl", &pki.issuer_list(false, FROM, TO));
    assert_eq!(world.cycle(0).await, Ok(1));
    world.put("m.crl", &pki.issuer_list(true, (2026, 11, 21), TO));
    assert_eq!(world.cycle(1).await, revoked);
    // Last week's list by the same name, none at all, and so many others that there is no room.
    world.put("m.crl", &pki.issuer_list(false, FROM, TO));
    assert_eq!(world.cycle(2).await, revoked);
    std::fs::remove_file(world.folder.path().join("m.crl")).unwrap();
    assert_eq!(world.cycle(3).await, revoked);
    for turn in 0..3 {
        for other in 0..16 {
            let name = format!("{}{crowd}.crl", char::from(b'a' + other));
            world.put(&format!("{turn}{name}"), &pki.issuer_list(false, FROM, (2027, 1, other + 1)));
        }
        assert_eq!(world.cycle(4 + turn).await, revoked, "{turn}");
        for entry in std::fs::read_dir(world.folder.path()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "crl") {
                std::fs::remove_file(path).unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_link_in_a_folder_copies_no_other_file_to_where_everybody_reads() {
    const SECRET: &str = "root:$6$a-secret:20000:0:99999:7:::\n";
    let elsewhere = tempfile::tempdir().unwrap();
    let shadow = elsewhere.path().join("shadow");
    std::fs::write(&shadow, SECRET).unwrap();
    let world = Folder::new();
    let trust = world.world.pki.trust_toml() + "revocation = \"prefer\"\ncosigners = [\"second.toml\"]\n";
    world.world.agent.host.put("/etc/stopgap/trust.toml", trust);
    world.world.agent.host.put("/etc/stopgap/second.toml", STRANGER.trust_toml());
    for name in ["a.crl", "feed.xml.cosignature-1.xml", "other.xml"] {
        std::os::unix::fs::symlink(&shadow, world.folder.path().join(name)).unwrap();
    }
    world.put("b.crl", &world.world.pki.issuer_list(false, FROM, TO));
    assert_eq!(world.cycle(0).await, Ok(1));
    assert_eq!(world.world.agent.standing().lists.len(), 1);
    for (path, node) in world.world.agent.host.tree("/data") {
        let Node::File(octets) = node else { continue };
        assert!(!String::from_utf8_lossy(&octets).contains("a-secret"), "{}", path.display());
    }
}

#[tokio::test]
async fn a_list_of_a_folder_that_did_not_change_is_not_written_again() {
    let world = Folder::new();
    world.put("m.crl", &world.world.pki.issuer_list(false, FROM, TO));
    assert_eq!(world.cycle(0).await, Ok(1));
    let before = world.world.agent.standing().lists;
    assert_eq!(world.cycle(1).await, Ok(1));
    assert_eq!(world.world.agent.standing().lists, before);
}
