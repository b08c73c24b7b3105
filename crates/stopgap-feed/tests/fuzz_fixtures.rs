//! The signed documents, certificates and keys that `fuzz/` begins with: they must be good, or every
//! mutation of them is refused for the same reason. `UPDATE_FUZZ_FIXTURES=1` makes them anew, with new
//! keys, which are nobody's but the fuzzer's.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)] // tests, and helpers of tests

mod common;

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::CrlDistributionPoint;
use stopgap_feed::c14n::Canonicalization;
use stopgap_feed::{Presented, Revocation, RevocationMode, Trust, TrustFile, distribution_points};
use stopgap_feed::{verify, verify_presented};

use common::pki::EKU;
use common::simulator::{NOW, Simulator, between};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/fixtures")
}

fn read(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Small: a document without what a fuzzer would only copy about.
const DOCUMENT: &str = r#"<EOCS version="2.0" feed="example" serial="42" issued="2026-11-22T03:00:00Z" expires="2026-12-06T03:00:00Z">
 <Config id="M1" desc="a&lt;b"><Applicability><Product name="a" versions="dotted"><Range below="2"/></Product></Applicability>
 <ActionList><Action id="M1.1" type="UrlRewrite" scope="Site"><rewrite><rules><rule name="a"/></rules></rewrite></Action></ActionList>
 <Probes><Request expect="blocked">GET /a HTTP/1.1</Request></Probes></Config>
 <Withdrawn id="M0" reason="&#9;"/>
</EOCS>
"#;

fn make() {
    let mut s = Simulator::new();
    s.document = DOCUMENT.to_owned();
    let at = |uri: &str| vec![CrlDistributionPoint { uris: vec![uri.to_owned()] }];
    s.reissue_intermediate(|p| {
        p.crl_distribution_points = at("http://crl.test/root.crl");
        p.serial_number = Some(78u64.into());
    });
    s.reissue_leaf(|p| p.crl_distribution_points = at("http://crl.test/ca.crl"));
    let write = |name: &str, octets: &[u8]| std::fs::write(folder().join(name), octets).unwrap();
    std::fs::create_dir_all(folder()).unwrap();
    for (name, holder) in [
        ("root", &s.root),
        ("intermediate", &s.intermediate),
        ("leaf", &s.leaf),
        ("tsa-root", &s.tsa_root),
        ("tsa", &s.tsa),
        ("cosigner-root", &s.cosigner_root),
    ] {
        write(&format!("{name}.der"), &holder.der);
    }
    for (name, holder) in [("root", &s.root), ("intermediate", &s.intermediate), ("tsa", &s.tsa)] {
        write(&format!("{name}.key.der"), &holder.key.serialize_der());
    }
    write("revoked.crl", &s.intermediate.crl(&[77], 2030));
    write("good.crl", &s.intermediate.crl(&[], 2030));

    write("exclusive.xml", s.sign().as_bytes());
    let stamped = s.sign_stamped("2026-05-01T00:00:00Z");
    write("stamped.xml", stamped.as_bytes());
    let token = between(&stamped, "timestamp/2003\">", "</CounterSignature>");
    write("token.der", &BASE64.decode(token).unwrap());
    let value = between(&stamped, "<SignatureValue>", "</SignatureValue>");
    write("token.value", &BASE64.decode(value).unwrap());
    s.form = Canonicalization::Inclusive;
    let inclusive = s.sign();
    write("inclusive.xml", inclusive.as_bytes());
    let sha256 = s.judge(inclusive.as_bytes()).unwrap().sha256().to_owned();
    let text = format!("<Cosignature feed=\"example\" serial=\"42\" sha256=\"{sha256}\"></Cosignature>");
    write("cosignature.xml", s.sign_as(&text, &s.cosigner).as_bytes());
}

/// What the fuzz targets trust, put together from the same files.
fn trust() -> Trust {
    let text = format!(
        "roots = [\"root.der\"]\nissuers = [\"Example Issuing CA\"]\neku = [\"{EKU}\"]\n\
         timestamp_roots = [\"tsa-root.der\"]\ncosigners = [\"cosigner.toml\"]"
    );
    let cosigner = format!("roots = [\"cosigner-root.der\"]\neku = [\"{EKU}\"]");
    let file: TrustFile = toml::from_str(&text).unwrap();
    let trust = file.load_with(|name| match name {
        "cosigner.toml" => Ok(cosigner.clone().into_bytes()),
        other => Ok(read(other)),
    });
    trust.unwrap().for_feed("example".parse().unwrap())
}

#[test]
fn what_the_fuzzer_begins_with_is_good() {
    if std::env::var_os("UPDATE_FUZZ_FIXTURES").is_some() {
        make();
    }
    let (trust, now) = (trust(), NOW.parse().unwrap());
    let mut digests = Vec::new();
    for name in ["exclusive.xml", "inclusive.xml", "stamped.xml"] {
        let cosignatures = [read("cosignature.xml")];
        let presented = Presented { feed: &read(name), cosignatures: &cosignatures };
        let feed = verify_presented(&trust, &presented, None, &Revocation::off(), now)
            .unwrap_or_else(|refusal| panic!("{name}: {refusal}"));
        assert_eq!((feed.cosigners().len(), feed.timestamp_error()), (1, None), "{name}");
        assert_eq!(feed.document().mitigations[0].unsupported, [""; 0], "{name}");
        digests.push(feed.sha256().to_owned());
        let points = distribution_points(&trust, &presented, now).unwrap();
        assert_eq!(points, ["http://crl.test/ca.crl", "http://crl.test/root.crl"], "{name}");
    }
    digests.dedup();
    assert_eq!(digests.len(), 1, "three spellings of one document");
    for (list, expected) in [("good.crl", None), ("revoked.crl", Some("revoked-certificate"))] {
        let revocation = Revocation { mode: RevocationMode::Require, crls: vec![read(list).into()] };
        let refusal = verify(&trust, &read("exclusive.xml"), None, &revocation, now).err();
        assert_eq!(refusal.map(|refusal| refusal.code()), expected, "{list}");
    }
}
