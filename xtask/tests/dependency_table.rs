//! CONTRIBUTING.md gives a reason for every library that a manifest names, and for no other.

// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The names in the first column: each in backticks, several to a row.
fn listed(page: &str) -> BTreeSet<String> {
    let rows = page.lines().skip_while(|line| *line != "| crate | for | licence |").skip(2);
    rows.take_while(|line| line.starts_with('|'))
        .filter_map(|row| row.split('|').nth(1))
        .flat_map(|cell| cell.split('`').skip(1).step_by(2))
        .map(str::to_owned)
        .collect()
}

fn used() -> BTreeSet<String> {
    let done = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let metadata: Value = serde_json::from_slice(&done.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .flat_map(|package| package["dependencies"].as_array().unwrap())
        .filter(|dependency| dependency["path"].is_null())
        .map(|dependency| dependency["name"].as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn every_library_has_its_reason() {
    let page = std::fs::read_to_string(root().join("CONTRIBUTING.md")).unwrap();
    let (listed, used) = (listed(&page), used());
    assert!(used.contains("ring"));
    let without_reason: Vec<_> = used.difference(&listed).collect();
    let without_use: Vec<_> = listed.difference(&used).collect();
    assert!(without_reason.is_empty(), "not in CONTRIBUTING.md: {without_reason:?}");
    assert!(without_use.is_empty(), "in CONTRIBUTING.md, and in no manifest: {without_use:?}");
}

#[test]
fn every_version_that_the_workspace_names_is_used() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    let manifest: toml::Value = toml::from_str(&manifest).unwrap();
    let used = used();
    let idle: Vec<_> = manifest["workspace"]["dependencies"]
        .as_table()
        .unwrap()
        .keys()
        .filter(|name| !name.starts_with("stopgap-") && !used.contains(*name))
        .collect();
    assert!(idle.is_empty(), "in the root Cargo.toml, and in no crate's: {idle:?}");
}

#[test]
fn the_table_is_read_cell_by_cell() {
    let page =
        "# x\n| crate | for | licence |\n|---|---|---|\n| `a`, `b-c` | `not this` | MIT |\n\n| `d` | | |\n";
    assert_eq!(listed(page), ["a", "b-c"].map(str::to_owned).into());
}
