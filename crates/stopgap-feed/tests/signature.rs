//! Whose signature counts, over what, and when: the profile, the chain, freshness.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)] // tests, and helpers of tests

mod common;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use rcgen::{BasicConstraints, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};
use stopgap_feed::c14n::Canonicalization::{Exclusive, Inclusive};
use stopgap_feed::dsig::{Digest, SignatureMethod};
use stopgap_feed::{LastSeen, Limits, Refusal, Revocation, RevocationMode, Trust, VerifiedFeed, verify};

use common::FEED;
use common::pki::{Pki, RSA_2048, leaf_params, named};

const NOW: &str = "2026-11-22T06:00:00Z";

fn judge_at(trust: &Trust, document: &str, now: &str) -> Result<VerifiedFeed, Refusal> {
    verify(trust, document.as_bytes(), None, &trust.local_revocation(), now.parse::<Timestamp>().unwrap())
}

fn judge(trust: &Trust, document: &str) -> Result<VerifiedFeed, Refusal> {
    judge_at(trust, document, NOW)
}

fn code<T: std::fmt::Debug>(result: Result<T, Refusal>) -> &'static str {
    match result {
        Ok(_) => "accepted",
        Err(refusal) => refusal.code(),
    }
}

#[test]
fn every_algorithm_of_the_profile_verifies() {
    use SignatureMethod::{EcdsaSha256, EcdsaSha384, RsaSha256, RsaSha384, RsaSha512};
    let p384 = || KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let rsa = Pki::with(leaf_params(), KeyPair::from_pem(RSA_2048).unwrap());
    let p384 = Pki::with(leaf_params(), p384());
    let p256 = Pki::new();
    let cases = [
        (&p256, EcdsaSha256, Digest::Sha256),
        (&p256, EcdsaSha256, Digest::Sha512),
        (&p384, EcdsaSha384, Digest::Sha384),
        (&rsa, RsaSha256, Digest::Sha256),
        (&rsa, RsaSha384, Digest::Sha384),
        (&rsa, RsaSha512, Digest::Sha512),
    ];
    for (pki, method, digest) in cases {
        for form in [Inclusive, Exclusive] {
            let signed = pki.sign_as(FEED, form, method, digest);
            let feed = judge(&pki.trust(""), &signed)
                .unwrap_or_else(|e| panic!("{method} {digest:?} {form:?}: {e}"));
            assert_eq!(feed.document().serial, Some(42));
            assert_eq!(feed.signer(), "CN=Example Feed Signing");
            assert_eq!(feed.judged_at().to_string(), NOW);
        }
    }
}

#[test]
fn both_forms_of_one_document_are_the_same_content() {
    let pki = Pki::new();
    let one = judge(&pki.trust(""), &pki.sign(FEED, Inclusive)).unwrap();
    let other = judge(&pki.trust(""), &pki.sign(&FEED.replace('\n', "\r\n"), Exclusive)).unwrap();
    assert_eq!(one.sha256(), other.sha256());
    assert_eq!(one.octets(), other.octets());
    assert_eq!(one.sha256().len(), 64);
}

#[test]
fn signatures_of_openssl_verify_but_for_short_keys() {
    let base64 = |text: &str| BASE64.decode(text).unwrap();
    let lines = include_str!("fixtures/openssl-signatures.txt").lines().filter(|line| !line.starts_with('#'));
    let mut count = 0;
    for line in lines {
        let [name, method, verifies, certificate, value] = line.split(' ').collect::<Vec<_>>()[..] else {
            panic!("{line}")
        };
        let method =
            SignatureMethod::from_uri(&format!("http://www.w3.org/2001/04/xmldsig-more#{method}")).unwrap();
        let (certificate, value) = (base64(certificate).into(), base64(value));
        assert_eq!(method.verify(&certificate, b"message", &value).is_ok(), verifies == "yes", "{name}");
        assert!(method.verify(&certificate, b"massage", &value).is_err(), "{name}: another message");
        count += 1;
    }
    assert_eq!(count, 4);
}

/// A signed document, changed.
fn changed(from: &str, to: &str) -> Result<VerifiedFeed, Refusal> {
    let pki = Pki::new();
    let signed = pki.sign(FEED, Inclusive);
    assert!(signed.contains(from), "the change must hit: {from}");
    judge(&pki.trust(""), &signed.replacen(from, to, 1))
}

