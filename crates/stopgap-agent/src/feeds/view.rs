//! "Which roots can sign?": a feed's trust, for people and for `--json`.

use jiff::Timestamp;
use serde::Serialize;
use stopgap_core::plan::sha256_hex;
use stopgap_feed::certificate::Facts;
use stopgap_feed::document::ActionType;
use stopgap_feed::{FreshnessMode, RevocationMode, Trust};

/// Whom a feed is believed from. Field names are API (`feed trust --json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TrustView {
    /// Where a path may end.
    pub roots: Vec<CertificateView>,
    /// Common names that the signer's issuer may have; empty: any.
    pub issuers: Vec<String>,
    /// Common name of the signer; `None`: any.
    pub signer: Option<String>,
    /// Extended key usages that the signer must all have, as dotted identifiers.
    pub eku: Vec<String>,
    /// Where a timestamp's path may end; empty: no timestamp counts.
    pub timestamp_roots: Vec<CertificateView>,
    /// How revocation is judged.
    pub revocation: RevocationMode,
    /// Whether a document must be fresh.
    pub freshness: FreshnessMode,
    /// How many different keys must sign a release.
    pub signatures: usize,
    /// Who else may sign.
    pub cosigners: Vec<CosignerView>,
    /// Action types that the feed may bring.
    pub allow: Vec<ActionType>,
    /// Those of them that count only with a co-signature.
    pub cosigned: Vec<ActionType>,
}

/// A certificate that ends a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CertificateView {
    /// Its subject, in the form of RFC 4514.
    pub subject: String,
    /// SHA-256 of its DER, in lower-case hexadecimal.
    pub sha256: String,
    /// Start of its validity; `None` where it cannot be read.
    pub not_before: Option<Timestamp>,
    /// End of its validity; an anchor counts for as long as it is named, also after that.
    pub not_after: Option<Timestamp>,
}

/// Somebody whose signature counts beside the publisher's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CosignerView {
    /// The trust file's name.
    pub name: String,
    /// Where their path may end.
    pub roots: Vec<CertificateView>,
    /// Common names that their issuer may have; empty: any.
    pub issuers: Vec<String>,
    /// Their common name; `None`: any.
    pub signer: Option<String>,
}

impl TrustView {
    /// Of a trust whose files were read.
    pub fn of(trust: &Trust) -> TrustView {
        let cosigner = |cosigner: &stopgap_feed::Cosigner| CosignerView {
            name: cosigner.name.clone(),
            roots: certificates(&cosigner.trust.roots),
            issuers: cosigner.trust.issuers.clone(),
            signer: cosigner.trust.signer.clone(),
        };
        TrustView {
            roots: certificates(&trust.roots),
            issuers: trust.issuers.clone(),
            signer: trust.signer.clone(),
            eku: trust.eku.iter().map(ToString::to_string).collect(),
            timestamp_roots: certificates(&trust.timestamp_roots),
            revocation: trust.revocation,
            freshness: trust.freshness,
            signatures: trust.signatures,
            cosigners: trust.cosigners.iter().map(cosigner).collect(),
            allow: trust.allow.clone(),
            cosigned: trust.cosigned.clone(),
        }
    }

    /// A name and what stands there, one to a line, as an operator reads it.
    pub fn lines(&self) -> Vec<(String, String)> {
        let mut lines = Vec::new();
        let mut say = |name: &str, what: String| lines.push((name.to_owned(), printable(&what)));
        let any = |list: &[String]| if list.is_empty() { "any".to_owned() } else { list.join(" or ") };
        roots("root", &self.roots, &mut say);
        say("issuer", any(&self.issuers));
        say("signer", self.signer.clone().unwrap_or_else(|| "any".to_owned()));
        say("key usage", if self.eku.is_empty() { "any".to_owned() } else { self.eku.join(" and ") });
        roots("timestamp root", &self.timestamp_roots, &mut say);
        if self.timestamp_roots.is_empty() {
            say("timestamp root", "none: no timestamp counts".to_owned());
        }
        say("signatures", format!("{} of {}", self.signatures, self.cosigners.len().saturating_add(1)));
        for cosigner in &self.cosigners {
            let signer = cosigner.signer.as_deref().unwrap_or("any");
            say(
                "co-signer",
                format!("{}: signer {signer}, issuer {}", cosigner.name, any(&cosigner.issuers)),
            );
            roots("co-signer's root", &cosigner.roots, &mut say);
        }
        say("revocation", word(&self.revocation));
        say("freshness", word(&self.freshness));
        say("may bring", types(&self.allow));
        if !self.cosigned.is_empty() {
            say("if co-signed", types(&self.cosigned));
        }
        lines
    }
}

/// Without what would move a terminal's cursor: names in certificates are anybody's text.
pub fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

/// Action types, as people read them.
pub fn types(types: &[ActionType]) -> String {
    if types.is_empty() {
        return "nothing".to_owned();
    }
    types.iter().map(|kind| format!("{kind:?}")).collect::<Vec<_>>().join(", ")
}

fn roots(name: &str, roots: &[CertificateView], say: &mut impl FnMut(&str, String)) {
    for root in roots {
        let day = |time: Option<Timestamp>| {
            time.map_or("?".to_owned(), |time| time.strftime("%Y-%m-%d").to_string())
        };
        say(name, format!("{}, valid {} to {}", root.subject, day(root.not_before), day(root.not_after)));
        say("  SHA-256", root.sha256.clone());
    }
}

/// The word that the trust file has for it.
fn word(value: &impl Serialize) -> String {
    serde_json::to_value(value).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}

fn certificates(all: &[impl AsRef<[u8]>]) -> Vec<CertificateView> {
    all.iter().map(|der| certificate(der.as_ref())).collect()
}

/// One certificate.
pub(super) fn certificate(der: &[u8]) -> CertificateView {
    let facts = Facts::read(&der.into());
    CertificateView {
        subject: facts.as_ref().map_or_else(|| "cannot be read".to_owned(), |facts| facts.subject.clone()),
        sha256: sha256_hex(der),
        not_before: facts.as_ref().map(|facts| facts.not_before),
        not_after: facts.map(|facts| facts.not_after),
    }
}
