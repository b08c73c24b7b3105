//! A folder that carries co-signatures and revocation lists along, and whoever else may write there.

use stopgap_agent::fetch::Fetched;
use stopgap_testkit::feeds::{PING, feed, signed};
use stopgap_testkit::host::Node;

use crate::beside::{FROM, Revoking, TO, agent_fetcher, cosignature, later, two_signatures};
use crate::world::{STRANGER, followed, now, release, result};

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
