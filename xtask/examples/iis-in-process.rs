//! Prints what IIS's configuration takes in one process, as lines `name milliseconds`, each the median of the
//! runs; `cargo xtask bench iis` starts it. CPU time throughout.
//!
//! usage: iis-in-process DRIVE
//!
//! DRIVE: a folder laid out as a server's drive C:.
//!
//! - `parse`: the largest file of the drive, from bytes to document
//! - `edit`: the same and a rule put in, to bytes again
//! - `check`: every level of the server and every violation, its files being in memory

#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};
use stopgap_iis::{Document, Environment, MemoryTree, check};

const RUNS: usize = 51;
const RULE: &str = "<system.webServer>\n  <rewrite>\n    <rules>\n      <rule name=\"Stopgap\">\n        <match url=\".*\" />\n\
    \n        <action type=\"AbortRequest\" />\n      </rule>\n    </rules>\n  </rewrite>\n</system.webServer>";

fn main() -> Result<()> {
    let drive = PathBuf::from(std::env::args().nth(1).context("no DRIVE")?);
    let mut tree = MemoryTree::default();
    let mut largest = Vec::new();
    for (path, bytes) in files(&drive)? {
        if bytes.len() > largest.len() {
            largest.clone_from(&bytes);
        }
        tree.insert(&path, bytes);
    }
    println!("octets {}", largest.len());
    println!("parse {:.2}", median(|| Document::parse(black_box(&largest)))?);
    println!("edit {:.2}", median(|| edit(black_box(&largest)))?);
    let environment = Environment::windows();
    let report = check(&tree, &environment)?;
    println!("levels {}", report.levels.len());
    println!("check {:.2}", median(|| check(black_box(&tree), &environment))?);
    Ok(())
}

fn edit(bytes: &[u8]) -> Result<Vec<u8>> {
    let document = Document::parse(bytes)?;
    let edit = document.append_child(document.root().id(), RULE)?;
    Ok(document.with(&[edit])?.to_bytes())
}

/// The median of the runs, in milliseconds.
fn median<T, E: Into<anyhow::Error>>(run: impl Fn() -> std::result::Result<T, E>) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let before = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?;
        black_box(run().map_err(Into::into)?);
        times.push((clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)? - before).num_nanoseconds());
    }
    times.sort_unstable();
    Ok(times.get(RUNS / 2).copied().unwrap_or_default() as f64 / 1e6)
}

/// Every file of the drive, by its Windows path.
fn files(drive: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let (mut found, mut folders) = (Vec::new(), vec![drive.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let below = path.strip_prefix(drive).map_err(|error| anyhow!(error))?;
            let name = below.to_string_lossy().replace('/', "\\");
            found.push((format!("C:\\{name}"), std::fs::read(&path)?));
        }
    }
    Ok(found)
}
