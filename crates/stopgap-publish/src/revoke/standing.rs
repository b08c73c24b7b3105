//! A list as it stands beside the feed.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;
use x509_cert::crl::CertificateList;
use x509_cert::der::Decode as _;

use super::{LIST_MAX, Ledger};
use crate::folder::{FolderError, read_octets};

/// What a list that stands there says.
pub(super) struct Standing {
    pub(super) ends: Timestamp,
    /// Serial numbers, in hexadecimal.
    revoked: BTreeSet<String>,
}

impl Standing {
    /// Whether all is on it that this authority revoked.
    pub(super) fn holds(&self, ledger: &Ledger, id: &str) -> bool {
        let mut own = ledger.revoked.iter().filter(|entry| entry.issuer == id);
        own.all(|entry| self.revoked.contains(entry.serial.trim_start_matches('0')))
    }
}

/// The list in this file; `None` where there is none. One that cannot be read has ended, and holds nothing.
pub(super) fn read_list(path: &Path) -> Result<Option<Standing>, FolderError> {
    let Some(octets) = read_octets(path, LIST_MAX)? else { return Ok(None) };
    let list = CertificateList::<x509_cert::certificate::Rfc5280>::from_der(&octets).ok();
    let Some(body) = list.map(|list| list.tbs_cert_list) else {
        return Ok(Some(Standing { ends: Timestamp::MIN, revoked: BTreeSet::new() }));
    };
    let seconds = body.next_update.and_then(|end| i64::try_from(end.to_unix_duration().as_secs()).ok());
    let ends = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()).unwrap_or(Timestamp::MIN);
    let serial = |octets: &[u8]| crate::hex(octets).trim_start_matches('0').to_owned();
    let revoked = body.revoked_certificates.unwrap_or_default();
    let revoked = revoked.iter().map(|entry| serial(entry.serial_number.as_bytes())).collect();
    Ok(Some(Standing { ends, revoked }))
}
