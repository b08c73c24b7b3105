//! A feed's own certificates, for a publisher that has none yet: a root, an intermediate and a
//! signing certificate, the trust file that subscribers get, successors, and revocation lists.
//!
//! ```text
//! root (15 years, key kept offline) ── intermediate (5 years) ── signing certificate (1 year)
//!   what subscribers pin                 rotates at will            rotates at will
//! ```
//!
//! Not in here: files ([`crate::folder`]), and signing ([`crate::sign`]).

mod authority;
mod issue;
mod list;

use std::fmt::Write as _;

use jiff::Timestamp;

pub use authority::Authority;
pub(crate) use authority::{key_identifier, short_id};
pub use issue::{Profile, cross, intermediate, root, signing};
pub use list::{Reason, Revoked, revocation_list};

/// The purpose that a signing certificate must state beside code signing, so that no other
/// code-signing certificate of the same authority can sign a feed.
///
/// It stands under 1.3.6.1.4.1.32473, the enterprise number that RFC 5612 sets aside and nobody will
/// ever be given. It needs no worldwide owner: a trust file pins it together with the roots, so it is
/// read in certificates of the publisher's own authority only. A publisher with a number of its own
/// issues its certificates elsewhere and names its purpose in the trust file.
pub const FEED_SIGNING_PURPOSE: &str = "1.3.6.1.4.1.32473.83.1";

/// `id-kp-codeSigning` (RFC 5280, section 4.2.1.12).
pub const CODE_SIGNING_PURPOSE: &str = "1.3.6.1.5.5.7.3.3";

/// A common name holds 64 characters (X.520, ub-common-name); the longest suffix takes 21.
const ORGANIZATION_MAX: usize = 40;

/// Why no certificates were made.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// The organization's name does not fit into a certificate's common name.
    #[error(
        "the organization's name has {found} characters: expected 1 to {ORGANIZATION_MAX}, none of them a control character"
    )]
    Organization {
        /// How many characters it has.
        found: usize,
    },
    /// A validity period that starts now leaves the calendar.
    #[error("no certificate can be valid from {now} on")]
    Clock {
        /// The time that was given.
        now: Timestamp,
    },
    /// The system gave no random bytes.
    #[error("the system's random number generator failed")]
    Random,
    /// The root's common name ends in a number that has no successor.
    #[error("there is no name for a root after this one")]
    Generations,
    /// A certificate of the feed's own authority cannot be read, or is of a kind that this program does not make.
    #[error("the certificate cannot be used as an authority's: {reason}")]
    Authority {
        /// What is wrong with it.
        reason: String,
    },
    /// A key or certificate could not be made.
    #[error("the {what} could not be made")]
    Generate {
        /// "root", "intermediate", "signing certificate", "cross-certificate" or "revocation list".
        what: &'static str,
        /// The cause.
        #[source]
        source: rcgen::Error,
    },
}

/// One certificate with its key, both PEM. The key is PKCS#8.
pub struct Issued {
    /// `CERTIFICATE`.
    pub certificate_pem: String,
    /// `CERTIFICATE`, decoded.
    pub certificate_der: Vec<u8>,
    /// `PRIVATE KEY` (PKCS#8, P-256). Secret.
    pub key_pem: String,
}

/// A root, an intermediate and a signing certificate.
pub struct Pki {
    /// Self-signed; what subscribers pin.
    pub root: Issued,
    /// Issued by the root; may issue end certificates only.
    pub intermediate: Issued,
    /// Issued by the intermediate; signs the feed.
    pub signing: Issued,
    organization: String,
    /// Whether the certificates say where revocation lists are.
    revocable: bool,
}

impl Pki {
    /// Makes three P-256 keys and their certificates, valid from yesterday's
    /// midnight (UTC), so that a subscriber whose clock is some hours behind accepts them too.
    pub fn create(organization: &str, now: Timestamp) -> Result<Self, PkiError> {
        Self::create_with(&Profile { organization: organization.to_owned(), lists: None, now })
    }

    /// The same, with the place of revocation lists in the certificates.
    pub fn create_with(profile: &Profile) -> Result<Self, PkiError> {
        let root = root(profile, 1)?;
        let root_authority = root.authority()?;
        let intermediate = intermediate(profile, &root_authority)?;
        let signing = signing(profile, &intermediate.authority()?)?;
        let revocable = profile.lists.is_some();
        Ok(Self { root, intermediate, signing, organization: profile.organization.clone(), revocable })
    }

    /// What a signature carries: the signing certificate first, then the intermediate.
    pub fn chain_pem(&self) -> String {
        format!("{}{}", self.signing.certificate_pem, self.intermediate.certificate_pem)
    }

    /// SHA-256 of the root certificate, in lower-case hexadecimal: what a subscriber compares by
    /// another channel before trusting it.
    pub fn root_fingerprint(&self) -> String {
        crate::sha256_hex(&self.root.certificate_der)
    }

    /// The trust file (TOML) that goes to subscribers together with the root certificate;
    /// `root_file` is that certificate's file name, relative to the trust file, or the certificate as PEM.
    pub fn trust_toml(&self, root_file: &str) -> String {
        let text = |value: String| toml::Value::String(value).to_string();
        let mut out = String::new();
        // Writing to a String cannot fail.
        // A certificate in place of a file's name makes the trust whole by itself.
        if !root_file.contains('\n') {
            let _ = writeln!(out, "# Who may sign this feed. Hand it out together with {root_file}.");
        }
        let _ = writeln!(out, "# Root certificate, SHA-256: {}", self.root_fingerprint());
        let _ = writeln!(out, "roots = [{}]", text(root_file.to_owned()));
        let _ = writeln!(out, "issuers = [{}]", text(format!("{} Stopgap Feed CA", self.organization)));
        let _ = writeln!(out, "signer = {}", text(format!("{} Stopgap Feed Signing", self.organization)));
        let _ = writeln!(out, "eku = [\"{CODE_SIGNING_PURPOSE}\", \"{FEED_SIGNING_PURPOSE}\"]");
        let _ = writeln!(out, "revocation = \"{}\"", if self.revocable { "prefer" } else { "off" });
        let _ = writeln!(out, "freshness = \"required\"");
        let _ = writeln!(out, "allow = [\"DoNothing\", \"UrlRewrite\"]");
        out
    }
}

