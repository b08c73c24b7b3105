//! Where a mitigation's rules go in IIS's configuration, so that nothing breaks: computed over the whole server
//! before a byte is written.
//!
//! ```text
//!   pieces ----names of ours----> elements
//!      | for each: the candidates below, in their order
//!      |    candidate -> files as they would be -> every level before and after -> sound, or why not
//!      v
//!   Placement: insertions per file, and at which level each piece is in force, by whom, or why not
//!
//!   take_off(octets, insertions) -> the octets without them      observe(tree) -> what of ours is there
//! ```
//!
//! # Candidates
//!
//! 1. A `<location>` for the level in `applicationHost.config`, inherited by what lies below. This file is read once
//!    for every level, where the `web.config` of a folder that several nested applications share is read again for
//!    each of them and every name in it would be there twice: that is how M2 broke `/owa/Calendar`. One entry
//!    protects the application and all in it, and a cumulative update that replaces a `web.config` leaves it alone.
//! 2. The same with `inheritInChildApplications="false"`, where something below does not bear the rule.
//! 3. The `web.config` of the level, inherited or not: the last choice, since an update takes it away. It is there
//!    for what only it can do: stand behind a `<clear/>` in that file, or at a level below rules of the site's
//!    `web.config`, where the order of an outer `<location>` is left open by Microsoft.
//!
//! A server's rules are `<globalRules>` of `applicationHost.config`, where alone they can stand. After the level itself,
//! applications below it that have no part in the rule get a `<location>` of their own where that is sound.
//!
//! A candidate is sound when no level gets a violation, no level loses an entry or sees entries in another order, no
//! level comes to depend on an order that is left open, and the level itself has the rule in force. A rule that is in
//! force at a level under another name (a twin) is not put beside it, but for one case: where a folder within the
//! application has a twin, leaving out the application would be worse.
//!
//! # What is written
//!
//! Only insertions, each with its exact octets: frames (a `<location>` with empty sections) and entries in them (a
//! rule, a precondition, a map). An entry goes into the section that is there for its level already, since IIS
//! refuses a second one. What is taken off are these octets; a frame goes with the last entry in it, so pieces can
//! come and go in any order. The one replacement is an empty section, `<globalRules />`, that is opened.
//!
//! A piece in another revision has the names of the old one, and a piece that is in force by another one of ours falls
//! with it: whoever changes what is wanted takes off in memory first, places the rest over that, and writes once.
//!
//! Not in here: reading and writing files, and what the rules mean.

mod insert;
mod judge;
mod observe;
mod piece;
mod standing;
mod states;
mod take_off;

use std::borrow::Cow;
use std::collections::BTreeMap;

use ring::digest;

pub use observe::{OurEntry, observe};
pub use piece::{Piece, Refused, Scope};
pub use standing::{By, LevelState, State, Why};
pub use states::states;
pub use take_off::{ByHand, Remains, TakenOff, take_off};

use crate::check::{CheckError, LevelKind, Report, check};
use crate::tree::{Environment, Tree, depth, folded, within};
use insert::Spot;
use judge::Judge;
use piece::Wanted;

/// Locations that one piece gets for applications below its level. Each costs a look at the whole server; a real
/// Exchange server has 32 applications.
const MAX_BELOW: usize = 64;

/// Where pieces go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The files that change; none where everything is in force already.
    pub files: Vec<FileEdit>,
    /// One for each piece, in the order given.
    pub pieces: Vec<PlacedPiece>,
}

/// What becomes of one piece.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacedPiece {
    /// Its marker.
    pub marker: String,
    /// Why none of it was placed; its levels say what is in force all the same.
    pub refused: Option<Refused>,
    /// Every level that it is meant for, in the order of the server's report, as it will be.
    pub levels: Vec<LevelState>,
    /// What a person should know, in words: a candidate that was passed over and why, a twin beside ours,
    /// a rule before ours that can end the evaluation.
    pub notes: Vec<String>,
}

/// The change of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEdit {
    /// A Windows path.
    pub path: String,
    /// SHA-256, in hex, of the octets that the change was computed from.
    pub sha256: String,
    /// In the order in which they are made.
    pub insertions: Vec<Insertion>,
}

/// Octets that are put into a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Insertion {
    /// The piece that brought it in.
    pub marker: String,
    /// Counted in the octets of the file with the insertions before it.
    pub offset: usize,
    /// In the file's own encoding.
    pub octets: Vec<u8>,
    /// What stood there instead; empty but for an empty section that is opened.
    pub replaced: Vec<u8>,
    /// The name of the entry, as the file writes it; nothing for a frame, which says nothing by itself.
    pub name: Option<String>,
}

