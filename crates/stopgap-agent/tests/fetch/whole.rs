//! Whole cycles on this machine's disk: fetched, judged, stored and reported, as `stopgap apply` does it.

use std::path::Path;

use jiff::Timestamp;
use stopgap_agent::config::Config;
use stopgap_agent::cycle::{Done, Mode};
use stopgap_agent::events::Event;
use stopgap_agent::service;
use stopgap_feed::{Revocation, verify};
use stopgap_testkit::feeds::{PING, feed, signed};
use stopgap_testkit::pki::{Options, TestPki};

use crate::beside::Files;
use crate::server::Server;

/// A server with an agent that follows one feed, which two must sign, and whose signer must not be
/// revoked.
struct Whole {
    folder: tempfile::TempDir,
    files: Files,
    _server: Server,
    publisher: TestPki,
    second: TestPki,
}

impl Whole {
    fn new() -> Whole {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let files = Files::default();
        let server = files.serve();
        let lists = Some(format!("http://{}", server.address));
        let publisher = TestPki::new(Options { lists, ..Options::default() });
        let second = TestPki::default();
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, text: String| std::fs::write(folder.path().join(name), text).unwrap();
        let more = "revocation = \"require\"\nsignatures = 2\ncosigners = [\"second.toml\"]\n";
        put("trust.toml", publisher.trust_toml() + more);
        put("second.toml", second.trust_toml());
        let url = format!("http://{}/feed.xml", server.address);
        put(
            "stopgap.toml",
            format!(
                "data = \"data\"\nlogs = \"logs\"\n[[feed]]\nname = \"example\"\nurl = \"{url}\"\ntrust = \"trust.toml\"\n"
            ),
        );
        let whole = Whole { folder, files, _server: server, publisher, second };
        whole.list(false, 1);
        whole
    }

    fn path(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(name)
    }

    /// The intermediate's list, as it was made so many days of this year ago.
    fn list(&self, revoked: bool, day: u8) {
        self.files.put("/issuer.crl", self.publisher.issuer_list(revoked, (2026, 1, day), (2049, 1, 1)));
        self.files.put("/root.crl", self.publisher.root_list(false, (2026, 1, day), (2049, 1, 1)));
    }

    fn publish(&self, serial: u64, cosigned: bool) {
        let now = Timestamp::now();
        let document = signed(&feed("example", serial, now, PING), &self.publisher);
        let release = verify(&self.publisher.trust(), &document, None, &Revocation::off(), now).unwrap();
        let says =
            format!("<Cosignature feed=\"example\" serial=\"{serial}\" sha256=\"{}\"/>", release.sha256());
        self.files.put("/feed.xml", document);
        self.files.take("/feed.xml.cosignature-1.xml");
        if cosigned {
            self.files.put("/feed.xml.cosignature-1.xml", signed(&says, &self.second));
        }
    }

    async fn apply(&self) -> Done {
        let config = Config::load(&self.path("stopgap.toml"), "server1").unwrap();
        service::once(config, Vec::new(), Mode::Apply).await.unwrap()
    }

    /// Serial, code and what is applied, as status has them; a code was told as an event, too.
    async fn cycle(&self) -> (Option<u64>, Option<String>, usize) {
        let done = self.apply().await;
        let feed = done.report.feeds.into_iter().next().unwrap();
        if let Some(code) = &feed.error {
            let told =
                |event: &Event| matches!(event, Event::Failed { detail } if detail.contains(code.as_str()));
            assert!(done.events.iter().any(told), "{:?}", done.events);
            assert!(done.failed);
        }
        (feed.serial, feed.error, done.report.mitigations.iter().filter(|one| one.in_force).count())
    }

    fn damage(&self, name: &str) {
        let path = self.path(name);
        assert!(Path::new(&path).exists(), "{name}");
        std::fs::write(path, "{ this is not what was written").unwrap();
    }
}

fn code(text: &str) -> Option<String> {
    Some(text.to_owned())
}

#[tokio::test]
async fn two_signatures_and_revocation_from_end_to_end() {
    let whole = Whole::new();
    whole.publish(1, false);
    assert_eq!(whole.cycle().await, (None, code("too-few-signatures"), 0));
    whole.publish(1, true);
    assert_eq!(whole.cycle().await, (Some(1), None, 1));
    whole.publish(2, false);
    assert_eq!(whole.cycle().await, (Some(1), code("too-few-signatures"), 1));
    whole.publish(2, true);
    assert_eq!(whole.cycle().await, (Some(2), None, 1));

    // The key was stolen; its owner had it revoked. The list that is here is of this hour: it is taken
    // away, as an hour would.
    std::fs::remove_dir_all(whole.path("data/crls")).unwrap();
    whole.list(true, 2);
    whole.publish(3, true);
    assert_eq!(whole.cycle().await, (Some(2), code("revoked-certificate"), 1), "what is applied stays");
    whole.list(false, 3);
    assert_eq!(whole.cycle().await, (Some(2), code("revoked-certificate"), 1));
}

#[tokio::test]
async fn a_damaged_memory_stops_updates_and_takes_nothing_off() {
    for file in ["data/feeds/example.json", "data/feeds/example.cosignatures.json", "data/crls/example.json"]
    {
        let whole = Whole::new();
        whole.publish(1, true);
        assert_eq!(whole.cycle().await, (Some(1), None, 1));
        whole.damage(file);
        whole.publish(2, true);
        assert_eq!(whole.cycle().await, (None, code("trust-state"), 1), "{file}");
        std::fs::remove_file(whole.path(file)).unwrap();
        assert_eq!(whole.cycle().await, (Some(2), None, 1), "{file}");
    }
}

#[tokio::test]
async fn wrong_network_keys_stop_the_asking_and_nothing_else() {
    let whole = Whole::new();
    whole.publish(1, true);
    assert_eq!(whole.cycle().await, (Some(1), None, 1));
    let config = std::fs::read_to_string(whole.path("stopgap.toml")).unwrap();
    std::fs::write(whole.path("stopgap.toml"), format!("ca_bundle = \"missing.pem\"\n{config}")).unwrap();
    whole.publish(2, true);
    assert_eq!(whole.cycle().await, (Some(1), code("network"), 1));
}

#[test]
fn the_documented_network_keys_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("stopgap.toml");
    let text = r#"
        internet_web_proxy = "http://proxy.example:3128"
        internet_web_proxy_bypass = ["*.corp.example", "10.0.0.0/8", "localhost"]
        internet_web_proxy_credentials = "proxy-credentials"
        ca_bundle = "servers.pem"
        [[feed]]
        name = "example"
        url = "https://feed.example.org/feed.xml"
        trust = "trust.toml"
        redirects_to_private = true
    "#;
    std::fs::write(&path, text).unwrap();
    let config = Config::load(&path, "server1").unwrap();
    let network = &config.network;
    assert_eq!(network.credentials.as_deref(), Some(&*folder.path().join("proxy-credentials")));
    assert_eq!(network.ca_bundle.as_deref(), Some(&*folder.path().join("servers.pem")));
    assert!(config.feeds[0].redirects_to_private);
    let by_proxy = |url: &str| network.proxy_for(&url.parse().unwrap()).is_some();
    assert!(by_proxy("https://feed.example.org/feed.xml") && by_proxy("http://127.0.0.1/"));
    assert!(!by_proxy("http://localhost/") && !by_proxy("https://a.corp.example/"));
}
