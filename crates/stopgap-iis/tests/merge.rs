//! IIS's merge, rule by rule: each file of `merge/` is a small drive C: and what IIS makes of it, with the source
//! that says so. The naive reading has to say the same.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
#![allow(missing_docs, reason = "modules of a test")]

mod naive;

use std::collections::BTreeMap;
use std::path::PathBuf;

use naive::Order;

/// What the module's setup registers, as in a real applicationHost.config.
const SECTIONS: &str = r#"<configSections><sectionGroup name="system.webServer"><sectionGroup name="rewrite">
    <section name="globalRules" overrideModeDefault="Deny" allowDefinition="AppHostOnly"/>
    <section name="rules" overrideModeDefault="Allow"/>
    <section name="outboundRules" overrideModeDefault="Allow"/>
    <section name="providers" overrideModeDefault="Allow"/>
    <section name="rewriteMaps" overrideModeDefault="Allow"/>
    <section name="allowedServerVariables" overrideModeDefault="Deny"/>
  </sectionGroup></sectionGroup></configSections>"#;

/// A site, an application in it, and a virtual directory in that.
const SITES: &str = r#"<system.applicationHost><sites><site name="Site" id="1">
    <application path="/"><virtualDirectory path="/" physicalPath="C:\site"/></application>
    <application path="/app"><virtualDirectory path="/" physicalPath="%SystemDrive%\app"/>
      <virtualDirectory path="/files" physicalPath="C:\files"/></application>
  </site></sites></system.applicationHost>"#;

struct Case {
    name: String,
    files: BTreeMap<String, String>,
    expected: String,
}

fn cases() -> Vec<Case> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/merge");
    let mut paths: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| case(&path)).collect()
}

fn case(path: &std::path::Path) -> Case {
    let text = std::fs::read_to_string(path).unwrap();
    let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
    let (head, rest) = text.split_once("\n== ").unwrap_or_else(|| panic!("{name}: no file"));
    assert!(head.contains("# source: "), "{name}: names no source");
    let mut case = Case { name, files: BTreeMap::new(), expected: String::new() };
    for part in rest.split("\n== ") {
        let (title, body) = part.split_once('\n').unwrap();
        let body = body.replace("{sections}", SECTIONS).replace("{sites}", SITES);
        match title {
            "expected" => case.expected = body.trim_end().to_owned(),
            file => {
                assert!(case.files.insert(file.to_owned(), body).is_none(), "{}: {file} twice", case.name)
            }
        }
    }
    case
}

/// Levels about which there is nothing to say are left out of the files.
fn without_empty(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let empty =
        |n: usize| lines[n].starts_with('[') && lines.get(n + 1).is_none_or(|next| next.starts_with('['));
    (0..lines.len()).filter(|n| !empty(*n)).map(|n| lines[n]).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_documented_rule_of_the_merge_is_what_the_naive_reading_does() {
    let mut wrong = String::new();
    let cases = cases();
    assert!(cases.len() > 30, "{} cases", cases.len());
    for case in &cases {
        let found = without_empty(&naive::read(&case.files, Order::ByFile).text());
        if found != case.expected {
            wrong += &format!("--- {}: expected\n{}\n--- found\n{found}\n\n", case.name, case.expected);
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Where the two readings of the same files part.
fn difference(files: &BTreeMap<String, String>) -> Option<String> {
    let (theirs, levels) = naive::theirs::theirs(files);
    let ours = naive::theirs::ours(&naive::read(files, Order::ByLevel), &levels);
    let entries = |side: &naive::theirs::Side| -> Vec<String> {
        let both = side
            .entries
            .iter()
            .filter(|(level, _)| theirs.entries.contains_key(*level) && ours.entries.contains_key(*level));
        both.flat_map(|(level, lines)| lines.iter().map(move |line| format!("[{level}] {line}"))).collect()
    };
    let faults = |side: &naive::theirs::Side| -> Vec<String> {
        side.faults.iter().map(|(level, code)| format!("[{level}] ! {code}")).collect()
    };
    let text = |side| [faults(side), entries(side)].concat().join("\n");
    (text(&ours) != text(&theirs))
        .then(|| format!("--- naive\n{}\n--- crate\n{}\n", text(&ours), text(&theirs)))
}

#[test]
fn the_crate_reads_every_case_as_the_naive_reading_does() {
    let cases = cases();
    let differences = cases.iter().filter_map(|case| Some((case, difference(&case.files)?)));
    let text: String = differences.map(|(case, text)| format!("=== {}\n{text}\n", case.name)).collect();
    assert!(text.is_empty(), "{text}");
}
