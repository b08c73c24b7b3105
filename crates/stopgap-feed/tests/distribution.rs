//! Where revocation lists are looked for, and which ones `revocation` asks for.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)] // tests, and helpers of tests

mod common;

use rcgen::{CertificateParams, CrlDistributionPoint, CustomExtension, date_time_ymd};
use stopgap_feed::{
    MAX_DISTRIBUTION_POINT_BYTES, MAX_DISTRIBUTION_POINTS, Presented, Refusal, Revocation, RevocationMode,
    distribution_points,
};

use common::pki::ca;
use common::simulator::{Holder, Simulator};
use common::token::der;

fn at(uris: &[&str]) -> Vec<CrlDistributionPoint> {
    vec![CrlDistributionPoint { uris: uris.iter().map(|uri| (*uri).to_owned()).collect() }]
}

fn points(simulator: &Simulator, feed: &str) -> Result<Vec<String>, Refusal> {
    let presented = Presented { feed: feed.as_bytes(), cosignatures: &simulator.cosignatures };
    distribution_points(&simulator.trust, &presented, simulator.now)
}

/// Every certificate says where its issuer's list is.
fn with_points() -> Simulator {
    let mut s = Simulator::new();
    s.reissue_intermediate(|p| p.crl_distribution_points = at(&["http://crl.test/root.crl"]));
    s.reissue_leaf(|p| p.crl_distribution_points = at(&["http://crl.test/ca.crl"]));
    s.tsa = s.tsa.reissued(&s.tsa_root, |p| p.crl_distribution_points = at(&["https://time.test/tsa.crl"]));
    s.cosigner = s
        .cosigner
        .reissued(&s.cosigner_root, |p| p.crl_distribution_points = at(&["https://org.test/org.crl"]));
    s.trusting("signatures = 2\ncosigners = [\"cosigner.toml\"]");
    let release = Simulator::new();
    let sha256 = release.judge(release.sign().as_bytes()).unwrap().sha256().to_owned();
    let text = format!("<Cosignature feed=\"example\" serial=\"42\" sha256=\"{sha256}\"></Cosignature>");
    s.cosignatures = vec![s.sign_as(&text, &s.cosigner).into_bytes()];
    s
}

/// The leaf of a simulator with these octets as its extension 2.5.29.31.
fn of_extension(content: Vec<u8>) -> Vec<String> {
    let mut s = Simulator::new();
    let extension = CustomExtension::from_oid_content(&[2, 5, 29, 31], content);
    s.reissue_leaf(|p| p.custom_extensions = vec![extension]);
    points(&s, &s.sign()).unwrap()
}

/// `DistributionPointName` with `fullName`s of the given tags.
fn full_name(names: &[(u8, &str)]) -> Vec<u8> {
    let names: Vec<Vec<u8>> = names.iter().map(|(tag, name)| der(*tag, &[name.as_bytes()])).collect();
    der(0xA0, &[&der(0xA0, &[&names.concat()])])
}

const URI: u8 = 0x86;

#[test]
fn every_certificate_of_the_verified_paths_is_asked_the_signer_first() {
    let s = with_points();
    assert_eq!(
        points(&s, &s.sign_stamped("2026-05-01T00:00:00Z")).unwrap(),
        [
            "http://crl.test/ca.crl",
            "http://crl.test/root.crl",
            "https://time.test/tsa.crl",
            "https://org.test/org.crl"
        ]
    );
    // The timestamp's authority is trusted by nobody: its certificate says nothing.
    let mut s = s;
    s.trust.timestamp_roots.clear();
    assert_eq!(
        points(&s, &s.sign_stamped("2026-05-01T00:00:00Z")).unwrap(),
        ["http://crl.test/ca.crl", "http://crl.test/root.crl", "https://org.test/org.crl"]
    );
}

#[test]
fn a_certificate_that_merely_lies_there_says_nothing() {
    let mut s = with_points();
    let evil = |name: &str, issuer: Option<&Holder>| {
        let mut params = ca(name, 2030);
        params.crl_distribution_points = at(&["http://169.254.169.254/latest/"]);
        Holder::new(params, issuer)
    };
    // Of another root, of the issuing authority's name, and one that the trusted root did issue.
    let others = [evil("Anybody", None), evil("Example Issuing CA", None), evil("Beside", Some(&s.root))];
    let mut chain: Vec<_> = others.iter().map(|holder| holder.der.clone()).collect();
    chain.extend([s.leaf.der.clone(), s.intermediate.der.clone()]);
    s.chain = Some(chain);
    assert_eq!(
        points(&s, &s.sign()).unwrap(),
        ["http://crl.test/ca.crl", "http://crl.test/root.crl", "https://org.test/org.crl"]
    );
    // A co-signature of somebody whom the trust file does not name.
    let mut params = ca("Anybody", 2030);
    params.is_ca = rcgen::IsCa::ExplicitNoCa;
    params.crl_distribution_points = at(&["http://169.254.169.254/latest/"]);
    let nobody = Holder::new(params, Some(&s.tsa_root.clone()));
    let text = String::from_utf8(s.cosignatures[0].clone()).unwrap();
    let unsigned = text[..text.find("<Signature ").unwrap()].to_owned() + "</Cosignature>";
    let chain = s.chain.take();
    s.cosignatures.insert(0, s.sign_as(&unsigned, &nobody).into_bytes());
    s.chain = chain;
    assert_eq!(points(&s, &s.sign()).unwrap().len(), 3);
}

