//! What we put into files that are not ours: the one file of a set, `record.json`. By it our own work is recognized and
//! taken off, with no feed and no certificate.

use std::path::{Path, PathBuf};

use memchr::memmem;
use serde::{Deserialize, Serialize};
use stopgap_core::plan::Octets;
use stopgap_iis::place::{Insertion, Piece, Scope};
use stopgap_iis::pools::Before;

use super::tree::Files;
use crate::set::LIVE;

/// The file's name.
pub(super) const RECORD: &str = "record.json";

/// What of ours is in a server's configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    /// The rules that are wanted, each for one level.
    pub(super) pieces: Vec<RecordedPiece>,
    /// What was put into which file.
    pub(super) files: Vec<RecordedFile>,
    /// Application pools that are out of service.
    pub(super) pools: Vec<RecordedPool>,
}

/// Rules for a level.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct RecordedPiece {
    pub(super) marker: String,
    pub(super) at: At,
    pub(super) rules: String,
}

/// [`Scope`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum At {
    Server,
    Site(String),
    Directory(String),
}

/// The insertions of one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RecordedFile {
    pub(super) path: PathBuf,
    pub(super) insertions: Vec<Inserted>,
}

/// [`Insertion`], but for its place, which moves with every edit of others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct Inserted {
    pub(super) marker: String,
    pub(super) name: Option<String>,
    pub(super) octets: Octets,
    pub(super) replaced: Octets,
}

/// A pool, and what it was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct RecordedPool {
    pub(super) pool: String,
    pub(super) auto_start: Option<String>,
    pub(super) start_mode: Option<String>,
    /// Whether it ran; nothing where that could not be told.
    pub(super) ran: Option<bool>,
    /// The actions that need it out of service.
    pub(super) by: Vec<String>,
}

impl Record {
    /// That of the live set, as it was read; an empty one where there is none.
    pub(super) fn of(files: &Files, folder: &Path) -> Record {
        match files.get(&path(folder)) {
            Some(Ok(octets)) => Record::parse(octets),
            _ => Record::default(),
        }
    }

    /// A record that this program did not write says nothing to it.
    pub(super) fn parse(octets: &[u8]) -> Record {
        serde_json::from_slice(octets).unwrap_or_default()
    }

    pub(super) fn text(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }

    pub(super) fn pieces(&self) -> Vec<Piece> {
        self.pieces.iter().map(RecordedPiece::piece).collect()
    }

    /// Those of one file.
    pub(super) fn insertions(&self, path: &Path) -> impl Iterator<Item = &Inserted> {
        self.files.iter().filter(move |file| file.path == path).flat_map(|file| &file.insertions)
    }
}

/// The live set's.
pub(super) fn path(folder: &Path) -> PathBuf {
    folder.join(LIVE).join(RECORD)
}

impl RecordedPiece {
    pub(super) fn of(piece: &Piece) -> RecordedPiece {
        let at = match &piece.scope {
            Scope::Server => At::Server,
            Scope::Site(name) => At::Site(name.clone()),
            Scope::VirtualDirectory(path) => At::Directory(path.clone()),
        };
        RecordedPiece { marker: piece.marker.clone(), at, rules: piece.rules.clone() }
    }

    fn piece(&self) -> Piece {
        let scope = match &self.at {
            At::Server => Scope::Server,
            At::Site(name) => Scope::Site(name.clone()),
            At::Directory(path) => Scope::VirtualDirectory(path.clone()),
        };
        Piece { marker: self.marker.clone(), scope, rules: self.rules.clone() }
    }
}

impl RecordedFile {
    /// Whether an insertion is there as often as it was written: two sites can have the same octets in one file.
    pub(super) fn stands(&self, one: &Inserted, octets: &[u8]) -> bool {
        let written = self.insertions.iter().filter(|other| other.octets == one.octets).count();
        memmem::find_iter(octets, &one.octets.0).take(written).count() == written
    }
}

impl Inserted {
    pub(super) fn of(insertion: &Insertion) -> Inserted {
        let Insertion { marker, octets, replaced, name, .. } = insertion;
        Inserted {
            marker: marker.clone(),
            name: name.clone(),
            octets: Octets(octets.clone()),
            replaced: Octets(replaced.clone()),
        }
    }

    /// As it is taken off, which does not ask where it was put.
    pub(super) fn insertion(&self) -> Insertion {
        Insertion {
            marker: self.marker.clone(),
            offset: 0,
            octets: self.octets.0.clone(),
            replaced: self.replaced.0.clone(),
            name: self.name.clone(),
        }
    }
}

impl RecordedPool {
    pub(super) fn before(&self) -> Before {
        Before {
            pool: self.pool.clone(),
            auto_start: self.auto_start.clone(),
            start_mode: self.start_mode.clone(),
        }
    }
}
