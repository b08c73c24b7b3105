//! Texts that are rule sets, and texts that are not.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use stopgap_rules::{Action, Grouping, ParseError, PatternSyntax, RuleSet};

const RULE: &str = r#"<rule name="r"><match url=".*"/><action type="AbortRequest"/></rule>"#;

#[test]
fn defaults_are_those_of_iis() {
    let set = RuleSet::parse(
        r#"<rules><rule name="r"><match url="a"/><conditions><add input="b" pattern="c"/></conditions>
           <action type="None"/></rule></rules>"#,
    )
    .unwrap();
    let rule = &set.rules[0];
    assert!(rule.enabled && !rule.stop_processing && rule.match_url.ignore_case && !rule.match_url.negate);
    assert_eq!(rule.pattern_syntax, PatternSyntax::EcmaScript);
    assert_eq!((rule.conditions.grouping, rule.conditions.track_all_captures), (Grouping::MatchAll, false));
    assert!(rule.conditions.list[0].ignore_case && !rule.conditions.list[0].negate);
    assert_eq!(rule.action, Action::None);
}

#[test]
fn rules_are_found_wherever_they_may_stand() {
    for text in [
        format!("<rules>{RULE}</rules>"),
        format!("<rewrite><rules>{RULE}</rules><outboundRules/></rewrite>"),
        format!(
            "\u{feff}<?xml version=\"1.0\"?><configuration><system.web x='1'/><system.webServer><handlers/><rewrite><rules>{RULE}</rules></rewrite></system.webServer></configuration>"
        ),
        format!(
            "<configuration><location path=\".\" inheritInChildApplications=\"false\"><system.webServer><rewrite><rules>{RULE}</rules></rewrite></system.webServer></location></configuration>"
        ),
    ] {
        assert_eq!(RuleSet::parse(&text).unwrap().rules.len(), 1, "{text}");
    }
    let both = format!(
        "<rewrite><rules>{}</rules><globalRules>{RULE}</globalRules></rewrite>",
        RULE.replace("\"r\"", "\"late\"")
    );
    let names: Vec<String> = RuleSet::parse(&both).unwrap().rules.into_iter().map(|rule| rule.name).collect();
    assert_eq!(names, ["r", "late"]);
}

#[test]
fn each_fault_has_its_own_error() {
    let rule = |inside: &str| format!("<rules><rule name=\"r\">{inside}</rule></rules>");
    let action = |action: &str| rule(&format!("<match url=\"a\"/>{action}"));
    let nested = format!("{}{}", "<a>".repeat(70), "</a>".repeat(70));
    let attributes: String = (0..70).map(|n| format!(" a{n}=\"\"")).collect();
    let namespaces: String = (0..70).map(|n| format!("<rule xmlns:n{n}=\"urn:{n}\"/>")).collect();
    for (code, text) in [
        ("rules-not-xml", "<rules>".to_owned()),
        ("rules-not-xml", String::new()),
        ("rules-doctype", "<!DOCTYPE rules [<!ENTITY a \"b\">]><rules/>".to_owned()),
        ("rules-too-deep", nested),
        ("rules-too-many", format!("<rules{attributes}/>")),
        ("rules-too-many", format!("<rules>{namespaces}</rules>")),
        ("rules-unknown-root", "<Rules/>".to_owned()),
        ("rules-unknown-root", "<rules xmlns=\"urn:x\"/>".to_owned()),
        ("rules-unknown-element", "<rules><role/></rules>".to_owned()),
        ("rules-unknown-element", rule("<match url=\"a\"/><act/>")),
        ("rules-unknown-element", action("<action type=\"None\"><x/></action>")),
        ("rules-unexpected-text", "<rules>words</rules>".to_owned()),
        ("rules-unknown-attribute", action("<action type=\"None\" kind=\"x\"/>")),
        ("rules-unknown-attribute", "<rules name=\"x\"/>".to_owned()),
        ("rules-missing-attribute", rule("<match/><action type=\"None\"/>")),
        ("rules-missing-attribute", action("<action type=\"Redirect\"/>")),
        ("rules-missing-attribute", action("<action type=\"CustomResponse\"/>")),
        ("rules-missing-element", rule("<match url=\"a\"/>")),
        ("rules-missing-element", rule("<action type=\"None\"/>")),
        ("rules-bad-value", action("<action type=\"Abort\"/>")),
        ("rules-bad-value", action("<action type=\"CustomResponse\" statusCode=\"302\"/>")),
        ("rules-bad-value", "<rules><rule name=\"\"/></rules>".to_owned()),
        ("rules-bad-value", rule("<match url=\"a\" negate=\"1\"/><action type=\"None\"/>")),
        ("rules-repeated", rule("<match url=\"a\"/><match url=\"b\"/><action type=\"None\"/>")),
        ("rules-repeated", format!("<rewrite><rules>{RULE}</rules><rules/></rewrite>")),
        ("rules-duplicate-name", format!("<rules>{RULE}{}</rules>", RULE.replace("\"r\"", "\"R\""))),
        ("rules-not-supported", "<rewrite><outboundRules><rule name=\"x\"/></outboundRules></rewrite>".to_owned()),
        ("rules-not-supported", "<rewrite><providers/></rewrite>".to_owned()),
        ("rules-not-supported", format!("<rules><clear/>{RULE}</rules>")),
        ("rules-not-supported", "<rules><remove name=\"x\"/></rules>".to_owned()),
        ("rules-not-supported", "<configuration><location path=\"a\"><system.webServer><rewrite/></system.webServer></location></configuration>".to_owned()),
        ("rules-too-large", " ".repeat(9 * 1024 * 1024)),
    ] {
        let error = RuleSet::parse(&text).expect_err(text.get(..200).unwrap_or(&text));
        assert_eq!(error.code(), code, "{error} in {text:.200}");
    }
}

#[test]
fn an_error_names_place_finding_and_what_is_allowed() {
    let error =
        RuleSet::parse("<rules>\n  <rule name=\"r\" patternSyntax=\"Regex\"/>\n</rules>").unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 2, column 3: patternSyntax=\"Regex\" of <rule>; allowed: ECMAScript, Wildcard, ExactMatch"
    );
    assert!(matches!(error, ParseError::BadValue { place, .. } if (place.line, place.column) == (2, 3)));
}

/// Real files of a server: sections of other modules are none of our business.
#[test]
fn the_configuration_of_a_real_server_is_read() {
    let root = env!("CARGO_MANIFEST_DIR");
    let corpus = std::env::var("STOPGAP_CORPUS").unwrap_or_else(|_| format!("{root}/../../../shared/corpus"));
    if !std::path::Path::new(&corpus).exists() {
        println!("skipped (corpus absent): the_configuration_of_a_real_server_is_read");
        return;
    }
    let mut folders = vec![std::path::PathBuf::from(corpus)];
    let (mut read, mut rules) = (0, 0);
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("config")) {
                let Ok(text) = std::fs::read_to_string(&path) else { continue };
                match RuleSet::parse(&text) {
                    Ok(set) => {
                        read += 1;
                        rules += set.rules.len();
                    }
                    Err(error) => println!("{}: {error}", path.display()),
                }
            }
        }
    }
    println!("{read} files, {rules} rules");
    assert!(read > 10);
}
