//! Which levels a server has: what `applicationHost.config` names, and every folder and `<location>` that says
//! something of its own.

use std::collections::HashSet;

use crate::effective::Link;
use crate::tree::{depth, folded, join, prefixes, within};

use super::{Checker, LevelKind};

/// Folders that are looked into, over all sites together.
const MAX_FOLDERS: usize = 20_000;
/// Folders within folders.
const MAX_DEPTH: usize = 24;

/// Every level, in the order of a report.
pub(super) fn find(checker: &mut Checker, notes: &mut Vec<String>) -> Vec<(String, LevelKind)> {
    let mut levels = Levels::default();
    levels.add("", LevelKind::Server);
    let server = checker.server;
    for application in server.applications() {
        levels.add(&application.path, LevelKind::Application);
        for directory in &application.directories {
            levels.add(&directory.path, LevelKind::VirtualDirectory);
        }
    }
    let named: Vec<String> = levels.list.iter().map(|(path, _)| path.clone()).collect();
    let mut below: Vec<String> = Vec::new();
    // Between a site and an application there may be folders with files of their own.
    below.extend(named.iter().flat_map(|path| prefixes(path)).map(str::to_owned));
    below.extend(folders(checker, notes));
    let mut with_files: Vec<String> = named;
    with_files.extend(below.iter().cloned());
    for path in &with_files {
        let file = if path.is_empty() { None } else { checker.file(path) };
        let entries =
            if path.is_empty() { Some(&checker.host.entries) } else { file.as_ref().map(|f| &f.entries) };
        for entry in entries.into_iter().flatten().filter(|entry| !entry.location.is_empty()) {
            let at = join(path, &entry.location);
            let of_a_site = server.sites.iter().any(|site| within(&folded(&at), &folded(&site.name)));
            if of_a_site {
                below.extend(prefixes(&at).map(str::to_owned));
            }
        }
    }
    below.sort();
    below.iter().for_each(|path| levels.add(path, LevelKind::Folder));
    levels.list
}

/// Whether a level has something of its own.
pub(super) fn has_own(links: &[Link], level: &str) -> bool {
    let level = folded(level);
    links.iter().any(|link| {
        (folded(&link.base) == level && !link.file.faults.is_empty())
            || link.file.entries.iter().any(|entry| folded(&join(&link.base, &entry.location)) == level)
    })
}

#[derive(Default)]
struct Levels {
    list: Vec<(String, LevelKind)>,
    known: HashSet<String>,
}

impl Levels {
    fn add(&mut self, path: &str, kind: LevelKind) {
        if self.known.insert(folded(path)) {
            self.list.push((path.to_owned(), kind));
        }
    }
}

/// The folders below virtual directories that have a file with something to say.
fn folders(checker: &mut Checker, notes: &mut Vec<String>) -> Vec<String> {
    let mut found = Vec::new();
    let mut looked_into = 0;
    let directories = checker.server.applications().flat_map(|application| &application.directories);
    let mut open: Vec<(String, String)> = directories
        .filter(|directory| directory.sub_folders)
        .filter_map(|directory| Some((directory.path.clone(), directory.folder.as_ref()?.to_string())))
        .collect();
    open.reverse();
    while let Some((level, folder)) = open.pop() {
        looked_into += 1;
        if looked_into > MAX_FOLDERS {
            notes.push(format!(
                "more than {MAX_FOLDERS} folders: those from {folder} on were not looked into"
            ));
            break;
        }
        for name in checker.tree.folders(&folder) {
            let below = join(&level, &name);
            let inner = format!("{folder}\\{name}");
            // Elsewhere, where an application or a virtual directory takes the path.
            let mapped = checker.server.folder(&below).is_some_and(|path| folded(&path) == folded(&inner));
            let taken = checker.server.directory(&below).is_none_or(|(_, rest)| rest.is_empty());
            if !mapped || taken || depth(&below) > MAX_DEPTH {
                continue;
            }
            if checker.file(&below).is_some_and(|file| !file.entries.is_empty() || !file.faults.is_empty()) {
                found.push(below.clone());
            }
            open.push((below, inner));
        }
    }
    found
}
