//! docs/rules/translation.md says what each server does differently, and which test shows it: that test is there.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use std::path::Path;

#[test]
fn every_test_that_the_page_names_is_there() {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(crate_folder.join("../../docs/rules/translation.md")).unwrap();
    let tests: String = std::fs::read_dir(crate_folder.join("tests"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .map(|path| std::fs::read_to_string(path).unwrap())
        .collect();
    let mut rows = 0;
    for row in page.lines().filter(|line| line.starts_with("| ")) {
        let shown_by = row.trim_end_matches(['|', ' ']).rsplit('|').next().unwrap().trim();
        if matches!(shown_by, "shown by" | "not tested") {
            continue;
        }
        rows += 1;
        for name in shown_by.split(", ").map(|name| name.trim_matches('`')) {
            assert!(tests.contains(&format!("fn {name}()")), "{name} is no test: {row}");
        }
    }
    assert!(rows > 30, "{rows}");
}
