//! New keys and certificates, while subscribers go on.
//!
//! ```text
//! leaf:          old intermediate ─> new signing key                       nothing to do for subscribers
//! intermediate:  old root ─> new intermediate ─> new signing key           nothing to do for subscribers
//! root:          new root ─> new intermediate ─> new signing key           new card for new subscribers;
//!                old root ─> new root's key (cross-certificate, until …)   old ones have until then
//! ```
//!
//! All of it is one [`Change`]: after a crash either nothing has happened, or the next command ends it.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use stopgap_feed::RevocationMode;
use x509_cert::Certificate;

use crate::card::{self, CARD, TRUST};
use crate::folder::{Access, Change, FeedFolder, FolderError, lists_base, read_text};
use crate::key::{Ask, Passphrase, protect, read_private};
use crate::pki::{self, Authority, Issued, PkiError, Profile};
use crate::revoke::{Known, RevokeError, authorities, first_certificate, first_list, parse};

/// Who trusts the old root alone has this long, where nothing else is said: a server that is not looked after for a
/// year is lost for other reasons.
const CROSS_DAYS: i64 = 365;

/// The new root, vouched for by the old one.
const CROSS: &str = "cross.pem";
const SIGNERS: &str = "retired/signers.pem";

/// What is to be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The signing key and its certificate.
    Leaf,
    /// The intermediate, and with it the signing key.
    Intermediate,
    /// The root, and all below it.
    Root {
        /// Until when the old root vouches for the new one; `None`: a year, or as long as the old root lasts.
        until: Option<Timestamp>,
    },
}

impl Part {
    /// Its name, as the option of `feed rotate` has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Leaf => "leaf",
            Self::Intermediate => "intermediate",
            Self::Root { .. } => "root",
        }
    }
}

/// Why nothing was replaced.
#[derive(Debug, thiserror::Error)]
pub enum RotateError {
    /// The folder's certificates and keys.
    #[error(transparent)]
    Authorities(#[from] RevokeError),
    /// A vouching that ends before it begins, or after the one who vouches.
    #[error(
        "the old root can vouch for the new one from {now} to {ends}: expected a time between them, found {until}"
    )]
    Until {
        /// The time that was given.
        until: Timestamp,
        /// Now.
        now: Timestamp,
        /// The end of the old root.
        ends: Timestamp,
    },
    /// A signature carries one cross-certificate: a second new root would take the way from those who know the first.
    #[error(
        "the root before this one vouches for it until {until}, and who has that one alone could not follow to a third: wait until then, or, to leave them behind, move {CROSS} away"
    )]
    StillCrossed {
        /// The end of the cross-certificate.
        until: Timestamp,
    },
}

impl RotateError {
    /// The stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Authorities(error) => error.code(),
            Self::Until { .. } => "bad-until",
            Self::StillCrossed { .. } => "still-crossed",
        }
    }
}

impl From<FolderError> for RotateError {
    fn from(error: FolderError) -> Self {
        Self::Authorities(error.into())
    }
}

impl From<PkiError> for RotateError {
    fn from(error: PkiError) -> Self {
        Self::Authorities(error.into())
    }
}

/// What was replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotated {
    /// [`Part::name`] of what was asked for.
    pub part: String,
    /// The new signing certificate's last moment.
    pub ends: Timestamp,
    /// The serial number (hexadecimal) of the signing certificate that was replaced, for `feed revoke`.
    pub replaced: String,
    /// The same of the intermediate, where it was replaced.
    pub replaced_intermediate: Option<String>,
    /// Until when the old root vouches for the new one; for a new root only.
    pub crossed_until: Option<Timestamp>,
    /// The new root's SHA-256, in lower-case hexadecimal; for a new root only.
    pub root_fingerprint: Option<String>,
    /// The new card's SHA-256; for a new root only.
    pub card_fingerprint: Option<String>,
}

