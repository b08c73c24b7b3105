//! Rules that are only observed, beside some that are in force: in which order a server asks them, and what that hides.
//! What a server logs is shown with real ones by the tests of its driver.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use common::{condition, rules};
use stopgap_rules::RuleSet;
use stopgap_rules::translate::{SiteRules, apache, haproxy, nginx};

fn set(marker: &str, observe: bool, rules: RuleSet) -> SiteRules {
    SiteRules { observe, marker: marker.into(), sites: None, rules }
}

/// M1 is observed; M2, which comes behind it, is in force, and exempts what it knows to be harmless.
fn both() -> Vec<SiteRules> {
    let exempts = rules(
        "<rule name=\"Exempt\" stopProcessing=\"true\"><match url=\".*\"/><conditions>\
         <add input=\"{REQUEST_URI}\" pattern=\"^/harmless\"/></conditions><action type=\"None\"/></rule>",
    );
    vec![
        set("example M1.1", true, condition("Observed", "{REQUEST_URI}", "evil")),
        set("example M2.1", false, exempts),
    ]
}

/// Whether two words come in this order in a text, each once at least.
fn in_order(text: &str, first: &str, then: &str) -> bool {
    let at = |word| text.find(word).unwrap_or_else(|| panic!("no {word:?} in:\n{text}"));
    at(first) < at(then)
}

#[test]
fn a_rule_in_force_that_lets_pass_is_asked_before_what_observes_and_decides() {
    // HAProxy: the first entry that is found is the verdict.
    let config = haproxy::translate(&both()).unwrap();
    let values: Vec<&str> = config.entries.iter().map(|entry| entry.value.as_str()).collect();
    assert_eq!(values, ["pass", "observe:example:M1.1"]);

    // nginx: the first pattern of the group's map that is found.
    let config = nginx::translate(&both()).unwrap();
    assert!(in_order(&config.http, " pass;", " observe:example:M1.1;"), "{}", config.http);

    // Apache: what is set already is not set again.
    let config = apache::translate(&both()).unwrap();
    assert!(
        in_order(&config.server, "STOPGAP_VERDICT=pass", "STOPGAP_VERDICT=observe:example:M1.1"),
        "{}",
        config.server
    );
}

#[test]
fn of_several_that_observe_the_first_is_logged() {
    let one = |marker: &str| set(marker, true, condition("Observed", "{REQUEST_URI}", "evil"));
    let config = haproxy::translate(&[one("example M1.1"), one("example M3.1")]).unwrap();
    let values: Vec<&str> = config.entries.iter().map(|entry| entry.value.as_str()).collect();
    assert_eq!(values, ["observe:example:M1.1", "observe:example:M3.1"]);
    let config = nginx::translate(&[one("example M1.1"), one("example M3.1")]).unwrap();
    assert!(in_order(&config.http, " observe:example:M1.1;", " observe:example:M3.1;"), "{}", config.http);
}
