//! Asking publishers, within bounds, and verifying what they answer.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject as _;
use stopgap_core::plan::sha256_hex;
use stopgap_feed::chain::MAX_CRL_BYTES;
use stopgap_feed::cosignature::{MAX_COSIGNATURE_BYTES, MAX_COSIGNATURES, beside};
use stopgap_feed::{FeedName, Presented, RevocationMode, Trust, distribution_points, verify_presented};

use crate::db::mirror::{Beside, Document, in_order};

/// Octets of a document: the verifier's own limit.
const MAX_DOCUMENT: usize = 16 << 20;
const CONNECT: Duration = Duration::from_secs(10);
const ANSWER: Duration = Duration::from_secs(60);

/// What brings documents to the mirror.
pub(super) struct Publisher {
    pub(super) name: FeedName,
    pub(super) url: String,
    pub(super) trust: Trust,
}

/// A client for all of them.
pub(super) fn client() -> Result<reqwest::Client, reqwest::Error> {
    reqwest::Client::builder()
        .user_agent(concat!("stopgap-hub/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT)
        .timeout(ANSWER)
        .redirect(reqwest::redirect::Policy::limited(5))
        .build()
}

impl Publisher {
    /// What the publisher has now, verified; the error is a sentence. `last`: what is served.
    pub(super) async fn ask(
        &self,
        http: &reqwest::Client,
        last: Option<&Document>,
        now: Timestamp,
    ) -> Result<(Document, Vec<Beside>), String> {
        let octets = octets(http, &self.url, MAX_DOCUMENT).await?;
        let feed = self.name.to_string();
        let mut all = Vec::new();
        for number in 1..=self.trust.cosigners.len().min(MAX_COSIGNATURES) {
            if let Ok(octets) = self::octets(http, &beside(&self.url, number), MAX_COSIGNATURE_BYTES).await {
                all.push(Beside { feed: feed.clone(), name: format!("cosignature-{number}"), octets });
            }
        }
        let cosignatures: Vec<Vec<u8>> = all.iter().map(|one| one.octets.clone()).collect();
        let presented = Presented { feed: &octets, cosignatures: &cosignatures };
        let mut revocation = self.trust.local_revocation();
        if self.trust.revocation != RevocationMode::Off {
            // Whether there are enough co-signatures is judged below.
            let trust = Trust { signatures: 1, ..self.trust.clone() };
            for point in distribution_points(&trust, &presented, now).unwrap_or_default() {
                let Ok(octets) = self::octets(http, &point, MAX_CRL_BYTES).await else { continue };
                revocation.crls.extend(der(&octets));
                let name = format!("list-{}", sha256_hex(point.as_bytes()));
                all.push(Beside { feed: feed.clone(), name, octets });
            }
        }
        in_order(&mut all);
        let last_seen = last.and_then(|last| last.last_seen.as_ref());
        let verified = verify_presented(&self.trust, &presented, last_seen, &revocation, now)
            .map_err(|refusal| format!("{}: {refusal}", refusal.code()))?;
        let document = Document {
            feed,
            serial: verified.document().serial.unwrap_or(0),
            hash: sha256_hex(&octets),
            last_seen: verified.last_seen(),
            octets,
        };
        Ok((document, all))
    }
}

fn der(octets: &[u8]) -> Option<CertificateRevocationListDer<'static>> {
    if octets.trim_ascii_start().starts_with(b"-----BEGIN") {
        return CertificateRevocationListDer::from_pem_slice(octets).ok();
    }
    Some(CertificateRevocationListDer::from(octets.to_vec()))
}

async fn octets(http: &reqwest::Client, address: &str, limit: usize) -> Result<Vec<u8>, String> {
    if let Some(path) = address.strip_prefix("file://") {
        let path = Path::new(path);
        let size = std::fs::metadata(path).map_err(|error| format!("{address}: {error}"))?.len();
        if size > limit as u64 {
            return Err(format!("{address}: expected at most {limit} octets, found {size}"));
        }
        return tokio::fs::read(path).await.map_err(|error| format!("{address}: {error}"));
    }
    let told = |error: reqwest::Error| error.without_url().to_string();
    let mut response = http.get(address).send().await.map_err(told)?;
    if !response.status().is_success() {
        return Err(format!("the answer is {}: expected 200 OK", response.status()));
    }
    let mut octets = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(told)? {
        if octets.len() + chunk.len() > limit {
            return Err(format!("expected at most {limit} octets, found more"));
        }
        octets.extend_from_slice(&chunk);
    }
    Ok(octets)
}