/// Replaces a part and all below it. Keys that were under a passphrase stay under the same one. After a crash the same
/// call ends what was begun, and begins nothing anew.
pub fn rotate(dir: &Path, part: Part, ask: Ask<'_>, now: Timestamp) -> Result<Rotated, RotateError> {
    let (folder, lock) = FeedFolder::open_locked(dir)?;
    let ended = lock.finished.as_deref().and_then(|note| toml::from_str::<Rotated>(note).ok());
    if let Some(rotated) = ended.filter(|rotated| rotated.part == part.name()) {
        return Ok(rotated);
    }
    let trust = card::trust(&folder)?;
    let revocable = trust.revocation != RevocationMode::Off;
    let url = card::address(&folder)?.url;
    let known = authorities(&folder)?;
    let [root, intermediate] = ["root.pem", "intermediate.pem"].map(|file| {
        let path = folder.path(file);
        let missing = || RevokeError::KeyAway { path: path.clone(), authority: file.to_owned() };
        read_text(&path).ok().and_then(|pem| first_certificate(&pem).ok()).ok_or_else(missing)
    });
    let find = |der: &[u8]| known.iter().find(|known| known.der == der);
    let old = |der: Result<Vec<u8>, RevokeError>| -> Result<&Known, RevokeError> {
        let der = der?;
        find(&der).ok_or_else(|| PkiError::Authority { reason: "it is not in the folder".to_owned() }.into())
    };
    let (root, intermediate) = (old(root)?, old(intermediate)?);
    let profile =
        Profile { organization: organization(root)?, lists: revocable.then(|| lists_base(&url)), now };
    let change = Change::new(&folder);
    let mut work = Work { folder: &folder, change, profile, now, part };
    let rotated = match part {
        Part::Leaf => {
            let (issuer, key) = intermediate.open(ask)?;
            let below = read_text(&folder.path("intermediate.pem"))?;
            work.leaf(&issuer, &below, key.protected_by.as_ref())
        }
        Part::Intermediate => {
            let (issuer, key) = root.open(ask)?;
            work.intermediate(intermediate, &issuer, key.protected_by.as_ref())
        }
        Part::Root { until } => {
            let (issuer, key) = root.open(ask)?;
            work.root(root, intermediate, &issuer, until, key.protected_by.as_ref())
        }
    }?;
    work.change.commit(&toml::to_string(&rotated).map_err(RevokeError::from)?)?;
    Ok(rotated)
}

struct Work<'a> {
    folder: &'a FeedFolder,
    change: Change<'a>,
    profile: Profile,
    now: Timestamp,
    part: Part,
}