impl Issued {
    /// The authority that this certificate and key are.
    pub fn authority(&self) -> Result<Authority, PkiError> {
        Authority::new(&self.certificate_der, &self.key_pem)
    }
}

fn generate(what: &'static str) -> impl FnOnce(rcgen::Error) -> PkiError {
    move |source| PkiError::Generate { what, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use der::{Decode, DecodePem};
    use x509_cert::Certificate;
    use x509_cert::ext::pkix::{
        AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectKeyIdentifier,
    };

    fn pki() -> Pki {
        Pki::create("Example", "2026-11-22T03:00:00Z".parse().unwrap()).unwrap()
    }

    #[test]
    fn the_chain_has_the_shape_of_its_drawing() {
        let pki = pki();
        let [root, intermediate, leaf] = [&pki.root, &pki.intermediate, &pki.signing]
            .map(|issued| Certificate::from_der(&issued.certificate_der).unwrap());
        for (subject, issuer) in [(&leaf, &intermediate), (&intermediate, &root), (&root, &root)] {
            assert_eq!(subject.tbs_certificate().issuer(), issuer.tbs_certificate().subject());
        }
        let constraints = |c: &Certificate| {
            let (_, b) = c.tbs_certificate().get_extension::<BasicConstraints>().unwrap().unwrap();
            (b.ca, b.path_len_constraint)
        };
        assert_eq!(constraints(&root), (true, Some(2)));
        assert_eq!(constraints(&intermediate), (true, Some(0)));
        assert!(!constraints(&leaf).0);
        for (subject, issuer) in [(&leaf, &intermediate), (&intermediate, &root)] {
            let (_, authority) =
                subject.tbs_certificate().get_extension::<AuthorityKeyIdentifier>().unwrap().unwrap();
            let (_, key) = issuer.tbs_certificate().get_extension::<SubjectKeyIdentifier>().unwrap().unwrap();
            assert_eq!(authority.key_identifier.unwrap(), key.0);
        }
    }

    #[test]
    fn the_signing_certificate_may_sign_feeds_and_nothing_else() {
        let pki = pki();
        let leaf = Certificate::from_pem(pki.signing.certificate_pem.as_bytes()).unwrap();
        let (_, purposes) = leaf.tbs_certificate().get_extension::<ExtendedKeyUsage>().unwrap().unwrap();
        let purposes: Vec<String> = purposes.0.iter().map(ToString::to_string).collect();
        assert_eq!(purposes, [CODE_SIGNING_PURPOSE, FEED_SIGNING_PURPOSE]);
        let (_, usage) = leaf.tbs_certificate().get_extension::<KeyUsage>().unwrap().unwrap();
        assert!(usage.digital_signature());
        assert!(!usage.key_cert_sign() && !usage.key_encipherment() && !usage.non_repudiation());
    }

    #[test]
    fn validity_begins_the_day_before_and_lasts_one_five_and_fifteen_years() {
        let pki = pki();
        let dates = [&pki.signing, &pki.intermediate, &pki.root].map(|issued| {
            let certificate = Certificate::from_der(&issued.certificate_der).unwrap();
            let validity = *certificate.tbs_certificate().validity();
            format!("{} {}", validity.not_before, validity.not_after)
        });
        assert_eq!(
            dates,
            [
                "2026-11-21T00:00:00Z 2027-11-22T00:00:00Z",
                "2026-11-21T00:00:00Z 2031-11-22T00:00:00Z",
                "2026-11-21T00:00:00Z 2041-11-22T00:00:00Z",
            ]
        );
    }

    #[test]
    fn two_feeds_share_neither_key_nor_serial_number() {
        let (one, two) = (pki(), pki());
        assert_ne!(one.root_fingerprint(), two.root_fingerprint());
        assert_ne!(one.signing.key_pem, two.signing.key_pem);
        let serial = |p: &Pki| {
            let c = Certificate::from_der(&p.signing.certificate_der).unwrap();
            c.tbs_certificate().serial_number().as_bytes().to_vec()
        };
        assert_ne!(serial(&one), serial(&two));
    }

    #[test]
    fn a_name_that_does_not_fit_is_refused() {
        let now = "2026-11-22T03:00:00Z".parse().unwrap();
        for bad in ["", "a\nb", &"x".repeat(41)] {
            assert!(matches!(Pki::create(bad, now), Err(PkiError::Organization { .. })), "{bad:?}");
        }
        assert!(matches!(Pki::create("x", Timestamp::MAX), Err(PkiError::Clock { .. })));
    }

    #[test]
    fn an_organization_s_name_cannot_add_a_line_to_the_trust_file() {
        let pki = Pki::create("A \"B\" \\ C", "2026-11-22T03:00:00Z".parse().unwrap()).unwrap();
        let trust: toml::Table = pki.trust_toml("root.pem").parse().unwrap();
        assert_eq!(trust["signer"].as_str(), Some("A \"B\" \\ C Stopgap Feed Signing"));
        assert_eq!(trust["roots"].as_array().unwrap().len(), 1);
    }
}
