//! Keys and certificates change: under a passphrase, revoked, replaced. Openssl reads what is written.
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

use common::{days, feed_with, have, judge, now, run, subscriber};
use stopgap_feed::RevocationMode;
use stopgap_publish::folder::{Address, Wishes};
use stopgap_publish::key::{Passphrase, nobody_to_ask};
use stopgap_publish::pki::Reason;
use stopgap_publish::revoke::{renew_lists, revoke};
use stopgap_publish::rotate::{Part, rotate};
use stopgap_publish::{card, release};
use tempfile::TempDir;

const URL: &str = "https://feed.example.org/feed.xml";

/// A feed with revocation lists, released.
fn released() -> TempDir {
    let address = Address { url: URL.to_owned(), contact: None };
    let dir = feed_with(&["PING1"], &Wishes { address, lists: true, ..Wishes::default() });
    release::publish(dir.path(), now()).unwrap();
    dir
}

fn code<T, E: std::fmt::Debug>(result: Result<T, E>, code: impl Fn(&E) -> &'static str) -> &'static str {
    code(&result.err().unwrap())
}

/// Each list in the clear, by its issuer's common name.
fn lists(dir: &Path) -> Vec<(String, String)> {
    let mut lists: Vec<(String, String)> = fs::read_dir(dir.join("public/crl"))
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let text = run(
                dir,
                "openssl",
                &["crl", "-inform", "DER", "-noout", "-text", "-in", path.to_str().unwrap()],
            );
            let issuer = text.lines().find(|line| line.contains("Issuer:")).unwrap();
            (issuer.rsplit("CN = ").next().unwrap().to_owned(), text)
        })
        .collect();
    lists.sort();
    lists
}

#[test]
fn certificates_name_the_place_of_their_list_and_openssl_checks_the_lists() {
    if !have("openssl", "certificates_name_the_place_of_their_list_and_openssl_checks_the_lists") {
        return;
    }
    let dir = released();
    let trust = subscriber(dir.path());
    assert_eq!(trust.revocation, RevocationMode::Prefer);
    let certificates =
        [("signing", "chain.pem", "intermediate.pem"), ("intermediate", "intermediate.pem", "root.pem")];
    for (what, certificate, issuer) in certificates {
        let text = run(dir.path(), "openssl", &["x509", "-noout", "-text", "-in", certificate]);
        let place =
            text.lines().find_map(|line| line.trim().strip_prefix("URI:https://feed.example.org/")).unwrap();
        run(
            dir.path(),
            "openssl",
            &["crl", "-inform", "DER", "-noout", "-CAfile", issuer, "-in", &format!("public/{place}")],
        );
        println!("{what}: {place}");
    }
    for (issuer, list) in lists(dir.path()) {
        assert!(list.contains("No Revoked Certificates"), "{issuer}: {list}");
    }
}

#[test]
fn a_revoked_signer_is_refused_by_subscribers_and_can_release_no_more() {
    let dir = released();
    let trust = subscriber(dir.path());
    judge(dir.path(), &trust, now()).unwrap();
    let chain = dir.path().join("chain.pem").to_str().unwrap().to_owned();
    let revoked = revoke(dir.path(), &chain, Reason::KeyCompromise, &mut nobody_to_ask, now()).unwrap();
    assert!(revoked.names_list && revoked.in_use && revoked.subject.contains("Feed Signing"), "{revoked:?}");
    assert_eq!(judge(dir.path(), &trust, now()).unwrap_err().code(), "revoked-certificate");
    assert_eq!(code(release::publish(dir.path(), now()), |e| e.code()), "revoked-certificate");
    let again = revoke(dir.path(), &revoked.serial, Reason::KeyCompromise, &mut nobody_to_ask, now());
    assert_eq!(code(again, |e| e.code()), "already-revoked");

    rotate(dir.path(), Part::Leaf, &mut nobody_to_ask, now()).unwrap();
    release::publish(dir.path(), now()).unwrap();
    assert_eq!(judge(dir.path(), &trust, now()).unwrap().document().serial, Some(2));
}

