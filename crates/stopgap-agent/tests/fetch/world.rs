//! A publisher, a certificate authority for servers, and an agent that fetches.

use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use jiff::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use stopgap_agent::config::{FeedConfig, NetworkConfig};
use stopgap_agent::fetch::{Delivery, Fetched, Fetcher, Limits};
use stopgap_agent::home::Home;
use stopgap_agent::trust::{self, CurrentFeed, Standing};
use stopgap_feed::Trust;
use stopgap_testkit::feeds::{PING, feed, signed};
use stopgap_testkit::host::FakeHost;
use stopgap_testkit::pki::TestPki;

pub static PUBLISHER: LazyLock<TestPki> = LazyLock::new(TestPki::default);
pub static STRANGER: LazyLock<TestPki> = LazyLock::new(TestPki::default);
static SERVERS: LazyLock<Authority> = LazyLock::new(Authority::new);

pub fn now() -> Timestamp {
    "2026-11-22T03:00:00Z".parse().unwrap()
}

/// The publisher's release of this serial.
pub fn release(serial: u64) -> Vec<u8> {
    signed(&feed("example", serial, now(), PING), &PUBLISHER)
}

/// Small limits, one attempt: a test waits for nothing that it is not about.
pub fn limits() -> Limits {
    Limits {
        document: 64 << 10,
        connect: Duration::from_secs(5),
        answer: Duration::from_secs(20),
        attempts: 1,
        first_wait: Duration::from_millis(1),
        ..Limits::default()
    }
}

fn is_internet(address: IpAddr) -> bool {
    address == Ipv4Addr::new(127, 0, 0, 1)
}

/// `…private.example` is in the private network, all else on the internet.
fn lookup(name: &str) -> io::Result<Vec<IpAddr>> {
    let last = if name.ends_with("private.example") { 2 } else { 1 };
    Ok(vec![Ipv4Addr::new(127, 0, 0, last).into()])
}

pub fn fetcher(network: &NetworkConfig, limits: Limits) -> Fetcher {
    // The process's own provider, as the binary sets it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Fetcher::with(network, limits, is_internet, Arc::new(lookup)).unwrap()
}

/// With the test's certificate authority in `ca_bundle`, so that no root of the machine counts.
pub fn network() -> NetworkConfig {
    NetworkConfig { ca_bundle: Some(SERVERS.bundle.clone()), ..NetworkConfig::default() }
}

pub fn followed(url: impl Into<String>) -> FeedConfig {
    FeedConfig {
        name: "example".parse().unwrap(),
        url: url.into(),
        mirrors: Vec::new(),
        trust: "/etc/stopgap/trust.toml".into(),
        events: None,
        unknown_applies: false,
        redirects_to_private: false,
        approval: None,
        observe: None,
    }
}

/// What this server knows, on a machine in memory.
pub struct Agent {
    pub host: FakeHost,
    pub home: Home,
}

impl Agent {
    /// It believes the publisher; `more` lines go into the trust file.
    pub fn new(more: &str) -> Agent {
        Agent::of(&PUBLISHER, more)
    }

    pub fn of(pki: &TestPki, more: &str) -> Agent {
        let host = FakeHost::new();
        host.put("/etc/stopgap/trust.toml", pki.trust_toml() + more);
        let home = Home::open(&host, Path::new("/data")).unwrap();
        Agent { host, home }
    }

    fn trust(&self) -> Trust {
        trust::load_trust(&self.host, &followed("")).unwrap()
    }

    pub fn standing(&self) -> Standing {
        Standing::load(&self.home, &self.host, &"example".parse().unwrap(), self.trust()).unwrap()
    }

    pub async fn fetch(&self, fetcher: &Fetcher, feed: &FeedConfig) -> Delivery {
        self.fetch_at(fetcher, feed, now()).await
    }

    pub async fn fetch_at(&self, fetcher: &Fetcher, feed: &FeedConfig, now: Timestamp) -> Delivery {
        fetcher.fetch(feed, &self.standing(), now).await
    }

    pub fn judge(&self, delivery: impl Into<Delivery>) -> CurrentFeed {
        self.judge_at(delivery, now())
    }

    /// Judges as a cycle does, and stores what it says.
    pub fn judge_at(&self, delivery: impl Into<Delivery>, now: Timestamp) -> CurrentFeed {
        let feed = trust::judge(&self.home, &self.host, &followed(""), delivery, now);
        trust::store(&self.home, &self.host, &feed, now).unwrap();
        feed
    }
}

/// Fetches and judges with an agent that knows nothing yet: the serial, or the code in `status`.
pub async fn outcome(fetcher: &Fetcher, feed: &FeedConfig) -> Result<u64, String> {
    let agent = Agent::new("");
    let delivery = agent.fetch(fetcher, feed).await;
    result(&agent.judge(delivery))
}

/// The serial, or the code in `status`.
pub fn result(feed: &CurrentFeed) -> Result<u64, String> {
    match (&feed.report.error, &feed.verified) {
        (Some(code), _) => Err(code.clone()),
        (None, Some(verified)) => Ok(verified.document().serial.unwrap_or(0)),
        (None, None) => Err("nothing".to_owned()),
    }
}

/// The code of a delivery without a document.
pub fn fault(delivery: &Delivery) -> &'static str {
    match &delivery.fetched {
        Fetched::Failed(failure) => failure.fault.code(),
        Fetched::Document { .. } => "a document",
        Fetched::Unchanged => "unchanged",
        Fetched::Skipped => "skipped",
    }
}

/// What is wrong with a server's certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    None,
    Foreign,
    Expired,
    WrongName,
}

/// TLS for `feed.example` and 127.0.0.1.
pub fn tls(fault: Fault) -> Arc<ServerConfig> {
    let foreign = Authority::new();
    let authority = if fault == Fault::Foreign { &foreign } else { &*SERVERS };
    let names =
        if fault == Fault::WrongName { vec!["other.example"] } else { vec!["feed.example", "127.0.0.1"] };
    let names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(if fault == Fault::Expired { 2021 } else { 2049 }, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, &authority.issuer).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .unwrap();
    Arc::new(config)
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    bundle: PathBuf,
    _folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Authority {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, "Test Servers");
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let bundle = folder.path().join("bundle.pem");
        std::fs::write(&bundle, certificate.pem()).unwrap();
        Authority { issuer: Issuer::new(params, key), bundle, _folder: folder }
    }
}
