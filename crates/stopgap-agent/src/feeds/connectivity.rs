//! Whether the feeds can be had from here, step by step: name, way, TLS and who is at the other end of it, the
//! answer, and whether it is believed.
//!
//! ```text
//!   dns ─► tcp ─► proxy ─► tls ─► http ─► size ─► signature, co-signatures, crl
//!   └────── look: nothing is asked ──────┘ └────── as a cycle fetches ──────┘
//!                                    file ─┘
//! ```
//!
//! It changes nothing: no trust state, no cache.

mod look;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;
use stopgap_drivers::Machine;
use stopgap_feed::{FeedName, RevocationMode, distribution_points};
use tokio::net::lookup_host;
use tokio::time::timeout;
use url::{Host, Url};

use super::view::printable;
use crate::config::{Config, FeedConfig};
use crate::fetch::{Fault, Fetched, Fetcher, without_secrets};
use crate::home::Home;
use crate::trust::{self, Standing, merged};
use look::{PATIENCE, Way};

/// The documented words of `Test-MitigationServiceConnectivity`.
const SUCCESS: (&str, &str) =
    ("Success", "The Mitigation Service endpoint is accessible from this computer.");
const FAILED: (&str, &str) = (
    "Failed",
    "Unable to connect to the Mitigation Service endpoint from this computer. To learn about connectivity \
     requirements, see docs/command-line.md#test-connectivity.",
);

/// All of it. Field names are API (`test-connectivity --json`).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Connectivity {
    /// `Success` or `Failed`.
    pub result: &'static str,
    /// The same in the documented words.
    pub message: &'static str,
    /// Each address of each feed, in the order in which a cycle asks them.
    pub feeds: Vec<Endpoint>,
}

impl Connectivity {
    /// Whether every feed is accessible.
    pub fn is_success(&self) -> bool {
        self.result == SUCCESS.0
    }
}

/// One address of a feed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Endpoint {
    /// The feed.
    pub feed: FeedName,
    /// The address, without a password.
    pub url: String,
    /// Its document can be had from there, and is believed.
    pub ok: bool,
    /// Step by step; what comes after one that fails may be missing.
    pub checks: Vec<Check>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    /// `dns`, `tcp`, `proxy`, `tls`, `http`, or `file`; `size`, `signature`, `co-signatures`, `crl`.
    pub check: &'static str,
    /// Whether it held.
    pub ok: bool,
    /// What was found.
    pub detail: String,
    /// How long it took, in milliseconds.
    pub ms: f64,
}

/// Tests every address of every feed. A feed is accessible where one of its addresses is.
pub async fn test(config: &Config, fetcher: &Fetcher, now: Timestamp) -> Connectivity {
    let mut feeds = Vec::new();
    let mut accessible = !config.feeds.is_empty();
    for feed in &config.feeds {
        let mut any = false;
        for address in std::iter::once(&feed.url).chain(&feed.mirrors) {
            let checks = endpoint(config, fetcher, feed, address, now).await;
            let ok = checks.iter().all(|check| check.ok);
            any |= ok;
            feeds.push(Endpoint { feed: feed.name.clone(), url: without_secrets(address), ok, checks });
        }
        accessible &= any;
    }
    let (result, message) = if accessible { SUCCESS } else { FAILED };
    Connectivity { result, message, feeds }
}

async fn endpoint(
    config: &Config,
    fetcher: &Fetcher,
    feed: &FeedConfig,
    address: &str,
    now: Timestamp,
) -> Vec<Check> {
    let mut checks = Checks::default();
    let only = FeedConfig { url: address.to_owned(), mirrors: Vec::new(), ..feed.clone() };
    let url = match Url::parse(address) {
        Ok(url) => url,
        Err(error) => {
            checks.note("http", Instant::now(), Err(format!("not an address: {error}")));
            return checks.0;
        }
    };
    // A file, or a folder of documents: what is judged is what was read.
    if url.scheme() == "file" {
        judge(config, fetcher, &only, now, &mut checks, true).await;
        return checks.0;
    }
    let looked = look(config, &url, &mut checks).await;
    let from = Instant::now();
    let answer = fetcher.octets(address, fetcher.limits().document, only.redirects_to_private).await;
    // Who is there was seen without believing it; whether it is believed the fetch says.
    if let Some((took, shown)) = looked {
        let distrusted = answer.as_ref().err().filter(|failure| failure.fault == Fault::Tls);
        checks.took(
            "tls",
            took,
            of_certificate(config, shown, distrusted.map(|failure| failure.message.as_str())),
        );
    }
    let octets = match answer {
        Ok(answer) => answer.bytes.len(),
        Err(failure) => {
            checks.note("http", from, Err(failure.to_string()));
            return checks.0;
        }
    };
    checks.note("http", from, Ok("200 OK".to_owned()));
    checks.took("size", Duration::ZERO, Ok(format!("{octets} octets")));
    judge(config, fetcher, &only, now, &mut checks, false).await;
    checks.0
}

