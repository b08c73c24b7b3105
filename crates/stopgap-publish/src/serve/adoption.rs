//! What servers tell of the feed (`POST /diagnostics`), counted by day and kept in one file. Nobody is known by it, and
//! nobody proves anything: it is a count of what was sent.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use stopgap_core::diagnostics::{Adoption, Diagnostics};

use crate::folder::replace_file;

/// The file in a feed's folder.
pub const ADOPTION_FILE: &str = "adoption.json";
/// Four hundred days of some hundred mitigations are below this.
const MAX_FILE: u64 = 64 << 20;

/// The counts, and where they are kept.
pub(super) struct Book {
    path: PathBuf,
    kept: Mutex<(Adoption, bool)>,
}

impl Book {
    pub(super) fn open(path: PathBuf) -> Book {
        let kept = match read_adoption(&path) {
            Ok(kept) => kept,
            Err(error) => {
                tracing::warn!("adoption is counted anew: {error}");
                Adoption::default()
            }
        };
        Book { path, kept: Mutex::new((kept, false)) }
    }

    /// Counts a document; the error says what is wrong with it.
    pub(super) fn take(&self, feed: &str, octets: &[u8], now: Timestamp) -> Result<(), String> {
        let told: Diagnostics = serde_json::from_slice(octets).map_err(|error| error.to_string())?;
        let day = now.to_zoned(TimeZone::UTC).date();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.0.take(day, feed, &told)?;
        kept.1 = true;
        Ok(())
    }

    /// Writes what is new.
    pub(super) fn save(&self) {
        let text = {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            if !std::mem::take(&mut kept.1) {
                return;
            }
            serde_json::to_vec_pretty(&kept.0).unwrap_or_default()
        };
        if let Err(error) = replace_file(&self.path, &text) {
            tracing::warn!("adoption is not kept: {error}");
        }
    }
}

/// What was counted so far; nothing where there is no such file. The error is a sentence.
pub fn read_adoption(path: &Path) -> Result<Adoption, String> {
    let at = |error: String| format!("{}: {error}", path.display());
    match std::fs::metadata(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Adoption::default()),
        Err(error) => return Err(at(error.to_string())),
        Ok(found) if found.len() > MAX_FILE => return Err(at(format!("expected at most {MAX_FILE} octets"))),
        Ok(_) => {}
    }
    let text = std::fs::read(path).map_err(|error| at(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| at(error.to_string()))
}
