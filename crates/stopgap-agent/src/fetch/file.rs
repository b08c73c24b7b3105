//! Feeds on this machine's own disk: a file, or a folder that somebody fills (a mount, a stick that was
//! carried here). Revocation lists (`*.crl`) and co-signatures lie beside the documents.

use std::path::{Path, PathBuf};

use stopgap_feed::chain::MAX_CRL_BYTES;
use tokio::fs::OpenOptions;
use tokio::io::AsyncReadExt as _;
use url::Url;

use super::failure::{Failure, Fault};

/// Names of a folder that are looked at.
const MAX_NAMES: usize = 10_000;
/// Revocation lists of a folder that are read.
const MAX_LISTS: usize = 16;

/// The octets of a file.
pub(super) async fn read(url: &Url, limit: usize) -> Result<Vec<u8>, Failure> {
    let path = path_of(url)?;
    let failed = |error: std::io::Error| Failure::new(Fault::File, error.to_string());
    let file = without_waiting().open(&path).await.map_err(failed)?;
    // Of what was opened: the name may mean something else by now.
    if !file.metadata().await.map_err(failed)?.is_file() {
        return Err(Failure::new(Fault::File, "expected a file, found a folder, pipe or device"));
    }
    let mut octets = Vec::new();
    file.take(limit as u64 + 1).read_to_end(&mut octets).await.map_err(failed)?;
    if octets.len() > limit {
        return Err(Failure::new(Fault::TooLarge, format!("the file is larger than {limit} bytes")));
    }
    Ok(octets)
}

/// The documents at an address: that file, or the `*.xml` of that folder, by name. More than `most` are
/// a fault: the newest might be among those that are left out.
pub(super) async fn documents(url: &Url, most: usize) -> Result<Vec<Url>, Failure> {
    let path = path_of(url)?;
    if !is_folder(&path).await? {
        return Ok(vec![url.clone()]);
    }
    let is_document = |name: &str| name.ends_with(".xml") && !name.contains(".cosignature-");
    let found = names(&path, is_document).await?;
    if found.is_empty() || found.len() > most {
        let message = format!("expected 1 to {most} documents (*.xml) in the folder, found {}", found.len());
        return Err(Failure::new(Fault::File, message));
    }
    let address = |path: PathBuf| {
        Url::from_file_path(path).map_err(|()| Failure::new(Fault::Address, "not a path on this machine"))
    };
    found.into_iter().map(address).collect()
}

/// The revocation lists beside a document, each with its address.
pub(super) async fn lists(url: &Url) -> Result<Vec<(Url, Vec<u8>)>, Failure> {
    let path = path_of(url)?;
    let folder =
        if is_folder(&path).await? { path.as_path() } else { path.parent().unwrap_or(Path::new("/")) };
    let mut all = Vec::new();
    for path in names(folder, |name| name.ends_with(".crl")).await?.into_iter().take(MAX_LISTS) {
        let Ok(url) = Url::from_file_path(path) else { continue };
        // One that cannot be read says nothing; those beside it may.
        if let Ok(octets) = read(&url, MAX_CRL_BYTES).await {
            all.push((url, octets));
        }
    }
    Ok(all)
}

/// To open a pipe is otherwise to wait for its writer, for ever.
fn without_waiting() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    options.custom_flags(nix::fcntl::OFlag::O_NONBLOCK.bits());
    options
}

fn path_of(url: &Url) -> Result<PathBuf, Failure> {
    url.to_file_path().map_err(|()| Failure::new(Fault::Address, "not a path on this machine"))
}

async fn is_folder(path: &Path) -> Result<bool, Failure> {
    let metadata = tokio::fs::metadata(path).await;
    metadata.map(|found| found.is_dir()).map_err(|error| Failure::new(Fault::File, error.to_string()))
}

/// Sorted.
async fn names(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, Failure> {
    let failed = |error: std::io::Error| Failure::new(Fault::File, format!("{}: {error}", folder.display()));
    let mut entries = tokio::fs::read_dir(folder).await.map_err(failed)?;
    let mut found = Vec::new();
    let mut looked_at = 0;
    while let Some(entry) = entries.next_entry().await.map_err(failed)? {
        looked_at += 1;
        if looked_at > MAX_NAMES {
            let message = format!("{}: expected at most {MAX_NAMES} names, found more", folder.display());
            return Err(Failure::new(Fault::File, message));
        }
        if entry.file_name().to_str().is_some_and(&wanted) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}
