//! Certificates that do not fit, each in one way.

use rcgen::{
    BasicConstraints, CustomExtension, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair,
    KeyUsagePurpose, NameConstraints, SanType, date_time_ymd,
};
use std::rc::Rc;
use stopgap_feed::{Revocation, RevocationMode};

use crate::common::pki::{RSA_2048, ca, leaf_params, named};
use crate::common::simulator::{Holder, Simulator, authority};

fn signed(simulator: &Simulator) -> Vec<u8> {
    simulator.sign().into_bytes()
}

/// `not_after` of a certificate that ended before the reader looks.
fn ended(params: &mut rcgen::CertificateParams) {
    (params.not_before, params.not_after) = (date_time_ymd(2025, 1, 1), date_time_ymd(2026, 6, 1));
}

fn lists(simulator: &mut Simulator, mode: RevocationMode, lists: &[Vec<u8>]) -> Vec<u8> {
    let crls = lists.iter().map(|der| der.clone().into()).collect();
    simulator.revocation = Revocation { mode, crls };
    signed(simulator)
}

/// A leaf whose issuer's RSA signature names another digest.
fn leaf_by(simulator: &mut Simulator, last_of_oid: u8) -> Vec<u8> {
    let key = Rc::new(KeyPair::from_pem(RSA_2048).unwrap());
    let params = simulator.intermediate.params.clone();
    simulator.intermediate = Holder::of_key(params, key, Some(&simulator.root));
    simulator.reissue_leaf(|_| {});
    let sha256_with_rsa = [0x2A, 0x86, 0x48, 0x86, 0xF7, 0x0D, 0x01, 0x01, 0x0B];
    let mut der = simulator.leaf.der.to_vec();
    let places: Vec<usize> =
        (0..der.len() - 9).filter(|at| der[*at..].starts_with(&sha256_with_rsa)).collect();
    assert_eq!(places.len(), 2);
    for at in places {
        der[at + 8] = last_of_oid;
    }
    simulator.leaf.der = der.into();
    signed(simulator)
}

