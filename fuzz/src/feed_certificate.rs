//! Whatever a certificate or a revocation list holds, it is refused or judged; one that was changed and not
//! signed anew never counts, and of one that an authority did sign, the path builder and this project's own
//! reading say the same.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use stopgap_feed::certificate::{Facts, Oid};
use stopgap_feed::chain::{ChainError, Requirements, verify_path};
use stopgap_feed::{
    MAX_DISTRIBUTION_POINT_BYTES, MAX_DISTRIBUTION_POINTS, Presented, Revocation, RevocationMode,
    distribution_points,
};

use crate::asn1::Value;
use crate::fixtures::{self, EKU, INTERMEDIATE, Key, LEAF, NOW, REVOKED, ROOT, certificate};
use crate::{Dice, memory};

const ANY_USAGE: Oid = Oid::new_unwrap("2.5.29.37.0");

pub fn feed_certificate(data: &[u8]) {
    let (first, rest) = data.split_first().unwrap_or((&0, &[]));
    let dice = &mut Dice::new(rest);
    match first {
        0 => a_leaf_that_was_issued(dice),
        1 => an_authority_that_was_issued(dice),
        2 => a_leaf_in_a_document(dice),
        3 => a_list_that_was_issued(dice),
        4 => {
            let mut list = tree(REVOKED);
            changed(&mut list, dice);
            a_list_that_was_changed(&list.write());
        }
        5 => {
            let mut leaf = tree(LEAF);
            changed(&mut leaf, dice);
            a_certificate_that_was_changed(&leaf.write(), dice.roll(3));
        }
        _ => match data.len() % 4 {
            3 => a_list_that_was_changed(data),
            place => a_certificate_that_was_changed(data, place),
        },
    }
}

fn judge(
    leaf: &[u8],
    intermediates: &[&[u8]],
    root: &[u8],
    revocation: &Revocation,
) -> Result<Facts, ChainError> {
    let roots = [certificate(root)];
    let intermediates: Vec<_> = intermediates.iter().map(|der| certificate(der)).collect();
    let requirements = Requirements { roots: &roots, eku: &[EKU], at: NOW, revocation };
    let octets = leaf.len() + root.len() + intermediates.iter().map(|der| der.len()).sum::<usize>();
    let judged = memory::bounded(octets, || verify_path(&certificate(leaf), &intermediates, &requirements));
    if let Err(error) = &judged {
        assert!(!error.to_string().is_empty() && !error.code().is_empty());
    }
    judged
}

/// Somebody without a key: what holds says what the authority signed.
fn a_certificate_that_was_changed(der: &[u8], place: usize) {
    let off = Revocation::off();
    match place {
        0 => {
            if let Ok(facts) = judge(der, &[], INTERMEDIATE, &off) {
                assert_eq!(Some(facts), Facts::read(&certificate(LEAF)), "a forged leaf");
            }
        }
        1 => {
            if judge(LEAF, &[der], ROOT, &off).is_ok() {
                let facts = Facts::read(&certificate(der));
                assert_eq!(facts, Facts::read(&certificate(INTERMEDIATE)), "a forged authority");
            }
        }
        // The operator's own root may be anything, and brings nothing down.
        _ => drop(judge(LEAF, &[INTERMEDIATE], der, &off)),
    }
}

/// A list that names the leaf: no change of it makes the leaf good.
fn a_list_that_was_changed(der: &[u8]) {
    let crls = vec![der.to_vec().into()];
    let revocation = Revocation { mode: RevocationMode::Require, crls };
    assert!(
        judge(LEAF, &[], INTERMEDIATE, &revocation).is_err(),
        "a changed list says that the leaf is good"
    );
}

/// The authority signs whatever it is given.
fn a_leaf_that_was_issued(dice: &mut Dice) {
    let leaf = issued(LEAF, intermediate_key(), dice);
    let Ok(facts) = judge(&leaf, &[], INTERMEDIATE, &Revocation::off()) else { return };
    holds_now(&facts);
    assert!(facts.eku.contains(&EKU) && !facts.ca && facts.digital_signature != Some(false), "{facts:?}");
    assert_eq!(facts.issuer, "CN=Example Issuing CA");
}

