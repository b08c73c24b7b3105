//! Observing: the files, and what of ours in them is as we left it, gone, edited or undone.

use std::collections::BTreeSet;

use stopgap_core::observed::{Gap, Hold, Live, Observed, lack_at};
use stopgap_iis::place::{self, By, PlacedPiece, State, take_off};
use stopgap_iis::{Document, Environment, Report, check};

use super::change::of_why;
use super::record::{self, Inserted, Record, RecordedFile};
use super::tree::{Disk, Files, Snapshot, windows};
use super::{Settings, pool, sites};
use crate::driver::DriverError;
use crate::host::Host;

/// Faults of a server that are told; more say nothing more.
const FAULTS_MAX: usize = 20;

/// See [`crate::Driver::observe`]. `live`: what the sets say. `recorded`: the record of the live set, as it was written.
pub(super) fn observe(
    settings: &Settings,
    host: &dyn Host,
    mut live: Live,
    recorded: Option<Vec<u8>>,
) -> Result<Observed, DriverError> {
    let environment = Environment::windows();
    let disk = Disk::new(host, &settings.root);
    let report = check(&disk, &environment).map_err(|e| {
        settings.error(format!("{e}; its `root` is {}: it stands for the drive C:", settings.root.display()))
    })?;
    if report.levels.is_empty() {
        let fault = report
            .violations
            .first()
            .map(|fault| format!("{}:{}: {}", fault.file, fault.place, fault.message));
        return Err(DriverError::BrokenBefore {
            target: settings.name.clone(),
            message: fault.unwrap_or_default(),
        });
    }
    let unseen = disk.unseen();
    let mut files = disk.into_files();
    files.extend(pool::ask(host, &settings.root).map(|answer| (pool::program(&settings.root), answer)));
    files.extend(recorded.map(|octets| (record::path(&settings.folder), Ok(octets))));
    let mut warnings = faults(&report);
    warnings.extend(report.notes.iter().take(FAULTS_MAX).chain(&unseen).cloned());
    let mut found = Observed {
        target: settings.name.clone(),
        sites: sites::sites(settings, &report.server),
        warnings: Vec::new(),
        lacks: Default::default(),
        files: Default::default(),
        live: Live::default(),
    };
    {
        let seen =
            Seen { settings, environment, files: &files, record: Record::of(&files, &settings.folder) };
        let snapshot = Snapshot::of(&settings.root, &files);
        live.foreign.extend(seen.gone(&snapshot));
        warnings.extend(seen.unreadable(&snapshot));
        let standing = place::states(&snapshot, &seen.environment, &seen.record.pieces())
            .map_err(|e| settings.error(e.to_string()))?;
        let document = seen.host(&snapshot);
        live.foreign.extend(
            document.iter().flat_map(|host| pool::foreign(&seen.record, host, seen.files, &settings.root)),
        );
        live.holds.retain(|hold| seen.is_in_force(hold, &standing, document.as_ref()));
        live.gaps = live.holds.iter().flat_map(|hold| gaps(hold, &standing)).collect();
        warnings.extend(seen.by_others(&standing));
        warnings.extend(seen.unrecorded(&snapshot)?);
    }
    found.lacks = live.gaps.iter().map(|gap| (lack_at(&gap.place), gap.why.clone())).collect();
    (found.live, found.warnings, found.files) = (live, warnings, files);
    Ok(found)
}

/// What IIS answers with an error, with whose rules ever.
fn faults(report: &Report) -> Vec<String> {
    let fault = |v: &stopgap_iis::Violation| {
        let level = if v.level.is_empty() { "the server" } else { &v.level };
        format!(
            "{level} answers with {} ({}): {}:{}: {}",
            v.status,
            v.code.word(),
            v.file,
            v.place,
            v.message
        )
    };
    let mut faults: Vec<String> = report.violations.iter().take(FAULTS_MAX).map(fault).collect();
    if let Some(more) = report.violations.len().checked_sub(FAULTS_MAX).filter(|more| *more > 0) {
        faults.push(format!("and {more} more faults; `stopgap iis check` lists them"));
    }
    faults
}

fn marker(hold: &Hold) -> String {
    format!("{} {}", hold.key.feed, hold.action)
}

/// Where an action is not in force, although it is elsewhere.
fn gaps(hold: &Hold, standing: &[PlacedPiece]) -> Vec<Gap> {
    let marker = marker(hold);
    let levels = standing.iter().filter(|piece| piece.marker == marker).flat_map(|piece| &piece.levels);
    levels
        .filter_map(|level| match &level.state {
            State::InForce(_) => None,
            State::NotInForce(why) => Some(Gap {
                key: hold.key.clone(),
                action: hold.action.clone(),
                place: level.path.clone(),
                why: of_why(why),
            }),
        })
        .collect()
}

struct Seen<'s> {
    settings: &'s Settings,
    environment: Environment,
    files: &'s Files,
    record: Record,
}

