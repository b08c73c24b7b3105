//! A small feed, its publisher's certificates and keys, and trust in them. `fixtures/` is written by a test of
//! stopgap-feed (tests/fuzz_fixtures.rs), which also sees that all of it is good.

use std::sync::OnceLock;

use jiff::Timestamp;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};
use rustls_pki_types::CertificateDer;
use stopgap_feed::certificate::Oid;
use stopgap_feed::{Cosigner, FreshnessMode, Limits, RevocationMode, Trust};

macro_rules! fixtures {
    ($($name:ident = $file:literal;)*) => {
        $(pub const $name: &[u8] = include_bytes!(concat!("../fixtures/", $file));)*
    };
}

fixtures! {
    ROOT = "root.der";
    INTERMEDIATE = "intermediate.der";
    LEAF = "leaf.der";
    TSA_ROOT = "tsa-root.der";
    COSIGNER_ROOT = "cosigner-root.der";
    ROOT_KEY = "root.key.der";
    INTERMEDIATE_KEY = "intermediate.key.der";
    TSA_KEY = "tsa.key.der";
    EXCLUSIVE = "exclusive.xml";
    INCLUSIVE = "inclusive.xml";
    STAMPED = "stamped.xml";
    COSIGNATURE = "cosignature.xml";
    TOKEN = "token.der";
    TOKEN_VALUE = "token.value";
    REVOKED = "revoked.crl";
}

/// Of every signature's certificate.
pub const EKU: Oid = Oid::new_unwrap("1.3.6.1.4.1.55555.1.1");

/// The time of every judgment: 2026-11-22T06:00:00Z.
pub const NOW: Timestamp = Timestamp::constant(1_795_327_200, 0);

pub fn certificate(octets: &[u8]) -> CertificateDer<'static> {
    octets.to_vec().into()
}

fn trust_in(roots: &[&[u8]]) -> Trust {
    Trust {
        feed: None,
        roots: roots.iter().map(|root| certificate(root)).collect(),
        issuers: Vec::new(),
        signer: None,
        eku: vec![EKU],
        timestamp_roots: vec![certificate(TSA_ROOT)],
        revocation: RevocationMode::Off,
        crls: Vec::new(),
        freshness: FreshnessMode::Required,
        signatures: 1,
        cosigners: Vec::new(),
        allow: Vec::new(),
        cosigned: Vec::new(),
        clock_tolerance_seconds: 300,
        limits: Limits::default(),
    }
}

/// Trust in the publisher, its authority of timestamps, and one co-signer.
pub fn trust() -> &'static Trust {
    static TRUST: OnceLock<Trust> = OnceLock::new();
    TRUST.get_or_init(|| Trust {
        cosigners: vec![Cosigner { name: "cosigner".to_owned(), trust: trust_in(&[COSIGNER_ROOT]) }],
        ..trust_in(&[ROOT])
    })
}

/// ECDSA with P-256 and SHA-256, as certificates have it.
pub struct Key(EcdsaKeyPair, SystemRandom);

impl Key {
    pub fn read(pkcs8: &[u8]) -> Key {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8, &random);
        Key(key.expect("the key is one"), random)
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.0.sign(&self.1, message).expect("signing").as_ref().to_vec()
    }
}