impl Work<'_> {
    fn leaf(
        &mut self,
        issuer: &Authority,
        issuer_pem: &str,
        passphrase: Option<&Passphrase>,
    ) -> Result<Rotated, RotateError> {
        let old = read_text(&self.folder.path("chain.pem"))?;
        let signing = pki::signing(&self.profile, issuer)?;
        let replaced = self.remember(&old)?;
        self.key("signing.key.pem", &signing, passphrase)?;
        self.change.put("chain.pem", format!("{}{issuer_pem}", signing.certificate_pem), Access::Everyone);
        Ok(Rotated {
            part: self.part.name().to_owned(),
            ends: not_after(&signing.certificate_der)?,
            replaced,
            replaced_intermediate: None,
            crossed_until: None,
            root_fingerprint: None,
            card_fingerprint: None,
        })
    }

    fn intermediate(
        &mut self,
        old: &Known,
        issuer: &Authority,
        passphrase: Option<&Passphrase>,
    ) -> Result<Rotated, RotateError> {
        let new = pki::intermediate(&self.profile, issuer)?;
        let authority = self.authority("intermediate", old, &new, passphrase)?;
        let replaced = serial(&old.certificate);
        let rotated = self.leaf(&authority, &new.certificate_pem, passphrase)?;
        Ok(Rotated { replaced_intermediate: Some(replaced), ..rotated })
    }

    fn root(
        &mut self,
        old: &Known,
        old_intermediate: &Known,
        old_root: &Authority,
        until: Option<Timestamp>,
        passphrase: Option<&Passphrase>,
    ) -> Result<Rotated, RotateError> {
        let cross = self.folder.path(CROSS);
        if cross.exists() {
            let until = not_after(&first_certificate(&read_text(&cross)?)?)?;
            if until > self.now {
                return Err(RotateError::StillCrossed { until });
            }
        }
        let ends = not_after(&old.der)?;
        let in_a_year = self.now.checked_add(SignedDuration::from_hours(CROSS_DAYS * 24)).unwrap_or(ends);
        let until = until.unwrap_or(in_a_year.min(ends));
        // Certificates hold whole seconds.
        let until = Timestamp::from_second(until.as_second()).unwrap_or(until);
        if until <= self.now || until > ends {
            return Err(RotateError::Until { until, now: self.now, ends });
        }
        let generation = generation(old)?;
        let new = pki::root(&self.profile, generation)?;
        let authority = self.authority("root", old, &new, passphrase)?;
        let cross = pki::cross(&self.profile, generation, &authority, old_root, until)?;
        self.change.put(CROSS, cross, Access::Everyone);
        let rotated = self.intermediate(old_intermediate, &authority, passphrase)?;
        // The comment in it says which root is meant.
        let fingerprint = crate::sha256_hex(&new.certificate_der);
        let trust = read_text(&self.folder.path(TRUST))?;
        let trust = trust.replace(&crate::sha256_hex(&old.der), &fingerprint);
        self.change.put(TRUST, trust, Access::Everyone);
        let text = card::compose(self.folder, card::Changes::default(), &|file| self.change.read(file))?;
        let card_fingerprint = stopgap_feed::card::fingerprint(&text);
        self.change.put(CARD, text, Access::Everyone);
        Ok(Rotated {
            crossed_until: Some(until),
            root_fingerprint: Some(fingerprint),
            card_fingerprint: Some(card_fingerprint),
            ..rotated
        })
    }

    /// A new authority in the place of an old one, which is kept: as long as its certificates are about, it may have
    /// to revoke one.
    fn authority(
        &mut self,
        name: &str,
        old: &Known,
        new: &Issued,
        passphrase: Option<&Passphrase>,
    ) -> Result<Authority, RotateError> {
        let authority = new.authority()?;
        let (certificate, key) = (format!("{name}.pem"), format!("{name}.key.pem"));
        let id = pki::short_id(&pki::key_identifier(&old.certificate)?);
        let kept = Path::new("retired/authorities");
        let text = read_text(&self.folder.path(&certificate))?;
        self.change.put(kept.join(format!("{id}.pem")), text, Access::Everyone);
        if old.key.exists() {
            let key = read_private(&old.key).map_err(RevokeError::from)?;
            self.change.put(kept.join(format!("{id}.key.pem")), key.as_bytes(), Access::Owner);
        }
        self.key(&key, new, passphrase)?;
        self.change.put(&certificate, new.certificate_pem.as_bytes(), Access::Everyone);
        if self.profile.lists.is_some() {
            first_list(&mut self.change, self.folder, &authority, self.now)?;
        }
        Ok(authority)
    }

    /// Keeps the signing certificate that is replaced, so that it can be named by its serial number.
    fn remember(&mut self, chain: &str) -> Result<String, RotateError> {
        let der = first_certificate(chain)?;
        let kept = if self.folder.path(SIGNERS).exists() {
            self.change.read(Path::new(SIGNERS))?
        } else {
            String::new()
        };
        let end = "-----END CERTIFICATE-----";
        let first = chain.split_inclusive(end).next().unwrap_or_default().trim();
        if !kept.contains(first) {
            self.change.put(SIGNERS, format!("{first}\n{kept}"), Access::Everyone);
        }
        Ok(serial(&parse(&der)?))
    }

    fn key(&mut self, file: &str, new: &Issued, passphrase: Option<&Passphrase>) -> Result<(), RotateError> {
        let sealed = passphrase.map(|passphrase| protect(&new.key_pem, passphrase)).transpose();
        let sealed = sealed.map_err(RevokeError::from)?;
        let pem = sealed.as_ref().unwrap_or(&new.key_pem);
        self.change.put(file, pem.as_bytes(), Access::Owner);
        Ok(())
    }
}

fn serial(certificate: &Certificate) -> String {
    crate::hex(certificate.tbs_certificate().serial_number().as_bytes())
}

/// Whose name stands in a certificate.
fn organization(known: &Known) -> Result<String, RevokeError> {
    let found = known.certificate.tbs_certificate().subject().organization().ok().flatten();
    let missing = || PkiError::Authority { reason: format!("{} names no organization", known.subject()) };
    Ok(found.ok_or_else(missing)?.value().into_owned())
}

/// The number in the name of the root after this one.
fn generation(root: &Known) -> Result<u32, PkiError> {
    let name = root.certificate.tbs_certificate().subject().common_name().ok().flatten();
    let name = name.map(|name| name.value().into_owned()).unwrap_or_default();
    let last = name.rsplit(' ').next().and_then(|word| word.parse::<u32>().ok());
    last.unwrap_or(1).checked_add(1).ok_or(PkiError::Generations)
}

fn not_after(der: &[u8]) -> Result<Timestamp, RevokeError> {
    let end = parse(der)?.tbs_certificate().validity().not_after.to_unix_duration().as_secs();
    let end = i64::try_from(end).ok().and_then(|end| Timestamp::from_second(end).ok());
    Ok(end.unwrap_or(Timestamp::MAX))
}

#[cfg(test)]
mod tests;
