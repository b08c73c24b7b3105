//! Microsoft's own document, as it was served in September 2021, and what must not pass for it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)] // tests, and helpers of tests

mod common;

use jiff::Timestamp;
use rcgen::{KeyPair, date_time_ymd};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use stopgap_feed::c14n::Canonicalization;
use stopgap_feed::document::{ActionKind, Scope};
use stopgap_feed::{Refusal, Revocation, Trust, TrustFile, VerifiedFeed, verify};

use common::pki::{Pki, leaf_params};
use common::{FEED, corpus};

const DOCUMENT: &str = "ms-feed/getexchangemitigations-2021-09-29.xml";
const TRUST: &str = r#"
    roots = ["microsoft-root-ca-2011.pem"]
    issuers = ["Microsoft Code Signing PCA 2011"]
    signer = "Microsoft Exchange XML Signing"
    eku = ["1.3.6.1.4.1.311.76.57.1.11"]
    timestamp_roots = ["microsoft-time-stamp-pca-2010.pem"]
    revocation = "off"
    freshness = "absent"
"#;

/// The document and the trust file, both as changed by the caller; `None` without the corpus.
fn judge(
    test: &str,
    document: impl Fn(String) -> String,
    trust: impl Fn(String) -> String,
) -> Option<Result<VerifiedFeed, Refusal>> {
    let document = document(String::from_utf8(corpus(test, DOCUMENT)?).unwrap());
    let file: TrustFile = toml::from_str(&trust(TRUST.to_owned())).unwrap();
    let trust: Trust = file.load_with(|name| Ok(corpus(test, &format!("ms-feed/{name}")).unwrap())).unwrap();
    let now: Timestamp = "2026-11-22T06:00:00Z".parse().unwrap();
    Some(verify(&trust, document.as_bytes(), None, &Revocation::off(), now))
}

fn same(text: String) -> String {
    text
}

/// The refusal's code and text.
fn refused(result: Result<VerifiedFeed, Refusal>) -> (&'static str, String) {
    let refusal = result.expect_err("a document that must be refused");
    (refusal.code(), refusal.to_string())
}

#[test]
fn the_document_as_it_is_is_trusted_at_its_timestamp() {
    let Some(result) = judge("as it is", same, same) else { return };
    let feed = result.unwrap();
    assert_eq!(feed.judged_at().to_string(), "2021-09-15T16:42:08Z");
    assert!(feed.signer().starts_with("CN=Microsoft Exchange XML Signing,"), "{}", feed.signer());
    let document = feed.document();
    assert_eq!((document.version.as_str(), &document.feed, document.serial), ("1.0.4", &None, None));
    assert_eq!(feed.last_seen(), None);
    assert_eq!(document.warnings, [""; 0]);
    let [ping] = &document.mitigations[..] else { panic!("{document:?}") };
    assert_eq!(ping.id.as_str(), "PING1");
    assert_eq!(ping.unsupported, [""; 0]);
    let [action] = &ping.actions[..] else { panic!("{ping:?}") };
    assert_eq!((&action.id, action.scope, &action.kind), (&ping.id, Scope::Server, &ActionKind::DoNothing));
    assert!(
        ping.octets.starts_with("<Config desc=") && ping.octets.ends_with("</Config>"),
        "{}",
        ping.octets
    );
}

#[test]
fn other_line_ends_are_the_same_document() {
    let Some(lf) = judge("line ends", |text| text.replace("\r\n", "\n"), same) else { return };
    let crlf = judge("line ends", |text| text.replace("\r\n", "\n").replace('\n', "\r\n"), same).unwrap();
    assert_eq!(lf.unwrap().sha256(), crlf.unwrap().sha256());
}

#[test]
fn one_changed_word_is_refused() {
    let Some(result) = judge("a word", |text| text.replacen("Heartbeat", "heartbeat", 1), same) else {
        return;
    };
    let (code, text) = refused(result);
    assert_eq!(code, "digest-mismatch");
    assert!(text.contains("expected digest osOMhLEcCwGbZjhu2Ih6HGtADL5VdBuoapMN+QodZNk="), "{text}");
}

#[test]
fn changed_indentation_is_refused() {
    let Some(result) = judge("indentation", |text| text.replacen("  <Config", "    <Config", 1), same) else {
        return;
    };
    assert_eq!(refused(result).0, "digest-mismatch");
}

#[test]
fn another_root_is_refused() {
    let other = |text: String| text.replacen("microsoft-root-ca-2011", "microsoft-time-stamp-pca-2010", 1);
    let Some(result) = judge("another root", same, other) else { return };
    let (code, text) = refused(result);
    assert_eq!(code, "unknown-root");
    assert!(
        text.contains("Microsoft Time-Stamp PCA 2010") && text.contains("Microsoft Exchange XML Signing"),
        "{text}"
    );
}

#[test]
fn another_extended_key_usage_is_refused() {
    let Some(result) = judge("another EKU", same, |t| t.replacen("76.57.1.11", "76.57.1.12", 1)) else {
        return;
    };
    let (code, text) = refused(result);
    assert_eq!(code, "wrong-eku");
    assert!(text.contains("expected 1.3.6.1.4.1.311.76.57.1.12"), "{text}");
    assert!(text.contains("found 1.3.6.1.5.5.7.3.3, 1.3.6.1.4.1.311.76.57.1.11"), "{text}");
}

