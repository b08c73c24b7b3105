//! Makes certificates: what each kind may do, how long it is valid, what it is called.

use std::time::Duration;

use jiff::{Span, Timestamp, tz::TimeZone};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CrlDistributionPoint, DnType, ExtendedKeyUsagePurpose,
    IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SerialNumber, date_time_ymd,
};
use ring::rand::{SecureRandom, SystemRandom};

use super::{Authority, Issued, ORGANIZATION_MAX, PkiError, generate};

/// [`super::FEED_SIGNING_PURPOSE`].
const FEED_SIGNING_ARCS: &[u64] = &[1, 3, 6, 1, 4, 1, 32473, 83, 1];

const ROOT_YEARS: i32 = 15;
const INTERMEDIATE_YEARS: i32 = 5;
const SIGNING_YEARS: i32 = 1;

/// What the certificates of one feed have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Whose name stands in them.
    pub organization: String,
    /// The address under which revocation lists are, with a slash at its end; `None`: nowhere.
    pub lists: Option<String>,
    /// When they are made.
    pub now: Timestamp,
}

/// A self-signed root. `generation` counts a feed's roots from 1, and stands in the name of all but the first: two
/// keys under one name would leave it to the reader which one is meant.
pub fn root(profile: &Profile, generation: u32) -> Result<Issued, PkiError> {
    let mut params = root_params(profile, generation)?;
    let key = key("root")?;
    params.not_after = date_time_ymd(1970, 1, 1) + day(profile.now, Span::new().years(ROOT_YEARS))?;
    let certificate = params.self_signed(&key).map_err(generate("root"))?;
    Ok(issued(&certificate, &key))
}

/// An intermediate, which may issue end certificates only.
pub fn intermediate(profile: &Profile, issuer: &Authority) -> Result<Issued, PkiError> {
    let mut params = template(profile, "Stopgap Feed CA")?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.not_after = date_time_ymd(1970, 1, 1) + day(profile.now, Span::new().years(INTERMEDIATE_YEARS))?;
    by(profile, params, issuer, "intermediate")
}

/// A signing certificate.
pub fn signing(profile: &Profile, issuer: &Authority) -> Result<Issued, PkiError> {
    let mut params = template(profile, "Stopgap Feed Signing")?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::CodeSigning,
        ExtendedKeyUsagePurpose::Other(FEED_SIGNING_ARCS.to_vec()),
    ];
    params.not_after = date_time_ymd(1970, 1, 1) + day(profile.now, Span::new().years(SIGNING_YEARS))?;
    by(profile, params, issuer, "signing certificate")
}

/// The new root's name and key, vouched for by the old root until `until` (RFC 5280, section 3.2): who trusts the old
/// root alone finds a path through it. PEM.
pub fn cross(
    profile: &Profile,
    generation: u32,
    new: &Authority,
    old: &Authority,
    until: Timestamp,
) -> Result<String, PkiError> {
    let mut params = root_params(profile, generation)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
    params.not_after = date_time_ymd(1970, 1, 1) + since_1970(until)?;
    params.use_authority_key_identifier_extension = true;
    params.crl_distribution_points = lists_of(profile, old);
    let certificate = params.signed_by(new.key(), old.issuer()).map_err(generate("cross-certificate"))?;
    Ok(certificate.pem())
}

fn root_params(profile: &Profile, generation: u32) -> Result<CertificateParams, PkiError> {
    let name = if generation > 1 { format!("Stopgap Root {generation}") } else { "Stopgap Root".to_owned() };
    let mut params = template(profile, &name)?;
    // Intermediates, and between them and this root once a root that takes its place.
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(2));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// Signs with the issuer a certificate for a new key.
fn by(
    profile: &Profile,
    mut params: CertificateParams,
    issuer: &Authority,
    what: &'static str,
) -> Result<Issued, PkiError> {
    params.use_authority_key_identifier_extension = true;
    params.crl_distribution_points = lists_of(profile, issuer);
    let key = key(what)?;
    let certificate = params.signed_by(&key, issuer.issuer()).map_err(generate(what))?;
    Ok(issued(&certificate, &key))
}

/// Where the issuer's list is: one file for each authority's key, since a list speaks for one.
fn lists_of(profile: &Profile, issuer: &Authority) -> Vec<CrlDistributionPoint> {
    let point = |base: &String| CrlDistributionPoint { uris: vec![format!("{base}{}.crl", issuer.id())] };
    profile.lists.iter().map(point).collect()
}

/// What all have in common: name, first day, a random serial number.
fn template(profile: &Profile, suffix: &str) -> Result<CertificateParams, PkiError> {
    let organization = &profile.organization;
    let length = organization.chars().count();
    if length == 0 || length > ORGANIZATION_MAX || organization.chars().any(char::is_control) {
        return Err(PkiError::Organization { found: length });
    }
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, organization.as_str());
    params.distinguished_name.push(DnType::CommonName, format!("{organization} {suffix}"));
    params.not_before = date_time_ymd(1970, 1, 1) + day(profile.now, Span::new().days(-1))?;

    // RFC 5280, section 4.1.2.2: positive, at most 20 octets.
    let mut serial = [0u8; 16];
    SystemRandom::new().fill(&mut serial).map_err(|_| PkiError::Random)?;
    serial[0] = (serial[0] & 0x7f) | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    Ok(params)
}

/// A time as certificates and lists hold it: whole seconds since 1970, to be added to that day. (The type of their
/// fields is another crate's, which need not be named for this.)
pub(super) fn since_1970(at: Timestamp) -> Result<Duration, PkiError> {
    // X.509 writes years up to 9999.
    let written = at.to_zoned(TimeZone::UTC).year() <= 9998;
    let seconds = u64::try_from(at.as_second()).ok().filter(|_| written);
    seconds.map(Duration::from_secs).ok_or(PkiError::Clock { now: at })
}

/// Midnight of a day, so many days or years from now.
fn day(now: Timestamp, span: Span) -> Result<Duration, PkiError> {
    let clock = |_| PkiError::Clock { now };
    let date = now.to_zoned(TimeZone::UTC).date().checked_add(span).map_err(clock)?;
    since_1970(date.to_zoned(TimeZone::UTC).map_err(clock)?.timestamp())
}

fn key(what: &'static str) -> Result<KeyPair, PkiError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(generate(what))
}

fn issued(certificate: &Certificate, key: &KeyPair) -> Issued {
    Issued {
        certificate_pem: certificate.pem(),
        certificate_der: certificate.der().to_vec(),
        key_pem: key.serialize_pem(),
    }
}
