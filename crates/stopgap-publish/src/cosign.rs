//! A second person's word for a release: the co-signature, made where its own key is, and its place beside the feed.
//!
//! ```text
//! feed.xml ── verified ──> <Cosignature feed serial sha256> ── signed ──> feed.xml.cosignature-1.xml
//! ```
//!
//! One does not co-sign what one has not verified: [`cosign`] takes a [`VerifiedFeed`], and nothing else makes one than
//! the verifier. Not in here: who counts ([`stopgap_feed::cosignature`]).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use stopgap_feed::cosignature::{Cosignature, MAX_COSIGNATURE_BYTES, MAX_COSIGNATURES, beside};
use stopgap_feed::dsig::{self, Digest};
use stopgap_feed::limits::Limits;
use stopgap_feed::{Trust, VerifiedFeed};

use crate::folder::{Access, FeedFolder, FolderError, create_file, move_file, read_octets};
use crate::key::Signer;
use crate::sign::{self, Chain, DEFAULT_CANONICALIZATION, SignError};

/// Why there is no co-signature.
#[derive(Debug, thiserror::Error)]
pub enum CosignError {
    /// It has no name or serial, so a co-signature of it would be one of others, too.
    #[error("the document names no feed or no serial: a co-signature of it could be replayed")]
    Nameless,
    /// The publisher's key counts as the publisher's alone.
    #[error("this key signed the feed: a co-signature takes another person's key")]
    OwnKey,
    /// The signature.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// Sixteen others are there.
    #[error("{} has {MAX_COSIGNATURES} co-signatures beside it, and more are not looked at", feed.display())]
    Full {
        /// The feed.
        feed: PathBuf,
    },
    /// A file.
    #[error(transparent)]
    Folder(#[from] FolderError),
}

impl CosignError {
    /// The stable name of this error.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Nameless => "nameless-feed",
            Self::OwnKey => "own-key",
            Self::Sign(error) => error.code(),
            Self::Full { .. } => "too-many-cosignatures",
            Self::Folder(error) => error.code(),
        }
    }
}

/// The same trust for a feed whose other signatures are still to come, the caller's among them.
pub fn before_cosigning(trust: Trust) -> Trust {
    Trust { signatures: 1, ..trust }
}

/// The co-signature of a release.
pub fn cosign(feed: &VerifiedFeed, signer: &dyn Signer, chain: &Chain) -> Result<Vec<u8>, CosignError> {
    let document = feed.document();
    let (Some(name), Some(serial)) = (&document.feed, document.serial) else {
        return Err(CosignError::Nameless);
    };
    let text = format!("<Cosignature feed=\"{name}\" serial=\"{serial}\" sha256=\"{}\"/>", feed.sha256());
    Ok(sign::enveloped(text.as_bytes(), signer, chain, DEFAULT_CANONICALIZATION)?)
}

/// Refuses the key that signed the feed itself, before anybody believes to be a second person.
pub fn refuse_own_key(feed: &[u8], signer: &dyn Signer) -> Result<(), CosignError> {
    let opened = dsig::open(feed, &Limits::default()).ok();
    let own = opened.as_ref().and_then(|signed| signed.signer().ok());
    match own.and_then(|der| sign::public_key(der)) {
        Some(key) if key == signer.public_key() => Err(CosignError::OwnKey),
        _ => Ok(()),
    }
}

/// Writes a co-signature under the next free name beside its feed. Readers find a whole file or none.
pub fn place(feed: &Path, cosignature: &[u8]) -> Result<PathBuf, CosignError> {
    let name = feed.file_name().unwrap_or_default().to_string_lossy();
    let staged = feed.with_file_name(format!(".{name}.cosignature.{}", std::process::id()));
    create_file(&staged, cosignature, Access::Everyone)?;
    let placed = (1..=MAX_COSIGNATURES).find_map(|number| {
        let path = feed.with_file_name(beside(&name, number));
        // A link is refused where the name is taken, also by somebody who takes it at this moment.
        match fs::hard_link(&staged, &path) {
            Ok(()) => Some(Ok(path)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
            Err(source) => Some(Err(FolderError::Io { doing: "create", path, source })),
        }
    });
    let _ = fs::remove_file(&staged);
    Ok(placed.ok_or_else(|| CosignError::Full { feed: feed.to_owned() })??)
}

/// Moves away what stands beside the feed and is no co-signature of the release that comes. One that was made ahead,
/// on the same octets, stays.
pub(crate) fn retire(folder: &FeedFolder, signed: &[u8]) -> Result<(), CosignError> {
    let feed = folder.public_feed();
    let name = feed.file_name().unwrap_or_default().to_string_lossy();
    let coming = identity(signed);
    for number in 1..=MAX_COSIGNATURES {
        let file = beside(&name, number);
        let path = feed.with_file_name(&file);
        let Some(octets) = read_octets(&path, MAX_COSIGNATURE_BYTES as u64).or_else(too_large)? else {
            continue;
        };
        let says = Cosignature::from_unsigned(&octets, &Limits::default()).ok();
        if says.is_some() && says == coming {
            continue;
        }
        let serial = says.and_then(|says| says.serial).unwrap_or_default();
        move_file(&path, &folder.retired(&format!("cosignatures/{serial}-{number}.xml")))?;
    }
    Ok(())
}

/// What is too large is no co-signature, and moves away as others do.
fn too_large(error: FolderError) -> Result<Option<Vec<u8>>, FolderError> {
    match error {
        FolderError::TooLarge { .. } => Ok(Some(Vec::new())),
        other => Err(other),
    }
}

/// What a co-signature of this document says.
pub(crate) fn identity(signed: &[u8]) -> Option<Cosignature> {
    let opened = dsig::open(signed, &Limits::default()).ok()?;
    let sha256 = crate::hex(&Digest::Sha256.of(opened.octets()));
    let document = stopgap_feed::Document::parse(opened.octets(), &Limits::default()).ok()?;
    Some(Cosignature { feed: document.feed?, serial: document.serial, sha256 })
}
