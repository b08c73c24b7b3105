//! New keys and certificates, while subscribers go on.
//!
//! ```text
//! leaf:          old intermediate ─> new signing key                       nothing to do for subscribers
//! intermediate:  old root ─> new intermediate ─> new signing key           nothing to do for subscribers
//! root:          new root ─> new intermediate ─> new signing key           new card for new subscribers;
//!                old root ─> new root's key (cross-certificate, until …)   old ones have until then
//! ```
//!
//! New files are made beside the old ones and then renamed one after the other, keys before their certificates. After
//! a crash between two of them nothing can be released until the same rotation is run again; what is served stays.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use stopgap_feed::RevocationMode;

use crate::card;
use crate::folder::{
    FeedFolder, FolderError, create_dir, lists_base, move_file, read_text, replace_file, replace_private,
};
use crate::key::{Ask, Passphrase, protect};
use crate::pki::{self, Authority, Issued, PkiError, Profile};
use crate::revoke::{Known, RevokeError, authorities, first_certificate, first_list, parse};

/// Who trusts the old root alone has this long, where nothing else is said: a server that is not looked after for a
/// year is lost for other reasons.
const CROSS_DAYS: i64 = 365;

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
}

impl RotateError {
    /// The stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Authorities(error) => error.code(),
            Self::Until { .. } => "bad-until",
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rotated {
    /// The new signing certificate's last moment.
    pub ends: Timestamp,
    /// The serial number (hexadecimal) of the signing certificate that was replaced, for `feed revoke`.
    pub replaced: String,
    /// Until when the old root vouches for the new one; for a new root only.
    pub crossed_until: Option<Timestamp>,
    /// The new root's SHA-256, in lower-case hexadecimal; for a new root only.
    pub root_fingerprint: Option<String>,
    /// The new card's SHA-256; for a new root only.
    pub card_fingerprint: Option<String>,
}

/// Replaces a part and all below it. Keys that were under a passphrase stay under the same one.
pub fn rotate(dir: &Path, part: Part, ask: Ask<'_>, now: Timestamp) -> Result<Rotated, RotateError> {
    let folder = FeedFolder::open(dir)?;
    let _lock = folder.lock()?;
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
    let work = Work { dir, folder: &folder, profile, now };
    match part {
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
    }
}

struct Work<'a> {
    dir: &'a Path,
    folder: &'a FeedFolder,
    profile: Profile,
    now: Timestamp,
}

impl Work<'_> {
    fn leaf(
        &self,
        issuer: &Authority,
        issuer_pem: &str,
        passphrase: Option<&Passphrase>,
    ) -> Result<Rotated, RotateError> {
        let chain = self.folder.path("chain.pem");
        let old = read_text(&chain)?;
        let signing = pki::signing(&self.profile, issuer)?;
        let replaced = self.remember(&old)?;
        self.key("signing.key.pem", &signing, passphrase)?;
        replace_file(&chain, format!("{}{issuer_pem}", signing.certificate_pem).as_bytes())?;
        let ends = not_after(&signing.certificate_der)?;
        let (crossed_until, root_fingerprint, card_fingerprint) = (None, None, None);
        Ok(Rotated { ends, replaced, crossed_until, root_fingerprint, card_fingerprint })
    }

    fn intermediate(
        &self,
        old: &Known,
        issuer: &Authority,
        passphrase: Option<&Passphrase>,
    ) -> Result<Rotated, RotateError> {
        let new = pki::intermediate(&self.profile, issuer)?;
        let authority = new.authority()?;
        self.retire(old, "intermediate.pem")?;
        self.key("intermediate.key.pem", &new, passphrase)?;
        replace_file(&self.folder.path("intermediate.pem"), new.certificate_pem.as_bytes())?;
        if self.profile.lists.is_some() {
            first_list(self.dir, &authority, self.now)?;
        }
        self.leaf(&authority, &new.certificate_pem, passphrase)
    }

    fn root(
        &self,
        old: &Known,
        old_intermediate: &Known,
        old_root: &Authority,
        until: Option<Timestamp>,
        passphrase: Option<&Passphrase>,
    ) -> Result<Rotated, RotateError> {
        let ends = not_after(&old.der)?;
        let in_a_year = self.now.checked_add(SignedDuration::from_hours(CROSS_DAYS * 24)).unwrap_or(ends);
        let until = until.unwrap_or(in_a_year.min(ends));
        if until <= self.now || until > ends {
            return Err(RotateError::Until { until, now: self.now, ends });
        }
        let generation = generation(old)?;
        let new = pki::root(&self.profile, generation)?;
        let authority = new.authority()?;
        let cross = pki::cross(&self.profile, generation, &authority, old_root, until)?;
        let old_fingerprint = crate::sha256_hex(&old.der);
        let fingerprint = crate::sha256_hex(&new.certificate_der);

        self.retire(old, "root.pem")?;
        self.key("root.key.pem", &new, passphrase)?;
        replace_file(&self.folder.path("root.pem"), new.certificate_pem.as_bytes())?;
        if self.profile.lists.is_some() {
            first_list(self.dir, &authority, self.now)?;
        }
        let rotated = self.intermediate(old_intermediate, &authority, passphrase)?;
        replace_file(&self.folder.path("cross.pem"), cross.as_bytes())?;
        // The comment in it says which root is meant.
        let trust = self.folder.path("trust.toml");
        replace_file(&trust, read_text(&trust)?.replace(&old_fingerprint, &fingerprint).as_bytes())?;
        let card = card::make(self.dir, card::Changes::default())?;
        Ok(Rotated {
            crossed_until: Some(until),
            root_fingerprint: Some(fingerprint),
            card_fingerprint: Some(card.fingerprint),
            ..rotated
        })
    }

    /// Keeps an authority that was replaced: as long as its certificates are about, it may have to revoke one.
    fn retire(&self, old: &Known, file: &str) -> Result<(), RotateError> {
        let kept = self.folder.retired("authorities");
        create_dir(&kept)?;
        let id = pki::short_id(&pki::key_identifier(&old.certificate)?);
        replace_file(&kept.join(format!("{id}.pem")), read_text(&self.folder.path(file))?.as_bytes())?;
        if old.key.exists() {
            move_file(&old.key, &kept.join(format!("{id}.key.pem")))?;
        }
        Ok(())
    }

    /// Keeps the signing certificate that is replaced, so that it can be named by its serial number.
    fn remember(&self, chain: &str) -> Result<String, RotateError> {
        let der = first_certificate(chain)?;
        let path: PathBuf = self.folder.retired("signers.pem");
        create_dir(&self.folder.retired(""))?;
        let kept = if path.exists() { read_text(&path)? } else { String::new() };
        let end = "-----END CERTIFICATE-----";
        let first = chain.split_inclusive(end).next().unwrap_or_default().trim();
        if !kept.contains(first) {
            replace_file(&path, format!("{first}\n{kept}").as_bytes())?;
        }
        Ok(crate::hex(parse(&der)?.tbs_certificate().serial_number().as_bytes()))
    }

    fn key(&self, file: &str, new: &Issued, passphrase: Option<&Passphrase>) -> Result<(), RotateError> {
        let sealed = passphrase.map(|passphrase| protect(&new.key_pem, passphrase)).transpose();
        let sealed = sealed.map_err(RevokeError::from)?;
        let pem = sealed.as_ref().unwrap_or(&new.key_pem);
        Ok(replace_private(&self.folder.path(file), pem.as_bytes())?)
    }
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
