//! Two persons for one release: a stolen key publishes nothing, and what the second one signs is an ordinary signature.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may panic, and says what it skips"
)]

mod common;

use std::fs;
use std::path::Path;

use common::{Identity, days, ec, feed_with, have, now, rsa, run, subscriber};
use stopgap_feed::cosignature::beside;
use stopgap_feed::{Presented, Refusal, Revocation, Trust, TrustFile, VerifiedFeed, verify_presented};
use stopgap_publish::cosign::{CosignError, before_cosigning, cosign, place, refuse_own_key};
use stopgap_publish::folder::Wishes;
use stopgap_publish::key::FileKey;
use stopgap_publish::release;
use stopgap_publish::sign::Chain;

/// A subscriber of the folder who asks for the second person's signature as well.
fn two_persons(dir: &Path, second: &Identity) -> Trust {
    let root = second.root.replace('\n', "\\n");
    let cosigner = format!(
        "roots = [\"{root}\"]\neku = [\"1.3.6.1.5.5.7.3.3\", \"1.3.6.1.4.1.32473.83.1\"]\nrevocation = \"off\"\n"
    );
    let mut file: TrustFile = toml::from_str(&fs::read_to_string(dir.join("trust.toml")).unwrap()).unwrap();
    (file.signatures, file.cosigners) = (2, vec!["second.toml".to_owned()]);
    let read = |name: &str| {
        if name == "second.toml" { Ok(cosigner.clone().into_bytes()) } else { fs::read(dir.join(name)) }
    };
    file.load_with(read).unwrap()
}

/// The document and what stands beside it, as an agent finds it.
fn found(dir: &Path, trust: &Trust) -> Result<VerifiedFeed, Refusal> {
    let feed = fs::read(dir.join("public/feed.xml")).unwrap();
    let files = (1..=16).map(|number| dir.join("public").join(beside("feed.xml", number)));
    let cosignatures: Vec<Vec<u8>> = files.map_while(|file| fs::read(file).ok()).collect();
    let presented = Presented { feed: &feed, cosignatures: &cosignatures };
    verify_presented(trust, &presented, None, &Revocation::off(), now())
}

/// The second person looks at the feed and signs.
fn second_signs(dir: &Path, trust: &Trust, second: &Identity) -> Vec<u8> {
    let feed = fs::read(dir.join("public/feed.xml")).unwrap();
    let trust = before_cosigning(trust.clone());
    let verified = stopgap_feed::verify(&trust, &feed, None, &Revocation::off(), now()).unwrap();
    let key = FileKey::from_pem(second.key.as_bytes()).unwrap();
    refuse_own_key(&feed, &key).unwrap();
    cosign(&verified, &key, &Chain::from_pem(second.chain.as_bytes()).unwrap()).unwrap()
}

#[test]
fn one_stolen_key_publishes_nothing_and_two_persons_do() {
    let second = ec();
    let dir = feed_with(&["PING1"], &Wishes::default());
    let trust = two_persons(dir.path(), &second);
    // Whoever holds the publisher's machine has its key, its authorities' keys, and can release.
    release::publish(dir.path(), now()).unwrap();
    assert_eq!(found(dir.path(), &trust).unwrap_err().code(), "too-few-signatures");
    // With its own authority it can make as many signers as it likes.
    let feed = fs::read(dir.path().join("public/feed.xml")).unwrap();
    let alone =
        stopgap_feed::verify(&subscriber(dir.path()), &feed, None, &Revocation::off(), now()).unwrap();
    let thief = FileKey::from_pem(&fs::read(dir.path().join("signing.key.pem")).unwrap()).unwrap();
    assert!(matches!(refuse_own_key(&feed, &thief), Err(CosignError::OwnKey)));
    let chain = Chain::from_pem(&fs::read(dir.path().join("chain.pem")).unwrap()).unwrap();
    let forged =
        place(&dir.path().join("public/feed.xml"), &cosign(&alone, &thief, &chain).unwrap()).unwrap();
    assert_eq!(found(dir.path(), &trust).unwrap_err().code(), "too-few-signatures");
    fs::remove_file(forged).unwrap();
    // The second key alone is no publisher either: it signs no feed that anybody takes.
    let by_second = second.verify(&feed).unwrap_err();
    assert_eq!(by_second.code(), "unknown-root");

    let cosignature = second_signs(dir.path(), &trust, &second);
    let placed = place(&dir.path().join("public/feed.xml"), &cosignature).unwrap();
    assert_eq!(placed.file_name().unwrap(), "feed.xml.cosignature-1.xml");
    assert_eq!(found(dir.path(), &trust).unwrap().cosigners().len(), 1);
}

