//! What `translate::iis` prints reads as the same rules, is XML that holds nothing else, and is nothing that IIS
//! answers 500.19 to.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use common::dice::Dice;
use common::{M1_REVISIONS, generate, m1, rules};
use roxmltree::{Document, Node};
use stopgap_rules::translate::iis::{translate, translate_one};
use stopgap_rules::translate::{CannotExpress, SiteRules};
use stopgap_rules::{Action, Level, OutboundAction, RuleSet};

/// Sets in each test: fewer where the build is not optimized.
const SEEDS: u64 = if cfg!(debug_assertions) { 1_000 } else { 6_000 };

/// Every text of a set, templates and names among them.
fn for_texts(set: &mut RuleSet, change: &dyn Fn(&mut String)) {
    for_names(set, change);
    let conditions = |list: &mut Vec<stopgap_rules::Condition>| {
        for condition in list {
            change(&mut condition.input);
            change(&mut condition.pattern);
        }
    };
    for rule in &mut set.rules {
        change(&mut rule.match_url.url);
        conditions(&mut rule.conditions.list);
        rule.server_variables.iter_mut().for_each(|variable| change(&mut variable.value));
        match &mut rule.action {
            Action::Rewrite { url, .. } | Action::Redirect { url, .. } => change(url),
            Action::CustomResponse { reason, description, .. } => {
                change(reason);
                change(description);
            }
            Action::None | Action::AbortRequest => {}
        }
    }
    for rule in &mut set.outbound {
        change(&mut rule.pattern);
        conditions(&mut rule.conditions.list);
        if let OutboundAction::Rewrite { value, .. } = &mut rule.action {
            change(value);
        }
    }
    set.pre_conditions.iter_mut().for_each(|found| conditions(&mut found.list));
    for map in &mut set.maps {
        change(&mut map.default_value);
        for (key, value) in &mut map.entries {
            change(key);
            change(value);
        }
    }
}

fn for_names(set: &mut RuleSet, change: &dyn Fn(&mut String)) {
    set.rules.iter_mut().for_each(|rule| change(&mut rule.name));
    for rule in &mut set.outbound {
        change(&mut rule.name);
        rule.pre_condition.iter_mut().for_each(change);
    }
    set.pre_conditions.iter_mut().for_each(|found| change(&mut found.name));
    set.maps.iter_mut().for_each(|map| change(&mut map.name));
}

/// As the reader reads: parents first.
fn sorted(mut set: RuleSet) -> RuleSet {
    let depth = |level: &Level| level.path().split('/').filter(|segment| !segment.is_empty()).count();
    set.rules.sort_by_key(|rule| depth(&rule.level));
    set.outbound.sort_by_key(|rule| depth(&rule.level));
    set
}

/// What our mark does to a name.
fn expected(mut set: RuleSet) -> RuleSet {
    for_names(&mut set, &|name| {
        *name =
            format!("Stopgap rules {}", name.replace(|c: char| c.is_control(), "?")).trim_end().to_owned();
    });
    let maps: Vec<String> = set.maps.iter().map(|map| map.name.clone()).collect();
    for_texts(&mut set, &|text| {
        for map in &maps {
            let old = map.replace("Stopgap rules ", "{") + ":";
            *text = text.replace(&old, &format!("{{{map}:"));
        }
    });
    sorted(set)
}

fn without_what_xml_cannot_hold(set: &mut RuleSet) {
    for_texts(set, &|text| {
        text.retain(|c| !matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}'))
    });
}

#[test]
fn what_is_printed_reads_as_the_same_rules() {
    let (mut same, mut refused, mut printed_rules) = (0, 0, 0);
    for seed in 0..SEEDS {
        let mut dice = Dice::new(seed);
        let mut set = if dice.roll(3) == 0 { generate::shaped(&mut dice) } else { generate::any(&mut dice) };
        without_what_xml_cannot_hold(&mut set);
        // One rule that is refused refuses the set, so only the others stay.
        let printed = loop {
            match translate_one(&set) {
                Ok(printed) => break printed,
                Err(error) => {
                    refused += 1;
                    let before = set.clone();
                    set.rules.retain(|rule| rule.name != error.rule);
                    set.outbound.retain(|rule| rule.name != error.rule);
                    set.maps.retain(|map| map.name != error.rule);
                    set.pre_conditions.retain(|found| found.name != error.rule);
                    assert_ne!(set, before, "seed {seed}: {error}");
                }
            }
        };
        let read = RuleSet::parse(&printed).unwrap_or_else(|error| panic!("seed {seed}: {error}\n{printed}"));
        printed_rules += set.rules.len() + set.outbound.len();
        assert_eq!(read, expected(set), "seed {seed}\n{printed}");
        same += 1;
    }
    println!("{same} sets with {printed_rules} rules the same, {refused} rules refused");
    assert!(
        printed_rules > 2 * SEEDS as usize && printed_rules > refused,
        "{printed_rules} printed, {refused} refused"
    );
}

