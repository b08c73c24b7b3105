//! The revocation lists that a document's signers name: when they are asked for, and what takes whose place.

use jiff::{SignedDuration, Timestamp};
use stopgap_agent::config::FeedConfig;
use stopgap_agent::fetch::Fetched;
use stopgap_agent::trust;
use stopgap_testkit::feeds::{PING, feed, signed};
use stopgap_testkit::host::{Fault, Node};
use stopgap_testkit::pki::{Options, TestPki};

use crate::beside::{FROM, Files, Revoking, TO, agent_fetcher, later};
use crate::server::Server;
use crate::world::{Agent, followed, now, result};

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
