//! Rendering: from what is wanted and what was read to the exact octets that go in and out.
//!
//! ```text
//!   files as read --without what is not wanted any more--> --pools--> --rules placed--> files as they will be
//!        +--------------------- what differs, octet by octet: the edits ----------------------+
//! ```
//!
//! What stands as it was written, for rules that are still the same, is left where it is. Everything is done in
//! memory, so a file is written once. Where rules go is `stopgap_iis::place`'s.

mod order;
mod words;

pub(super) use words::of_why;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use stopgap_core::observed::Observed;
use stopgap_core::plan::{FileEdit, GeneratedSet, Placement, Rendered, Switch, Wanted, sha256_hex};
use stopgap_core::proof::RefusalForm;
use stopgap_feed::document::{ActionKind, Scope as Meant};
use stopgap_iis::place::{self, PlacedPiece, Scope, State};
use stopgap_iis::{CheckError, Document, Environment};

use super::record::{Inserted, RECORD, Record, RecordedFile, RecordedPiece, RecordedPool};
use super::tree::{Snapshot, windows};
use super::{Settings, pool, splice};
use crate::render::{self, Piece};

/// One wanted action with rules.
struct Rules<'w> {
    piece: Piece<'w>,
    /// Each level that it is for.
    pieces: Vec<place::Piece>,
}

/// See [`crate::Driver::render`].
pub(super) fn render(settings: &Settings, wanted: &[Wanted], observed: &Observed) -> Rendered {
    let mut rendered = Rendered { change: None, placements: Vec::new(), refused: Vec::new() };
    let wanted = render::in_order(wanted);
    if let Err(why) = Work::of(settings, observed).run(&wanted, &mut rendered) {
        rendered = Rendered { change: None, placements: Vec::new(), refused: Vec::new() };
        rendered.refused.extend(wanted.iter().map(|one| (render::action_ref(one), why.clone())));
    }
    rendered
}

/// The server in memory, and the record of what comes to be there.
struct Work<'a> {
    settings: &'a Settings,
    observed: &'a Observed,
    environment: Environment,
    old: Record,
    files: Snapshot<'a>,
    /// What stays and what comes, by path.
    insertions: BTreeMap<&'a Path, Vec<Inserted>>,
    pools: Vec<RecordedPool>,
    switches: Vec<Switch>,
    notes: Vec<String>,
}

