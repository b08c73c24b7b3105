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

mod common;
mod naive;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use naive::Order;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};

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
    differs(files, &naive::read(files, Order::ByLevel))
}

fn differs(files: &BTreeMap<String, String>, reading: &naive::Reading) -> Option<String> {
    let (theirs, levels) = naive::theirs::theirs(files);
    let ours = naive::theirs::ours(reading, &levels);
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

/// Made-up servers: the same 200 in every run, or as many new ones as `STOPGAP_MERGE_CASES` says.
fn made_up() -> TestRunner {
    let more = std::env::var("STOPGAP_MERGE_CASES").ok().and_then(|n| n.parse().ok());
    let config = Config { cases: more.unwrap_or(200), failure_persistence: None, ..Config::default() };
    match more {
        Some(_) => TestRunner::new(config),
        None => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
    }
}

#[test]
fn the_crate_reads_made_up_servers_as_the_naive_reading_does() {
    let checked = made_up().run(&naive::generate::drives(), |drive| {
        let files = drive.files(SECTIONS);
        let shown = || files.iter().map(|(path, text)| format!("== {path}\n{text}\n")).collect::<String>();
        difference(&files).map_or(Ok(()), |text| Err(TestCaseError::fail(format!("{}{text}", shown()))))
    });
    if let Err(TestError::Fail(reason, _)) = checked {
        panic!("{}", reason.message());
    }
}

/// The levels that come to something else in the other order: other entries of these collections, other faults, or
/// rules that stand elsewhere among others.
fn parted(files: &BTreeMap<String, String>, of: &[&str]) -> BTreeSet<String> {
    let (one, other) = (naive::read(files, Order::ByFile), naive::read(files, Order::ByLevel));
    let said = |reading: &naive::Reading, path: &str| -> BTreeSet<String> {
        let level = &reading.levels[path];
        let mut lines = BTreeSet::new();
        for (collection, entries) in level.iter().filter(|(collection, _)| of.contains(&collection.as_str()))
        {
            let names = entries.iter().enumerate().map(|(n, entry)| {
                let place = if ["rules", "outboundRules"].contains(&collection.as_str()) { n } else { 0 };
                format!("{collection} {place} {} {}", entry.name, entry.file)
            });
            lines.extend(names);
        }
        let faults = reading.violations.iter().filter(|(_, level, _)| level == path);
        lines.extend(faults.map(|(code, _, key)| format!("! {code} {key}")));
        lines
    };
    one.levels
        .keys()
        .filter(|path| said(&one, path) != said(&other, path))
        .map(|path| path.to_lowercase())
        .collect()
}

const COLLECTIONS: [&str; 6] =
    ["rules", "outboundRules", "preConditions", "rewriteMaps", "allowedServerVariables", "providers"];

#[test]
fn where_the_order_is_left_open_and_matters_the_crate_says_so() {
    let checked = made_up().run(&naive::generate::drives(), |drive| {
        let files = drive.files(SECTIONS);
        let (ours, theirs) = (parted(&files, &COLLECTIONS), naive::theirs::order_matters(&files));
        let shown = || files.iter().map(|(path, text)| format!("== {path}\n{text}\n")).collect::<String>();
        let missed: Vec<_> = ours.iter().filter(|level| theirs.get(*level) == Some(&false)).collect();
        if missed.is_empty() {
            Ok(())
        } else {
            Err(TestCaseError::fail(format!("{}missed {missed:?}", shown())))
        }
    });
    if let Err(TestError::Fail(reason, _)) = checked {
        panic!("{}", reason.message());
    }
}

#[test]
fn an_order_that_takes_a_rule_a_map_or_a_variable_away_is_told() {
    let parts = [
        ("rules", "<rule name=\"x\"><match url=\".\"/><action type=\"None\"/></rule>"),
        ("rewriteMaps", "<rewriteMap name=\"x\"/>"),
        ("providers", "<provider name=\"x\" type=\"t\"/>"),
        ("allowedServerVariables", "<add name=\"x\"/>"),
    ];
    let sections = SECTIONS.replace("overrideModeDefault=\"Deny\"/>", "overrideModeDefault=\"Allow\"/>");
    let mut missed = vec![];
    for (section, add) in parts {
        let part = |inner: &str| {
            format!("<system.webServer><rewrite><{section}>{inner}</{section}></rewrite></system.webServer>")
        };
        let location = format!("<location path=\"Site/app\">{}</location>", part("<remove name=\"x\"/>"));
        let files = BTreeMap::from([
            (naive::HOST.to_owned(), format!("<configuration>{sections}{SITES}{location}</configuration>")),
            ("site/web.config".to_owned(), format!("<configuration>{}</configuration>", part(add))),
        ]);
        let ours = parted(&files, &[section]);
        assert_eq!(ours, ["site/app", "site/app/files"].map(str::to_owned).into(), "{section}");
        let theirs = naive::theirs::order_matters(&files);
        if !ours.iter().all(|level| theirs[level]) {
            missed.push(section);
        }
    }
    assert_eq!(missed, Vec::<&str>::new());
}

#[test]
fn made_up_servers_have_rules_of_several_files_and_every_kind_of_fault() {
    let mut runner = made_up();
    let (mut several, mut codes) = (0, BTreeMap::<String, usize>::new());
    for _ in 0..200 {
        let drive = naive::generate::drives().new_tree(&mut runner).unwrap().current();
        let (theirs, _) = naive::theirs::theirs(&drive.files(SECTIONS));
        let files = |lines: &Vec<String>| {
            lines.iter().filter_map(|line| Some(line.split_once(" < ")?.1)).collect::<BTreeSet<_>>().len()
        };
        several += theirs.entries.values().filter(|lines| files(lines) > 1).count();
        theirs.faults.into_iter().for_each(|(_, code)| *codes.entry(code).or_default() += 1);
    }
    assert!(several > 50, "{several} levels with entries of several files");
    let wanted = [
        "duplicate-key",
        "duplicate-section",
        "element-locked",
        "section-locked",
        "unknown-precondition",
        "variable-not-allowed",
        "wrong-level",
    ];
    assert!(wanted.iter().all(|code| codes.get(*code).is_some_and(|n| *n > 3)), "{codes:?}");
}

/// The rule of M2 (CVE-2026-42897), as Microsoft's service places it: directly in the folder of `owa`.
const M2: &str = r#"<rewrite><outboundRules>
  <preConditions><preCondition name="EEMS M2.1 OWA SPA HTML shell - precondition">
    <add input="{RESPONSE_CONTENT_TYPE}" pattern="^text/html"/>
  </preCondition></preConditions>
  <rule name="EEMS M2.1 OWA CSP - outbound" preCondition="EEMS M2.1 OWA SPA HTML shell - precondition">
    <match serverVariable="RESPONSE_Content_Security_Policy" pattern="(.*)"/>
    <action type="Rewrite" value="{R:1}; script-src-attr 'none'"/>
  </rule>
</outboundRules></rewrite>"#;

#[test]
fn both_readings_of_a_real_server_see_how_m2_breaks_the_applications_in_owa() {
    let name = "both_readings_of_a_real_server_see_how_m2_breaks_the_applications_in_owa";
    let Some(samples) = common::corpus(name) else { return };
    let front = "Program Files/Microsoft/Exchange Server/V15/FrontEnd/HttpProxy";
    let owa = format!("{front}/owa/web.config");
    let homes = [
        ("applicationHost.config", naive::HOST.to_owned()),
        ("DefaultWebSite_web.config", "inetpub/wwwroot/web.config".into()),
        ("DefaultWebSite-OWA_web.config", owa.clone()),
        ("DefaultWebSite-ECP_web.config", format!("{front}/ecp/web.config")),
    ];
    let text = |sample: &str| std::fs::read_to_string(samples.join(sample)).unwrap();
    let mut files: BTreeMap<_, _> = homes.into_iter().map(|(sample, home)| (home, text(sample))).collect();

    // The file's own settings stand in a location that is not inherited; the service's rule stands beside it.
    let mut placed = |before: &str, rule: &str| {
        let (head, tail) = text("DefaultWebSite-OWA_web.config")
            .rsplit_once(before)
            .map(|(h, t)| (h.to_owned(), t.to_owned()))
            .unwrap();
        files.insert(owa.clone(), format!("{head}{rule}{before}{tail}"));
        let reading = naive::read(&files, Order::ByLevel);
        assert_eq!(differs(&files, &reading), None);
        assert!(reading.levels["Default Web Site/owa"]["outboundRules"].len() == 1);
        let broken = reading.violations.iter().map(|(code, level, _)| format!("{level} {code}"));
        broken.collect::<BTreeSet<_>>()
    };
    let nested =
        ["Calendar", "Integrated", "oma"].map(|app| format!("Default Web Site/owa/{app} duplicate-key"));
    let beside = format!("<system.webServer>{M2}</system.webServer>");
    assert_eq!(placed("</configuration>", &beside), nested.into());
    assert_eq!(placed("</system.webServer>", M2), BTreeSet::new(), "in the location nothing is inherited");
}