#[test]
fn what_is_not_in_the_profile_is_refused_by_name() {
    let c14n = Inclusive.uri();
    let transform = format!("<Transform Algorithm=\"{c14n}\"/>");
    let cases: Vec<(&str, &str, String, &str)> = vec![
        ("SHA-1", "2001/04/xmlenc#sha256", "2000/09/xmldsig#sha1".into(), "unsupported-algorithm"),
        (
            "HMAC",
            "2001/04/xmldsig-more#ecdsa-sha256",
            "2000/09/xmldsig#hmac-sha1".into(),
            "unsupported-algorithm",
        ),
        ("ECDSA with SHA-512", "ecdsa-sha256", "ecdsa-sha512".into(), "unsupported-algorithm"),
        ("C14N with comments", c14n, format!("{c14n}#WithComments"), "unsupported-algorithm"),
        ("C14N 1.1", c14n, "http://www.w3.org/2006/12/xml-c14n11".into(), "unsupported-algorithm"),
        ("another method's key", "ecdsa-sha256", "rsa-sha256".into(), "signature-invalid"),
        ("a reference to an Id", "URI=\"\"", "URI=\"#x\"".into(), "unsupported-reference"),
        (
            "a reference to the web",
            "URI=\"\"",
            "URI=\"https://example.com/\"".into(),
            "unsupported-reference",
        ),
        ("no URI", " URI=\"\"", "".into(), "unsupported-reference"),
        ("XPointer", "URI=\"\"", "URI=\"#xpointer(/)\"".into(), "unsupported-reference"),
        (
            "XSLT",
            &transform,
            "<Transform Algorithm=\"http://www.w3.org/TR/1999/REC-xslt-19991116\"/>".into(),
            "unsupported-algorithm",
        ),
        (
            "XPath first",
            stopgap_feed::dsig::ENVELOPED,
            "http://www.w3.org/TR/1999/REC-xpath-19991116".into(),
            "unsupported-algorithm",
        ),
        ("no canonicalization", &transform, "".into(), "malformed-signature"),
        ("a third transform", &transform, transform.repeat(2), "malformed-signature"),
        (
            "parameters of a transform",
            &transform,
            transform.replace("/>", "><InclusiveNamespaces/></Transform>"),
            "malformed-signature",
        ),
        (
            "a second reference",
            "</Reference>",
            "</Reference><Reference URI=\"\"/>".into(),
            "malformed-signature",
        ),
        ("a type", "URI=\"\"", "URI=\"\" Type=\"x\"".into(), "malformed-signature"),
        ("a comment in the digest", "<DigestValue>", "<DigestValue><!-- -->".into(), "malformed-signature"),
        ("an instruction in KeyInfo", "<KeyInfo>", "<KeyInfo><?x?>".into(), "malformed-signature"),
        ("a key name", "<KeyInfo>", "<KeyInfo><KeyName>k</KeyName>".into(), "malformed-signature"),
        ("text between elements", "<KeyInfo>", "x<KeyInfo>".into(), "malformed-signature"),
        ("an element in the value", "<SignatureValue>", "<SignatureValue><x/>".into(), "malformed-signature"),
        ("an element of no namespace", "<KeyInfo>", "<x xmlns=\"\"/><KeyInfo>".into(), "malformed-signature"),
        ("not Base64", "<SignatureValue>", "<SignatureValue>!".into(), "bad-base64"),
        ("Base64 without padding", "</DigestValue>", "A</DigestValue>".into(), "bad-base64"),
    ];
    for (name, from, to, expected) in cases {
        assert_eq!(code(changed(from, &to)), expected, "{name}");
    }
}

#[test]
fn changes_that_mean_nothing_are_let_in() {
    for (from, to) in [
        ("<SignatureValue>", "<SignatureValue>\n  "),
        ("<KeyInfo>", "<KeyInfo><KeyValue>anything at all</KeyValue>"),
        ("<X509Data>", "<X509Data><X509SubjectName>CN=x</X509SubjectName>"),
        ("</EOCS>\n", "</EOCS>\n\n<!-- after -->"),
        ("desc=\"Nothing\"", "desc = 'Nothing'"),
        ("<ActionList>", "<ActionList><!-- a comment -->"),
    ] {
        assert_eq!(code(changed(from, to)), "accepted", "{to}");
    }
}