#[test]
fn a_document_that_is_not_believed_gives_no_address() {
    let code = |s: &Simulator, feed: &str| points(s, feed).unwrap_err().code();
    let s = with_points();
    let signed = s.sign();
    assert_eq!(code(&s, &signed.replace("Heartbeat", "Fake")), "digest-mismatch");
    assert_eq!(code(&s, "<EOCS/>"), "not-signed");
    let mut alone = with_points();
    alone.cosignatures.clear();
    assert_eq!(code(&alone, &alone.sign()), "too-few-signatures");
    let mut stranger = with_points();
    stranger.trust.roots = Simulator::new().trust.roots;
    assert_eq!(code(&stranger, &signed), "unknown-root");
    let mut other = with_points();
    other.trust.issuers = vec!["Other".to_owned()];
    assert_eq!(code(&other, &other.sign()), "wrong-issuer");
}

#[test]
fn neither_revocation_nor_freshness_is_judged() {
    let mut s = with_points();
    let signed = s.sign();
    s.trust.revocation = RevocationMode::Require;
    s.trust.crls = vec![s.intermediate.crl(&[77], 2030).into()];
    s.now = "2026-12-24T00:00:00Z".parse().unwrap();
    s.trust = s.trust.for_feed("other".parse().unwrap());
    assert_eq!(points(&s, &signed).unwrap().len(), 3);
}

#[test]
fn an_anchor_gives_no_address() {
    let mut s = with_points();
    let signed = s.sign();
    s.trust.roots = vec![s.intermediate.der.clone()];
    assert_eq!(points(&s, &signed).unwrap(), ["http://crl.test/ca.crl", "https://org.test/org.crl"]);
    s.trust.roots = vec![s.leaf.der.clone()];
    assert_eq!(points(&s, &signed).unwrap(), ["https://org.test/org.crl"]);
}

#[test]
fn only_plain_lists_at_web_addresses_are_taken() {
    let point = |parts: &[&[u8]]| der(0x30, &[&der(0x30, parts)]);
    let name = full_name(&[(URI, "http://a.test/")]);
    assert_eq!(of_extension(point(&[&name])), ["http://a.test/"]);
    // For some reasons only; of another issuer; without a name; relative to the issuer.
    assert_eq!(of_extension(point(&[&name, &der(0x81, &[&[1, 0x40]])])), [""; 0]);
    let issuer = der(0xA2, &[&der(URI, &[b"http://b.test/"])]);
    assert_eq!(of_extension(point(&[&name, &issuer])), [""; 0]);
    assert_eq!(of_extension(point(&[])), [""; 0]);
    let attribute = der(0x30, &[&der(6, &[&[0x55, 4, 3]]), &der(0x0C, &[b"x"])]);
    assert_eq!(of_extension(point(&[&der(0xA0, &[&der(0xA1, &[&attribute])])])), [""; 0]);
    // Octets that are no extension of that kind.
    assert_eq!(of_extension(der(0x30, &[&der(2, &[&[7]])])), [""; 0]);

    let names = [
        (URI, "ldap://a.test/cn=list"),
        (URI, "file:///etc/passwd"),
        (URI, "http://"),
        (URI, "a.test/list.crl"),
        (URI, "http://a.test/ HTTP/1.1"),
        (URI, "http://a.test/\r\nHost: b"),
        (0x82, "a.test"),
        (URI, "HTTP://a.test/1"),
        (URI, "https://a.test/2"),
        (URI, "https://a.test/2"),
    ];
    assert_eq!(of_extension(point(&[&full_name(&names)])), ["HTTP://a.test/1", "https://a.test/2"]);
}

#[test]
fn addresses_are_bounded_in_number_and_length() {
    let long = |length: usize| format!("http://a.test/{}", "x".repeat(length - "http://a.test/".len()));
    let of = |uris: Vec<String>| {
        let mut s = Simulator::new();
        s.reissue_leaf(|p| p.crl_distribution_points = vec![CrlDistributionPoint { uris }]);
        points(&s, &s.sign()).unwrap()
    };
    let (just, over) = (long(MAX_DISTRIBUTION_POINT_BYTES), long(MAX_DISTRIBUTION_POINT_BYTES + 1));
    assert_eq!(of(vec![over, just.clone()]), [just]);
    let many: Vec<String> = (0..100).map(|n| format!("http://a.test/{n}")).collect();
    assert_eq!(of(many.clone()), many[..MAX_DISTRIBUTION_POINTS]);
}

