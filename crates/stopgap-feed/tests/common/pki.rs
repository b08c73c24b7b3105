//! A publisher's PKI (root, intermediate, signer) and a small signer. The real signer is another
//! crate's; this one only has to make what the reader must accept, and what it must not.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    date_time_ymd,
};
use ring::rand::SystemRandom;
use ring::signature;
use stopgap_feed::c14n::{Canonicalization, canonicalize};
use stopgap_feed::dsig::{Digest, SignatureMethod};
use stopgap_feed::limits::Limits;
use stopgap_feed::scan::scan;
use stopgap_feed::{Trust, TrustFile};

/// The extended key usage of the tests' feeds.
pub const EKU: &str = "1.3.6.1.4.1.55555.1.1";
const EKU_ARCS: &[u64] = &[1, 3, 6, 1, 4, 1, 55555, 1, 1];

pub const RSA_2048: &str = include_str!("../fixtures/rsa-2048.pem");

pub struct Pki {
    pub root: Certificate,
    pub intermediate: Certificate,
    pub leaf: Certificate,
    root_params: CertificateParams,
    root_key: KeyPair,
    intermediate_params: CertificateParams,
    intermediate_key: KeyPair,
    key: KeyPair,
}

/// The signer's certificate as it should be; tests change it.
pub fn leaf_params() -> CertificateParams {
    let mut params = named("Example Feed Signing");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Other(EKU_ARCS.to_vec())];
    params.not_before = date_time_ymd(2026, 1, 1);
    params.not_after = date_time_ymd(2027, 1, 1);
    params.serial_number = Some(SerialNumber::from(77u64));
    params
}

pub fn named(common_name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, common_name);
    params
}