#[test]
fn a_changed_document_or_signature_is_refused() {
    assert_eq!(code(changed("Heartbeat", "heartbeat")), "digest-mismatch");
    assert_eq!(code(changed("serial=\"42\"", "serial=\"43\"")), "digest-mismatch");
    assert_eq!(code(changed("\n  <Config", "\n <Config")), "digest-mismatch");
    assert_eq!(code(changed("<Config", "<?x?><Config")), "digest-mismatch");
    assert_eq!(code(changed("<SignatureValue>", "<SignatureValue>AAAA")), "signature-invalid");
    assert_eq!(code(changed("<SignedInfo>", "<SignedInfo Id=\"x\">")), "signature-invalid");
    assert_eq!(code(changed("</EOCS>", "x</EOCS>")), "digest-mismatch");
}

#[test]
fn a_signature_cannot_be_wrapped() {
    let pki = Pki::new();
    let trust = pki.trust("");
    let signed = pki.sign(FEED, Exclusive);
    let start = signed.find("<Signature ").unwrap();
    let end = signed.find("</Signature>").unwrap() + "</Signature>".len();
    let signature = &signed[start..end];
    let without = signed[..start].to_owned() + &signed[end..];
    let fake = FEED.replace("Heartbeat", "Fake").replace("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n", "");

    let twice = signed.replacen("</EOCS>", &format!("{signature}</EOCS>"), 1);
    assert_eq!(code(judge(&trust, &twice)), "several-signatures");

    let first = without.replacen("<Config", &format!("{signature}<Config"), 1);
    assert_eq!(code(judge(&trust, &first)), "signature-misplaced");

    let deeper = without.replacen("</Config>", &format!("{signature}</Config>"), 1);
    assert_eq!(code(judge(&trust, &deeper)), "signature-misplaced");

    // The signed document whole inside another one, with its signature still its last child.
    let inner = signed.replace("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n", "");
    let wrapped = fake.replacen("</EOCS>", &format!("{inner}</EOCS>"), 1);
    assert_eq!(code(judge(&trust, &wrapped)), "signature-misplaced");

    // The signed document in an Object, the fake one around it.
    let around = signature.replacen(
        "</Signature>",
        &format!("<Object>{FEED}</Object></Signature>")
            .replace("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n", ""),
        1,
    );
    let wrapped = fake.replacen("</EOCS>", &format!("{around}</EOCS>"), 1);
    assert_eq!(code(judge(&trust, &wrapped)), "malformed-signature");

    // A fake feed in an Object that calls itself a timestamp.
    let object = format!("<Object Id=\"ts-countersig\">{fake}</Object></Signature>");
    assert_eq!(code(judge(&trust, &signed.replacen("</Signature>", &object, 1))), "malformed-signature");
}

#[test]
fn the_signer_must_be_whom_the_trust_file_names() {
    let pki = Pki::new();
    let signed = pki.sign(FEED, Inclusive);
    assert_eq!(code(judge(&pki.trust("signer = \"Example Feed Signing\""), &signed)), "accepted");
    assert_eq!(code(judge(&pki.trust("signer = \"Example Feed\""), &signed)), "wrong-signer");
    assert_eq!(code(judge(&Pki::new().trust(""), &signed)), "unknown-root");

    let mut trust = pki.trust("");
    trust.issuers = vec!["Other CA".to_owned()];
    assert_eq!(code(judge(&trust, &signed)), "wrong-issuer");
    trust.issuers.push("Example Issuing CA".to_owned());
    assert_eq!(code(judge(&trust, &signed)), "accepted");

    assert_eq!(code(judge_at(&pki.trust(""), &signed, "2025-12-31T23:59:59Z")), "not-yet-valid-certificate");
    assert_eq!(code(judge_at(&pki.trust(""), &signed, "2027-01-01T00:00:01Z")), "expired-certificate");

    let message = judge_at(&pki.trust(""), &signed, "2027-01-01T00:00:01Z").unwrap_err().to_string();
    assert!(message.contains("found valid until 2027-01-01T00:00:00Z"), "{message}");
}

#[test]
fn an_intermediate_or_the_signer_itself_can_be_the_anchor() {
    let pki = Pki::new();
    let signed = pki.sign(FEED, Inclusive);
    let mut trust = pki.trust("");
    for anchor in [&pki.intermediate, &pki.leaf] {
        trust.roots = vec![anchor.der().clone()];
        assert_eq!(code(judge(&trust, &signed)), "accepted");
    }
    assert_eq!(code(judge_at(&trust, &signed, "2027-01-01T00:00:01Z")), "expired-certificate");
}