/// The element tree, with no attribute read: what a text could change by ending its attribute.
fn tree(node: Node) -> String {
    let inside: Vec<String> = node.children().filter(Node::is_element).map(tree).collect();
    assert!(node.children().all(|c| c.is_element() || c.text().is_none_or(|text| text.trim().is_empty())));
    match inside.as_slice() {
        [] => node.tag_name().name().to_owned(),
        inside => format!("{}({})", node.tag_name().name(), inside.join(" ")),
    }
}

#[test]
fn hostile_texts_stay_values_of_their_attributes() {
    let mut count = 0u64;
    for seed in 0..SEEDS {
        let mut dice = Dice::new(seed);
        let mut scoped = generate::scoped(&mut dice);
        without_what_xml_cannot_hold(&mut scoped.rules);
        for rule in scoped.rules.rules.clone() {
            let rules = RuleSet { rules: vec![rule.clone()], ..RuleSet::default() };
            let Ok(config) = translate(&[SiteRules { rules, ..scoped.clone() }]) else { continue };
            let [part] = config.parts.as_slice() else { panic!("{config:?}") };
            let document = Document::parse(&part.rewrite).unwrap();
            let conditions = match rule.conditions.list.len() {
                0 => "",
                n => &format!("conditions({}) ", vec!["add"; n].join(" ")),
            };
            let found = tree(document.root_element()).replace("match conditions ", "match ");
            let kind = if scoped.sites.is_some() { "rules" } else { "globalRules" };
            assert_eq!(found, format!("rewrite({kind}(rule(match {conditions}action)))"), "seed {seed}");
            let attribute = |element: &str, name: &str| {
                let mut nodes = document.descendants().filter(|n| n.has_tag_name(element));
                nodes.next().and_then(|n| n.attribute(name)).unwrap_or_default()
            };
            assert_eq!(attribute("match", "url"), rule.match_url.url);
            if let Some(first) = rule.conditions.list.first() {
                assert_eq!(attribute("add", "pattern"), first.pattern, "seed {seed}");
            }
            if let Action::CustomResponse { description, .. } = &rule.action {
                assert_eq!(attribute("action", "statusDescription"), description);
            }
            let name = attribute("rule", "name");
            assert!(name.starts_with("Stopgap ") && !name.contains(char::is_control), "{name:?}");
            count += 1;
        }
    }
    println!("{count} rules");
    assert!(count > SEEDS, "{count}");
}

