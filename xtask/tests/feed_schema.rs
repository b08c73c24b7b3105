//! docs/feed.xsd beside the parser: what the schema takes the parser takes, and what the parser does
//! not know the schema refuses.

// Helpers of tests may panic as tests do.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::print_stdout)]

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use stopgap_feed::document::Document;
use stopgap_feed::limits::Limits;

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs")
}

fn example() -> String {
    std::fs::read_to_string(docs().join("examples/feed.xml")).unwrap()
}

/// Whether the schema takes each of these files; `None` where there is no xmllint.
fn schema_takes(test: &str, files: &[PathBuf]) -> Option<Vec<bool>> {
    let takes = |file: &PathBuf| {
        Command::new("xmllint")
            .args(["--nonet", "--noout", "--schema"])
            .arg(docs().join("feed.xsd"))
            .arg(file)
            .stderr(Stdio::null())
            .status()
    };
    match files.iter().map(takes).collect::<Result<Vec<_>, _>>() {
        // 3 is xmllint's word for "does not fit the schema"; anything else is no judgment.
        Ok(statuses) => Some(
            statuses
                .iter()
                .map(|status| match status.code() {
                    Some(0) => true,
                    Some(3) => false,
                    other => panic!("xmllint ended with {other:?}"),
                })
                .collect(),
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            assert!(env::var("CI").as_deref() != Ok("true"), "no xmllint");
            println!("skipped (no xmllint): {test}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// Whether this build knows everything in the document.
fn parser_takes(text: &str) -> Result<(), String> {
    let document = Document::from_unsigned(text.as_bytes(), &Limits::default())
        .map_err(|refusal| refusal.to_string())?;
    let notes = document.mitigations.iter().flat_map(|mitigation| &mitigation.unsupported);
    match notes.chain(&document.warnings).next() {
        None => Ok(()),
        Some(note) => Err(note.clone()),
    }
}

fn written(folder: &Path, texts: &[String]) -> Vec<PathBuf> {
    let file = |(number, text): (usize, &String)| {
        let file = folder.join(format!("{number}.xml"));
        std::fs::write(&file, text).unwrap();
        file
    };
    texts.iter().enumerate().map(file).collect()
}

fn scratch(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn the_example_fits_both() {
    assert_eq!(parser_takes(&example()), Ok(()));
    let file = docs().join("examples/feed.xml");
    if let Some(taken) = schema_takes("the_example_fits_both", &[file]) {
        assert_eq!(taken, [true]);
    }
}

#[test]
fn microsofts_document_fits_both() {
    let corpus = env::var_os("STOPGAP_CORPUS").map_or_else(|| "../shared/corpus".into(), PathBuf::from);
    let corpus = docs().join("..").join(corpus);
    if !corpus.is_dir() {
        println!("skipped (corpus absent): microsofts_document_fits_both");
        return;
    }
    let file = corpus.join("ms-feed/getexchangemitigations-2021-09-29.xml");
    assert_eq!(parser_takes(&std::fs::read_to_string(&file).unwrap()), Ok(()));
    if let Some(taken) = schema_takes("microsofts_document_fits_both", &[file]) {
        assert_eq!(taken, [true]);
    }
}

/// Changes to the example that leave it a feed.
const GOOD: &[(&str, &str)] = &[
    (r#" severity="critical""#, ""),
    (r#" desc="Heartbeat""#, ""),
    (r#"version="2.0""#, r#"version="2.17""#),
    ("PT10M", "PT1H30M15S"),
    (r#"percent="100""#, r#"percent="0""#),
    ("<Value>DoNothing</Value>", ""),
    (r#"expect="blocked">GET "#, "expect=\"blocked\">\n  HEAD "),
    ("/PowerShell/ HTTP/1.1", "/PowerShell/ HTTP/1.1\n    Cookie: a=b\n"),
    (
        "</Product>\n    </Applicability>",
        "</Product><All><All><Product name=\"a\"/></All></All></Applicability>",
    ),
    ("<Withdrawn id=\"M0\" reason=\"Superseded by the vendor's hotfix.\"/>", "<!-- none -->"),
    (r#"serial="42""#, r#"serial="18446744073709551615""#),
    // Before the ranges and after them.
    (r#"<Range through="3.0.11-1~deb12u1"/>"#, r#"<Range below="2"/><Detect kind="dpkg" package="x1"/>"#),
    (r#"<Product name="exchange"/>"#, r#"<Product name="x"><Detect kind="rpm" package="_X.1+"/></Product>"#),
    (r#"<Product name="exchange"/>"#, r#"<Product name="x"><Detect kind="pe" path="d:\a b"/></Product>"#),
];

/// Changes that this build does not know: one fault each.
const BAD: &[(&str, &str)] = &[
    (r#"version="2.0""#, r#"version="3.0""#),
    (r#"version="2.0" "#, ""),
    ("<EOCS ", "<EOCS xmlns=\"urn:other\" "),
    ("<EOCS ", "<EOCS signed=\"yes\" "),
    (r#"feed="example""#, r#"feed="../example""#),
    (r#"serial="42""#, r#"serial="18446744073709551616""#),
    (r#"serial="42""#, r#"serial="+42""#),
    ("2026-11-22T03:00:00Z", "2026-11-22T03:00:00+01:00"),
    ("2026-12-06T03:00:00Z", "2026-12-06"),
    (r#"<Config id="PING1""#, r#"<Config id="PING 1""#),
    (r#"<Config id="PING1""#, "<Config"),
    (r#"<Config id="PING1""#, r#"<Config id="PING1" urgent="yes""#),
    (r#"severity="critical""#, r#"severity="apocalyptic""#),
    ("<ActionList>\n      <Action id=\"PING1.1\"", "<Detect/><ActionList>\n      <Action id=\"PING1.1\""),
    ("<Applicability>", "<Applicability/><Applicability>"),
    (r#"versions="dotted""#, r#"versions="calendar""#),
    (r#"<Product name="exchange"/>"#, "<Product/>"),
    (r#"<Range through="3.0.11-1~deb12u1"/>"#, r#"<Range upto="3.0.11-1~deb12u1"/>"#),
    (r#"<Range through="3.0.11-1~deb12u1"/>"#, r#"<Detect file="/etc/x"/>"#),
    (r#"kind="file""#, r#"kind="command""#),
    (r#"kind="file" "#, ""),
    (r#"kind="file""#, r#"kind="file" run="yes""#),
    (r#"path="/opt/example-helper/VERSION""#, r#"path="opt/example-helper/VERSION""#),
    (r#"path="/opt/example-helper/VERSION""#, r#"path="/opt//VERSION""#),
    (r#"path="/opt/example-helper/VERSION""#, r#"path="//server/share/VERSION""#),
    (r#"path="/opt/example-helper/VERSION""#, r#"path="C:\x:y""#),
    (r#"pattern="^version=([0-9.]+)$""#, r#"pattern="^version""#),
    (r#"package="example-helper""#, r#"package="--all""#),
    (r#"key="HKLM\"#, r#"key="HKCU\"#),
    (r#"type="DoNothing""#, r#"type="Reboot""#),
    (r#"scope="Site""#, r#"scope="Galaxy""#),
    (r#"platform="linux""#, r#"platform="plan9""#),
    (r#"supersedes="M2""#, r#"supersedes="M..2""#),
    (r#"expect="allowed""#, r#"expect="fine""#),
    ("GET /owa/ HTTP/1.1", "POST /owa/ HTTP/1.1"),
    ("GET /owa/ HTTP/1.1", "GET /owa/ HTTP/1.0"),
    (r#"percent="100""#, r#"percent="101""#),
    ("PT10M", "P1D"),
    (r#"<Withdrawn id="M0""#, "<Withdrawn"),
    ("</EOCS>", "<Appendix/></EOCS>"),
    ("</EOCS>", "text</EOCS>"),
];

fn changed(changes: &[(&str, &str)]) -> Vec<String> {
    let change = |(from, to): &(&str, &str)| {
        let example = example();
        assert!(example.contains(from), "the example does not hold {from:?}");
        example.replacen(from, to, 1)
    };
    changes.iter().map(change).collect()
}

#[test]
fn what_may_be_left_out_or_added_fits_both() {
    let texts = changed(GOOD);
    for (text, change) in texts.iter().zip(GOOD) {
        assert_eq!(parser_takes(text), Ok(()), "{change:?}");
    }
    let files = written(&scratch("schema-good"), &texts);
    if let Some(taken) = schema_takes("what_may_be_left_out_or_added_fits_both", &files) {
        for (taken, change) in taken.iter().zip(GOOD) {
            assert!(taken, "{change:?}");
        }
    }
}

#[test]
fn what_this_build_does_not_know_fits_neither() {
    let texts = changed(BAD);
    for (text, change) in texts.iter().zip(BAD) {
        assert!(parser_takes(text).is_err(), "{change:?}");
    }
    let files = written(&scratch("schema-bad"), &texts);
    if let Some(taken) = schema_takes("what_this_build_does_not_know_fits_neither", &files) {
        for (taken, change) in taken.iter().zip(BAD) {
            assert!(!taken, "{change:?}");
        }
    }
}