#[test]
fn the_leafs_extensions_are_judged_strictly() {
    let with = |change: fn(&mut rcgen::CertificateParams)| {
        let mut params = leaf_params();
        change(&mut params);
        let pki = Pki::with(params, KeyPair::generate().unwrap());
        code(judge(&pki.trust(""), &pki.sign(FEED, Inclusive)))
    };
    assert_eq!(with(|_| {}), "accepted");
    assert_eq!(with(|p| p.extended_key_usages.clear()), "wrong-eku");
    assert_eq!(with(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning]), "wrong-eku");
    assert_eq!(with(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]), "wrong-eku");
    assert_eq!(with(|p| p.extended_key_usages.push(ExtendedKeyUsagePurpose::CodeSigning)), "accepted");
    assert_eq!(with(|p| p.key_usages = vec![KeyUsagePurpose::KeyAgreement]), "wrong-key-usage");
    assert_eq!(with(|p| p.key_usages.clear()), "accepted");
    assert_eq!(with(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)), "signer-is-ca");
    assert_eq!(with(|p| p.distinguished_name = named("Other").distinguished_name), "accepted");

    let limited = Pki::with_limited_intermediate();
    assert_eq!(code(judge(&limited.trust(""), &limited.sign(FEED, Inclusive))), "wrong-eku");
}

#[test]
fn revocation_lists_count_as_the_mode_says() {
    let pki = Pki::new();
    let signed = pki.sign(FEED, Inclusive);
    let trust = pki.trust("");
    let with = |mode: RevocationMode, crls: &[&[u8]]| {
        let revocation = Revocation { mode, crls: crls.iter().map(|der| der.to_vec().into()).collect() };
        code(verify(&trust, signed.as_bytes(), None, &revocation, NOW.parse().unwrap()))
    };
    let (good, revoked, stale) = (pki.crl(&[], 2030), pki.crl(&[77], 2030), pki.crl(&[], 2026));
    let (of_root, of_others) = (pki.root_crl(), Pki::new().crl(&[77], 2030));
    use RevocationMode::{Off, Prefer, Require};
    let cases: &[(RevocationMode, &[&[u8]], &str)] = &[
        (Require, &[], "crl-missing"),
        (Require, &[&good], "accepted"),
        (Require, &[&revoked], "revoked-certificate"),
        (Require, &[&stale], "crl-expired"),
        (Require, &[&of_root], "revoked-certificate"),
        (Require, &[&good, &of_root], "revoked-certificate"),
        (Require, &[&of_others], "crl-forged"),
        (Require, &[&of_others, &good], "accepted"),
        (Require, &[b"no list"], "crl-unreadable"),
        (Prefer, &[], "accepted"),
        (Prefer, &[&stale], "accepted"),
        (Prefer, &[&revoked], "revoked-certificate"),
        (Prefer, &[&of_root], "revoked-certificate"),
        (Prefer, &[&of_others], "accepted"),
        (Prefer, &[b"no list"], "accepted"),
        (Off, &[&revoked], "accepted"),
    ];
    for (at, (mode, crls, expected)) in cases.iter().enumerate() {
        assert_eq!(with(*mode, crls), *expected, "case {at}: {mode:?}");
    }
}

#[test]
fn freshness_is_checked_against_clock_and_memory() {
    let pki = Pki::new();
    let trust = pki.trust("").for_feed("example".parse().unwrap());
    let signed = pki.sign(FEED, Inclusive);
    let feed = judge(&trust, &signed).unwrap();
    let last = feed.last_seen().unwrap();
    assert_eq!((last.serial, last.sha256.as_str()), (42, feed.sha256()));
    let after = |last: &LastSeen| {
        let result = verify(&trust, signed.as_bytes(), Some(last), &Revocation::off(), NOW.parse().unwrap());
        code(result)
    };
    assert_eq!(after(&last), "accepted");
    assert_eq!(after(&LastSeen { serial: 41, sha256: String::new(), issued: None }), "accepted");
    assert_eq!(after(&LastSeen { serial: 43, sha256: last.sha256.clone(), issued: None }), "rollback");
    assert_eq!(after(&LastSeen { serial: 42, sha256: "00".repeat(32), issued: None }), "serial-reused");

    let other = pki.trust("").for_feed("another".parse().unwrap());
    assert_eq!(code(judge(&other, &signed)), "wrong-feed");

    assert_eq!(code(judge_at(&trust, &signed, "2026-11-22T02:55:00Z")), "accepted");
    assert_eq!(code(judge_at(&trust, &signed, "2026-11-22T02:54:59Z")), "not-yet-issued");
    assert_eq!(code(judge_at(&trust, &signed, "2026-12-06T02:59:59Z")), "accepted");
    let expired = judge_at(&trust, &signed, "2026-12-06T03:00:00Z").unwrap_err();
    let Refusal::Expired { expires, .. } = &expired else { panic!("{expired}") };
    assert_eq!((expires.to_string().as_str(), expired.code()), ("2026-12-06T03:00:00Z", "expired"));
}

