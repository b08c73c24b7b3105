//! What is signed here verifies with the reader, and only what should be is signed.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may panic, and says what it skips"
)]

mod common;

use common::{documents, ec, identities, meaning, now, rsa};
use stopgap_feed::Document;
use stopgap_feed::c14n::Canonicalization;
use stopgap_feed::dsig;
use stopgap_feed::limits::Limits;
use stopgap_publish::key::FileKey;
use stopgap_publish::sign::{self, Chain, SignError};

const FORMS: [Canonicalization; 2] = [Canonicalization::Exclusive, Canonicalization::Inclusive];

fn sign(unsigned: &[u8], identity: &common::Identity, form: Canonicalization) -> Result<Vec<u8>, SignError> {
    sign::feed_with_pem(unsigned, identity.key.as_bytes(), identity.chain.as_bytes(), form)
}

#[test]
fn every_key_and_form_verifies_and_says_what_was_written() {
    for identity in identities() {
        for form in FORMS {
            for (name, unsigned) in documents() {
                let context = format!("{} {form:?} {name}", identity.name);
                let signed = sign(&unsigned, &identity, form).unwrap();
                let verified = identity.verify(&signed).unwrap_or_else(|e| panic!("{context}: {e}"));
                let before = Document::from_unsigned(&unsigned, &Limits::default()).unwrap();
                assert_eq!(meaning(verified.document()), meaning(&before), "{context}");
                assert_eq!(verified.judged_at(), now());
            }
        }
    }
}

#[test]
fn one_changed_character_or_another_root_is_refused() {
    let (one, other) = (ec(), rsa());
    let [(_, unsigned), _] = documents();
    let signed = sign(&unsigned, &one, Canonicalization::Exclusive).unwrap();
    assert_eq!(other.verify(&signed).unwrap_err().code(), "unknown-root");
    let changed = String::from_utf8(signed).unwrap().replace("desc=\"Heartbeat\"", "desc=\"heartbeat\"");
    assert_eq!(one.verify(changed.as_bytes()).unwrap_err().code(), "digest-mismatch");
}

#[test]
fn the_document_stays_as_it_was_but_for_line_ends_and_the_signature() {
    let identity = rsa();
    let signed = sign(&documents()[0].1, &identity, Canonicalization::Exclusive).unwrap();
    let signed = String::from_utf8(signed).unwrap();
    let unsigned = String::from_utf8(documents()[0].1.clone()).unwrap();
    let (before, rest) = signed.split_once("  <Signature ").unwrap();
    let (_, after) = rest.split_once("</Signature>\n").unwrap();
    assert_eq!(
        before,
        format!("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n{}", unsigned.trim_end_matches("</EOCS>\n"))
    );
    assert_eq!(after, "</EOCS>\n");
    assert!(signed.contains("2001/10/xml-exc-c14n#") && signed.contains("xmldsig-more#rsa-sha256"));
    assert_eq!(signed.matches("<X509Certificate>").count(), 2);
}

#[test]
fn a_root_without_an_end_tag_gets_one() {
    let identity = ec();
    let unsigned = b"<EOCS version=\"2.0\" feed=\"example\" serial=\"1\" issued=\"2026-11-25T00:00:00Z\" expires=\"2026-12-06T03:00:00Z\" />";
    let signed = sign(unsigned, &identity, Canonicalization::Exclusive).unwrap();
    assert_eq!(identity.verify(&signed).unwrap().document().mitigations, []);
    assert!(String::from_utf8(signed).unwrap().ends_with("</Signature>\n</EOCS>\n"));
}

#[test]
fn a_signed_document_is_not_signed_again() {
    let identity = ec();
    let signed = sign(&documents()[0].1, &identity, Canonicalization::Exclusive).unwrap();
    assert!(matches!(sign(&signed, &identity, Canonicalization::Exclusive), Err(SignError::AlreadySigned)));
}

#[test]
fn any_document_can_carry_the_same_signature_once() {
    let identity = rsa();
    let key = FileKey::from_pem(identity.key.as_bytes()).unwrap();
    let chain = Chain::from_pem(identity.chain.as_bytes()).unwrap();
    let sign = |text: &[u8]| sign::enveloped(text, &key, &chain, Canonicalization::Inclusive);
    let text = b"<c:Cosignature xmlns:c=\"urn:c\" xml:lang=\"en\"><x xmlns=\"urn:d\"><y xmlns=\"\"/></x></c:Cosignature>";
    let signed = sign(text).unwrap();
    let opened = dsig::open(&signed, &Limits::default()).unwrap();
    assert_eq!(opened.signer().unwrap(), &opened.certificates()[0]);
    assert!(matches!(sign(&signed), Err(SignError::AlreadySigned)));
}

#[test]
fn what_no_agent_would_read_is_not_signed() {
    let identity = ec();
    for bad in ["", "<EOCS>", "<!DOCTYPE EOCS><EOCS version=\"2.0\"/>", "<EOCS version=\"3.0\"/>", "<feed/>"]
    {
        let refused = sign(bad.as_bytes(), &identity, Canonicalization::Exclusive);
        assert!(matches!(refused, Err(SignError::Xml(_) | SignError::Invalid(_))), "{bad}: {refused:?}");
    }
}

#[test]
fn key_and_chain_must_belong_together() {
    let (one, other) = (ec(), rsa());
    let unsigned = &documents()[0].1;
    let code = |key: &str, chain: &str| {
        sign::feed_with_pem(unsigned, key.as_bytes(), chain.as_bytes(), Canonicalization::Exclusive)
            .unwrap_err()
            .code()
    };
    assert_eq!(code(&one.key, &other.chain), "other-key");
    assert_eq!(code(&one.key, ""), "no-certificate");
    let (leaf, intermediate) = one.chain.split_once("-----END CERTIFICATE-----").unwrap();
    let leaf = format!("{leaf}-----END CERTIFICATE-----\n");
    assert_eq!(code(&one.key, &format!("{intermediate}{leaf}")), "chain-order");
    assert_eq!(code(&one.key, &format!("{leaf}{}", other.chain)), "chain-order");
    assert_eq!(
        code(&one.key, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        "bad-certificate"
    );
    assert_eq!(code(&one.chain, &one.chain), "no-key");
}
