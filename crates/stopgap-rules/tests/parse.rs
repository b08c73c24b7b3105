//! Texts that are rule sets, and texts that are not.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

use stopgap_rules::{
    Action, Grouping, Level, LevelText, OutboundAction, OutboundSubject, ParseError, PatternSyntax, RuleSet,
};

const RULE: &str = r#"<rule name="r"><match url=".*"/><action type="AbortRequest"/></rule>"#;
/// Two conditions that are one key.
const TWICE: &str = r#"<rule name="r"><match url="a"/><conditions><add input="{URL}" pattern="a"/>
    <add input="{url}" pattern="A"/></conditions><action type="None"/></rule>"#;
const MAP: &str = r#"<rewriteMap name="m"><add key="k" value="1"/><add key="K"/></rewriteMap>"#;

fn location(path: &str, rewrite: &str) -> String {
    format!(
        "<configuration><location path=\"{path}\"><system.webServer><rewrite>{rewrite}</rewrite></system.webServer></location></configuration>"
    )
}

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

    let set = RuleSet::parse(
        r#"<outboundRules><rule name="r"><match serverVariable="RESPONSE_X" pattern="a"/>
           <action type="Rewrite"/></rule></outboundRules>"#,
    )
    .unwrap();
    let rule = &set.outbound[0];
    assert!(rule.enabled && !rule.stop_processing && rule.ignore_case && !rule.negate);
    assert_eq!((rule.pattern_syntax, &rule.pre_condition), (PatternSyntax::EcmaScript, &None));
    assert_eq!((rule.conditions.grouping, rule.conditions.track_all_captures), (Grouping::MatchAll, true));
    assert_eq!(rule.action, OutboundAction::Rewrite { value: String::new(), replace: true });
    let (with, without) = ("<conditions><add input=\"b\" pattern=\"c\"/></conditions>", "");
    for (conditions, tracks) in
        [(with, true), (without, true), ("<conditions trackAllCaptures=\"false\"/>", false)]
    {
        let set = RuleSet::parse(&outbound(&format!(
            r#"<rule name="r"><match serverVariable="RESPONSE_X" pattern="a"/>{conditions}<action type="None"/></rule>"#
        )));
        assert_eq!(set.unwrap().outbound[0].conditions.track_all_captures, tracks);
    }
}

fn outbound(inside: &str) -> String {
    format!("<rewrite><outboundRules>{inside}</outboundRules></rewrite>")
}

#[test]
fn outbound_rules_are_read_whole() {
    let set = RuleSet::parse(&outbound(
        r#"<rule name="one" preCondition="Html" enabled="false" patternSyntax="Wildcard" stopProcessing="true">
             <match serverVariable="RESPONSE_Location" filterByTags="None" occurrences="0" pattern="*" ignoreCase="false" negate="true"/>
             <conditions logicalGrouping="MatchAny"><add input="{R:0}" pattern="x"/></conditions>
             <action type="Rewrite" value="y" replace="false"/></rule>
           <rule name="two" preCondition=""><match filterByTags="A, CustomTags" customTags="mine" pattern="^/"/><action type="None"/></rule>
           <preConditions><preCondition name="Html" logicalGrouping="MatchAny" patternSyntax="ExactMatch">
             <add input="{RESPONSE_STATUS}" pattern="200" negate="true"/></preCondition></preConditions>
           <customTags><tags name="mine"><tag name="a" attribute="b"/></tags></customTags>"#,
    ))
    .unwrap();
    let (one, two) = (&set.outbound[0], &set.outbound[1]);
    assert!(!one.enabled && one.stop_processing && !one.ignore_case && one.negate);
    assert_eq!((one.pattern_syntax, one.pre_condition.as_deref()), (PatternSyntax::Wildcard, Some("Html")));
    assert_eq!(one.subject, OutboundSubject::Variable("RESPONSE_Location".into()));
    assert_eq!(one.action, OutboundAction::Rewrite { value: "y".into(), replace: false });
    assert_eq!((two.pre_condition.as_deref(), &two.action), (None, &OutboundAction::None));
    assert_eq!(two.subject, OutboundSubject::Body { tags: "A, CustomTags".into() });
    let pre = &set.pre_conditions[0];
    assert_eq!(
        (pre.name.as_str(), pre.grouping, pre.pattern_syntax),
        ("Html", Grouping::MatchAny, PatternSyntax::ExactMatch)
    );
    assert!(pre.list[0].negate);
}

