//! Signatures that are made elsewhere, here by openssl.
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

use common::{days, feed_with, have, judge, now, rsa, run, subscriber};
use stopgap_publish::folder::Wishes;
use stopgap_publish::handover::{assemble, prepare};
use stopgap_publish::release;
use tempfile::TempDir;

/// A folder without a signing key, which is in another one.
fn apart() -> (TempDir, TempDir) {
    let dir = feed_with(&["PING1", "M1"], &Wishes::default());
    let vault = tempfile::tempdir().unwrap();
    fs::rename(dir.path().join("signing.key.pem"), vault.path().join("key.pem")).unwrap();
    (dir, vault)
}

#[test]
fn openssl_signs_with_p256_and_the_release_is_as_any_other() {
    if !have("openssl", "openssl_signs_with_p256_and_the_release_is_as_any_other") {
        return;
    }
    let (dir, vault) = apart();
    let octets = vault.path().join("F.tosign");
    let waiting = prepare(dir.path(), &octets, false, now()).unwrap();
    assert_eq!((waiting.serial, waiting.digest), (1, "sha256"));
    let shown = run(vault.path(), "openssl", &["dgst", "-sha256", "F.tosign"]);
    assert!(shown.contains(&waiting.sha256), "what two people compare: {shown}");
    assert!(!dir.path().join("public/feed.xml").exists(), "nothing is out yet");
    run(vault.path(), "openssl", &["dgst", "-sha256", "-sign", "key.pem", "-out", "F.sig", "F.tosign"]);
    let published = assemble(dir.path(), &vault.path().join("F.sig"), now()).unwrap();
    assert_eq!(published.serial, 1);
    let verified = judge(dir.path(), &subscriber(dir.path()), now()).unwrap();
    assert_eq!(verified.document().mitigations.len(), 2);
    let again = assemble(dir.path(), &vault.path().join("F.sig"), now()).unwrap_err();
    assert_eq!(again.code(), "nothing-waits");

    // A renewal in the same way, its signature in base64.
    let waiting = prepare(dir.path(), &octets, true, days(3)).unwrap();
    assert_eq!(waiting.serial, 2);
    run(vault.path(), "openssl", &["dgst", "-sha256", "-sign", "key.pem", "-out", "F.sig", "F.tosign"]);
    run(vault.path(), "openssl", &["base64", "-in", "F.sig", "-out", "F.b64"]);
    assemble(dir.path(), &vault.path().join("F.b64"), days(3)).unwrap();
    assert_eq!(judge(dir.path(), &subscriber(dir.path()), days(3)).unwrap().document().serial, Some(2));
}

#[test]
fn openssl_signs_with_rsa() {
    if !have("openssl", "openssl_signs_with_rsa") {
        return;
    }
    let (dir, vault) = apart();
    let rsa = rsa();
    for (file, text) in [("chain.pem", &rsa.chain), ("root.pem", &rsa.root)] {
        fs::write(dir.path().join(file), text).unwrap();
    }
    let trust = "roots = [\"root.pem\"]\neku = [\"1.3.6.1.5.5.7.3.3\", \"1.3.6.1.4.1.32473.83.1\"]\nrevocation = \"off\"\n";
    fs::write(dir.path().join("trust.toml"), trust).unwrap();
    fs::write(vault.path().join("key.pem"), &rsa.key).unwrap();
    prepare(dir.path(), &vault.path().join("F.tosign"), false, now()).unwrap();
    run(vault.path(), "openssl", &["dgst", "-sha256", "-sign", "key.pem", "-out", "F.sig", "F.tosign"]);
    assemble(dir.path(), &vault.path().join("F.sig"), now()).unwrap();
    let signed = fs::read(dir.path().join("public/feed.xml")).unwrap();
    rsa.verify(&signed).unwrap();
}

#[test]
fn another_signature_a_stale_one_and_an_overtaken_one_are_refused() {
    if !have("openssl", "another_signature_a_stale_one_and_an_overtaken_one_are_refused") {
        return;
    }
    let (dir, vault) = apart();
    let (octets, signature) = (vault.path().join("F.tosign"), vault.path().join("F.sig"));
    assert_eq!(assemble(dir.path(), &signature, now()).unwrap_err().code(), "nothing-waits");
    prepare(dir.path(), &octets, false, now()).unwrap();
    assert_eq!(assemble(dir.path(), &signature, now()).unwrap_err().code(), "no-signature");
    // Of other octets, by another key, and none at all.
    let sign = |key: &str, file: &str| {
        run(vault.path(), "openssl", &["dgst", "-sha256", "-sign", key, "-out", "F.sig", file]);
    };
    fs::write(vault.path().join("other"), "other octets").unwrap();
    sign("key.pem", "other");
    assert_eq!(assemble(dir.path(), &signature, now()).unwrap_err().code(), "other-signature");
    run(
        vault.path(),
        "openssl",
        &["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "thief.pem"],
    );
    sign("thief.pem", "F.tosign");
    assert_eq!(assemble(dir.path(), &signature, now()).unwrap_err().code(), "other-signature");
    fs::write(&signature, "").unwrap();
    assert_eq!(assemble(dir.path(), &signature, now()).unwrap_err().code(), "other-signature");
    assert!(!dir.path().join("public/feed.xml").exists());

    sign("key.pem", "F.tosign");
    assert_eq!(assemble(dir.path(), &signature, days(15)).unwrap_err().code(), "stale");
    // Another release came in between.
    fs::copy(vault.path().join("key.pem"), dir.path().join("signing.key.pem")).unwrap();
    release::publish(dir.path(), now()).unwrap();
    assert_eq!(assemble(dir.path(), &signature, now()).unwrap_err().code(), "overtaken");
}
