//! Rules that stand at a level: an application or a folder of the site.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use common::{engine, get, rules};
use stopgap_rules::{Level, Outcome};

fn aborts(level: &str, url: &str, target: &str) -> bool {
    let set = rules(&format!(r#"<rule name="r"><match url="{url}"/><action type="AbortRequest"/></rule>"#));
    get(&engine(&set.at(&Level::new(level))), target).action == Outcome::AbortRequest
}

#[test]
fn a_rule_at_a_level_sees_requests_there_and_the_path_below_it() {
    for (level, url, target, expected) in [
        ("", "^owa/x$", "/owa/x", true),
        ("owa", "^x$", "/owa/x", true),
        ("owa", "^x$", "/OWA/x?q", true),
        ("owa", "^owa/x$", "/owa/x", false),
        ("owa", "^$", "/owa", true),
        ("owa", "^$", "/owa/", true),
        ("owa", ".*", "/owax", false),
        ("owa", ".*", "/ecp/owa/", false),
        ("owa", ".*", "/%6Fwa/x", true),
        ("owa", ".*", "/ecp/../owa/x", true),
        ("owa", ".*", "/owa/../ecp", false),
        ("owa/auth", "^logon", "/owa/auth/logon.aspx", true),
    ] {
        assert_eq!(aborts(level, url, target), expected, "{level} {url} {target}");
    }
}

#[test]
fn a_negated_match_at_a_level_says_nothing_about_other_places() {
    let set = rules(r#"<rule name="r"><match url="^x$" negate="true"/><action type="AbortRequest"/></rule>"#);
    let engine = engine(&set.at(&Level::new("owa")));
    assert_eq!(get(&engine, "/owa/y").action, Outcome::AbortRequest);
    assert_eq!(get(&engine, "/owa/x").action, Outcome::None);
    assert_eq!(get(&engine, "/ecp/y").action, Outcome::None);
}

#[test]
fn an_address_without_a_slash_is_relative_to_the_level() {
    for (url, expected) in [("new", "/owa/new"), ("/new", "/new"), ("http://x.example/", "http://x.example/")]
    {
        let set = rules(&format!(
            r#"<rule name="r"><match url="^old$"/><action type="Redirect" url="{url}"/></rule>"#
        ));
        let verdict = get(&engine(&set.at(&Level::new("owa"))), "/owa/old");
        assert_eq!(verdict.url.as_deref(), Some(expected));
    }
}

#[test]
fn a_rewrite_moves_a_request_to_another_level() {
    let mut set =
        rules(r#"<rule name="move"><match url="^a/(.*)"/><action type="Rewrite" url="/b/{R:1}"/></rule>"#);
    set.append(
        rules(r#"<rule name="stop"><match url="^x$"/><action type="AbortRequest"/></rule>"#)
            .at(&Level::new("b")),
    );
    let engine = engine(&set);
    assert_eq!(get(&engine, "/a/x").rule.as_deref(), Some("stop"));
    assert_eq!(get(&engine, "/a/y").action, Outcome::Rewrite);
}