#[test]
fn each_fault_of_an_outbound_rule_has_its_own_error() {
    let rule = |inside: &str| outbound(&format!("<rule name=\"r\">{inside}</rule>"));
    let matched = |attributes: &str| rule(&format!("<match {attributes}/><action type=\"None\"/>"));
    let pre = |inside: &str| outbound(&format!("<preConditions>{inside}</preConditions>"));
    let good = "<rule name=\"r\"><match serverVariable=\"A\" pattern=\"\"/><action type=\"None\"/></rule>";
    for (code, text) in [
        ("rules-missing-element", rule("<action type=\"None\"/>")),
        ("rules-missing-element", rule("<match serverVariable=\"A\" pattern=\"a\"/>")),
        ("rules-missing-attribute", matched("serverVariable=\"A\"")),
        ("rules-unknown-attribute", matched("url=\"a\" pattern=\"a\"")),
        ("rules-unknown-attribute", rule("<match pattern=\"a\"/><action type=\"Rewrite\" url=\"a\"/>")),
        ("rules-unknown-element", rule("<serverVariables/>")),
        ("rules-unknown-element", outbound("<add/>")),
        ("rules-bad-value", matched("filterByTags=\"B\" pattern=\"a\"")),
        ("rules-bad-value", matched("filterByTags=\"A\" serverVariable=\"A\" pattern=\"a\"")),
        ("rules-bad-value", matched("serverVariable=\"{A}\" pattern=\"a\"")),
        ("rules-bad-value", matched("serverVariable=\"A\" pattern=\"a\" occurrences=\"all\"")),
        ("rules-bad-value", rule("<match pattern=\"a\"/><action type=\"Redirect\"/>")),
        ("rules-bad-value", outbound("<rule name=\"\"/>")),
        ("rules-repeated", rule("<match pattern=\"a\"/><match pattern=\"a\"/>")),
        ("rules-repeated", outbound("<preConditions/><preConditions/>")),
        ("rules-duplicate-name", outbound(&format!("{good}{}", good.replace("\"r\"", "\"R\"")))),
        ("rules-duplicate-name", pre("<preCondition name=\"a\"/><preCondition name=\"A\"/>")),
        (
            "rules-duplicate-condition",
            pre(
                "<preCondition name=\"a\"><add input=\"a\" pattern=\"b\"/><add input=\"a\" pattern=\"b\"/></preCondition>",
            ),
        ),
        (
            "rules-duplicate-condition",
            rule(
                "<match pattern=\"a\"/><conditions><add input=\"a\" pattern=\"b\"/><add input=\"A\" pattern=\"b\" negate=\"false\"/></conditions>",
            ),
        ),
        ("rules-unknown-element", outbound("<customTags><tag/></customTags>")),
    ] {
        let error = RuleSet::parse(&text).expect_err(&text);
        assert_eq!(error.code(), code, "{error} in {text}");
    }
    // Equal but for one part of the key; and in plain rules a condition is no key at all.
    let two = "<add input=\"a\" pattern=\"b\"/><add input=\"a\" pattern=\"b\" ignoreCase=\"false\"/>";
    RuleSet::parse(&pre(&format!("<preCondition name=\"a\">{two}</preCondition>"))).unwrap();
    RuleSet::parse(&format!("<rules>{TWICE}</rules>")).unwrap();
}

fn named(name: &str) -> String {
    RULE.replace("\"r\"", &format!("\"{name}\""))
}

fn names(set: &RuleSet) -> Vec<String> {
    set.rules.iter().map(|rule| format!("{}@{}", rule.name, rule.level.path())).collect()
}