/// Who is at the other end, and whether the fetch believed it.
fn of_certificate(
    config: &Config,
    shown: Result<look::Shown, String>,
    distrusted: Option<&str>,
) -> Result<String, String> {
    let whose = config.network.ca_bundle.as_ref().map_or_else(
        || "this system's roots".to_owned(),
        |bundle| format!("the roots in {}", bundle.display()),
    );
    match (shown, distrusted) {
        (Ok(shown), None) => Ok(format!(
            "{}, certificate of `{}` issued by `{}`, believed by {whose}",
            shown.version, shown.subject, shown.issuer
        )),
        (Ok(shown), Some(why)) => Err(format!(
            "the certificate of `{}` is issued by `{}`, and {whose} do not believe it: where that issuer is a proxy that \
             inspects TLS, put its root into `ca_bundle`, or the feed on its list of exceptions ({why})",
            shown.subject, shown.issuer
        )),
        (Err(error), _) => Err(error),
    }
}

type Looked = (Duration, Result<look::Shown, String>);

/// Name, connection, proxy, handshake; `None` where there is no handshake to be judged.
async fn look(config: &Config, url: &Url, checks: &mut Checks) -> Option<Looked> {
    let proxy = config.network.proxy_for(url);
    let first = proxy.unwrap_or(url);
    let from = Instant::now();
    let addresses = match resolve(first).await {
        Ok((addresses, found)) => {
            checks.note("dns", from, Ok(found));
            addresses
        }
        Err(error) => {
            checks.note("dns", from, Err(error));
            return None;
        }
    };
    let from = Instant::now();
    let connected = blocking(move || Way::connect(&addresses)).await;
    let place =
        format!("{}:{}", first.host_str().unwrap_or_default(), first.port_or_known_default().unwrap_or(0));
    let way = match connected {
        Ok(way) => {
            checks.note("tcp", from, Ok(format!("connected to {place}")));
            way
        }
        Err(error) => {
            checks.note("tcp", from, Err(format!("{place}: {error}")));
            return None;
        }
    };
    let way = match proxy {
        None => {
            checks.took("proxy", Duration::ZERO, Ok("none: directly".to_owned()));
            way
        }
        // Credentials are for a proxy whose certificate was believed: that is the fetch's to do.
        Some(proxy) if url.scheme() != "https" || proxy.scheme() == "https" => {
            checks.took("proxy", Duration::ZERO, Ok(format!("{proxy} connects")));
            return None;
        }
        Some(proxy) => {
            let to = format!("{}:{}", url.host_str()?, url.port_or_known_default()?);
            let credentials = config.network.credentials.clone();
            let from = Instant::now();
            match blocking(move || way.through(&to, credentials.as_deref())).await {
                Ok(way) => {
                    checks.note("proxy", from, Ok(format!("{proxy} opens the way")));
                    way
                }
                Err(error) => {
                    checks.note("proxy", from, Err(format!("{proxy}: {error}")));
                    return None;
                }
            }
        }
    };
    if url.scheme() != "https" {
        return None;
    }
    let (host, from) = (url.host_str()?.to_owned(), Instant::now());
    let shown = blocking(move || way.certificate(&host)).await;
    Some((from.elapsed(), shown.map_err(|error| format!("no handshake: {error}"))))
}