impl Seen<'_> {
    fn host(&self, snapshot: &Snapshot) -> Option<Document> {
        let path = format!("{}\\applicationHost.config", self.environment.configuration());
        Document::parse(snapshot.octets(&path)?).ok()
    }

    /// What was put into files and is not there as it was written, as sentences.
    fn gone(&self, snapshot: &Snapshot) -> Vec<String> {
        let mut found = Vec::new();
        for file in &self.record.files {
            let path = windows(&self.settings.root, &file.path).unwrap_or_default();
            if snapshot.place(&path).is_none() {
                found.push(format!("{} is gone, with rules of ours in it", file.path.display()));
            }
            let Some(octets) = snapshot.octets(&path) else { continue };
            let all: Vec<place::Insertion> = file.insertions.iter().map(Inserted::insertion).collect();
            let edited: BTreeSet<String> =
                take_off(octets, &all).by_hand.into_iter().map(|left| left.name).collect();
            for one in &file.insertions {
                let Some(name) = &one.name else { continue };
                if file.stands(one, octets) {
                    continue;
                }
                let what = if edited.contains(name) { "was edited" } else { "is not there any more" };
                let told = format!("{}: \"{name}\" {what}", file.path.display());
                if !found.contains(&told) {
                    found.push(told);
                }
            }
        }
        found
    }

    /// Files with rules of ours that cannot be read now, as sentences. Nobody has undone anything there.
    fn unreadable(&self, snapshot: &Snapshot) -> Vec<String> {
        let path = |file: &RecordedFile| windows(&self.settings.root, &file.path).unwrap_or_default();
        let hidden = |file: &&RecordedFile| {
            snapshot.place(&path(file)).is_some() && snapshot.octets(&path(file)).is_none()
        };
        let told = |file: &RecordedFile| {
            format!("{}: rules of ours are in it, and it cannot be read now", file.path.display())
        };
        self.record.files.iter().filter(hidden).map(told).collect()
    }

    /// Whether an action is in force anywhere.
    fn is_in_force(&self, hold: &Hold, standing: &[PlacedPiece], host: Option<&Document>) -> bool {
        let marker = marker(hold);
        let mut pools = self.record.pools.iter().filter(|pool| pool.by.contains(&marker));
        if let Some(pool) = pools.next() {
            return host.is_some_and(|host| pool::is_out(pool, host, self.files, &self.settings.root));
        }
        let mut levels =
            standing.iter().filter(|piece| piece.marker == marker).flat_map(|piece| &piece.levels);
        levels.any(|level| matches!(level.state, State::InForce(_)))
    }

    /// What is in force by somebody else's rules, or kept from being asked by them.
    fn by_others(&self, standing: &[PlacedPiece]) -> Vec<String> {
        let mut found = Vec::new();
        for piece in standing {
            let twin = piece.levels.iter().find_map(|level| match &level.state {
                State::InForce(By::Twin { name, origin }) => Some((level, name, origin)),
                _ => None,
            });
            if let Some((level, name, origin)) = twin {
                found.push(format!(
                    "{} is in force at {} by \"{name}\" ({}:{}), which is not ours",
                    piece.marker, level.path, origin.file, origin.place
                ));
            }
            found.extend(piece.notes.iter().map(|note| format!("{}: {note}", piece.marker)));
        }
        found
    }

    /// Entries with names of ours that no record knows: somebody edited or copied them.
    fn unrecorded(&self, snapshot: &Snapshot) -> Result<Vec<String>, DriverError> {
        let entries =
            place::observe(snapshot, &self.environment).map_err(|e| self.settings.error(e.to_string()))?;
        let ours = |entry: &&place::OurEntry| {
            let Some(path) = snapshot.place(&entry.file) else { return false };
            let octets = snapshot.octets(&entry.file).unwrap_or_default();
            let here = |one: &&Inserted| memchr::memmem::find(octets, &one.octets.0).is_some();
            let mut own = self.record.insertions(path).filter(here);
            own.any(|one| plain(&one.octets.0).contains(&entry.name))
        };
        let told = |entry: place::OurEntry| {
            format!(
                "{}:{}: the {} \"{}\" has a name of ours and is not as we wrote it: it stays, and leaves by hand alone",
                entry.file, entry.line, entry.element, entry.name
            )
        };
        Ok(entries.into_iter().filter(|entry| !ours(&entry)).map(told).collect())
    }
}

/// The text of an insertion, with what stands for characters in attributes as these; an octet of zero belongs to UTF-16.
fn plain(octets: &[u8]) -> String {
    let octets: Vec<u8> = octets.iter().copied().filter(|octet| *octet != 0).collect();
    let mut text = String::from_utf8_lossy(&octets).into_owned();
    for (written, meant) in [("&quot;", "\""), ("&apos;", "'"), ("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&")]
    {
        text = text.replace(written, meant);
    }
    text
}