#[test]
fn m1_and_the_rule_of_m2_read_as_they_were_written() {
    for revision in 1..=M1_REVISIONS.len() {
        let read = RuleSet::parse(&translate_one(&m1(revision)).unwrap()).unwrap();
        assert_eq!(read, expected(m1(revision)));
    }
    let set = RuleSet::parse(
        r#"<rewrite><outboundRules>
             <rule name="EEMS M2.1 OWA CSP - outbound" preCondition="EEMS M2.1 OWA CSP - precondition">
               <match serverVariable="RESPONSE_Content-Security-Policy" pattern="(.*)" />
               <action type="Rewrite" value="script-src 'self'; {R:1}" /></rule>
             <preConditions><preCondition name="EEMS M2.1 OWA CSP - precondition">
               <add input="{RESPONSE_CONTENT_TYPE}" pattern="^text/html" /></preCondition></preConditions>
           </outboundRules></rewrite>"#,
    )
    .unwrap()
    .at(&Level::new("owa"));
    let printed = translate_one(&set).unwrap();
    assert!(printed.contains(r#"<location path="owa">"#), "{printed}");
    assert!(
        printed.contains(r#"preCondition="Stopgap rules EEMS M2.1 OWA CSP - precondition""#),
        "{printed}"
    );
    assert_eq!(RuleSet::parse(&printed).unwrap(), expected(set));
}

fn scoped(marker: &str, site: Option<&str>, rules: RuleSet) -> SiteRules {
    SiteRules { observe: false, marker: marker.into(), sites: site.map(|site| vec![site.to_owned()]), rules }
}

#[test]
fn no_name_is_there_twice() {
    let abort = r#"<rule name="R"><match url=".*" /><action type="AbortRequest" /></rule>"#;
    let twice =
        [scoped("example M1", Some("a"), rules(abort)), scoped("Example m1", Some("b"), rules(abort))];
    let config = translate(&twice).unwrap();
    let names: Vec<String> = config
        .parts
        .iter()
        .flat_map(|part| {
            let document = Document::parse(&part.rewrite).unwrap();
            let nodes: Vec<String> =
                document.descendants().filter_map(|n| n.attribute("name")).map(str::to_owned).collect();
            nodes
        })
        .collect();
    assert_eq!(names, ["Stopgap example M1 R", "Stopgap Example m1 R (2)"]);
}

#[test]
fn rules_for_every_site_come_first_and_stand_apart() {
    let abort = r#"<rule name="R"><match url=".*" /><serverVariables><set name="HTTP_X_A" value="1" />
                   </serverVariables><action type="AbortRequest" /></rule>"#;
    let every = scoped("m", None, rules(abort));
    let some = scoped("n", Some("Default Web Site"), rules(abort).at(&Level::new("owa")));
    let config = translate(&[every.clone(), some.clone()]).unwrap();
    let places: Vec<_> = config.parts.iter().map(|part| (part.sites.is_some(), part.level.path())).collect();
    assert_eq!(places, [(false, ""), (true, "owa")]);
    assert!(config.parts[0].rewrite.contains("<globalRules>") && config.parts[1].rewrite.contains("<rules>"));
    assert_eq!(config.variables, ["HTTP_X_A"]);
    let error = translate(&[some, every]).unwrap_err();
    assert!(error.reason.contains("evaluates it first"), "{error}");
}

#[test]
fn a_level_that_is_not_inherited_says_so() {
    let mut set = rules(r#"<rule name="R"><match url=".*" /><action type="AbortRequest" /></rule>"#);
    set.not_inherited = vec![Level::default()];
    let printed = translate_one(&set).unwrap();
    assert!(printed.contains(r#"<location path="." inheritInChildApplications="false">"#), "{printed}");
    assert_eq!(RuleSet::parse(&printed).unwrap(), expected(set));
}

#[test]
fn what_iis_answers_500_19_to_is_refused_with_the_reason() {
    let base = || rules(r#"<rule name="r"><match url=".*" /><action type="AbortRequest" /></rule>"#);
    let refused = |change: &dyn Fn(&mut RuleSet)| -> CannotExpress {
        let mut set = base();
        change(&mut set);
        translate_one(&set).unwrap_err()
    };
    let pattern = |text: &str| {
        let mut set = rules(
            r#"<rule name="r"><match url=".*" /><conditions><add input="{URL}" pattern="a" /></conditions>
               <action type="AbortRequest" /></rule>"#,
        );
        set.rules[0].conditions.list[0].pattern = text.to_owned();
        set.rules[0].conditions.list.clone()
    };
    let custom = |status, substatus| Action::CustomResponse {
        status,
        substatus,
        reason: String::new(),
        description: String::new(),
    };
    let redirect = |url: &str| Action::Redirect {
        url: url.to_owned(),
        append_query_string: true,
        redirect_type: stopgap_rules::RedirectType::Found,
    };
    let map = |name: &str| stopgap_rules::RewriteMap {
        name: name.to_owned(),
        default_value: String::new(),
        ignore_case: true,
        entries: vec![("a".into(), "b".into())],
    };
    type Change<'a> = Box<dyn Fn(&mut RuleSet) + 'a>;
    let cases: Vec<(Change, &str)> = vec![
        (Box::new(|set| set.rules[0].match_url.url.clear()), "match url is empty"),
        (Box::new(|set| set.rules[0].match_url.url = "(".into()), "pattern"),
        (Box::new(|set| set.rules[0].conditions.list = pattern("a{2,1}")), "pattern"),
        (Box::new(|set| set.rules[0].conditions.list = pattern("a\0")), "XML cannot"),
        (Box::new(|set| set.rules[0].conditions.list = pattern("\u{ffff}")), "XML cannot"),
        (Box::new(|set| set.rules[0].name.clear()), "no name"),
        (Box::new(|set| set.rules[0].action = custom(302, 0)), "300 to 307"),
        (Box::new(|set| set.rules[0].action = custom(1_000, 0)), "100 to 999"),
        (Box::new(|set| set.rules[0].action = custom(403, 1_000)), "0 to 999"),
        (Box::new(|set| set.rules[0].action = redirect(" /a")), "blank"),
        (Box::new(|set| set.rules[0].action = redirect("/{R:1")), "not closed"),
        (Box::new(|set| set.rules[0].action = redirect("/{Map:a}")), "unknown function or map"),
        (Box::new(|set| set.rules[0].level = Level::new("a/../b")), "no path of a folder"),
        (Box::new(|set| set.rules[0].level = Level::new("a\\b")), "no path of a folder"),
        (Box::new(|set| set.maps = vec![map("A"), map("a")]), "two maps"),
        (Box::new(|set| set.maps = vec![map(" a")]), "blank"),
        (
            Box::new(|set| {
                let mut twice = map("a");
                twice.entries.push(("a".into(), "c".into()));
                set.maps = vec![twice];
            }),
            "key twice",
        ),
        (
            Box::new(|set| {
                set.rules.push(set.rules[0].clone());
                set.rules[0].level = Level::new("owa");
            }),
            "parents first",
        ),
        (
            Box::new(|set| {
                set.outbound = RuleSet::parse(
                    r#"<outboundRules><rule name="o"><match serverVariable="RESPONSE_A" pattern="" />
                       <action type="None" /></rule></outboundRules>"#,
                )
                .unwrap()
                .outbound;
                set.outbound[0].pre_condition = Some("gone".into());
            }),
            "no precondition",
        ),
    ];
    for (change, reason) in &cases {
        let error = refused(change);
        assert!(error.server == "IIS" && error.reason.contains(reason), "{reason}: {error}");
    }
    // Of a global rule a condition may stand there once only.
    let mut set = base();
    set.rules[0].conditions.list = [pattern("a"), pattern("A")].concat();
    assert!(translate(&[scoped("m", Some("a"), set.clone())]).is_ok());
    let error = translate(&[scoped("m", None, set)]).unwrap_err();
    assert!(error.reason.contains("twice"), "{error}");
}
