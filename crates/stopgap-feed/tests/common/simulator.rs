//! A publisher and a reader that can be changed in every part: document, certificates, keys, lists,
//! timestamp, co-signatures, trust, memory and clock. Each attack starts from the same one, in which
//! everything is as it should be.

use std::rc::Rc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};
use rustls_pki_types::CertificateDer;
use stopgap_feed::c14n::Canonicalization;
use stopgap_feed::dsig::{Digest, SignatureMethod};
use stopgap_feed::{
    LastSeen, Presented, Refusal, Revocation, RevocationMode, Trust, TrustFile, VerifiedFeed,
    verify_presented,
};

use super::FEED;
use super::pki::{EKU, ca, crl, leaf_params, named, raw_signature, sign_with};
use super::token;

/// A certificate with its key: a root, an intermediate or a signer.
#[derive(Clone)]
pub struct Holder {
    pub params: CertificateParams,
    pub key: Rc<KeyPair>,
    pub der: CertificateDer<'static>,
}

impl Holder {
    /// Of a new key; `issuer` is `None` for a root.
    pub fn new(params: CertificateParams, issuer: Option<&Holder>) -> Self {
        Self::of_key(params, Rc::new(KeyPair::generate().unwrap()), issuer)
    }

    pub fn of_key(params: CertificateParams, key: Rc<KeyPair>, issuer: Option<&Holder>) -> Self {
        let certificate = match issuer {
            None => params.self_signed(&*key),
            Some(issuer) => params.signed_by(&*key, &Issuer::from_params(&issuer.params, &*issuer.key)),
        };
        let der = certificate.unwrap().der().clone();
        Self { params, key, der }
    }

    pub fn root(name: &str) -> Self {
        Self::new(ca(name, 2040), None)
    }

    /// A revocation list of this authority, until a year.
    pub fn crl(&self, serials: &[u64], year: i32) -> Vec<u8> {
        crl(&Issuer::from_params(&self.params, &*self.key), serials, year)
    }

    /// The same key and the same issuer's name, with other parameters.
    pub fn reissued(&self, issuer: &Holder, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = self.params.clone();
        change(&mut params);
        Self::of_key(params, self.key.clone(), Some(issuer))
    }
}

/// See the module's documentation.
pub struct Simulator {
    pub document: String,
    pub root: Holder,
    pub intermediate: Holder,
    pub leaf: Holder,
    /// What KeyInfo brings; `None`: leaf and intermediate.
    pub chain: Option<Vec<CertificateDer<'static>>>,
    pub form: Canonicalization,
    pub method: SignatureMethod,
    pub digest: Digest,
    /// The authority of timestamps, and its signer.
    pub tsa_root: Holder,
    pub tsa: Holder,
    pub cosigner_root: Holder,
    pub cosigner: Holder,
    pub cosignatures: Vec<Vec<u8>>,
    pub trust: Trust,
    pub revocation: Revocation,
    pub last_seen: Option<LastSeen>,
    pub now: Timestamp,
}

/// When a simulator's reader looks.
pub const NOW: &str = "2026-11-22T06:00:00Z";