#[test]
fn openssl_reads_who_was_revoked_and_why_and_the_numbers_grow() {
    if !have("openssl", "openssl_reads_who_was_revoked_and_why_and_the_numbers_grow") {
        return;
    }
    let dir = released();
    let rotated = rotate(dir.path(), Part::Leaf, &mut nobody_to_ask, now()).unwrap();
    let spelled = rotated
        .replaced
        .to_uppercase()
        .as_bytes()
        .chunks(2)
        .map(|pair| String::from_utf8_lossy(pair).into_owned())
        .collect::<Vec<_>>()
        .join(":");
    let revoked = revoke(dir.path(), &spelled, Reason::Superseded, &mut nobody_to_ask, now()).unwrap();
    assert!(!revoked.in_use);
    let intermediate =
        revoke(dir.path(), "intermediate.pem", Reason::CaCompromise, &mut nobody_to_ask, now());
    assert_eq!(code(intermediate, |e| e.code()), "unknown-certificate", "a path is the caller's");
    let file = dir.path().join("intermediate.pem");
    revoke(dir.path(), file.to_str().unwrap(), Reason::CaCompromise, &mut nobody_to_ask, now()).unwrap();
    let root = dir.path().join("root.pem");
    let root = revoke(dir.path(), root.to_str().unwrap(), Reason::CaCompromise, &mut nobody_to_ask, now());
    assert_eq!(code(root, |e| e.code()), "root-certificate");

    let [(_, feed_ca), (_, root)] = lists(dir.path()).try_into().unwrap();
    assert!(
        feed_ca.contains(&rotated.replaced.to_uppercase()) && feed_ca.contains("Superseded"),
        "{feed_ca}"
    );
    assert!(root.contains("CA Compromise"), "{root}");
    let number = |text: &str| -> u64 {
        let at = text.lines().position(|line| line.contains("X509v3 CRL Number")).unwrap();
        text.lines().nth(at + 1).unwrap().trim().parse().unwrap()
    };
    assert_eq!((number(&feed_ca), number(&root)), (3, 4), "two first lists, and one for each revocation");
}

#[test]
fn lists_are_made_again_before_they_end_and_a_key_that_is_away_is_told() {
    let dir = released();
    let renewed = renew_lists(dir.path(), &mut nobody_to_ask, days(10)).unwrap();
    assert_eq!(
        (renewed.written.len(), renewed.missed.len()),
        (0, 0),
        "none is in the second half of its time"
    );
    let renewed = renew_lists(dir.path(), &mut nobody_to_ask, days(40)).unwrap();
    assert_eq!(renewed.written.len(), 1, "the intermediate's");
    fs::rename(dir.path().join("root.key.pem"), dir.path().join("far-away")).unwrap();
    let renewed = renew_lists(dir.path(), &mut nobody_to_ask, days(300)).unwrap();
    assert_eq!((renewed.written.len(), renewed.missed.len()), (1, 1));
    assert!(renewed.missed[0].contains("root.key.pem is not there"), "{:?}", renewed.missed);
    // Even the strictest subscriber goes on.
    let strict = stopgap_feed::Trust { revocation: RevocationMode::Require, ..subscriber(dir.path()) };
    release::publish(dir.path(), days(300)).unwrap();
    judge(dir.path(), &strict, days(301)).unwrap();
}

#[test]
fn a_list_that_was_lost_or_lacks_what_was_revoked_is_made_again() {
    let dir = released();
    let trust = subscriber(dir.path());
    let lists = dir.path().join("public/crl");
    let before: Vec<_> = fs::read_dir(&lists)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    let chain = dir.path().join("chain.pem").to_str().unwrap().to_owned();
    let again = || revoke(dir.path(), &chain, Reason::KeyCompromise, &mut nobody_to_ask, now());
    again().unwrap();
    // The web folder comes back from a backup, with the lists of yesterday.
    let restore = || before.iter().for_each(|(path, octets)| fs::write(path, octets).unwrap());
    let refused = || judge(dir.path(), &trust, now()).err().map(|refusal| refusal.code());
    restore();
    assert_eq!(refused(), None);
    assert_eq!(renew_lists(dir.path(), &mut nobody_to_ask, now()).unwrap().written.len(), 1);
    assert_eq!(refused(), Some("revoked-certificate"));
    restore();
    assert!(again().unwrap().in_use, "the same command mends it, too");
    assert_eq!(refused(), Some("revoked-certificate"));
    // Or without any.
    fs::remove_dir_all(&lists).unwrap();
    assert_eq!(renew_lists(dir.path(), &mut nobody_to_ask, now()).unwrap().written.len(), 2);
    assert_eq!(refused(), Some("revoked-certificate"));
    assert_eq!(code(again(), |e| e.code()), "already-revoked");
    // A feed that never had lists gets none.
    let without = feed_with(&["PING1"], &Wishes::default());
    let renewed = renew_lists(without.path(), &mut nobody_to_ask, now()).unwrap();
    assert_eq!((renewed.written.len(), renewed.missed.len()), (0, 0));
}