fn an_authority_that_was_issued(dice: &mut Dice) {
    let authority = issued(INTERMEDIATE, root_key(), dice);
    if judge(LEAF, &[&authority], ROOT, &Revocation::off()).is_err() {
        return;
    }
    let facts = Facts::read(&certificate(&authority)).expect("an authority that nobody can read holds");
    holds_now(&facts);
    assert!(facts.ca && facts.key_cert_sign != Some(false), "{facts:?}");
    assert!(facts.eku.is_empty() || facts.eku.contains(&EKU) || facts.eku.contains(&ANY_USAGE), "{facts:?}");
    assert_eq!((facts.subject.as_str(), facts.issuer.as_str()), ("CN=Example Issuing CA", "CN=Example Root"));
}

/// KeyInfo is not signed: the same document with another certificate of the signer's key.
fn a_leaf_in_a_document(dice: &mut Dice) {
    let leaf = issued(LEAF, intermediate_key(), dice);
    // A document takes its time, and refuses what this refuses.
    if judge(&leaf, &[], INTERMEDIATE, &Revocation::off()).is_err() {
        return;
    }
    let document = document().replace(LEAF_MARK, &BASE64.encode(leaf));
    let presented = Presented { feed: document.as_bytes(), cosignatures: &[] };
    let points = memory::bounded(document.len(), || distribution_points(fixtures::trust(), &presented, NOW));
    let Ok(points) = points else { return };
    assert!(points.len() <= MAX_DISTRIBUTION_POINTS);
    for point in points {
        assert!(point.len() <= MAX_DISTRIBUTION_POINT_BYTES && point.bytes().all(|b| b.is_ascii_graphic()));
        let scheme = point.split_once("://").map(|(scheme, _)| scheme.to_ascii_lowercase());
        assert!(matches!(scheme.as_deref(), Some("http" | "https")), "{point}");
    }
}

fn a_list_that_was_issued(dice: &mut Dice) {
    let list = issued(REVOKED, intermediate_key(), dice);
    let mode = [RevocationMode::Require, RevocationMode::Prefer][dice.roll(2)];
    let revocation = Revocation { mode, crls: vec![list.into()] };
    let _ = judge(LEAF, &[], INTERMEDIATE, &revocation);
}

/// The validity as this project reads it is the one that the path builder judged.
fn holds_now(facts: &Facts) {
    assert!(facts.not_before <= NOW && NOW <= facts.not_after, "{facts:?}");
}

fn changed(value: &mut Value, dice: &mut Dice) {
    (0..=dice.roll(4)).for_each(|_| value.change(dice));
}

/// A changed `to be signed` part, signed.
fn issued(template: &[u8], key: &Key, dice: &mut Dice) -> Vec<u8> {
    let mut whole = tree(template);
    let signed = whole.at(&[0]).expect("a certificate has parts");
    changed(signed, dice);
    let octets = signed.write();
    let signature = [&[0], key.sign(&octets).as_slice()].concat();
    *whole.at(&[2]).expect("a certificate has a signature") = Value::octets(3, &signature);
    whole.write()
}

fn tree(der: &[u8]) -> Value {
    Value::read(der).expect("the fixtures are DER")
}

fn root_key() -> &'static Key {
    static KEY: OnceLock<Key> = OnceLock::new();
    KEY.get_or_init(|| Key::read(fixtures::ROOT_KEY))
}

fn intermediate_key() -> &'static Key {
    static KEY: OnceLock<Key> = OnceLock::new();
    KEY.get_or_init(|| Key::read(fixtures::INTERMEDIATE_KEY))
}

const LEAF_MARK: &str = "LEAF";

/// The signed document with a mark where its leaf was.
fn document() -> &'static str {
    static DOCUMENT: OnceLock<String> = OnceLock::new();
    DOCUMENT.get_or_init(|| {
        let text = std::str::from_utf8(fixtures::EXCLUSIVE).expect("text");
        text.replace(&BASE64.encode(LEAF), LEAF_MARK)
    })
}