#[test]
fn a_new_release_never_stands_beside_the_old_ones_co_signature() {
    let second = ec();
    let dir = feed_with(&["PING1"], &Wishes::default());
    let trust = two_persons(dir.path(), &second);
    release::publish(dir.path(), now()).unwrap();
    let feed = dir.path().join("public/feed.xml");
    let old = second_signs(dir.path(), &trust, &second);
    place(&feed, &old).unwrap();
    place(&feed, b"no co-signature at all").unwrap();
    release::renew(dir.path(), &mut stopgap_publish::key::nobody_to_ask, now()).unwrap();
    let beside: Vec<String> = names(&dir.path().join("public"));
    assert_eq!(beside, ["feed.xml"]);
    let kept = names(&dir.path().join("retired/cosignatures"));
    assert_eq!(kept, ["0-2.xml", "1-1.xml"], "they are the record of who said what");
    assert_eq!(fs::read(dir.path().join("retired/cosignatures/1-1.xml")).unwrap(), old);
    assert_eq!(found(dir.path(), &trust).unwrap_err().code(), "too-few-signatures");
}

#[test]
fn a_co_signature_that_was_made_ahead_stays() {
    // The second person signs the very octets before they are out: an unsigned copy, signed by somebody they trust.
    let second = ec();
    let dir = feed_with(&["PING1"], &Wishes::default());
    let trust = two_persons(dir.path(), &second);
    let draft = release::draft(dir.path(), now()).unwrap();
    let chain = fs::read(dir.path().join("chain.pem")).unwrap();
    let key = fs::read(dir.path().join("signing.key.pem")).unwrap();
    let form = stopgap_publish::sign::DEFAULT_CANONICALIZATION;
    let ahead = stopgap_publish::sign::feed_with_pem(draft.unsigned.as_bytes(), &key, &chain, form).unwrap();
    let verified =
        stopgap_feed::verify(&before_cosigning(trust.clone()), &ahead, None, &Revocation::off(), now())
            .unwrap();
    let second_key = FileKey::from_pem(second.key.as_bytes()).unwrap();
    let said = cosign(&verified, &second_key, &Chain::from_pem(second.chain.as_bytes()).unwrap()).unwrap();
    place(&dir.path().join("public/feed.xml"), &said).unwrap();
    release::publish(dir.path(), now()).unwrap();
    assert_eq!(found(dir.path(), &trust).unwrap().cosigners().len(), 1);
}

#[test]
fn sixteen_names_are_free_and_no_more() {
    let dir = tempfile::tempdir().unwrap();
    let feed = dir.path().join("feed.xml");
    for number in 1..=16 {
        let placed = place(&feed, b"x").unwrap();
        assert_eq!(placed.file_name().unwrap().to_string_lossy(), beside("feed.xml", number));
    }
    assert_eq!(place(&feed, b"x").unwrap_err().code(), "too-many-cosignatures");
    assert_eq!(names(dir.path()).len(), 16, "nothing is left over");
}

#[test]
fn xmlsec1_verifies_a_co_signature_and_refuses_a_changed_digest() {
    if !have("xmlsec1", "xmlsec1_verifies_a_co_signature_and_refuses_a_changed_digest") {
        return;
    }
    let dir = feed_with(&["PING1"], &Wishes::default());
    release::publish(dir.path(), now()).unwrap();
    for second in [ec(), rsa()] {
        let trust = two_persons(dir.path(), &second);
        let said = String::from_utf8(second_signs(dir.path(), &trust, &second)).unwrap();
        fs::write(dir.path().join("second.pem"), &second.root).unwrap();
        fs::write(dir.path().join("said.xml"), &said).unwrap();
        let at = days(1).strftime("%Y-%m-%d %H:%M:%S").to_string();
        let verify = [
            "--verify",
            "--enabled-key-data",
            "x509",
            "--verification-time",
            &at,
            "--trusted-pem",
            "second.pem",
        ];
        run(dir.path(), "xmlsec1", &[&verify[..], &["said.xml"]].concat());
        let digest = &said.split("sha256=\"").nth(1).unwrap()[..64];
        fs::write(dir.path().join("changed.xml"), said.replace(digest, &"0".repeat(64))).unwrap();
        let refused = std::process::Command::new("xmlsec1")
            .args(verify)
            .arg("changed.xml")
            .current_dir(dir.path())
            .output()
            .unwrap();
        assert!(!refused.status.success(), "{}", second.name);
    }
}

fn names(dir: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}