/// A file is not the one that a change was computed from.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path} has changed since it was read: its SHA-256 is {found}, expected {expected}; plan again")]
pub struct Stale {
    /// A Windows path.
    pub path: String,
    /// In hex.
    pub expected: String,
    /// In hex.
    pub found: String,
}

impl FileEdit {
    /// The file with the change made.
    ///
    /// # Errors
    /// [`Stale`] where the octets are not those that the change was computed from.
    pub fn apply(&self, octets: &[u8]) -> Result<Vec<u8>, Stale> {
        let found = sha256(octets);
        let stale = || Stale { path: self.path.clone(), expected: self.sha256.clone(), found: found.clone() };
        if found != self.sha256 {
            return Err(stale());
        }
        let mut octets = octets.to_vec();
        for one in &self.insertions {
            let end = one.offset.saturating_add(one.replaced.len());
            if octets.get(one.offset..end) != Some(one.replaced.as_slice()) {
                return Err(stale());
            }
            octets.splice(one.offset..end, one.octets.iter().copied());
        }
        Ok(octets)
    }
}

/// Finds a place for each piece, one after the other: a piece stands behind those before it.
///
/// # Errors
/// [`CheckError`] where the tree is not a server's.
pub fn place(tree: &dyn Tree, environment: &Environment, pieces: &[Piece]) -> Result<Placement, CheckError> {
    let report = check(tree, environment)?;
    let files = Files { tree, changed: BTreeMap::new() };
    let mut ground = Ground { environment, report, files, edits: Vec::new() };
    let mut placed = Vec::new();
    for piece in pieces {
        placed.push(ground.piece(piece)?);
    }
    // What a later piece brings changes nothing for an earlier one, or it would not have been sound; the reasons
    // are told of the server as it will be.
    let pieces = placed
        .into_iter()
        .map(|(mut piece, wanted)| {
            if let Some(wanted) = wanted {
                piece.levels = standing::levels(&ground.files, &ground.report, &wanted);
                piece.notes.extend(standing::passed_by(&ground.report, &wanted));
            }
            piece
        })
        .collect();
    Ok(Placement { files: ground.edits, pieces })
}

/// The server as it would be: files in memory over those of the tree.
struct Files<'a> {
    tree: &'a dyn Tree,
    changed: BTreeMap<String, Vec<u8>>,
}

impl Tree for Files<'_> {
    fn read(&self, path: &str) -> Result<Option<Cow<'_, [u8]>>, String> {
        match self.changed.get(&folded(path)) {
            Some(octets) => Ok(Some(Cow::Borrowed(octets))),
            None => self.tree.read(path),
        }
    }

    fn folders(&self, path: &str) -> Vec<String> {
        self.tree.folders(path)
    }
}

/// The server with what was placed so far.
struct Ground<'a> {
    environment: &'a Environment,
    files: Files<'a>,
    report: Report,
    edits: Vec<FileEdit>,
}

