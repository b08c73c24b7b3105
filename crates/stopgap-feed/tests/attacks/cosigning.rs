//! Co-signatures that do not count. The trust asks for two signatures; with a good co-signature the
//! document is trusted.

use stopgap_feed::Cosigner;

use crate::common::simulator::{Holder, Simulator};

/// A release that needs a co-signature; the good one is checked and returned.
fn needed(simulator: &mut Simulator) -> String {
    simulator.trusting("signatures = 2\ncosigners = [\"cosigner.toml\"]");
    let good = cosignature(simulator, &text(simulator, 42));
    simulator.cosignatures = vec![good.clone().into_bytes()];
    let feed =
        simulator.judge(simulator.sign().as_bytes()).unwrap_or_else(|r| panic!("a good co-signature: {r}"));
    assert_eq!(feed.cosigners(), ["CN=Organization Security"]);
    good
}

fn sha256(simulator: &Simulator) -> String {
    let mut plain = Simulator::new();
    plain.document = simulator.document.clone();
    plain.judge(plain.sign().as_bytes()).unwrap().sha256().to_owned()
}

pub fn text(simulator: &Simulator, serial: u64) -> String {
    format!(
        "<Cosignature feed=\"example\" serial=\"{serial}\" sha256=\"{}\"></Cosignature>",
        sha256(simulator)
    )
}

pub fn cosignature(simulator: &Simulator, text: &str) -> String {
    simulator.sign_as(text, &simulator.cosigner)
}

fn given(simulator: &mut Simulator, cosignatures: &[String]) -> Vec<u8> {
    simulator.cosignatures = cosignatures.iter().map(|text| text.clone().into_bytes()).collect();
    simulator.sign().into_bytes()
}

/// A further certificate of a key, by the organization.
fn second_certificate(simulator: &mut Simulator) {
    simulator.cosigner = simulator.cosigner.reissued(&simulator.cosigner_root.clone(), |params| {
        params.serial_number = Some(78u64.into());
        params.distinguished_name = crate::common::pki::named("Organization Second").distinguished_name;
    });
}

attacks! {
    sub_threshold:
        "One stolen key where two signatures are asked for",
        "`signatures = 2`", "too-few-signatures",
        |s| { needed(s); given(s, &[]) };
    a_cosignature_of_another_feed:
        "The co-signature of another feed's release",
        "A co-signature names its feed", "too-few-signatures cosignature-wrong-feed",
        |s| { needed(s); let other = text(s, 42).replace("\"example\"", "\"other\""); let other = cosignature(s, &other); given(s, &[other]) };
    a_cosignature_of_another_release:
        "The co-signature of an older release",
        "A co-signature names its serial", "too-few-signatures cosignature-wrong-serial",
        |s| { needed(s); let other = cosignature(s, &text(s, 41)); given(s, &[other]) };
    a_cosignature_of_other_content:
        "The co-signature of another content with this serial",
        "A co-signature names a digest", "too-few-signatures cosignature-wrong-digest",
        |s| { let good = needed(s); s.document = s.document.replace("Heartbeat", "Forged"); given(s, &[good]) };
    a_cosignature_by_a_stranger:
        "A co-signature by somebody of the same name",
        "A co-signer has roots of his own", "too-few-signatures unknown-root",
        |s| { needed(s); let text = text(s, 42); let other = cosignature(&Simulator::new(), &text); given(s, &[other]) };
    a_cosignature_by_the_publisher:
        "The publisher's chain co-signs",
        "A co-signer has roots of his own", "too-few-signatures unknown-root",
        |s| { needed(s); let own = s.sign_as(&text(s, 42), &s.leaf); given(s, &[own]) };
    the_publisher_counted_twice:
        "The publisher's key, with a certificate of the organization",
        "Each public key counts once", "too-few-signatures cosignature-duplicate-key",
        |s| {
            needed(s);
            s.cosigner = Holder::of_key(s.cosigner.params.clone(), s.leaf.key.clone(), Some(&s.cosigner_root));
            let own = cosignature(s, &text(s, 42));
            given(s, &[own])
        };
    a_cosigner_counted_twice:
        "One co-signature, given twice (CVE-2020-15093)",
        "Each co-signer counts once", "too-few-signatures cosignature-duplicate-cosigner",
        |s| { let good = needed(s); s.trust.signatures = 3; given(s, &[good.clone(), good]) };
    two_certificates_of_one_key:
        "One key with two certificates, which two co-signers of the trust file would take",
        "Each public key counts once", "too-few-signatures cosignature-duplicate-key",
        |s| {
            let good = needed(s);
            s.trust.signatures = 3;
            let trust = s.trust.cosigners[0].trust.clone();
            s.trust.cosigners.push(Cosigner { name: "second.toml".to_owned(), trust });
            second_certificate(s);
            let second = cosignature(s, &text(s, 42));
            given(s, &[good, second])
        };
    a_cosigners_second_key:
        "A co-signer's authority makes a second key, to count for two",
        "Each entry of `cosigners` counts once", "too-few-signatures cosignature-duplicate-cosigner",
        |s| {
            let good = needed(s);
            s.trust.signatures = 3;
            s.cosigner = Holder::new(s.cosigner.params.clone(), Some(&s.cosigner_root));
            let second = cosignature(s, &text(s, 42));
            given(s, &[good, second])
        };
    a_changed_cosignature:
        "The digest in a co-signature is changed",
        "A co-signature is signed as a feed is", "too-few-signatures digest-mismatch",
        |s| { let good = needed(s); given(s, &[good.replace("serial=\"42\"", "serial=\"43\"")]) };
    an_unsigned_cosignature:
        "A co-signature without a signature",
        "A co-signature is signed as a feed is", "too-few-signatures not-signed",
        |s| { needed(s); let text = text(s, 42); given(s, &[text]) };
    a_feed_as_a_cosignature:
        "A feed of the co-signer's own in place of a co-signature",
        "The root is `Cosignature`", "too-few-signatures cosignature-malformed",
        |s| { needed(s); let feed = cosignature(s, &s.document.clone()); given(s, &[feed]) };
    a_flood_of_cosignatures:
        "Thousands of co-signatures, each of which would be tried",
        "At most 16 are looked at", "too-few-signatures too-many-cosignatures",
        |s| { needed(s); given(s, &vec!["<x/>".to_owned(); 10_000]) };
}
