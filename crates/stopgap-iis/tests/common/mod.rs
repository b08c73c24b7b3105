//! The real server of the corpus, as a tree.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::path::{Path, PathBuf};

/// The corpus's sample of an Exchange server; says that the test skipped where it is absent.
pub fn corpus(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("STOPGAP_CORPUS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/corpus"), PathBuf::from);
    let samples = folder.join("iis-exchange2016");
    if samples.is_dir() {
        return Some(samples);
    }
    println!("skipped (corpus absent): {test}");
    None
}

/// Every file below a folder: its path with slashes, its bytes.
pub fn walk(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(folder).unwrap().to_string_lossy().replace('\\', "/");
                found.push((name, std::fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}