impl Ground<'_> {
    fn piece(&mut self, piece: &Piece) -> Result<(PlacedPiece, Option<Wanted>), CheckError> {
        let mut out = PlacedPiece {
            marker: piece.marker.clone(),
            refused: None,
            levels: Vec::new(),
            notes: Vec::new(),
        };
        let wanted = match Wanted::of(piece, &self.report) {
            Ok(wanted) => wanted,
            Err(refused) => {
                out.refused = Some(refused);
                return Ok((out, None));
            }
        };
        let mut refused = None;
        if self.lacks(&wanted, &wanted.level) {
            refused = self.at_its_level(&wanted, &mut out.notes)?;
        }
        if refused.is_none() {
            self.below(&wanted, &mut out.notes)?;
        }
        out.refused = refused;
        Ok((out, Some(wanted)))
    }

    /// Whether a level has no part in the rules, and could have.
    fn lacks(&self, wanted: &Wanted, level: &str) -> bool {
        let level = folded(level);
        let found = self.report.levels.iter().find(|found| folded(&found.path) == level);
        found.is_some_and(|level| !level.broken && standing::by(level, wanted).is_none())
    }

    fn at_its_level(
        &mut self,
        wanted: &Wanted,
        notes: &mut Vec<String>,
    ) -> Result<Option<Refused>, CheckError> {
        let mut reasons = Vec::new();
        for beside_twins in [false, true] {
            reasons.clear();
            for spot in self.candidates(wanted) {
                match self.attempt(wanted, &spot, beside_twins)? {
                    Ok(()) => {
                        notes.append(&mut reasons);
                        if beside_twins {
                            notes.push("below it the same rule stands under another name as well".to_owned());
                        }
                        return Ok(None);
                    }
                    Err(why) => reasons.push(format!("not in {spot}: {why}")),
                }
            }
        }
        Ok(Some(Refused::NoPlace { level: wanted.level.clone(), reasons }))
    }

    fn candidates(&self, wanted: &Wanted) -> Vec<Spot> {
        let host = self.host();
        let level = wanted.level.as_str();
        let mut spots = vec![Spot { file: host.clone(), location: level.to_owned(), alone: false }];
        if level.is_empty() {
            return spots;
        }
        spots.push(Spot { file: host, location: level.to_owned(), alone: true });
        let reads = self.report.server.application(level).is_none_or(|application| application.reads_files);
        if let Some(folder) = self.report.server.folder(level).filter(|_| reads) {
            for alone in [false, true] {
                let file = format!("{folder}\\web.config");
                spots.push(Spot { file, location: String::new(), alone });
            }
        }
        spots
    }

    fn host(&self) -> String {
        format!("{}\\applicationHost.config", self.environment.configuration())
    }

    /// Applications below that the rule does not reach: each a location of its own.
    fn below(&mut self, wanted: &Wanted, notes: &mut Vec<String>) -> Result<(), CheckError> {
        let top = folded(&wanted.level);
        let applications: Vec<String> = self
            .report
            .levels
            .iter()
            .filter(|level| level.kind == LevelKind::Application)
            .map(|level| level.path.clone())
            .filter(|path| folded(path) != top && within(&folded(path), &top))
            .collect();
        // Global rules are everywhere.
        let mut tried = 0;
        for path in applications.into_iter().filter(|_| !top.is_empty()) {
            if !self.lacks(wanted, &path) {
                continue;
            }
            tried += 1;
            if tried > MAX_BELOW {
                notes
                    .push(format!("{path} and those after it: no more than {MAX_BELOW} locations are tried"));
                break;
            }
            let own = Wanted { level: path.clone(), ..wanted.clone() };
            if !own.free_of_level() {
                notes.push(format!("{path}: the rule's match is for paths below {}", wanted.level));
                continue;
            }
            let spot = Spot { file: self.host(), location: path.clone(), alone: true };
            if let Err(why) = self.attempt(&own, &spot, false)? {
                notes.push(format!("{path} has no location of its own: {why}"));
            }
        }
        Ok(())
    }

    /// Puts a piece there where that is sound; otherwise nothing changes, and why.
    fn attempt(
        &mut self,
        wanted: &Wanted,
        spot: &Spot,
        beside_twins: bool,
    ) -> Result<Result<(), String>, CheckError> {
        let octets = match self.files.read(&spot.file) {
            Ok(Some(octets)) => octets.into_owned(),
            Ok(None) => return Ok(Err("there is no such file".to_owned())),
            Err(why) => return Ok(Err(why)),
        };
        let (after, insertions) = match insert::insert(&octets, spot, wanted) {
            Ok(inserted) => inserted,
            Err(why) => return Ok(Err(why)),
        };
        if let Some(why) = self.maps_are_open(wanted, spot) {
            return Ok(Err(why));
        }
        let key = folded(&spot.file);
        let before = self.files.changed.insert(key.clone(), after);
        let report = check(&self.files, self.environment)?;
        let judge = Judge { before: &self.report, after: &report, wanted, beside_twins };
        if let Err(why) = judge.sound() {
            match before {
                Some(before) => self.files.changed.insert(key, before),
                None => self.files.changed.remove(&key),
            };
            return Ok(Err(why));
        }
        self.report = report;
        match self.edits.iter_mut().find(|edit| folded(&edit.path) == key) {
            Some(edit) => edit.insertions.extend(insertions),
            None => {
                let path = spot.file.clone();
                self.edits.push(FileEdit { path, sha256: sha256(&octets), insertions });
            }
        }
        Ok(Ok(()))
    }
}

impl Ground<'_> {
    /// A `<location>` of the server's for a level below a site's, and a file in between that clears maps: whether the
    /// map would be there is left open. The report tells that of rules alone.
    fn maps_are_open(&self, wanted: &Wanted, spot: &Spot) -> Option<String> {
        if wanted.rules.maps.is_empty() || spot.file != self.host() || depth(&wanted.level) < 2 {
            return None;
        }
        let level = folded(&wanted.level);
        let level = self.report.levels.iter().find(|found| folded(&found.path) == level)?;
        let file = level.files.iter().skip(1).find(|file| standing::clears_maps(&self.files, file))?;
        Some(format!("{file} clears maps, and whether before or after this <location> is left open"))
    }
}

fn sha256(octets: &[u8]) -> String {
    let digest = digest::digest(&digest::SHA256, octets);
    digest.as_ref().iter().map(|octet| format!("{octet:02x}")).collect()
}