attacks! {
    another_root:
        "A chain that is right in everything, to a root of the same name",
        "A path ends in a configured root's key", "unknown-root",
        |s| {
            s.root = Holder::root("Example Root");
            s.reissue_intermediate(|_| {});
            signed(s)
        };
    a_missing_intermediate:
        "The intermediate is left out",
        "A path must reach a configured root", "unknown-root",
        |s| { s.chain = Some(vec![s.leaf.der.clone()]); signed(s) };
    an_expired_leaf:
        "The key of a certificate that has expired",
        "Validity, at the timestamp's time or now", "expired-certificate",
        |s| { s.reissue_leaf(ended); signed(s) };
    an_expired_intermediate:
        "An intermediate that has expired",
        "Validity of the whole path", "expired-certificate",
        |s| { s.reissue_intermediate(ended); signed(s) };
    a_leaf_of_the_future:
        "A certificate that is not valid yet",
        "Validity, at the timestamp's time or now", "not-yet-valid-certificate",
        |s| { s.reissue_leaf(|p| p.not_before = date_time_ymd(2026, 12, 1)); signed(s) };
    a_revoked_leaf:
        "A stolen key whose certificate was revoked",
        "Revocation lists, in every mode but `off`", "revoked-certificate",
        |s| { let list = s.intermediate.crl(&[77], 2030); lists(s, RevocationMode::Prefer, &[list]) };
    a_revoked_intermediate:
        "An intermediate that was revoked",
        "Revocation lists of every authority in the path", "revoked-certificate",
        |s| {
            s.reissue_intermediate(|p| p.serial_number = Some(5u64.into()));
            let list = s.root.crl(&[5], 2030);
            lists(s, RevocationMode::Prefer, &[list])
        };
    no_revocation_list:
        "The list that would say `revoked` is held back",
        "`revocation = \"require\"`", "crl-missing",
        |s| lists(s, RevocationMode::Require, &[]);
    an_old_revocation_list:
        "A list from before the theft is replayed",
        "A list's end counts", "crl-expired",
        |s| { let list = s.intermediate.crl(&[], 2026); lists(s, RevocationMode::Require, &[list]) };
    a_forged_revocation_list:
        "A list of the issuer's name, signed by the attacker",
        "A list's signature counts", "crl-forged",
        |s| { let list = Simulator::new().intermediate.crl(&[], 2030); lists(s, RevocationMode::Require, &[list]) };
    a_revocation_list_of_another_authority:
        "A valid list of another authority",
        "A list speaks for its issuer alone", "crl-other-issuer",
        |s| { let list = s.tsa_root.crl(&[], 2030); lists(s, RevocationMode::Require, &[list]) };
    a_broken_revocation_list:
        "Octets that are no list",
        "What cannot be read says nothing", "crl-unreadable",
        |s| lists(s, RevocationMode::Require, &[b"not a list".to_vec()]);
    a_huge_revocation_list:
        "A list of more octets than are read",
        "A limit before anything is read", "crl-too-large",
        |s| lists(s, RevocationMode::Require, &[vec![0x30; stopgap_feed::chain::MAX_CRL_BYTES + 1]]);
    a_leaf_for_another_purpose:
        "A certificate of the same authority for code",
        "Every configured extended key usage, on the leaf", "wrong-eku",
        |s| { s.reissue_leaf(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning]); signed(s) };
    a_leaf_for_any_purpose:
        "A certificate for any purpose (anyExtendedKeyUsage)",
        "Every configured extended key usage, by name", "wrong-eku",
        |s| { s.reissue_leaf(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]); signed(s) };
    the_purpose_on_the_authority_only:
        "The usage stands on the intermediate, not on the leaf",
        "A CA's usage limits and gives nothing", "wrong-eku",
        |s| {
            let usages = s.leaf.params.extended_key_usages.clone();
            s.reissue_intermediate(|p| p.extended_key_usages = usages);
            s.reissue_leaf(|p| p.extended_key_usages.clear());
            signed(s)
        };
    an_authority_for_another_purpose:
        "The intermediate is limited to other usages",
        "A CA's usage limits what is below", "wrong-eku",
        |s| { s.reissue_intermediate(|p| p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]); signed(s) };
    another_issuer:
        "A certificate of another intermediate of the same root",
        "`issuers`", "wrong-issuer",
        |s| {
            s.intermediate = Holder::new(ca("Example Other CA", 2030), Some(&s.root));
            s.reissue_leaf(|_| {});
            signed(s)
        };
    another_signer:
        "A certificate of the same intermediate for somebody else",
        "`signer`", "wrong-signer",
        |s| {
            s.trusting("signer = \"Example Feed Signing\"");
            s.reissue_leaf(|p| p.distinguished_name = named("Somebody Else").distinguished_name);
            signed(s)
        };
    a_leaf_that_issues:
        "A customer's certificate is used as an authority",
        "Every issuer is a CA by its basic constraints", "issuer-is-not-ca",
        |s| {
            s.trust.issuers.clear();
            s.reissue_intermediate(|p| p.is_ca = IsCa::ExplicitNoCa);
            signed(s)
        };
    an_authority_without_keycertsign:
        "The intermediate's key may not sign certificates",
        "`keyCertSign` of every CA that states its usage", "wrong-issuer-key-usage",
        |s| { s.reissue_intermediate(|p| p.key_usages = vec![KeyUsagePurpose::CrlSign]); signed(s) };
    a_leaf_that_may_not_sign:
        "The leaf's key is for key agreement",
        "`digitalSignature` of a leaf that states its usage", "wrong-key-usage",
        |s| { s.reissue_leaf(|p| p.key_usages = vec![KeyUsagePurpose::KeyAgreement]); signed(s) };
    an_authority_as_the_signer:
        "An authority signs the document itself",
        "The signer is an end entity", "signer-is-ca",
        |s| { s.reissue_leaf(|p| p.is_ca = IsCa::Ca(BasicConstraints::Unconstrained)); signed(s) };
    a_path_that_is_too_long:
        "An intermediate that may have none below it has one",
        "Path length of every authority", "path-too-long",
        |s| {
            let upper = Holder::new(authority("Example Upper CA", Some(0)), Some(&s.root));
            s.intermediate = Holder::new(ca("Example Issuing CA", 2030), Some(&upper));
            s.reissue_leaf(|_| {});
            s.chain = Some(vec![s.leaf.der.clone(), s.intermediate.der.clone(), upper.der.clone()]);
            signed(s)
        };
    a_name_outside_the_constraints:
        "An authority that is limited to its own names gives out others",
        "Name constraints of every authority", "name-constraint",
        |s| {
            s.reissue_intermediate(|p| p.name_constraints = Some(NameConstraints {
                permitted_subtrees: vec![GeneralSubtree::DnsName("inside.example".to_owned())],
                excluded_subtrees: Vec::new(),
            }));
            s.reissue_leaf(|p| p.subject_alt_names = vec![SanType::DnsName("outside.test".try_into().unwrap())]);
            signed(s)
        };
    an_unknown_critical_extension:
        "A critical extension that the reader does not know and must not ignore",
        "RFC 5280, section 4.2", "unknown-critical-extension",
        |s| {
            s.reissue_leaf(|p| {
                let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
                extension.set_criticality(true);
                p.custom_extensions = vec![extension];
            });
            signed(s)
        };
    an_unknown_critical_extension_of_an_authority:
        "The same in the intermediate",
        "RFC 5280, section 4.2", "unknown-critical-extension",
        |s| {
            s.reissue_intermediate(|p| {
                let mut extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
                extension.set_criticality(true);
                p.custom_extensions = vec![extension];
            });
            signed(s)
        };
    a_certificate_by_sha1:
        "A certificate that is signed with SHA-1",
        "SHA-256 and longer in every certificate", "unsupported-certificate-algorithm",
        |s| leaf_by(s, 0x05);
    a_certificate_by_md5:
        "A certificate that is signed with MD5",
        "SHA-256 and longer in every certificate", "unsupported-certificate-algorithm",
        |s| leaf_by(s, 0x04);
    octets_that_are_no_certificate:
        "A certificate with a changed octet",
        "Signatures of the whole path", "unknown-root",
        |s| {
            let mut der = s.leaf.der.to_vec();
            let last = der.len() - 1;
            der[last] ^= 1;
            s.leaf.der = der.into();
            signed(s)
        };
    cross_organization_replay:
        "A document that another organization under the same root signed",
        "`signer` and `issuers`, or the feed's name", "wrong-feed",
        |s| {
            s.leaf = Holder::new(leaf_params(), Some(&s.intermediate));
            s.document = s.document.replace("feed=\"example\"", "feed=\"other\"");
            signed(s)
        };
}
