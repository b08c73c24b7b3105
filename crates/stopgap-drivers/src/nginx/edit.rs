//! Placing the hook in the operator's files, and taking it out: edits that can be shown before they
//! are made.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::config::Config;
use super::hook::{CONF_D_FILE, Hooks, insert, remove};
use super::{Settings, server};
use crate::driver::{DriverError, io_error};
use crate::host::{Host, Kind, remove_if_there, replace};

/// One file before and after; `None`: there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// The file, links followed.
    pub path: PathBuf,
    /// What it holds now.
    pub before: Option<String>,
    /// What it will hold.
    pub after: Option<String>,
}

/// A configuration file above this is none.
const FILE_MAX: u64 = 4 << 20;

/// As many links as Linux itself follows.
const LINKS_MAX: usize = 40;

pub(super) fn place(settings: &Settings, host: &dyn Host, config: &Config) -> Result<Vec<Edit>, DriverError> {
    let hooks = Hooks::new(&settings.folder);
    let mut places: BTreeMap<usize, Vec<(usize, String)>> = BTreeMap::new();
    let mut edits = Vec::new();
    for http in config.main().into_iter().filter(|d| d.name == "http") {
        let context = config.inside(http);
        if !context.iter().any(|d| hooks.is_http(config, d)) {
            let file = settings.config.with_file_name("conf.d").join(CONF_D_FILE);
            if config.would_include(http, &file.to_string_lossy()) {
                edits.push(Edit { before: read(host, &file)?, path: file, after: Some(hooks.conf_d()) });
            } else {
                places.entry(http.file).or_default().push((http.inside, hooks.http_line()));
            }
        }
        for server in context.iter().filter(|d| d.name == "server") {
            if !config.inside(server).iter().any(|d| hooks.is_server(config, d)) {
                places.entry(server.file).or_default().push((server.inside, hooks.server_line()));
            }
        }
    }
    for (file, places) in places {
        let Some(file) = config.files.get(file) else { continue };
        let path = follow(host, Path::new(&file.path))?;
        let before = read(host, &path)?.unwrap_or_default();
        if before.trim_end() != file.text.trim_end() {
            return Err(
                settings.error(format!("{} changed while it was read, or is not UTF-8", path.display()))
            );
        }
        let mut places = places;
        places.sort();
        places.dedup();
        // From the last: an insertion moves what stands behind it.
        let after = places.iter().rev().fold(before.clone(), |text, (at, line)| insert(&text, line, &[*at]));
        edits.push(Edit { path, before: Some(before), after: Some(after) });
    }
    Ok(edits)
}

pub(super) fn cut(settings: &Settings, host: &dyn Host, config: &Config) -> Result<Vec<Edit>, DriverError> {
    let conf_d = Hooks::new(&settings.folder).conf_d();
    let mut edits: Vec<Edit> = Vec::new();
    for file in &config.files {
        if Path::new(&file.path).starts_with(&settings.folder) {
            continue;
        }
        let path = follow(host, Path::new(&file.path))?;
        let Some(before) = read(host, &path)? else { continue };
        let after = if before == conf_d { None } else { Some(remove(&before)) };
        if after.as_ref() != Some(&before) && !edits.iter().any(|edit| edit.path == path) {
            edits.push(Edit { path, before: Some(before), after });
        }
    }
    Ok(edits)
}

pub(super) fn make(settings: &Settings, host: &dyn Host, edits: &[Edit]) -> Result<(), DriverError> {
    for edit in edits {
        let found = read(host, &edit.path)?;
        if found != edit.before {
            return Err(DriverError::ChangedUnderUs {
                path: edit.path.clone(),
                expected: "what it held when the edit was made".into(),
                found: "something else".into(),
            });
        }
    }
    let made = edits.iter().try_for_each(|edit| write(host, &edit.path, edit.after.as_deref()));
    let tested = made.and_then(|()| match server::test(settings, host, None) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(message)) => Err(DriverError::Rejected { target: settings.name.clone(), message }),
        Err(server::TestError::Forbidden) => {
            Err(settings.cannot_run(std::io::ErrorKind::PermissionDenied.into()))
        }
        Err(server::TestError::Other(e)) => Err(settings.cannot_run(e)),
    });
    if tested.is_err() {
        // Every one of them, even where one cannot be put back.
        let back: Vec<_> = edits.iter().map(|edit| write(host, &edit.path, edit.before.as_deref())).collect();
        back.into_iter().collect::<Result<(), DriverError>>()?;
    }
    tested
}

fn write(host: &dyn Host, path: &Path, text: Option<&str>) -> Result<(), DriverError> {
    match text {
        Some(text) => {
            let mode = host.mode(path).unwrap_or(0o644);
            replace(host, path, text.as_bytes(), mode).map_err(io_error("cannot write", path))
        }
        None => remove_if_there(host, path).map_err(io_error("cannot remove", path)),
    }
}

fn read(host: &dyn Host, path: &Path) -> Result<Option<String>, DriverError> {
    if host.kind(path).map_err(io_error("cannot look at", path))?.is_none() {
        return Ok(None);
    }
    let bytes = host.read(path, FILE_MAX).map_err(io_error("cannot read", path))?;
    let text = String::from_utf8(bytes).map_err(|e| std::io::Error::new(std::io::ErrorKind::InvalidData, e));
    text.map(Some).map_err(io_error("not UTF-8, and not edited:", path))
}

/// Where a path that may be a link (sites-enabled) ends: the file, not the link, is edited.
fn follow(host: &dyn Host, path: &Path) -> Result<PathBuf, DriverError> {
    let mut path = path.to_owned();
    for _ in 0..LINKS_MAX {
        if host.kind(&path).map_err(io_error("cannot look at", &path))? != Some(Kind::Link) {
            break;
        }
        let to = host.read_link(&path).map_err(io_error("cannot read the link", &path))?;
        path = path.parent().map(|folder| folder.join(&to)).unwrap_or(to);
    }
    Ok(path)
}