#[test]
fn a_location_is_a_level_behind_those_above_it() {
    let text = format!(
        "<configuration><location path=\"owa/Calendar/\">{c}</location><location path=\"/owa\" inheritInChildApplications=\"false\">{b}</location>{a}</configuration>",
        a = server(&named("a")),
        b = server(&named("b")),
        c = server(&named("c")),
    );
    let set = RuleSet::parse(&text).unwrap();
    assert_eq!(names(&set), ["a@", "b@owa", "c@owa/Calendar"]);
    assert_eq!(set.not_inherited, [Level::new("owa")]);
    // A name is taken at a level and below it, and nowhere else.
    let two = |one: &str, other: &str| {
        RuleSet::parse(&format!(
            "<configuration><location path=\"{one}\">{0}</location><location path=\"{other}\">{0}</location></configuration>",
            server(RULE)
        ))
    };
    assert_eq!(names(&two("owa", "ecp").unwrap()), ["r@owa", "r@ecp"]);
    for (one, other) in [("owa", "OWA"), ("owa", "owa/x"), (".", "owa"), ("", ".")] {
        assert_eq!(two(one, other).unwrap_err().code(), "rules-duplicate-name", "{one} {other}");
    }
}

fn server(rules: &str) -> String {
    format!("<system.webServer><rewrite><rules>{rules}</rules></rewrite></system.webServer>")
}

#[test]
fn clear_and_remove_take_away_what_came_before() {
    let rules = |inside: &str| names(&RuleSet::parse(&format!("<rules>{inside}</rules>")).unwrap());
    let (a, b) = (named("a"), named("b"));
    assert_eq!(rules(&format!("{a}<clear/>{b}{a}")), ["b@", "a@"]);
    assert_eq!(rules(&format!("{a}{b}<remove name=\"A\"/>{a}")), ["b@", "a@"]);
    assert_eq!(rules(&format!("<remove name=\"absent\"/>{a}")), ["a@"]);

    let all = RuleSet::parse(
        r#"<rewrite><outboundRules>
             <rule name="a"><match serverVariable="A" pattern=""/><action type="None"/></rule><clear/>
             <rule name="b"><match serverVariable="A" pattern=""/><action type="None"/></rule><remove name="b"/>
             <preConditions><preCondition name="p"/><preCondition name="q"/><remove name="p"/></preConditions>
           </outboundRules>
           <rewriteMaps><rewriteMap name="m"/><clear/>
             <rewriteMap name="n"><add key="1"/><add key="2"/><remove key="1"/></rewriteMap></rewriteMaps></rewrite>"#,
    )
    .unwrap();
    assert!(all.outbound.is_empty());
    assert_eq!(all.pre_conditions.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["q"]);
    assert_eq!(all.maps.iter().map(|m| (m.name.as_str(), m.entries.len())).collect::<Vec<_>>(), [("n", 1)]);

    // One set cannot hold a parent's rule for one child and not for another.
    let text = |inside: &str| {
        let location = format!("<location path=\"owa\">{}</location>", server(inside));
        format!("<configuration>{}{location}</configuration>", server(&a))
    };
    for takes in ["<clear/>", "<remove name=\"a\"/>"] {
        assert_eq!(RuleSet::parse(&text(takes)).unwrap_err().code(), "rules-not-supported");
    }
    assert_eq!(names(&RuleSet::parse(&text(&format!("{b}<remove name=\"b\"/>"))).unwrap()), ["a@"]);
}

#[test]
fn a_name_is_taken_where_it_stands_and_below_however_the_levels_are_written() {
    let at = |levels: &[&str]| {
        let locations: String = levels
            .iter()
            .map(|path| format!("<location path=\"{path}\">{}</location>", server(&named("a"))))
            .collect();
        RuleSet::parse(&format!("<configuration>{locations}</configuration>")).map(|set| set.rules.len())
    };
    assert_eq!(at(&["owa", "ecp", "owax", "owa2/owa", "api/a"]).unwrap(), 5);
    for taken in [["owa", "OWA"], ["owa", "owa//x/y"], ["ews", "/ews/"], ["owa/x", "owa"]] {
        assert_eq!(
            at(&["x", taken[0], "y", taken[1]]).unwrap_err().code(),
            "rules-duplicate-name",
            "{taken:?}"
        );
    }
}