/// What `revocation = "require"` wants: a list for the signer's certificate, and for no other.
#[test]
fn require_wants_a_list_for_the_signer_alone() {
    let mut s = Simulator::new();
    let stamped = s.sign_stamped("2026-05-01T00:00:00Z");
    let serial = |p: &mut CertificateParams| p.serial_number = Some(78u64.into());
    let judge = |s: &mut Simulator, crls: Vec<Vec<u8>>, feed: &str| {
        s.revocation =
            Revocation { mode: RevocationMode::Require, crls: crls.into_iter().map(Into::into).collect() };
        match s.judge(feed.as_bytes()) {
            Ok(feed) => feed.timestamp_error().map_or("accepted", |error| error.code()),
            Err(refusal) => refusal.code(),
        }
    };
    let of_leaf = s.intermediate.crl(&[], 2030);
    assert_eq!(judge(&mut s, vec![], &stamped), "crl-missing");
    assert_eq!(judge(&mut s, vec![of_leaf.clone()], &stamped), "accepted");
    // A list of the intermediate says nothing about the leaf, and is not needed for the intermediate.
    let of_intermediate = s.root.crl(&[], 2030);
    assert_eq!(judge(&mut s, vec![of_intermediate.clone()], &stamped), "crl-other-issuer");
    assert_eq!(judge(&mut s, vec![of_leaf.clone(), of_intermediate], &stamped), "accepted");
    // What one says counts, also where it has run out: revoked stays revoked.
    s.reissue_intermediate(serial);
    let stamped = s.sign_stamped("2026-05-01T00:00:00Z");
    let (revoked, long_ago) = (s.root.crl(&[78], 2030), s.root.crl(&[78], 2026));
    assert_eq!(judge(&mut s, vec![of_leaf.clone(), revoked], &stamped), "revoked-certificate");
    assert_eq!(judge(&mut s, vec![of_leaf.clone(), long_ago], &stamped), "revoked-certificate");
    // No list of the timestamp's path is needed either; one that names its signer takes the time away.
    s.tsa = s.tsa.reissued(&s.tsa_root, serial);
    let stamped = s.sign_stamped("2026-05-01T00:00:00Z");
    let (good, revoked) = (s.tsa_root.crl(&[], 2030), s.tsa_root.crl(&[78], 2030));
    assert_eq!(judge(&mut s, vec![of_leaf.clone(), good], &stamped), "accepted");
    assert_eq!(judge(&mut s, vec![of_leaf, revoked], &stamped), "timestamp-untrusted");
}

/// An authority of timestamps between root and signer is judged like the signer itself.
#[test]
fn a_revoked_authority_of_timestamps_gives_no_time() {
    let mut s = Simulator::new();
    let mut params = ca("Example Time CA", 2036);
    params.serial_number = Some(79u64.into());
    params.not_before = date_time_ymd(2024, 1, 1);
    let between = Holder::new(params, Some(&s.tsa_root));
    s.tsa = Holder::of_key(s.tsa.params.clone(), s.tsa.key.clone(), Some(&between));
    // The token brings its signer's certificate alone; the authority's lies beside it.
    let with = |s: &Simulator| {
        use base64::Engine as _;
        let beside = base64::engine::general_purpose::STANDARD.encode(&between.der);
        s.sign_stamped("2026-05-01T00:00:00Z").replace(
            "</CounterSignature></Object>",
            &format!(
                "</CounterSignature><X509Data><X509Certificate>{beside}</X509Certificate></X509Data></Object>"
            ),
        )
    };
    let feed = s.judge(with(&s).as_bytes()).unwrap();
    assert_eq!(feed.timestamp_error(), None);
    s.revocation.crls = vec![s.tsa_root.crl(&[79], 2040).into()];
    let feed = s.judge(with(&s).as_bytes()).unwrap();
    assert_eq!(feed.timestamp_error().map(|error| error.code()), Some("timestamp-untrusted"));
}

/// A co-signer's trust file says how it is judged; `off` for the feed is `off` for all.
#[test]
fn a_cosigner_is_judged_by_its_own_mode() {
    let mut s = with_points();
    let signed = s.sign();
    let code =
        |s: &Simulator| s.judge(signed.as_bytes()).map_or_else(|refusal| refusal.code(), |_| "accepted");
    assert_eq!(code(&s), "accepted");
    s.trust.cosigners[0].trust.revocation = RevocationMode::Require;
    assert_eq!(code(&s), "too-few-signatures");
    s.revocation.crls = vec![s.cosigner_root.crl(&[], 2030).into()];
    assert_eq!(code(&s), "accepted");
    s.revocation = Revocation::off();
    assert_eq!(code(&s), "accepted");
}
