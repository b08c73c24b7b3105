//! Certificate revocation lists (RFC 5280, section 5).

use jiff::Timestamp;
use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, RevocationReason, RevokedCertParams, SerialNumber,
    date_time_ymd,
};
use serde::{Deserialize, Serialize};

use super::issue::since_1970;
use super::{Authority, PkiError, generate};

/// Why a certificate is revoked (RFC 5280, section 5.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// It is not said.
    #[default]
    Unspecified,
    /// Somebody else has the key, or may have it.
    KeyCompromise,
    /// The same of an authority's key.
    CaCompromise,
    /// Another certificate took its place.
    Superseded,
    /// Nobody needs it any more.
    CessationOfOperation,
}

/// One certificate on a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Its serial number, as the certificate writes it: big-endian, no sign octet needed.
    pub serial: Vec<u8>,
    /// Since when it is on the list.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
}

/// A list in DER: everything that `authority` revoked, from `from` until the next list is due.
pub fn revocation_list(
    authority: &Authority,
    number: u64,
    revoked: &[Revoked],
    from: Timestamp,
    until: Timestamp,
) -> Result<Vec<u8>, PkiError> {
    let epoch = date_time_ymd(1970, 1, 1);
    let entry = |revoked: &Revoked| {
        Ok(RevokedCertParams {
            serial_number: SerialNumber::from_slice(&revoked.serial),
            revocation_time: epoch + since_1970(revoked.at)?,
            reason_code: Some(code(revoked.reason)),
            invalidity_date: None,
        })
    };
    let params = CertificateRevocationListParams {
        this_update: epoch + since_1970(from)?,
        next_update: epoch + since_1970(until)?,
        crl_number: SerialNumber::from(number),
        // Without one the list speaks for every certificate of its issuer.
        issuing_distribution_point: None,
        revoked_certs: revoked.iter().map(entry).collect::<Result<_, PkiError>>()?,
        key_identifier_method: KeyIdMethod::PreSpecified(authority.key_identifier().to_vec()),
    };
    let list = params.signed_by(authority.issuer()).map_err(generate("revocation list"))?;
    Ok(list.der().to_vec())
}

fn code(reason: Reason) -> RevocationReason {
    match reason {
        Reason::Unspecified => RevocationReason::Unspecified,
        Reason::KeyCompromise => RevocationReason::KeyCompromise,
        Reason::CaCompromise => RevocationReason::CaCompromise,
        Reason::Superseded => RevocationReason::Superseded,
        Reason::CessationOfOperation => RevocationReason::CessationOfOperation,
    }
}