#[test]
fn a_key_that_does_not_open_keeps_no_other_list_from_being_made() {
    let passphrase = Passphrase::new(b"correct horse battery".to_vec()).unwrap();
    let address = Address { url: URL.to_owned(), contact: None };
    let wishes = Wishes { address, lists: true, protect: Some(&passphrase), ..Wishes::default() };
    let dir = feed_with(&["PING1"], &wishes);
    let root = dir.path().join("root.key.pem");
    let mut ask = |path: &Path| {
        let given: &[u8] = if path == root { b"another one" } else { b"correct horse battery" };
        Ok(Passphrase::new(given.to_vec()).unwrap())
    };
    let renewed = renew_lists(dir.path(), &mut ask, days(200)).unwrap();
    assert_eq!((renewed.written.len(), renewed.missed.len()), (1, 1));
    assert!(
        renewed.missed[0].contains("Stopgap Root") && renewed.missed[0].contains("does not open"),
        "{renewed:?}"
    );
}

#[test]
fn a_feed_that_began_without_an_address_says_that_nobody_hears_and_can_get_lists_later() {
    let dir = feed_with(&["PING1"], &Wishes::default());
    release::publish(dir.path(), now()).unwrap();
    let chain = dir.path().join("chain.pem").to_str().unwrap().to_owned();
    let revoked = revoke(dir.path(), &chain, Reason::KeyCompromise, &mut nobody_to_ask, now()).unwrap();
    assert!(!revoked.names_list);

    let trust = dir.path().join("trust.toml");
    let text = fs::read_to_string(&trust).unwrap();
    fs::write(&trust, text.replace("revocation = \"off\"", "revocation = \"prefer\"")).unwrap();
    card::make(dir.path(), card::Changes { url: Some(URL.to_owned()), ..card::Changes::default() }).unwrap();
    rotate(dir.path(), Part::Intermediate, &mut nobody_to_ask, now()).unwrap();
    release::renew(dir.path(), &mut nobody_to_ask, now()).unwrap();
    renew_lists(dir.path(), &mut nobody_to_ask, now()).unwrap();
    let strict = stopgap_feed::Trust { revocation: RevocationMode::Require, ..subscriber(dir.path()) };
    judge(dir.path(), &strict, now()).unwrap();
    let revoked = revoke(dir.path(), &chain, Reason::KeyCompromise, &mut nobody_to_ask, now()).unwrap();
    assert!(revoked.names_list);
    assert_eq!(judge(dir.path(), &strict, now()).unwrap_err().code(), "revoked-certificate");
}

#[test]
fn a_new_intermediate_needs_nothing_of_subscribers_and_the_old_one_can_be_revoked() {
    let dir = released();
    let trust = subscriber(dir.path());
    let stolen = fs::read(dir.path().join("public/feed.xml")).unwrap();
    let old = fs::read_to_string(dir.path().join("intermediate.pem")).unwrap();
    rotate(dir.path(), Part::Intermediate, &mut nobody_to_ask, now()).unwrap();
    fs::write(dir.path().join("old.pem"), old).unwrap();
    let old = dir.path().join("old.pem");
    revoke(dir.path(), old.to_str().unwrap(), Reason::CaCompromise, &mut nobody_to_ask, now()).unwrap();
    release::publish(dir.path(), now()).unwrap();
    judge(dir.path(), &trust, now()).unwrap();
    fs::write(dir.path().join("public/feed.xml"), stolen).unwrap();
    assert_eq!(judge(dir.path(), &trust, now()).unwrap_err().code(), "revoked-certificate");
}

#[test]
fn who_has_the_old_root_alone_trusts_the_next_releases_until_the_stated_date() {
    let dir = released();
    let (before, old_card) = (subscriber(dir.path()), fs::read(dir.path().join("card.toml")).unwrap());
    let until = Some(days(100));
    let rotated = rotate(dir.path(), Part::Root { until }, &mut nobody_to_ask, now()).unwrap();
    assert_eq!(rotated.crossed_until, until);
    assert_ne!(fs::read(dir.path().join("card.toml")).unwrap(), old_card);
    let after = subscriber(dir.path());
    assert_ne!(before.roots, after.roots);
    release::publish(dir.path(), now()).unwrap();
    for trust in [&before, &after] {
        judge(dir.path(), trust, now()).unwrap();
    }
    // The signature carries the way to the old root, and so a release is as old a root's as a new one's.
    let released = String::from_utf8(fs::read(dir.path().join("public/feed.xml")).unwrap()).unwrap();
    assert_eq!(released.matches("<X509Certificate>").count(), 3);

    // The last day on which a release fits before the stated date, and the first on which none does.
    release::publish(dir.path(), days(86)).unwrap();
    judge(dir.path(), &before, days(86)).unwrap();
    release::publish(dir.path(), days(87)).unwrap();
    judge(dir.path(), &after, days(87)).unwrap();
    assert_eq!(judge(dir.path(), &before, days(87)).unwrap_err().code(), "unknown-root");

    // And again, but not while somebody may know the first root alone. The second new one has a name of its own, too.
    let early = rotate(dir.path(), Part::Root { until: None }, &mut nobody_to_ask, days(88));
    assert_eq!(code(early, |e| e.code()), "still-crossed");
    let never = rotate(dir.path(), Part::Root { until: Some(now()) }, &mut nobody_to_ask, days(101));
    assert_eq!(code(never, |e| e.code()), "bad-until");
    rotate(dir.path(), Part::Root { until: None }, &mut nobody_to_ask, days(101)).unwrap();
    release::publish(dir.path(), days(101)).unwrap();
    for trust in [&after, &subscriber(dir.path())] {
        judge(dir.path(), trust, days(101)).unwrap();
    }
}

