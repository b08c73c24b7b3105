//! What looks like an attack and is none: a reader that refused it would take the channel down.

use rcgen::ExtendedKeyUsagePurpose;
use stopgap_feed::document::ActionType;

use crate::common::simulator::{Holder, Simulator};
use crate::cosigning;

fn trusted(simulator: &Simulator, octets: &[u8]) {
    if let Err(refusal) = simulator.judge(octets) {
        panic!("refused: {refusal}");
    }
}

#[test]
fn a_byte_order_mark_and_other_line_ends_are_the_same_document() {
    let s = Simulator::new();
    let signed = s.sign();
    trusted(&s, &[&[0xEF, 0xBB, 0xBF], signed.as_bytes()].concat());
    trusted(&s, signed.replace('\n', "\r\n").as_bytes());
    trusted(&s, signed.replace('\n', "\r").as_bytes());
    trusted(&s, (signed + "\n<!-- a mirror was here -->\n").as_bytes());
}

#[test]
fn a_new_root_reaches_old_servers_by_its_cross_certificate() {
    let mut s = Simulator::new();
    let old_root = s.root.clone();
    let new_root = Holder::root("Example Root 2");
    let cross = Holder::of_key(new_root.params.clone(), new_root.key.clone(), Some(&old_root));
    s.root = new_root;
    s.reissue_intermediate(|_| {});
    let without = s.sign();
    s.chain = Some(vec![s.leaf.der.clone(), s.intermediate.der.clone(), cross.der]);
    let with = s.sign();
    // The trust file still has the old root.
    assert_eq!(s.judge(without.as_bytes()).unwrap_err().code(), "unknown-root");
    trusted(&s, with.as_bytes());
    // And a server that has the new one takes the same document.
    s.trusting("");
    trusted(&s, with.as_bytes());
    trusted(&s, without.as_bytes());
}

#[test]
fn every_certificate_of_the_signers_key_is_tried() {
    let mut s = Simulator::new();
    let unfit = s.leaf.reissued(&s.intermediate, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
    });
    for order in [[&unfit, &s.leaf.clone()], [&s.leaf.clone(), &unfit]] {
        s.chain = Some(vec![order[0].der.clone(), s.intermediate.der.clone(), order[1].der.clone()]);
        trusted(&s, s.sign().as_bytes());
    }
    s.chain = Some(vec![unfit.der, s.intermediate.der.clone()]);
    assert_eq!(s.judge(s.sign().as_bytes()).unwrap_err().code(), "wrong-eku");
}

#[test]
fn a_damaged_or_foreign_list_takes_nothing_from_a_good_one() {
    use stopgap_feed::{Revocation, RevocationMode};
    let mut s = Simulator::new();
    let (good, stale) = (s.intermediate.crl(&[], 2030), s.intermediate.crl(&[], 2026));
    let crls = [b"no list".to_vec(), stale, good, s.tsa_root.crl(&[77], 2030)];
    s.revocation = Revocation { mode: RevocationMode::Require, crls: crls.map(Into::into).to_vec() };
    trusted(&s, s.sign().as_bytes());
}

#[test]
fn a_bad_cosignature_takes_nothing_from_a_good_one() {
    let mut s = Simulator::new();
    s.trusting("signatures = 2\ncosigners = [\"cosigner.toml\"]");
    let text = cosigning::text(&s, 42);
    let good = cosigning::cosignature(&s, &text).into_bytes();
    s.cosignatures = vec![b"no document".to_vec(), good];
    let feed = s.judge(s.sign().as_bytes()).unwrap();
    assert_eq!(feed.cosigners().len(), 1);
    assert_eq!(feed.cosignature_errors().len(), 1);
}

#[test]
fn a_cosignature_can_be_asked_for_some_actions_alone() {
    let mut s = Simulator::new();
    s.trusting(
        "allow = [\"UrlRewrite\", \"Service\", \"AppPool\"]\ncosigned = [\"Service\", \"AppPool\"]\n\
         cosigners = [\"cosigner.toml\"]",
    );
    let feed = s.judge(s.sign().as_bytes()).unwrap();
    assert_eq!(s.trust.allowed_in(&feed), [ActionType::UrlRewrite]);
    let text = cosigning::text(&s, 42);
    s.cosignatures = vec![cosigning::cosignature(&s, &text).into_bytes()];
    let feed = s.judge(s.sign().as_bytes()).unwrap();
    assert_eq!(s.trust.allowed_in(&feed), [ActionType::UrlRewrite, ActionType::Service, ActionType::AppPool]);
}

#[test]
fn the_clock_may_step_back_within_the_tolerance() {
    let mut s = Simulator::new();
    s.last_seen = s.judge(s.sign().as_bytes()).unwrap().last_seen();
    s.now = "2026-11-22T02:55:00Z".parse().unwrap();
    trusted(&s, s.sign().as_bytes());
}