impl<'a> Work<'a> {
    fn of(settings: &'a Settings, observed: &'a Observed) -> Work<'a> {
        Work {
            settings,
            observed,
            environment: Environment::windows(),
            old: Record::of(&observed.files, &settings.folder),
            files: Snapshot::of(&settings.root, &observed.files),
            insertions: BTreeMap::new(),
            pools: Vec::new(),
            switches: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn run(mut self, wanted: &[&Wanted], rendered: &mut Rendered) -> Result<(), String> {
        let mut holds = Vec::new();
        let mut rules = Vec::new();
        for one in wanted.iter().filter(|one| !matches!(one.action.kind, ActionKind::AppPool { .. })) {
            match self.rules(one) {
                Ok(read) => rules.push(read),
                Err(why) => rendered.refused.push((render::action_ref(one), why)),
            }
        }
        let stands = self.take_off(&rules);
        let pools = self.pools(wanted, rendered)?;
        let placed = self.place(&rules)?;
        let mut pieces = Vec::new();
        for (one, placed) in rules.iter().zip(&placed) {
            let marker = one.piece.marker();
            self.notes.extend(placed.iter().flat_map(|piece| words::of_piece(&marker, piece)));
            match covered(self.observed, &one.pieces, placed) {
                Err(why) => {
                    rendered.refused.push((one.piece.what(), why));
                    // It stays where it stands, rather than go and come back with what keeps it from working.
                    let stays = stands.contains(&marker);
                    pieces.extend(one.pieces.iter().filter(|_| stays).map(RecordedPiece::of));
                }
                Ok(sites) => {
                    rendered.placements.extend(one.piece.placements(&sites));
                    holds.push(one.piece.hold(sites));
                    pieces.extend(one.pieces.iter().map(RecordedPiece::of));
                }
            }
        }
        for one in pools {
            let sites: Vec<String> = self.observed.sites.iter().map(|site| site.name.clone()).collect();
            let form = RefusalForm::Status(503);
            let place = |site: &String| Placement { what: render::action_ref(one), site: site.clone(), form };
            rendered.placements.extend(sites.iter().map(place));
            holds.push(render::hold(one, sites));
        }
        holds.sort_by(|a, b| (&a.key, &a.action).cmp(&(&b.key, &b.action)));
        let edits = order::safe(self.settings, self.observed, &self.files, self.edits())?;
        let record = self.record(pieces);
        self.notes.extend(words::effective(self.settings, self.observed, &self.files)?);
        let differs = !edits.is_empty() || !self.switches.is_empty();
        // What is in force nowhere, since a file of somebody else's is broken, stands there all the same: without a set
        // nobody would know whose it is.
        let any = !holds.is_empty() || !record.files.is_empty();
        let after =
            any.then(|| GeneratedSet::new(BTreeMap::from([(RECORD.to_owned(), record.text())]), holds));
        let Settings { name, folder, .. } = self.settings;
        rendered.change = render::change_to(name, folder, &self.observed.live, differs, after);
        if let Some(change) = &mut rendered.change {
            (change.edits, change.switches, change.notes) = (edits, self.switches, self.notes);
        }
        Ok(())
    }

    /// An action's rules, for the levels that it means here.
    fn rules<'w>(&self, wanted: &'w Wanted) -> Result<Rules<'w>, String> {
        let piece = Piece::read(wanted)?;
        let all = || self.observed.sites.iter().map(|site| site.name.clone());
        let sites: Vec<String> = match &wanted.sites {
            None => all().collect(),
            Some(named) => all().filter(|site| named.contains(site)).collect(),
        };
        let below =
            wanted.action.target.as_deref().and_then(|target| target.split_once('/')).map(|(_, path)| path);
        let scopes = match (wanted.action.scope, below) {
            (Meant::Server, _) => vec![Scope::Server],
            (_, Some(path)) => {
                sites.iter().map(|site| Scope::VirtualDirectory(format!("{site}/{path}"))).collect()
            }
            (_, None) => sites.into_iter().map(Scope::Site).collect(),
        };
        if scopes.is_empty() {
            return Err("none of its sites is on this server".to_owned());
        }
        let of = |scope| place::Piece { marker: piece.marker(), scope, rules: piece.rewrite.to_owned() };
        Ok(Rules { pieces: scopes.into_iter().map(of).collect(), piece })
    }

    /// Takes everything off but what is wanted as it stands, and says the markers of that.
    fn take_off(&mut self, rules: &[Rules]) -> BTreeSet<String> {
        let stands = self.standing(rules);
        for file in &self.old.files {
            let Some(path) = windows(&self.settings.root, &file.path) else { continue };
            // What is gone has taken ours along.
            let Some(place) = self.files.place(&path) else { continue };
            let Some(octets) = self.files.octets(&path) else {
                // What cannot be read holds ours still: it is taken off once it can.
                self.insertions.insert(place, file.insertions.clone());
                self.notes.push(format!("{path} cannot be read: what of ours is in it stays for now"));
                continue;
            };
            let stays = |one: &Inserted| one.name.is_some() && stands.contains(&one.marker);
            let (stay, off): (Vec<&Inserted>, Vec<&Inserted>) =
                file.insertions.iter().partition(|one| stays(one));
            let off: Vec<place::Insertion> = off.into_iter().map(Inserted::insertion).collect();
            let taken = place::take_off(octets, &off);
            self.notes.extend(taken.by_hand.iter().map(|left| words::by_hand(&path, left)));
            let left = stay.into_iter().cloned().chain(taken.frames.iter().map(Inserted::of)).collect();
            self.insertions.insert(place, left);
            self.files.change(&path, taken.octets);
        }
        stands
    }

    /// The markers whose rules are the same and stand as they were written, all of them.
    fn standing(&self, rules: &[Rules]) -> BTreeSet<String> {
        let markers = rules.iter().map(|one| one.piece.marker());
        let same = |marker: &String| {
            let wanted = rules.iter().flat_map(|one| &one.pieces).filter(|piece| piece.marker == *marker);
            let wanted: BTreeSet<RecordedPiece> = wanted.map(RecordedPiece::of).collect();
            let old = self.old.pieces.iter().filter(|piece| piece.marker == *marker).cloned();
            wanted == old.collect::<BTreeSet<_>>()
        };
        let stands = |marker: &String| {
            self.old.files.iter().all(|file| {
                let octets =
                    windows(&self.settings.root, &file.path).and_then(|path| self.files.octets(&path));
                let mut own =
                    file.insertions.iter().filter(|one| one.name.is_some() && one.marker == *marker);
                own.all(|one| octets.is_some_and(|octets| file.stands(one, octets)))
            })
        };
        markers.filter(same).filter(stands).collect()
    }

    /// Pools out of service and back. The wanted actions that are carried out.
    fn pools<'w>(
        &mut self,
        wanted: &[&'w Wanted],
        rendered: &mut Rendered,
    ) -> Result<Vec<&'w Wanted>, String> {
        let path = self.host();
        let octets = self.files.octets(&path).ok_or_else(|| format!("{path} is not there"))?;
        let document = Document::parse(octets).map_err(|e| format!("{path}: {e}"))?;
        let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut taken = Vec::new();
        for one in wanted {
            let ActionKind::AppPool { names: asked } = &one.action.kind else { continue };
            match pool::named(&document, asked) {
                Err(why) => rendered.refused.push((render::action_ref(one), why)),
                Ok(name) => {
                    names.entry(name).or_default().push(format!("{} {}", one.key.feed, one.action.id));
                    taken.push(*one);
                }
            }
        }
        if names.is_empty() && self.old.pools.is_empty() {
            return Ok(taken);
        }
        let Settings { root, .. } = self.settings;
        let changed = pool::change(&document, &self.old.pools, &names, &self.observed.files, root)?;
        if let Some(document) = changed.document {
            self.files.change(&path, document.to_bytes());
        }
        (self.pools, self.switches) = (changed.record, changed.switches);
        self.notes.extend(changed.notes);
        Ok(taken)
    }

    /// Puts the rules there; what became of each.
    fn place(&mut self, rules: &[Rules]) -> Result<Vec<Vec<PlacedPiece>>, String> {
        let pieces: Vec<place::Piece> = rules.iter().flat_map(|one| one.pieces.iter().cloned()).collect();
        let placement = place::place(&self.files, &self.environment, &pieces).map_err(cannot)?;
        for edit in placement.files {
            let Some(place) = self.files.place(&edit.path) else { continue };
            let octets = self.files.octets(&edit.path).unwrap_or_default();
            let after = edit.apply(octets).map_err(|e| e.to_string())?;
            self.insertions.entry(place).or_default().extend(edit.insertions.iter().map(Inserted::of));
            self.files.change(&edit.path, after);
        }
        let mut placed = placement.pieces.into_iter();
        Ok(rules.iter().map(|one| placed.by_ref().take(one.pieces.len()).collect()).collect())
    }

    fn host(&self) -> String {
        format!("{}\\applicationHost.config", self.environment.configuration())
    }

    /// Every file that differs from what was read.
    fn edits(&self) -> Vec<FileEdit> {
        let new = self.insertions.values().flatten().filter_map(|one| one.name.as_deref());
        let old =
            self.old.files.iter().flat_map(|file| &file.insertions).filter_map(|one| one.name.as_deref());
        let names: BTreeSet<&str> = new.chain(old).collect();
        let edit = |(path, read): (&std::path::PathBuf, &Result<Vec<u8>, String>)| {
            let before = read.as_ref().ok()?;
            let after = self.files.octets(&windows(&self.settings.root, path)?)?;
            (before != after).then(|| FileEdit {
                path: path.clone(),
                before: sha256_hex(before),
                after: sha256_hex(after),
                splices: splice::diff(before, after, |cut, put| words::of_splice(&names, cut, put)),
            })
        };
        self.observed.files.iter().filter_map(edit).collect()
    }

    fn record(&self, pieces: Vec<RecordedPiece>) -> Record {
        let file = |(path, insertions): (&&Path, &Vec<Inserted>)| {
            // A frame says nothing by itself: without an entry of ours it is nobody's.
            let any = insertions.iter().any(|one| one.name.is_some());
            // What was put there first or last is no part of it: the same rules are the same record.
            let mut insertions = insertions.clone();
            insertions.sort();
            any.then(|| RecordedFile { path: path.to_path_buf(), insertions })
        };
        Record { pieces, files: self.insertions.iter().filter_map(file).collect(), pools: self.pools.clone() }
    }
}

/// The sites where rules are in force at some level, in the order of the server; or why at none.
fn covered(
    observed: &Observed,
    pieces: &[place::Piece],
    placed: &[PlacedPiece],
) -> Result<Vec<String>, String> {
    let in_force = |name: &String| {
        let within = |path: &str| path.is_empty() || path == name || path.starts_with(&format!("{name}/"));
        let mut levels = placed.iter().flat_map(|piece| &piece.levels);
        levels.any(|level| within(&level.path) && matches!(level.state, State::InForce(_)))
    };
    let sites: Vec<String> = observed.sites.iter().map(|site| site.name.clone()).filter(in_force).collect();
    if !sites.is_empty() {
        return Ok(sites);
    }
    let why = |(piece, placed): (&place::Piece, &PlacedPiece)| match &placed.refused {
        Some(refused) => refused.to_string(),
        None => format!("{}: {}", words::of_scope(&piece.scope), words::not_in_force(placed)),
    };
    Err(pieces.iter().zip(placed).map(why).collect::<Vec<_>>().join("; "))
}

pub(super) fn cannot(error: CheckError) -> String {
    error.to_string()
}