impl Simulator {
    pub fn new() -> Self {
        let root = Holder::root("Example Root");
        let intermediate = Holder::new(ca("Example Issuing CA", 2030), Some(&root));
        let leaf = Holder::new(leaf_params(), Some(&intermediate));
        let tsa_root = Holder::root("Example Time Root");
        let mut params = named("Example Time");
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::TimeStamping];
        (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2036, 1, 1));
        let tsa = Holder::new(params, Some(&tsa_root));
        let cosigner_root = Holder::root("Organization Root");
        let mut params = leaf_params();
        params.distinguished_name = named("Organization Security").distinguished_name;
        let cosigner = Holder::new(params, Some(&cosigner_root));
        let trust = trust(&root, &tsa_root, &cosigner_root, "");
        Self {
            document: FEED.to_owned(),
            root,
            intermediate,
            leaf,
            chain: None,
            form: Canonicalization::Exclusive,
            method: SignatureMethod::EcdsaSha256,
            digest: Digest::Sha256,
            tsa_root,
            tsa,
            cosigner_root,
            cosigner,
            cosignatures: Vec::new(),
            trust,
            revocation: Revocation { mode: RevocationMode::Prefer, crls: Vec::new() },
            last_seen: None,
            now: NOW.parse().unwrap(),
        }
    }

    /// Other words in the trust file.
    pub fn trusting(&mut self, more: &str) {
        self.trust = trust(&self.root, &self.tsa_root, &self.cosigner_root, more);
    }

    /// The signed document.
    pub fn sign(&self) -> String {
        self.sign_as(&self.document, &self.leaf)
    }

    /// `document`, signed by `signer` with this simulator's algorithms and chain.
    pub fn sign_as(&self, document: &str, signer: &Holder) -> String {
        let chain =
            self.chain.clone().unwrap_or_else(|| vec![signer.der.clone(), self.intermediate.der.clone()]);
        let info: String = chain
            .iter()
            .map(|der| format!("<X509Certificate>{}</X509Certificate>", BASE64.encode(der)))
            .collect();
        let key = signer.key.serialize_der();
        sign_with(document, self.form, self.method, self.digest, &info, |octets| {
            raw_signature(self.method, &key, octets)
        })
    }

    /// The signed document with a timestamp at `time`.
    pub fn sign_stamped(&self, time: &str) -> String {
        let signed = self.sign();
        self.stamp(&signed, between(&signed, "<SignatureValue>", "</SignatureValue>"), time)
    }

    /// `signed` with a timestamp over `value` (Base64).
    pub fn stamp(&self, signed: &str, value: &str, time: &str) -> String {
        let octets = BASE64.decode(value).unwrap();
        let token = token::make(&self.tsa, &octets, time);
        let object = format!(
            "<Object Id=\"ts-countersig\"><CounterSignature xmlns=\"{}\">{}</CounterSignature></Object></Signature>",
            stopgap_feed::dsig::TIMESTAMP_NAMESPACE,
            BASE64.encode(token)
        );
        signed.replacen("</Signature>", &object, 1)
    }

    /// What the reader says.
    pub fn judge(&self, bytes: &[u8]) -> Result<VerifiedFeed, Refusal> {
        let presented = Presented { feed: bytes, cosignatures: &self.cosignatures };
        verify_presented(&self.trust, &presented, self.last_seen.as_ref(), &self.revocation, self.now)
    }

    /// New parameters of the intermediate, and a leaf of the same key under it.
    pub fn reissue_intermediate(&mut self, change: impl FnOnce(&mut CertificateParams)) {
        self.intermediate = self.intermediate.reissued(&self.root, change);
        self.reissue_leaf(|_| {});
    }

    pub fn reissue_leaf(&mut self, change: impl FnOnce(&mut CertificateParams)) {
        self.leaf = self.leaf.reissued(&self.intermediate, change);
    }
}

/// The text between two marks.
pub fn between<'a>(text: &'a str, start: &str, end: &str) -> &'a str {
    let from = text.find(start).unwrap() + start.len();
    &text[from..from + text[from..].find(end).unwrap()]
}

pub fn authority(name: &str, path_length: Option<u8>) -> CertificateParams {
    let mut params = ca(name, 2030);
    if let Some(length) = path_length {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(length));
    }
    params
}

fn pem(holder: &Holder) -> String {
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", BASE64.encode(&holder.der))
}

/// A trust file of these roots. `cosigner.toml` is the organization's.
pub fn trust(root: &Holder, tsa: &Holder, cosigner: &Holder, more: &str) -> Trust {
    let text = format!(
        "roots = ['''{}''']\nissuers = [\"Example Issuing CA\"]\neku = [\"{EKU}\"]\ntimestamp_roots = ['''{}''']\n{more}",
        pem(root),
        pem(tsa)
    );
    let file: TrustFile = toml::from_str(&text).unwrap();
    let of_cosigner = format!("roots = ['''{}''']\neku = [\"{EKU}\"]\n", pem(cosigner));
    let trust = file
        .load_with(|name| match name {
            "cosigner.toml" => Ok(of_cosigner.clone().into_bytes()),
            other => Err(std::io::Error::other(format!("no file is read: {other}"))),
        })
        .unwrap();
    trust.for_feed("example".parse().unwrap())
}