pub fn ca(common_name: &str, until: i32) -> CertificateParams {
    let mut params = named(common_name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    params
}

impl Pki {
    pub fn new() -> Self {
        Self::with(leaf_params(), KeyPair::generate().unwrap())
    }

    /// A PKI whose signer has these parameters and this key.
    pub fn with(leaf: CertificateParams, key: KeyPair) -> Self {
        Self::with_intermediate(ca("Example Issuing CA", 2030), leaf, key)
    }

    pub fn with_limited_intermediate() -> Self {
        let mut params = ca("Example Issuing CA", 2030);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::CodeSigning];
        Self::with_intermediate(params, leaf_params(), KeyPair::generate().unwrap())
    }

    fn with_intermediate(
        intermediate_params: CertificateParams,
        leaf: CertificateParams,
        key: KeyPair,
    ) -> Self {
        // The root ran out long ago: an anchor's validity is not judged.
        let root_params = ca("Example Root", 2021);
        let (root_key, intermediate_key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let root = root_params.self_signed(&root_key).unwrap();
        let issuer = Issuer::from_params(&root_params, &root_key);
        let intermediate = intermediate_params.signed_by(&intermediate_key, &issuer).unwrap();
        let issuer = Issuer::from_params(&intermediate_params, &intermediate_key);
        let leaf = leaf.signed_by(&key, &issuer).unwrap();
        Self { root, intermediate, leaf, root_params, root_key, intermediate_params, intermediate_key, key }
    }

    /// Trust in this PKI's root, with what else a trust file may say.
    pub fn trust(&self, more: &str) -> Trust {
        let text = format!(
            "roots = ['''{}''']\nissuers = [\"Example Issuing CA\"]\neku = [\"{EKU}\"]\n{more}",
            self.root.pem()
        );
        let file: TrustFile = toml::from_str(&text).unwrap();
        file.load_with(|name| Err(std::io::Error::other(format!("no file is read: {name}")))).unwrap()
    }

    /// A revocation list of the intermediate (DER), until `year`.
    pub fn crl(&self, revoked: &[u64], year: i32) -> Vec<u8> {
        let issuer = Issuer::from_params(&self.intermediate_params, &self.intermediate_key);
        crl(&issuer, revoked, year)
    }

    /// A revocation list of the root (DER) that names the intermediate.
    pub fn root_crl(&self) -> Vec<u8> {
        let serial = der::Decode::from_der(self.intermediate.der().as_ref())
            .map(|c: x509_cert::Certificate| c.tbs_certificate().serial_number().as_bytes().to_vec())
            .unwrap();
        let issuer = Issuer::from_params(&self.root_params, &self.root_key);
        let mut params = crl_params(2030);
        params.revoked_certs.push(revoked(SerialNumber::from(serial)));
        params.signed_by(&issuer).unwrap().der().to_vec()
    }

    /// Signs with leaf and intermediate in KeyInfo.
    pub fn sign(&self, document: &str, form: Canonicalization) -> String {
        self.sign_as(document, form, SignatureMethod::EcdsaSha256, Digest::Sha256)
    }

    pub fn sign_as(
        &self,
        document: &str,
        form: Canonicalization,
        method: SignatureMethod,
        digest: Digest,
    ) -> String {
        let certificates = [self.leaf.der().to_vec(), self.intermediate.der().to_vec()];
        let info = certificates
            .map(|der| format!("<X509Certificate>{}</X509Certificate>", BASE64.encode(der)))
            .concat();
        let key = self.key.serialize_der();
        sign_with(document, form, method, digest, &info, |octets| raw_signature(method, &key, octets))
    }
}

fn crl_params(year: i32) -> CertificateRevocationListParams {
    CertificateRevocationListParams {
        this_update: date_time_ymd(2025, 1, 1),
        next_update: date_time_ymd(year, 1, 1),
        crl_number: SerialNumber::from(1u64),
        issuing_distribution_point: None,
        revoked_certs: Vec::new(),
        key_identifier_method: rcgen::KeyIdMethod::Sha256,
    }
}

fn revoked(serial_number: SerialNumber) -> RevokedCertParams {
    RevokedCertParams {
        serial_number,
        revocation_time: date_time_ymd(2026, 2, 1),
        reason_code: None,
        invalidity_date: None,
    }
}

pub fn crl(issuer: &Issuer<'_, &KeyPair>, serials: &[u64], year: i32) -> Vec<u8> {
    let mut params = crl_params(year);
    params.revoked_certs = serials.iter().map(|serial| revoked(SerialNumber::from(*serial))).collect();
    params.signed_by(issuer).unwrap().der().to_vec()
}

/// The signature as XML-DSig wants it: PKCS#1 v1.5, or r and s side by side.
pub fn raw_signature(method: SignatureMethod, pkcs8: &[u8], octets: &[u8]) -> Vec<u8> {
    let random = SystemRandom::new();
    let rsa: &dyn signature::RsaEncoding = match method {
        SignatureMethod::RsaSha256 => &signature::RSA_PKCS1_SHA256,
        SignatureMethod::RsaSha384 => &signature::RSA_PKCS1_SHA384,
        SignatureMethod::RsaSha512 => &signature::RSA_PKCS1_SHA512,
        SignatureMethod::EcdsaSha256 | SignatureMethod::EcdsaSha384 => {
            let algorithm = match method {
                SignatureMethod::EcdsaSha256 => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
                _ => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
            };
            let key = signature::EcdsaKeyPair::from_pkcs8(algorithm, pkcs8, &random).unwrap();
            return key.sign(&random, octets).unwrap().as_ref().to_vec();
        }
    };
    let key = signature::RsaKeyPair::from_pkcs8(pkcs8).unwrap();
    let mut value = vec![0; key.public().modulus_len()];
    key.sign(rsa, &random, octets, &mut value).unwrap();
    value
}

/// Puts a signature before the root's end tag.
pub fn sign_with(
    document: &str,
    form: Canonicalization,
    method: SignatureMethod,
    digest: Digest,
    x509_data: &str,
    sign: impl Fn(&[u8]) -> Vec<u8>,
) -> String {
    let digest_value = {
        let scanned = scan(document.as_bytes(), &Limits::default()).unwrap();
        let tree = scanned.parse().unwrap();
        BASE64.encode(digest.of(&canonicalize(tree.root(), form, None)))
    };
    let signature = |value: &str| {
        format!(
            "<Signature xmlns=\"{ds}\"><SignedInfo><CanonicalizationMethod Algorithm=\"{form}\"/>\
             <SignatureMethod Algorithm=\"{method}\"/><Reference URI=\"\"><Transforms>\
             <Transform Algorithm=\"{enveloped}\"/><Transform Algorithm=\"{form}\"/></Transforms>\
             <DigestMethod Algorithm=\"{digest}\"/><DigestValue>{digest_value}</DigestValue></Reference></SignedInfo>\
             <SignatureValue>{value}</SignatureValue>\
             <KeyInfo><X509Data>{x509_data}</X509Data></KeyInfo></Signature>",
            ds = stopgap_feed::dsig::NAMESPACE,
            enveloped = stopgap_feed::dsig::ENVELOPED,
            form = form.uri(),
            digest = digest.uri(),
        )
    };
    let place = |value: &str| {
        let end = document.rfind("</").unwrap();
        let (head, tail) = document.split_at(end);
        format!("{head}{}{tail}", signature(value))
    };
    let unsigned = place("");
    let scanned = scan(unsigned.as_bytes(), &Limits::default()).unwrap();
    let tree = scanned.parse().unwrap();
    let info = tree.descendants().find(|node| node.tag_name().name() == "SignedInfo").unwrap();
    place(&BASE64.encode(sign(&canonicalize(info, form, None))))
}