#[test]
fn openssl_follows_the_cross_certificate_to_the_old_root() {
    if !have("openssl", "openssl_follows_the_cross_certificate_to_the_old_root") {
        return;
    }
    let dir = released();
    fs::copy(dir.path().join("root.pem"), dir.path().join("old-root.pem")).unwrap();
    rotate(dir.path(), Part::Root { until: None }, &mut nobody_to_ask, now()).unwrap();
    let at = days(1).as_second().to_string();
    let verify = ["verify", "-attime", &at, "-purpose", "any", "-untrusted", "chain.pem"];
    run(dir.path(), "openssl", &[&verify[..], &["-CAfile", "root.pem", "chain.pem"]].concat());
    let crossed = ["-untrusted", "cross.pem", "-CAfile", "old-root.pem", "chain.pem"];
    run(dir.path(), "openssl", &[&verify[..], &crossed].concat());
}

#[test]
fn protected_keys_release_rotate_and_are_read_by_openssl() {
    if !have("openssl", "protected_keys_release_rotate_and_are_read_by_openssl") {
        return;
    }
    let passphrase = Passphrase::new(b"correct horse battery".to_vec()).unwrap();
    let dir = feed_with(&["PING1"], &Wishes { protect: Some(&passphrase), ..Wishes::default() });
    assert_eq!(code(release::publish(dir.path(), now()), |e| e.code()), "key-unreadable");
    let mut ask = |_: &Path| Ok(passphrase.clone());
    release::publish_asking(dir.path(), &mut ask, now()).unwrap();
    rotate(dir.path(), Part::Intermediate, &mut ask, now()).unwrap();
    release::publish_asking(dir.path(), &mut ask, now()).unwrap();
    judge(dir.path(), &subscriber(dir.path()), now()).unwrap();
    fs::write(dir.path().join("passphrase"), "correct horse battery\n").unwrap();
    for (key, certificate) in [
        ("root.key.pem", "root.pem"),
        ("intermediate.key.pem", "intermediate.pem"),
        ("signing.key.pem", "chain.pem"),
    ] {
        let text = fs::read_to_string(dir.path().join(key)).unwrap();
        assert!(text.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----"), "{key}: {text}");
        let public =
            run(dir.path(), "openssl", &["pkey", "-in", key, "-passin", "file:passphrase", "-pubout"]);
        assert_eq!(public, run(dir.path(), "openssl", &["x509", "-in", certificate, "-noout", "-pubkey"]));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = fs::metadata(dir.path().join(key)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{key}");
        }
    }
}

#[test]
fn keys_that_openssl_protects_are_read() {
    if !have("openssl", "keys_that_openssl_protects_are_read") {
        return;
    }
    let dir = feed_with(&["PING1"], &Wishes::default());
    fs::write(dir.path().join("passphrase"), "from openssl\n").unwrap();
    let key = dir.path().join("signing.key.pem");
    let clear = fs::read(&key).unwrap();
    for how in
        [&["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA256"][..], &["-v2", "aes-128-cbc"], &["-scrypt"]]
    {
        fs::write(dir.path().join("clear.pem"), &clear).unwrap();
        let convert =
            ["pkcs8", "-topk8", "-in", "clear.pem", "-out", "signing.key.pem", "-passout", "file:passphrase"];
        run(dir.path(), "openssl", &[&convert[..], how].concat());
        let mut ask = |path: &Path| {
            assert_eq!(path, key);
            Ok(Passphrase::new(b"from openssl".to_vec()).unwrap())
        };
        release::publish_asking(dir.path(), &mut ask, now())
            .unwrap_or_else(|error| panic!("{how:?}: {error}"));
    }
}
