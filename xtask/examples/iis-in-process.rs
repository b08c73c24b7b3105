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
//! - `place`: where M1 and M2 go, and what every level comes to with them: a check and a plan
//! - `plain`: every file by an XML parser that keeps no layout, to compare with

#![allow(clippy::print_stdout)]

use std::hint::black_box;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use nix::sys::time::TimeValLike;
use nix::time::{ClockId, clock_gettime};
use stopgap_iis::place::{Piece, Scope, place};
use stopgap_iis::{Document, Environment, MemoryTree, check};

const RUNS: usize = 51;
const RULE: &str = "<system.webServer>\n  <rewrite>\n    <rules>\n      <rule name=\"Stopgap\">\n        <match url=\".*\" />\n\
    \n        <action type=\"AbortRequest\" />\n      </rule>\n    </rules>\n  </rewrite>\n</system.webServer>";

fn main() -> Result<()> {
    let drive = PathBuf::from(std::env::args().nth(1).context("no DRIVE")?);
    let mut tree = MemoryTree::default();
    let mut largest = Vec::new();
    let tree_files = files(&drive)?;
    for (path, bytes) in &tree_files {
        if bytes.len() > largest.len() {
            largest.clone_from(bytes);
        }
        tree.insert(path, bytes.as_slice());
    }
    let all: Vec<Vec<u8>> = tree_files.iter().map(|(_, bytes)| bytes.clone()).collect();
    println!("octets {}", largest.len());
    println!("all-octets {}", all.iter().map(Vec::len).sum::<usize>());
    println!("plain-largest {:.2}", median(|| plain(std::slice::from_ref(&largest)))?);
    println!("plain {:.2}", median(|| plain(black_box(&all)))?);
    println!("parse {:.2}", median(|| Document::parse(black_box(&largest)))?);
    println!("edit {:.2}", median(|| edit(black_box(&largest)))?);
    let environment = Environment::windows();
    let report = check(&tree, &environment)?;
    println!("levels {}", report.levels.len());
    println!("check {:.2}", median(|| check(black_box(&tree), &environment))?);
    let pieces = [piece("M1")?, piece("M2")?];
    println!("place {:.2}", median(|| place(black_box(&tree), &environment, &pieces))?);
    Ok(())
}

/// Every file by a parser that gives a tree and keeps nothing to write it back with.
fn plain(files: &[Vec<u8>]) -> Result<usize> {
    let mut elements = 0;
    for bytes in files {
        let text = std::str::from_utf8(bytes)?;
        let document = roxmltree::Document::parse(text.strip_prefix('\u{feff}').unwrap_or(text))?;
        elements += document.descendants().count();
    }
    Ok(elements)
}

/// A mitigation as the project ships it.
fn piece(id: &str) -> Result<Piece> {
    let path = format!("{}/../mitigations/{id}/mitigation.xml", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path)?;
    let document = roxmltree::Document::parse(&text)?;
    let mut actions = document.descendants().filter(|node| node.attribute("type") == Some("UrlRewrite"));
    let action = actions.next().with_context(|| format!("{id} has no UrlRewrite"))?;
    let rules = action.children().find(|child| child.has_tag_name("rewrite")).context("no rewrite")?;
    let target = action.attribute("target").unwrap_or_default().to_owned();
    Ok(Piece {
        marker: format!("example {}", action.attribute("id").unwrap_or(id)),
        scope: match action.attribute("scope") {
            Some("Site") => Scope::Site(target),
            Some("VDir") => Scope::VirtualDirectory(target),
            _ => Scope::Server,
        },
        rules: text.get(rules.range()).unwrap_or_default().to_owned(),
    })
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