async fn resolve(url: &Url) -> Result<(Vec<SocketAddr>, String), String> {
    let port = url.port_or_known_default().unwrap_or(443);
    let name = match url.host() {
        Some(Host::Domain(name)) => name.to_owned(),
        Some(Host::Ipv4(address)) => {
            return Ok((vec![(address, port).into()], "an address, no name".to_owned()));
        }
        Some(Host::Ipv6(address)) => {
            return Ok((vec![(address, port).into()], "an address, no name".to_owned()));
        }
        None => return Err("the address names no host".to_owned()),
    };
    let found = timeout(PATIENCE, lookup_host((name.as_str(), port))).await;
    let found: Vec<SocketAddr> = found
        .map_err(|_| format!("{name}: no answer within {} s", PATIENCE.as_secs()))?
        .map_err(|error| format!("{name}: {error}"))?
        .take(16)
        .collect();
    let shown = found.iter().map(|address| address.ip().to_string()).collect::<Vec<_>>().join(", ");
    Ok((found, format!("{name} is at {shown}")))
}

/// As a cycle fetches and judges, but for the writing. `is_file`: how it was read is not told yet.
async fn judge(
    config: &Config,
    fetcher: &Fetcher,
    feed: &FeedConfig,
    now: Timestamp,
    checks: &mut Checks,
    is_file: bool,
) {
    let from = Instant::now();
    let standing = trust::load_trust(&Machine, feed).and_then(|trust| {
        Standing::load(&Home::at(&config.data), &Machine, &feed.name, trust)
            .map_err(|error| error.to_string())
    });
    let standing = match standing {
        Ok(standing) => standing,
        Err(message) => return checks.note("signature", from, Err(message)),
    };
    let delivery = fetcher.fetch(feed, &standing, now).await;
    let Some(shown) = standing.presented(&delivery) else {
        let why = match &delivery.fetched {
            Fetched::Failed(failure) => failure.to_string(),
            _ => "no answer".to_owned(),
        };
        return checks.note(if is_file { "file" } else { "signature" }, from, Err(why));
    };
    if is_file {
        checks.note("file", from, Ok("read".to_owned()));
        let octets = shown.as_presented().feed.len();
        checks.took("size", Duration::ZERO, Ok(format!("{octets} octets")));
    }
    let lists = merged(&standing.lists, &delivery.lists);
    let verdict = standing.judge(&shown.as_presented(), &lists, now);
    let (expected, came) = (standing.trust.signatures, delivery.cosignatures.len());
    let asked = standing.trust.cosigners.len();
    let counted = match verdict {
        Ok(verified) => {
            let serial =
                verified.document().serial.map_or(String::new(), |serial| format!(", serial {serial}"));
            checks.note("signature", from, Ok(format!("signed by `{}`{serial}", verified.signer())));
            Ok(verified.cosigners().len())
        }
        Err(refusal) => {
            let few = refusal.code() == "too-few-signatures";
            checks.note("signature", from, Err(format!("{}: {refusal}", refusal.code())));
            if few { Err(()) } else { return }
        }
    };
    if asked > 0 {
        let detail = match counted {
            Ok(counted) => {
                format!("{counted} of {asked} co-signers count, {expected} signatures are needed in all")
            }
            Err(()) => format!("{came} co-signatures came, {expected} signatures are needed in all"),
        };
        checks.took("co-signatures", Duration::ZERO, if counted.is_ok() { Ok(detail) } else { Err(detail) });
    }
    if standing.trust.revocation != RevocationMode::Off {
        let points =
            distribution_points(&standing.trust, &shown.as_presented(), now).map_or(0, |points| points.len());
        let detail = format!("{} lists at hand, {points} addresses named by the signers", lists.len());
        checks.took("crl", Duration::ZERO, Ok(detail));
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> Result<T, String> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(error) => Err(error.to_string()),
    }
}

#[derive(Default)]
struct Checks(Vec<Check>);

impl Checks {
    fn note(&mut self, check: &'static str, from: Instant, found: Result<String, String>) {
        self.took(check, from.elapsed(), found);
    }

    fn took(&mut self, check: &'static str, time: Duration, found: Result<String, String>) {
        let ok = found.is_ok();
        let detail = printable(&found.unwrap_or_else(|error| error));
        // To a tenth: nobody reads more of it.
        let ms = (time.as_secs_f64() * 10_000.0).round() / 10.0;
        self.0.push(Check { check, ok, detail, ms });
    }
}