#[test]
fn what_takes_away_is_bounded_in_number() {
    let times = |n: usize| {
        RuleSet::parse(&format!("<rules>{}</rules>", "<clear/><remove name=\"a\"/>".repeat(n / 2)))
    };
    times(1_000).unwrap();
    assert_eq!(times(1_002).unwrap_err().code(), "rules-too-many");
}

#[test]
fn levels_give_the_rules_that_hold_at_the_last_one() {
    let (a, b, c) = (named("a"), named("b"), named("c"));
    let site = format!(
        "<configuration><location path=\"owa\">{}</location><location path=\"ecp\">{}</location>{}</configuration>",
        server(&b),
        server(&named("elsewhere")),
        server(&a)
    );
    let levels = |owa: &str| {
        RuleSet::from_levels(&[
            LevelText { file: "site/web.config", level: Level::default(), text: &site },
            LevelText { file: "owa/web.config", level: Level::new("owa"), text: owa },
        ])
    };
    let rules = |inside: &str| format!("<rules>{inside}</rules>");
    assert_eq!(names(&levels(&rules(&c)).unwrap()), ["a@", "b@owa", "c@owa"]);
    assert_eq!(names(&levels(&rules(&format!("<clear/>{c}"))).unwrap()), ["c@owa"]);
    assert_eq!(names(&levels(&rules(&format!("<remove name=\"a\"/>{a}"))).unwrap()), ["b@owa", "a@owa"]);
    let error = levels(&format!("<rules>\n{a}</rules>")).unwrap_err();
    assert_eq!(error.code(), "rules-duplicate-name");
    assert_eq!(
        error.to_string(),
        "owa/web.config: line 2, column 1: the name \"a\" is taken; names are unique keys"
    );
    assert_eq!(levels("<rules").unwrap_err().to_string().split(':').next(), Some("owa/web.config"));
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
        ("rules-bad-value", rule("<match url=\"\"/><action type=\"None\"/>")),
        ("rules-bad-value", action("<action type=\"Rewrite\" url=\" /a\"/>")),
        (
            "rules-bad-value",
            action("<action type=\"CustomResponse\" statusCode=\"403\" subStatusCode=\"1000\"/>"),
        ),
        ("rules-unknown-element", rule("<match url=\"a\"/><conditions><clear/></conditions>")),
        (
            "rules-duplicate-name",
            rule(
                "<match url=\"a\"/><serverVariables><set name=\"A\" value=\"\"/><set name=\"a\"/></serverVariables>",
            ),
        ),
        (
            "rules-duplicate-name",
            format!(
                "<system.webServer><rewrite><rules>{RULE}</rules></rewrite><rewrite><rules>{RULE}</rules></rewrite></system.webServer>"
            ),
        ),
        ("rules-duplicate-condition", format!("<globalRules>{TWICE}</globalRules>")),
        (
            "rules-not-supported",
            "<rewrite><providers><provider name=\"p\" type=\"t\"/></providers></rewrite>".to_owned(),
        ),
        ("rules-not-supported", location("a", "<globalRules/>")),
        (
            "rules-not-supported",
            location("a", &format!("<rules>{RULE}</rules>"))
                .replace("<location", "<system.applicationHost/><location"),
        ),
        (
            "rules-duplicate-name",
            format!("<rewriteMaps>{MAP}{MAP}</rewriteMaps>").replace("<rewriteMaps", "<rewrite><rewriteMaps")
                + "</rewrite>",
        ),
        (
            "rules-duplicate-name",
            format!("<rewrite><rewriteMaps>{}</rewriteMaps></rewrite>", MAP.replace("\"K\"", "\"k\"")),
        ),
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
