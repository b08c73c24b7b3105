//! A crate knows only crates below it (ARCHITECTURE.md, "The map"): read from Cargo's own metadata.

// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// What a crate may depend on, of this workspace. In tests it may also use the test kit.
const BELOW: &[(&str, &[&str])] = &[
    (
        "stopgap",
        &[
            "stopgap-agent",
            "stopgap-core",
            "stopgap-drivers",
            "stopgap-feed",
            "stopgap-gateway",
            "stopgap-hub",
            "stopgap-iis",
            "stopgap-publish",
            "stopgap-rules",
        ],
    ),
    ("stopgap-hub", &["stopgap-core", "stopgap-door", "stopgap-feed", "stopgap-tell"]),
    (
        "stopgap-agent",
        &[
            "stopgap-core",
            "stopgap-drivers",
            "stopgap-feed",
            "stopgap-iis",
            "stopgap-rules",
            "stopgap-tell",
            "stopgap-windows",
        ],
    ),
    ("stopgap-publish", &["stopgap-core", "stopgap-door", "stopgap-feed", "stopgap-rules"]),
    ("stopgap-gateway", &["stopgap-iis", "stopgap-rules"]),
    ("stopgap-drivers", &["stopgap-core", "stopgap-feed", "stopgap-iis", "stopgap-rules", "stopgap-windows"]),
    ("stopgap-tell", &["stopgap-core"]),
    ("stopgap-core", &["stopgap-feed"]),
    ("stopgap-iis", &["stopgap-rules"]),
    ("stopgap-rules", &[]),
    ("stopgap-feed", &[]),
    ("stopgap-windows", &[]),
    ("stopgap-door", &[]),
    (TEST_KIT, &["stopgap-core", "stopgap-drivers", "stopgap-feed", "stopgap-publish", "stopgap-rules"]),
    ("xtask", &[]),
];

const TEST_KIT: &str = "stopgap-testkit";

/// Beside the test kit: what the tests of a crate may use that the crate may not.
const IN_TESTS: &[(&str, &[&str])] = &[
    // The gateway's driver against the gateway that runs.
    ("stopgap-drivers", &["stopgap-gateway"]),
    // A service that a test is.
    ("stopgap", &["stopgap-windows"]),
    // The benchmarks of the bare calls, and the XML Schema beside the parser.
    ("xtask", &["stopgap-feed", "stopgap-iis", "stopgap-rules"]),
];

/// Every dependency that points elsewhere than down, as a sentence.
fn violations(metadata: &Value) -> Vec<String> {
    let empty = Vec::new();
    let list = |value: &'_ Value, key: &str| value[key].as_array().unwrap_or(&empty).clone();
    let packages = list(metadata, "packages");
    let ours: BTreeSet<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let below: BTreeMap<&str, &[&str]> = BELOW.iter().copied().collect();
    let in_tests: BTreeMap<&str, &[&str]> = IN_TESTS.iter().copied().collect();
    let mut found = Vec::new();
    for package in &packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(allowed) = below.get(name) else {
            found.push(format!("{name} has no place in the table"));
            continue;
        };
        for dependency in list(package, "dependencies") {
            let to = dependency["name"].as_str().unwrap_or_default();
            let test_only = dependency["kind"] == "dev";
            let excused =
                test_only && (to == TEST_KIT || in_tests.get(name).is_some_and(|more| more.contains(&to)));
            if ours.contains(to) && !allowed.contains(&to) && !excused {
                let how = if test_only { ", in tests" } else { "" };
                found.push(format!("{name} must not know {to}{how}"));
            }
        }
    }
    found
}

#[test]
fn no_crate_knows_what_is_not_below_it() {
    let done = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let metadata: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert!(metadata["packages"].as_array().is_some_and(|packages| packages.len() >= BELOW.len()));
    assert_eq!(violations(&metadata), Vec::<String>::new());
}

#[test]
fn the_table_itself_has_no_way_back() {
    let row = |name: &str| BELOW.iter().position(|(of, _)| *of == name).unwrap();
    for (name, below) in BELOW.iter().filter(|(name, _)| *name != TEST_KIT) {
        for other in *below {
            assert!(row(other) > row(name), "{other} stands above {name}");
        }
    }
}

#[test]
fn a_dependency_that_points_back_is_found() {
    let metadata = |dependency: &str| {
        serde_json::from_str(&format!(
            r#"{{"packages":[{{"name":"stopgap-feed","dependencies":[{dependency},{{"name":"ring","kind":null}}]}},
                {{"name":"stopgap-core","dependencies":[]}},{{"name":"stopgap-testkit","dependencies":[]}}]}}"#
        ))
        .unwrap()
    };
    let judged = |dependency: &str| violations(&metadata(dependency));
    assert_eq!(judged(r#"{"name":"stopgap-core","kind":null}"#), ["stopgap-feed must not know stopgap-core"]);
    assert_eq!(
        judged(r#"{"name":"stopgap-core","kind":"dev"}"#),
        ["stopgap-feed must not know stopgap-core, in tests"]
    );
    assert_eq!(
        judged(r#"{"name":"stopgap-testkit","kind":null}"#),
        ["stopgap-feed must not know stopgap-testkit"]
    );
    assert_eq!(judged(r#"{"name":"stopgap-testkit","kind":"dev"}"#), Vec::<String>::new());
}

#[test]
fn a_crate_without_a_place_is_found() {
    let metadata =
        serde_json::from_str(r#"{"packages":[{"name":"stopgap-new","dependencies":[]}]}"#).unwrap();
    assert_eq!(violations(&metadata), ["stopgap-new has no place in the table"]);
}
