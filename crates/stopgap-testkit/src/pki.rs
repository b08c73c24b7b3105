//! A signing kit: root, intermediate and signing certificate with whatever a test wants to be wrong.
//!
//! The real one is `stopgap_publish::pki`; this one can make certificates that no publisher should.
#![allow(clippy::expect_used, reason = "a fixture that cannot be made is a broken test")]

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256,
    RevokedCertParams, SerialNumber, date_time_ymd,
};
use rustls_pki_types::CertificateDer;
use stopgap_feed::{Trust, TrustFile};
use stopgap_publish::pki::{CODE_SIGNING_PURPOSE, FEED_SIGNING_PURPOSE};

/// A day: year, month, day.
pub type Day = (i32, u8, u8);

/// What the certificates say. [`Options::default`] is a set that [`TestPki::trust`] trusts from 2020
/// to 2049.
#[derive(Debug, Clone)]
pub struct Options {
    /// The root's common name.
    pub root: String,
    /// The intermediate's common name.
    pub issuer: String,
    /// The signing certificate's common name.
    pub signer: String,
    /// Its purposes, as dotted OIDs.
    pub purposes: Vec<String>,
    /// Its first day.
    pub from: Day,
    /// The day after its last.
    pub to: Day,
    /// Where its revocation list is said to be: the intermediate's at `…/issuer.crl`, the root's at
    /// `…/root.crl`.
    pub lists: Option<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            root: "Test Root".into(),
            issuer: "Test Feed CA".into(),
            signer: "Test Feed Signing".into(),
            purposes: vec![CODE_SIGNING_PURPOSE.into(), FEED_SIGNING_PURPOSE.into()],
            from: (2020, 1, 1),
            to: (2049, 12, 31),
            lists: None,
        }
    }
}

impl Options {
    /// The same with a signing certificate that ended in 2021.
    #[must_use]
    pub fn expired(self) -> Self {
        Self { to: (2021, 1, 1), ..self }
    }

    /// The same without the purpose that a feed's signer must have.
    #[must_use]
    pub fn code_signing_only(self) -> Self {
        Self { purposes: vec![CODE_SIGNING_PURPOSE.into()], ..self }
    }
}

/// Certificates and the signing key. Two of them share no key, whatever their names are.
#[derive(Debug, Clone)]
pub struct TestPki {
    /// Root certificate, PEM.
    pub root_pem: String,
    /// Signing certificate and intermediate, PEM.
    pub chain_pem: String,
    /// The signing key, PKCS#8 PEM.
    pub key_pem: String,
    root_der: CertificateDer<'static>,
    options: Options,
    /// Names and keys (PKCS#8 PEM) of root and intermediate, for their lists.
    authorities: [(CertificateParams, String); 2],
}

/// The signing certificate's serial number, and the intermediate's.
const SERIALS: [u64; 2] = [77, 7];

impl Default for TestPki {
    fn default() -> Self {
        Self::new(Options::default())
    }
}

impl TestPki {
    /// Makes the keys and certificates. Panics on options that no certificate can hold.
    pub fn new(options: Options) -> Self {
        let authority = |name: &str, path_length| {
            let mut params = named(name);
            params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
            (params, key())
        };
        let (root, root_key) = authority(&options.root, 1);
        let root_certificate = root.self_signed(&root_key).expect("a root");
        let root_pem = (root.clone(), root_key.serialize_pem());
        let root_issuer = Issuer::new(root, root_key);
        let (mut intermediate, intermediate_key) = authority(&options.issuer, 0);
        let point = |name: &str| {
            let base = options.lists.iter();
            base.map(|base| CrlDistributionPoint { uris: vec![format!("{base}/{name}")] }).collect::<Vec<_>>()
        };
        intermediate.crl_distribution_points = point("root.crl");
        intermediate.serial_number = Some(SerialNumber::from(SERIALS[1]));
        let intermediate_certificate =
            intermediate.signed_by(&intermediate_key, &root_issuer).expect("an intermediate");
        let intermediate_pem = (intermediate.clone(), intermediate_key.serialize_pem());
        let intermediate_issuer = Issuer::new(intermediate, intermediate_key);

        let mut leaf = named(&options.signer);
        let (year, month, day) = options.from;
        leaf.not_before = date_time_ymd(year, month, day);
        let (year, month, day) = options.to;
        leaf.not_after = date_time_ymd(year, month, day);
        leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        leaf.extended_key_usages = options.purposes.iter().map(|oid| purpose(oid)).collect();
        leaf.crl_distribution_points = point("issuer.crl");
        leaf.serial_number = Some(SerialNumber::from(SERIALS[0]));
        let leaf_key = key();
        let leaf_certificate =
            leaf.signed_by(&leaf_key, &intermediate_issuer).expect("a signing certificate");
        Self {
            root_pem: root_certificate.pem(),
            chain_pem: leaf_certificate.pem() + &intermediate_certificate.pem(),
            key_pem: leaf_key.serialize_pem(),
            root_der: root_certificate.der().clone(),
            options,
            authorities: [root_pem, intermediate_pem],
        }
    }

    /// The intermediate's revocation list (DER), on which the signing certificate stands or not.
    pub fn issuer_list(&self, revoked: bool, from: Day, to: Day) -> Vec<u8> {
        self.list(1, revoked.then_some(SERIALS[0]), from, to)
    }

    /// The root's revocation list (DER), on which the intermediate stands or not.
    pub fn root_list(&self, revoked: bool, from: Day, to: Day) -> Vec<u8> {
        self.list(0, revoked.then_some(SERIALS[1]), from, to)
    }

    fn list(&self, authority: usize, revoked: Option<u64>, from: Day, to: Day) -> Vec<u8> {
        let (params, key) = self.authorities.get(authority).expect("root or intermediate");
        let key = KeyPair::from_pem(key).expect("a key");
        let day = |(year, month, day): Day| date_time_ymd(year, month, day);
        let revoked = revoked.map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: day(from),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: day(from),
            next_update: day(to),
            crl_number: SerialNumber::from(1u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.into_iter().collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let issuer = Issuer::from_params(params, &key);
        list.signed_by(&issuer).expect("a list").der().to_vec()
    }

    /// The root certificate.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root_der
    }

    /// A trust file for these names, with the root's PEM inline and [`Options::default`]'s purposes.
    pub fn trust_toml(&self) -> String {
        format!(
            "roots = ['''\n{}''']\nissuers = [\"{}\"]\nsigner = \"{}\"\n\
             eku = [\"{CODE_SIGNING_PURPOSE}\", \"{FEED_SIGNING_PURPOSE}\"]\n\
             allow = [\"DoNothing\", \"UrlRewrite\", \"Service\", \"AppPool\"]\n",
            self.root_pem, self.options.issuer, self.options.signer,
        )
    }

    /// [`TestPki::trust_toml`], read.
    pub fn trust(&self) -> Trust {
        let file: TrustFile = toml::from_str(&self.trust_toml()).expect("a trust file");
        file.load_with(|path| Err(std::io::Error::other(format!("{path:?}: nothing to read"))))
            .expect("a trust")
    }
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(2049, 12, 31);
    params.use_authority_key_identifier_extension = true;
    params
}

fn key() -> KeyPair {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).expect("a key")
}

fn purpose(oid: &str) -> ExtendedKeyUsagePurpose {
    ExtendedKeyUsagePurpose::Other(oid.split('.').map(|arc| arc.parse().expect("a dotted OID")).collect())
}
