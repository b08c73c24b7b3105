//! Where the revocation lists of a document's signers are: the CRL distribution points (RFC 5280
//! section 4.2.1.13) of every certificate on the paths that make it believed.
//!
//! A certificate that lies in `KeyInfo` and on no such path says nothing here: whoever can put a
//! document before a server would else choose what that server fetches. Not taken: names that are no
//! `http:` or `https:` address (LDAP, directory names, names relative to an issuer), lists of another
//! issuer than the certificate's (indirect ones, `cRLIssuer`), and lists for some reasons only
//! (`reasons`): a list that may be silent about a stolen key proves nothing. Fetching is not in here.

use std::collections::BTreeSet;

use jiff::Timestamp;
use rustls_pki_types::CertificateDer;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::CrlDistributionPoints;
use x509_cert::ext::pkix::name::{DistributionPointName, GeneralName};

use crate::refusal::Refusal;
use crate::trust::Trust;
use crate::verify::{Presented, paths};

/// How many are returned: a signer's, its timestamp's and a co-signer's paths of three certificates
/// each, most with one, fit.
pub const MAX_DISTRIBUTION_POINTS: usize = 16;
/// Octets of one that is returned: what servers and proxies take as an address.
pub const MAX_DISTRIBUTION_POINT_BYTES: usize = 2048;

/// The addresses (`http:` or `https:`, visible ASCII) at which lists for this document's signers are
/// said to be, each once, in the order of the paths: signer first, then its authorities, its
/// timestamp's signer and authorities, and so on for each co-signature that counts. At most
/// [`MAX_DISTRIBUTION_POINTS`], each at most [`MAX_DISTRIBUTION_POINT_BYTES`] long; what is beyond
/// is left out. Anchors need no list and give no address.
///
/// The document is judged as [`crate::verify_presented`] judges it, but without revocation, since that
/// is what the lists are wanted for, and without freshness, the trust entry's feed name among it. Of
/// several paths or certificates of one key the first that holds counts. An address is what an
/// authority wrote into a certificate: the caller still decides where it lets itself be sent.
///
/// # Errors
/// The refusal of a document that is not believed.
pub fn distribution_points(
    trust: &Trust,
    presented: &Presented<'_>,
    now: Timestamp,
) -> Result<Vec<String>, Refusal> {
    let paths = paths(trust, presented, now)?;
    let mut seen = BTreeSet::new();
    let all = paths.iter().flat_map(of_certificate);
    Ok(all.filter(|url| seen.insert(url.clone())).take(MAX_DISTRIBUTION_POINTS).collect())
}

/// Those of one certificate; none where the extension is malformed.
fn of_certificate(der: &CertificateDer<'static>) -> Vec<String> {
    let certificate = Certificate::from_der(der).ok();
    let points = certificate.and_then(|certificate| {
        certificate.tbs_certificate().get_extension::<CrlDistributionPoints>().ok().flatten()
    });
    let Some((_, CrlDistributionPoints(points))) = points else { return Vec::new() };
    let whole = points.into_iter().filter(|point| point.reasons.is_none() && point.crl_issuer.is_none());
    let names = whole.filter_map(|point| match point.distribution_point? {
        DistributionPointName::FullName(names) => Some(names),
        DistributionPointName::NameRelativeToCRLIssuer(_) => None,
    });
    names
        .flatten()
        .filter_map(|name| match name {
            GeneralName::UniformResourceIdentifier(uri) if is_address(uri.as_str()) => {
                Some(uri.as_str().to_owned())
            }
            _ => None,
        })
        .collect()
}

fn is_address(uri: &str) -> bool {
    let scheme = uri.split_once("://").map(|(scheme, rest)| (scheme.to_ascii_lowercase(), rest));
    let fetched =
        scheme.is_some_and(|(scheme, rest)| matches!(&*scheme, "http" | "https") && !rest.is_empty());
    fetched && uri.len() <= MAX_DISTRIBUTION_POINT_BYTES && uri.bytes().all(|octet| octet.is_ascii_graphic())
}