#[test]
fn freshness_may_be_absent_only_from_the_first_grammar_and_a_feed_that_never_had_it() {
    let pki = Pki::new();
    let first = FEED.replace(r#"version="2.0" feed="example" serial="42" issued="2026-11-22T03:00:00Z" expires="2026-12-06T03:00:00Z""#, "version=\"1.0\"");
    let second = first.replace("1.0\">", "2.0\">");
    let (required, absent) = (pki.trust(""), pki.trust("freshness = \"absent\""));
    let unsigned = first.clone();
    let (first, second) = (pki.sign(&first, Inclusive), pki.sign(&second, Inclusive));
    assert_eq!(code(judge(&required, &first)), "freshness-missing");
    assert_eq!(code(judge(&absent, &first)), "accepted");
    assert_eq!(code(judge(&absent, &second)), "freshness-missing");
    for part in ["feed=\"another\"", "serial=\"1\"", "expires=\"2020-01-01T00:00:00Z\""] {
        let in_part = unsigned.replace("version=\"1.0\"", &format!("version=\"1.0\" {part}"));
        assert_eq!(code(judge(&absent, &pki.sign(&in_part, Inclusive))), "freshness-missing", "{part}");
    }
    let last = LastSeen { serial: 1, sha256: String::new(), issued: None };
    let result = verify(&absent, first.as_bytes(), Some(&last), &Revocation::off(), NOW.parse().unwrap());
    assert_eq!(code(result), "freshness-missing");
}

#[test]
fn trust_files_are_read_strictly() {
    let pki = Pki::new();
    let load = |text: &str| {
        let file: stopgap_feed::TrustFile = toml::from_str(text).map_err(|e| e.to_string())?;
        file.load_with(|name| match name {
            "root.pem" => Ok(pki.root.pem().into_bytes()),
            "both.pem" => Ok((pki.root.pem() + &pki.intermediate.pem()).into_bytes()),
            "root.der" => Ok(pki.root.der().to_vec()),
            "org/cosigner.toml" => Ok(b"roots = [\"org.pem\"]".to_vec()),
            "org/org.pem" => Ok(pki.root.pem().into_bytes()),
            "greedy.toml" => Ok(b"roots = [\"root.pem\"]\nsignatures = 2\ncosigners = [\"x\"]".to_vec()),
            "open.toml" => Ok(b"roots = [\"root.pem\"]\nekus = []".to_vec()),
            "empty" => Ok(Vec::new()),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        })
        .map_err(|e| e.to_string())
    };
    assert_eq!(load("roots = [\"root.pem\", \"root.der\"]").unwrap().roots.len(), 2);
    assert_eq!(load("roots = [\"both.pem\"]").unwrap().roots.len(), 2);
    // What a co-signer's file names lies beside it.
    let two = load("roots = [\"root.pem\"]\nsignatures = 2\ncosigners = [\"org/cosigner.toml\"]").unwrap();
    assert_eq!(two.cosigners[0].trust.roots, two.roots);
    for (text, expected) in [
        ("roots = [\"root.pem\"]\ncosigned = [\"Service\"]", "cosigned: expected cosigners"),
        ("roots = [\"root.pem\"]\ncosigners = [\"gone.toml\"]", "cosigners: cannot read `gone.toml`"),
        ("roots = [\"root.pem\"]\ncosigners = [\"greedy.toml\"]", "`greedy.toml` is not a trust file"),
        ("roots = [\"root.pem\"]\ncosigners = [\"open.toml\"]", "unknown field `ekus`"),
        (
            "roots = [\"root.pem\"]\nsignatures = 3\ncosigners = [\"org/cosigner.toml\"]",
            "signatures: expected",
        ),
        ("roots = [\"root.pem\"]\nekus = []", "unknown field `ekus`"),
        ("roots = []", "roots: expected at least one certificate, found none"),
        ("roots = [\"gone.pem\"]", "roots: cannot read `gone.pem`"),
        ("roots = [\"empty\"]", "roots: `empty` is not a certificate (PEM or DER)"),
        ("roots = [\"root.pem\"]\neku = [\"code signing\"]", "found `code signing`"),
        ("roots = [\"root.pem\"]\nsignatures = 2", "signatures: expected"),
        ("roots = [\"root.pem\"]\nsignatures = 0", "signatures: expected"),
        ("roots = [\"root.pem\"]\nrevocation = \"maybe\"", "unknown variant `maybe`"),
    ] {
        let error = load(text).map(|_| ()).unwrap_err();
        assert!(error.contains(expected), "{text}: {error}");
    }
}

#[test]
fn limits_of_the_trust_are_those_of_the_document() {
    let pki = Pki::new();
    let mut trust = pki.trust("");
    let signed = pki.sign(FEED, Inclusive);
    trust.limits = Limits { bytes: signed.len() - 1, ..Limits::default() };
    assert_eq!(code(judge(&trust, &signed)), "too-large");
    trust.limits.bytes += 1;
    assert_eq!(code(judge(&trust, &signed)), "accepted");
}

#[test]
fn documents_that_xmlsec1_signs_verify() {
    if !common::tool("documents of xmlsec1", "xmlsec1") {
        return;
    }
    // What canonical forms differ in: CDATA, references, line ends, prefixes, instructions.
    let tricky = FEED
        .replace("desc=\"Heartbeat\"", "desc='Heart\tbeat &#9; \"&lt;&gt;\" é 𝄞'")
        .replace("<ActionList>", "<?note  a ?><!-- b --><ActionList\n >")
        .replace("<Value>DoNothing</Value>", "<Value><![CDATA[Do]]>Nothing</Value>")
        .replace("</Config>", "</Config><x:y xmlns:x=\"u:x\" xmlns=\"u:d\"><z xmlns=\"\" x:a=\"1\"/></x:y>")
        .replace('\n', "\r\n");
    let folder = std::env::temp_dir().join(format!("stopgap-xmlsec1-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).unwrap();
        folder.join(name).display().to_string()
    };
    for (key, method) in
        [(KeyPair::generate().unwrap(), "ecdsa-sha256"), (KeyPair::from_pem(RSA_2048).unwrap(), "rsa-sha256")]
    {
        let key_file = write("key.pem", &key.serialize_pem());
        let pki = Pki::with(leaf_params(), key);
        let chain = [key_file, write("leaf.pem", &pki.leaf.pem()), write("ca.pem", &pki.intermediate.pem())]
            .join(",");
        for form in [Inclusive, Exclusive] {
            let template = format!(
                "<Signature xmlns=\"{}\"><SignedInfo><CanonicalizationMethod Algorithm=\"{form}\"/><SignatureMethod \
                 Algorithm=\"http://www.w3.org/2001/04/xmldsig-more#{method}\"/><Reference URI=\"\"><Transforms>\
                 <Transform Algorithm=\"{}\"/><Transform Algorithm=\"{form}\"/></Transforms><DigestMethod \
                 Algorithm=\"{}\"/><DigestValue/></Reference></SignedInfo><SignatureValue/><KeyInfo><X509Data/>\
                 </KeyInfo></Signature></EOCS>",
                stopgap_feed::dsig::NAMESPACE,
                stopgap_feed::dsig::ENVELOPED,
                Digest::Sha256.uri(),
                form = form.uri(),
            );
            let document = write("document.xml", &tricky.replace("</EOCS>", &template));
            let output = std::process::Command::new("xmlsec1")
                .args(["--sign", "--privkey-pem", &chain, &document])
                .output()
                .unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            let signed = String::from_utf8(output.stdout).unwrap();
            let feed = judge(&pki.trust(""), &signed).unwrap_or_else(|e| panic!("{method} {form:?}: {e}"));
            assert_eq!(feed.document().mitigations[0].description, "Heart beat \t \"<>\" é 𝄞");
        }
    }
    std::fs::remove_dir_all(&folder).unwrap();
}
