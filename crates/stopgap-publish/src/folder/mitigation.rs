//! The folders of mitigations: starting, copying and reading them.

use std::fs;
use std::path::{Path, PathBuf};

use stopgap_feed::Id;

use super::file::{Access, create_dir, create_file, read_text};
use super::{FeedFolder, FolderError, MITIGATIONS};
use crate::builtin::Builtin;
use crate::forge::Declared;
use crate::requests::{self, SampleRequest};
use crate::responses::{self, SampleResponse};

/// A mitigation's files; `mitigation.xml` is the one that must be there.
const MITIGATION_FILES: [&str; 6] =
    ["mitigation.xml", "attack.http", "benign.http", "README.md", "responses.http", "mutations.toml"];

/// Mitigations in one feed. The document's own limits come sooner.
const MITIGATIONS_MAX: usize = 10_000;

/// One folder under `mitigations/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MitigationFolder {
    /// The folder's name.
    pub id: Id,
    /// `mitigation.xml` as it is.
    pub config: String,
    /// `attack.http`; none where there is no such file.
    pub attack: Vec<SampleRequest>,
    /// `benign.http`; none where there is no such file.
    pub benign: Vec<SampleRequest>,
    /// `responses.http`; none where there is no such file.
    pub responses: Vec<SampleResponse>,
    /// `mutations.toml`; nothing where there is no such file.
    pub declared: Declared,
}

/// Starts a mitigation: a commented `mitigation.xml` that refuses one harmless path, with requests
/// that show it. Returns its folder.
pub fn new(dir: &Path, id: &Id, description: &str) -> Result<PathBuf, FolderError> {
    FeedFolder::open(dir)?;
    let path = fresh_mitigation(dir, id)?;
    let config = include_str!("../skeleton.xml")
        .replace("{id}", id.as_str())
        .replace("{desc}", &crate::assemble::attribute(description));
    let attack = format!("### what must be refused\nGET /replace-me/{id} HTTP/1.1\nHost: www.example.org\n");
    let benign = "### what must pass\nGET / HTTP/1.1\nHost: www.example.org\n";
    let readme = format!("# {id}\n\n{description}\n\n## Sources\n");
    write_mitigation(&path, [&config, &attack, benign, &readme])?;
    Ok(path)
}

/// Adds one of this project's own mitigations. Returns its folder.
pub fn add(dir: &Path, builtin: &Builtin) -> Result<PathBuf, FolderError> {
    FeedFolder::open(dir)?;
    let id: Id = builtin
        .id
        .parse()
        .map_err(|source| FolderError::NotAnId { path: PathBuf::from(builtin.id), source })?;
    let path = fresh_mitigation(dir, &id)?;
    write_mitigation(&path, [builtin.config, builtin.attack, builtin.benign, builtin.readme])?;
    Ok(path)
}

/// Every mitigation of a folder like this project's `mitigations/`, in the order of their ids.
pub fn catalogue(dir: &Path) -> Result<Vec<MitigationFolder>, FolderError> {
    let read = |(id, path): (Id, PathBuf)| {
        Ok(MitigationFolder {
            id,
            config: read_text(&path.join("mitigation.xml"))?,
            attack: read_requests(&path.join("attack.http"))?,
            benign: read_requests(&path.join("benign.http"))?,
            responses: read_responses(&path.join("responses.http"))?,
            declared: read_declared(&path.join("mutations.toml"))?,
        })
    };
    mitigation_folders(dir)?.into_iter().map(read).collect()
}

/// The folders with a `mitigation.xml`, by id.
pub(super) fn mitigation_folders(dir: &Path) -> Result<Vec<(Id, PathBuf)>, FolderError> {
    let read = |source| FolderError::Io { doing: "read", path: dir.to_owned(), source };
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).map_err(read)? {
        let path = entry.map_err(read)?.path();
        if !path.join("mitigation.xml").is_file() {
            continue;
        }
        if found.len() == MITIGATIONS_MAX {
            return Err(FolderError::TooMany { path: dir.to_owned(), limit: MITIGATIONS_MAX });
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let id = name.parse().map_err(|source| FolderError::NotAnId { path: path.clone(), source })?;
        found.push((id, path));
    }
    found.sort();
    Ok(found)
}

fn fresh_mitigation(dir: &Path, id: &Id) -> Result<PathBuf, FolderError> {
    let path = dir.join(MITIGATIONS).join(id.as_str());
    if path.exists() { Err(FolderError::Exists { path }) } else { Ok(path) }
}

fn write_mitigation(path: &Path, texts: [&str; 4]) -> Result<(), FolderError> {
    create_dir(path)?;
    for (name, text) in MITIGATION_FILES.into_iter().zip(texts) {
        create_file(&path.join(name), text.as_bytes(), Access::Everyone)?;
    }
    Ok(())
}

pub(super) fn copy_mitigation(from: &Path, to: &Path) -> Result<(), FolderError> {
    create_dir(to)?;
    for name in MITIGATION_FILES {
        let source = from.join(name);
        if source.is_file() {
            create_file(&to.join(name), read_text(&source)?.as_bytes(), Access::Everyone)?;
        }
    }
    Ok(())
}

fn read_responses(path: &Path) -> Result<Vec<SampleResponse>, FolderError> {
    if !path.is_file() {
        return Ok(Vec::new());
    }
    responses::parse(&read_text(path)?)
        .map_err(|source| FolderError::Responses { path: path.to_owned(), source })
}

fn read_declared(path: &Path) -> Result<Declared, FolderError> {
    if !path.is_file() {
        return Ok(Declared::default());
    }
    toml::from_str(&read_text(path)?)
        .map_err(|source| FolderError::Settings { path: path.to_owned(), source: Box::new(source) })
}

fn read_requests(path: &Path) -> Result<Vec<SampleRequest>, FolderError> {
    if !path.is_file() {
        return Ok(Vec::new());
    }
    requests::parse(&read_text(path)?)
        .map_err(|source| FolderError::Requests { path: path.to_owned(), source })
}