#[test]
fn another_issuer_is_refused() {
    let Some(result) =
        judge("another issuer", same, |t| t.replacen("Signing PCA 2011", "Signing PCA 2026", 1))
    else {
        return;
    };
    let (code, text) = refused(result);
    assert_eq!(code, "wrong-issuer");
    assert!(
        text.contains(
            "expected common name `Microsoft Code Signing PCA 2026`, found `Microsoft Code Signing PCA 2011`"
        ),
        "{text}"
    );
}

#[test]
fn another_signer_is_refused() {
    let Some(result) = judge("another signer", same, |t| t.replacen("Exchange XML", "Office XML", 1)) else {
        return;
    };
    assert_eq!(refused(result).0, "wrong-signer");
}

#[test]
fn without_the_timestamp_the_certificate_has_expired() {
    let strip = |text: String| {
        let (start, end) = (text.find("<Object").unwrap(), text.find("</Object>").unwrap());
        text[..start].to_owned() + &text[end + "</Object>".len()..]
    };
    let Some(result) = judge("no timestamp", strip, same) else { return };
    let (code, text) = refused(result);
    assert_eq!(code, "expired-certificate");
    assert!(text.contains("valid at 2026-11-22T06:00:00Z, found valid until 2022-06-09T18:44:12Z"), "{text}");
}

#[test]
fn an_untrusted_timestamp_counts_as_none_and_the_error_says_so() {
    let none = |text: String| text.replace("[\"microsoft-time-stamp-pca-2010.pem\"]", "[]");
    let Some(result) = judge("no timestamp root", same, none) else { return };
    let (code, text) = refused(result);
    assert_eq!(code, "expired-certificate");
    assert!(text.contains("no timestamp root is trusted"), "{text}");

    let other = |text: String| text.replace("microsoft-time-stamp-pca-2010", "microsoft-root-ca-2011");
    let (code, text) = refused(judge("another timestamp root", same, other).unwrap());
    assert_eq!(code, "expired-certificate");
    assert!(text.contains("the timestamp's signer is not trusted:"), "{text}");
}

#[test]
fn a_changed_timestamp_counts_as_none() {
    // One character in the middle of the token's content, and one in its signature.
    for (at, reason) in [(200, "timestamp"), (6300, "timestamp's signature does not verify")] {
        let change = |text: String| {
            let start = text.find("timestamp/2003\">").unwrap() + "timestamp/2003\">".len() + at;
            let other = if text[start..].starts_with('A') { "B" } else { "A" };
            text[..start].to_owned() + other + &text[start + 1..]
        };
        let Some(result) = judge("changed timestamp", change, same) else { return };
        let (code, text) = refused(result);
        assert_eq!(code, "expired-certificate");
        assert!(text.contains(reason), "{text}");
    }
}

#[test]
fn no_octet_of_the_timestamp_moves_the_time() {
    // The token proves itself: whatever octet is changed, it says the same time or nothing.
    for at in (0..6450).step_by(97) {
        let change = |text: String| {
            let start = text.find("timestamp/2003\">").unwrap() + "timestamp/2003\">".len() + at;
            let other = if text[start..].starts_with('Q') { "g" } else { "Q" };
            text[..start].to_owned() + other + &text[start + 1..]
        };
        let Some(result) = judge("octets of the timestamp", change, same) else { return };
        match result {
            Ok(feed) => assert_eq!(feed.judged_at().to_string(), "2021-09-15T16:42:08Z", "octet {at}"),
            Err(refusal) => assert_eq!(refusal.code(), "expired-certificate", "octet {at}"),
        }
    }
}

#[test]
fn a_timestamp_of_another_signature_counts_as_none() {
    let Some(document) = corpus("another signature's timestamp", DOCUMENT) else { return };
    let document = String::from_utf8(document).unwrap();
    let (start, end) = (document.find("<Object").unwrap(), document.find("</Object>").unwrap());
    let object = &document[start..end + "</Object>".len()];

    // A signer whose certificate was good at the timestamp's time and is not today.
    let mut leaf = leaf_params();
    (leaf.not_before, leaf.not_after) = (date_time_ymd(2021, 1, 1), date_time_ymd(2022, 1, 1));
    let pki = Pki::with(leaf, KeyPair::generate().unwrap());
    let signed = pki.sign(FEED, Canonicalization::Inclusive);
    let stamped = signed.replacen("</Signature>", &format!("{object}</Signature>"), 1);
    let mut trust = pki.trust("");
    let root = corpus("", "ms-feed/microsoft-time-stamp-pca-2010.pem").unwrap();
    trust.timestamp_roots = vec![CertificateDer::from_pem_slice(&root).unwrap()];
    let now: Timestamp = "2026-11-22T06:00:00Z".parse().unwrap();
    let (code, text) = refused(verify(&trust, stamped.as_bytes(), None, &Revocation::off(), now));
    assert_eq!(code, "expired-certificate");
    assert!(text.contains("the timestamp is of another signature"), "{text}");
}

#[test]
fn a_document_without_freshness_needs_the_operators_word() {
    let Some(result) = judge("freshness", same, |t| t.replacen("\"absent\"", "\"required\"", 1)) else {
        return;
    };
    assert_eq!(refused(result).0, "freshness-missing");
}
