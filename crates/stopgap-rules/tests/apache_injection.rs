//! Nothing that a rule holds can become a directive of Apache: what is written is read back by a reader of its
//! own, and is what the rules are.
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
use common::{condition, generate, rules};
use stopgap_rules::translate::SiteRules;
use stopgap_rules::translate::apache::{translate, translate_one};
use stopgap_rules::{
    Action, Condition, Conditions, Grouping, Level, MatchType, OutboundAction, OutboundRule, OutboundSubject,
    PatternSyntax, RuleSet,
};

/// A directive with its arguments, or a section with its argument and what stands in it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Item {
    Directive(String, Vec<String>),
    Section(String, Vec<String>, Vec<Item>),
}

/// The configuration as `ap_build_config` reads it: lines, carried on by a backslash at their end; a comment is
/// a line that starts with `#`; arguments as `ap_getword_conf` reads them.
fn read(text: &str) -> Vec<Item> {
    assert!(!text.contains('\0') && !text.contains("${"), "{text:?}");
    let mut lines = Vec::new();
    let mut line = String::new();
    for raw in text.split('\n') {
        line.push_str(raw.strip_suffix('\r').unwrap_or(raw));
        if line.ends_with('\\') {
            line.pop();
            continue;
        }
        lines.push(std::mem::take(&mut line));
    }
    assert_eq!(line, "", "the last line is carried on: {text}");
    let mut open: Vec<(String, Vec<String>, Vec<Item>)> = vec![(String::new(), Vec::new(), Vec::new())];
    for line in &lines {
        let line = line.trim_matches([' ', '\t', '\u{b}', '\u{c}', '\r']);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let mut words = words(line);
        let name = words.remove(0);
        if let Some(closed) = name.strip_prefix("</") {
            let (name, arguments, inside) = open.pop().unwrap();
            assert_eq!(format!("{name}>"), closed);
            open.last_mut().expect("an open section").2.push(Item::Section(name, arguments, inside));
        } else if let Some(section) = name.strip_prefix('<') {
            assert!(line.ends_with('>'), "{line}");
            // The last `>` of the line ends the section's head.
            let arguments = self::words(&line[1..line.len() - 1])[1..].to_vec();
            open.push((section.to_owned(), arguments, Vec::new()));
        } else {
            open.last_mut().unwrap().2.push(Item::Directive(name, words));
        }
    }
    let (_, _, items) = open.pop().unwrap();
    assert!(open.is_empty(), "a section that does not end: {text}");
    items
}

fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut chars = line.chars().peekable();
    loop {
        while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
        let Some(first) = chars.next() else { return words };
        let mut word = String::new();
        if first == '"' || first == '\'' {
            loop {
                match chars.next().expect("an open quote") {
                    '\\' if chars.peek().is_some_and(|c| *c == first || *c == '\\') => {
                        word.extend(chars.next())
                    }
                    end if end == first => break,
                    other => word.push(other),
                }
            }
        } else {
            word.push(first);
            while let Some(next) = chars.next_if(|c| !c.is_ascii_whitespace()) {
                word.push(next);
            }
        }
        words.push(word);
    }
}

/// An expression, a letter for each of its tokens: `Z` for `-z`, `V` for the verdict, `W` another word, `S` a
/// string, `P` a pattern, and operators as they are.
fn tokens(expression: &str) -> String {
    let mut out = String::new();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        let word = |rest: &str, open: &str, close: &str| {
            let inside = rest.strip_prefix(open)?;
            inside.find(close).map(|end| (inside[..end].to_owned(), open.len() + end + close.len()))
        };
        let (token, bytes): (&str, usize) = if first == ' ' {
            ("", 1)
        } else if rest.starts_with("-z ") {
            ("Z", 3)
        } else if let Some((name, bytes)) = word(rest, "reqenv('", "')") {
            assert!(name.starts_with("STOPGAP_"), "{name}");
            (if name == "STOPGAP_VERDICT" { "V" } else { "W" }, bytes)
        } else if let Some((name, bytes)) = word(rest, "req_novary('", "')") {
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{name}");
            ("W", bytes)
        } else if let Some((name, bytes)) = word(rest, "%{", "}") {
            assert!(["THE_REQUEST", "CONN_REMOTE_ADDR", "HTTPS"].contains(&name.as_str()), "{name}");
            ("W", bytes)
        } else if let Some((pattern, bytes)) = word(rest, "m/", "/") {
            // Letters, digits and PCRE's own signs: of a rule's text, letters and digits only.
            let fine = |b: u8| b.is_ascii_alphanumeric() || b"\\()[]{}?*+|^:!=<>.,%-".contains(&b);
            assert!(pattern.bytes().all(fine), "{pattern}");
            ("P", bytes)
        } else if let Some((string, bytes)) = word(rest, "'", "'") {
            assert!(string.bytes().all(|b| b.is_ascii_alphanumeric()), "{string}");
            ("S", bytes)
        } else if let Some(operator) = ["=~", "==", "!=", "&&", "||", "true", "false"]
            .iter()
            .find(|operator| rest.starts_with(**operator))
        {
            (operator, operator.len())
        } else {
            assert!("()!".contains(first), "{rest} in {expression}");
            (
                if first == '(' {
                    "("
                } else if first == ')' {
                    ")"
                } else {
                    "!"
                },
                1,
            )
        };
        out.push_str(token);
        rest = &rest[bytes..];
    }
    out
}

/// What stands in the configuration for a rule's conditions, a letter each.
fn shape(set: &RuleSet) -> Vec<(Option<usize>, String)> {
    let word = |action: &Action| match action {
        Action::AbortRequest => "abort".to_owned(),
        Action::CustomResponse { status, .. } => status.to_string(),
        _ => "pass".to_owned(),
    };
    let rules = set.rules.iter().filter(|rule| rule.enabled);
    rules
        .filter(|rule| rule.action != Action::None || rule.stop_processing)
        .map(|rule| {
            let count = rule.conditions.list.len();
            ((count > 0).then_some(count), word(&rule.action))
        })
        .collect()
}

/// That the text says these rules and nothing else.
fn check(text: &str, set: &RuleSet) {
    let mut rules = shape(set).into_iter();
    let mut sections = 0;
    for item in read(text) {
        match item {
            Item::Directive(name, arguments) => {
                assert_eq!(name, "SetEnvIfExpr");
                let [expression, sets] = arguments.as_slice() else { panic!("{arguments:?}") };
                let tokens = tokens(expression);
                match sets.as_str() {
                    "STOPGAP_TARGET=$1" | "STOPGAP_TARGET=/" | "STOPGAP_TARGET=/$1" | "STOPGAP_METHOD=$1" => {
                        assert_eq!(tokens, "W=~P");
                    }
                    "nokeepalive" => assert_eq!(tokens, "V==S"),
                    // A bound of length stands before the rules.
                    "STOPGAP_VERDICT=abort" if tokens == "W=~P" => {}
                    sets => {
                        let (conditions, verdict) = rules.next().expect("a rule");
                        assert_eq!(sets, format!("STOPGAP_VERDICT={verdict}"));
                        let rest = tokens.strip_prefix("ZV").expect("a rule asks for an earlier verdict");
                        match conditions {
                            None => assert_eq!(rest, ""),
                            Some(count) => {
                                let inner =
                                    rest.strip_prefix("&&(").and_then(|t| t.strip_suffix(')')).unwrap();
                                // Each condition is in parentheses, a `!` before some of them.
                                let mut depth = 0;
                                let mut found = 0;
                                for token in inner.chars() {
                                    match token {
                                        '(' => {
                                            found += usize::from(depth == 0);
                                            depth += 1;
                                        }
                                        ')' => depth -= 1,
                                        other if depth == 0 => assert!("&|!".contains(other), "{inner}"),
                                        _ => {}
                                    }
                                    assert!((0..2).contains(&depth), "{inner}");
                                }
                                assert_eq!((found, depth), (count, 0), "{inner}");
                            }
                        }
                    }
                }
            }
            Item::Section(name, arguments, inside) => {
                sections += 1;
                assert_eq!(name, "If");
                let [expression] = arguments.as_slice() else { panic!("{arguments:?}") };
                assert_eq!(tokens(expression), "V==S");
                for item in inside {
                    let Item::Directive(name, arguments) = item else { panic!("a section within: {text}") };
                    let status: u16 = arguments[0].parse().unwrap();
                    assert!((200..600).contains(&status));
                    match name.as_str() {
                        "ErrorDocument" => assert_eq!(arguments[1..], ["default"]),
                        "Redirect" => assert_eq!(arguments.len(), 1),
                        other => panic!("{other}"),
                    }
                }
            }
        }
    }
    assert_eq!(rules.next(), None, "a rule is missing: {text}");
    assert!(sections <= 6, "{text}");
}

#[test]
fn hostile_rules_stay_what_they_are() {
    let (mut translated, mut rules) = (0, 0);
    for seed in 0..8_000 {
        let scoped = generate::scoped(&mut Dice::new(seed));
        // A pattern can have no linear form, or not be one at all; it must not get through by halves.
        let Ok(config) = translate(std::slice::from_ref(&scoped)) else { continue };
        translated += 1;
        rules += shape(&scoped.rules).len();
        match &scoped.sites {
            None => {
                assert!(config.sites.is_empty());
                check(&config.server, &scoped.rules);
            }
            Some(sites) => {
                check(&config.server, &RuleSet::default());
                for (site, text) in &config.sites {
                    assert!(sites.contains(site));
                    check(text, &scoped.rules);
                }
            }
        }
    }
    println!("{translated} sets of 8000, {rules} rules with an effect");
    assert!(translated > 1_000 && rules > 1_500);
}

#[test]
fn whatever_the_model_holds_is_translated_or_refused_whole() {
    let mut translated = 0;
    for seed in 0..8_000 {
        let set = generate::any(&mut Dice::new(seed));
        if let Ok(text) = translate_one(&set) {
            translated += 1;
            check(&text, &set);
        }
    }
    println!("{translated} sets of 8000");
    assert!(translated > 200);
}

#[test]
fn hostile_rules_for_responses_stay_what_they_are() {
    let (mut translated, mut hostile) = (0, 0);
    for seed in 0..20_000 {
        let mut dice = Dice::new(seed);
        let mut nasty = |harmless: &str| match dice.roll(3) {
            0 => generate::word(&mut dice),
            _ => harmless.to_owned(),
        };
        let (name, header) = (nasty("n"), format!("RESPONSE_{}", nasty("X_A")));
        let (before, behind) = (nasty(""), nasty("; b 'c'"));
        let (pattern, input) = (generate::literal(&nasty("x")), nasty("{RESPONSE_CONTENT_TYPE}"));
        let rule = OutboundRule {
            name,
            level: Level::default(),
            enabled: true,
            pre_condition: None,
            pattern_syntax: PatternSyntax::EcmaScript,
            stop_processing: false,
            subject: OutboundSubject::Variable(header),
            pattern: "(.*)".into(),
            ignore_case: true,
            negate: false,
            conditions: Conditions {
                grouping: Grouping::MatchAll,
                track_all_captures: true,
                list: vec![Condition {
                    input,
                    match_type: MatchType::Pattern,
                    pattern,
                    ignore_case: true,
                    negate: false,
                }],
            },
            action: OutboundAction::Rewrite { value: format!("{before}{{R:1}}{behind}"), replace: true },
        };
        let Ok(text) = translate_one(&RuleSet { outbound: vec![rule], ..RuleSet::default() }) else {
            continue;
        };
        translated += 1;
        hostile += usize::from(!before.is_empty() || behind != "; b 'c'");
        let items = read(&text);
        let [Item::Directive(set, flag), Item::Section(name, _, inside)] = items.as_slice() else {
            panic!("{text}")
        };
        assert_eq!((set.as_str(), name.as_str()), ("SetEnvIfExpr", "If"));
        assert_eq!((tokens(&flag[0]).as_str(), flag[1].as_str()), ("true", "STOPGAP_RESPONSE_1=yes"));
        assert_eq!(inside.len(), 4, "{text}");
        for (at, item) in inside.iter().enumerate() {
            let Item::Directive(name, arguments) = item else { panic!("{text}") };
            let (value, condition) = match arguments.as_slice() {
                [_, edit, _, _, value, condition] if edit == "edit" => (value, condition),
                [_, set, _, value, condition] if set == "set" => (value, condition),
                _ => panic!("{arguments:?}"),
            };
            let whole = if at < 2 { format!("{before}$1{behind}") } else { format!("{before}{behind}") };
            assert_eq!((name.as_str(), value.trim()), ("Header", whole.trim()), "{text}");
            assert!(condition.starts_with("expr="), "{condition}");
            assert!(!value.contains(['%', '\\', '"', '\n']), "{value}");
        }
    }
    println!("{translated} of 20000, {hostile} with a value of another kind");
    assert!(translated > 2_000 && hostile > 500);
}

#[test]
fn what_apache_cannot_do_exactly_is_refused_with_the_reason() {
    let action =
        |action: &str| rules(&format!(r#"<rule name="r"><match url=".*"/><action {action}/></rule>"#));
    let condition = |input: &str, pattern: &str| condition("r", input, pattern);
    for (set, reason) in [
        (action(r#"type="Redirect" url="/""#), "Redirect"),
        (action(r#"type="Rewrite" url="/""#), "Rewrite"),
        (action(r#"type="CustomResponse" statusCode="444""#), "status 444"),
        (rules(r#"<rule name="r"><match url="^owa"/><action type="AbortRequest"/></rule>"#), "match url"),
        (
            rules(
                r#"<rule name="r"><match url=".*"/><serverVariables><set name="A" value=""/></serverVariables>
                   <action type="None"/></rule>"#,
            ),
            "server variables",
        ),
        (condition("{URL}", "a"), "no equal"),
        (condition("{ToLower:{REQUEST_URI}}", "a"), "no equal"),
        (condition("{UrlDecode:{UrlDecode:{REQUEST_URI}}}", "a"), "no equal"),
        (condition("{SERVER_PORT}", "443"), "from the Host header"),
        (condition("{HTTP_HOST}", "a"), "absolute target"),
        (condition("{HTTP_CONTENT_LENGTH}", "0"), "chunked"),
        (condition("{HTTP_A_B_C_D_E_F}", "a"), "too many names"),
        (condition("{HTTP_X')}", "a"), "only letters"),
        (condition("{HTTP_COOKIE}", "a;"), "tells , from ;"),
        (condition("{HTTP_COOKIE}", "[^;]a"), "tells , from ;"),
        (condition("{HTTP_USER_AGENT}", "^a"), "no order"),
        (condition("{HTTP_USER_AGENT}", "a$"), "no order"),
        (condition("{HTTP_USER_AGENT}", "a.*b"), "no order"),
        (condition("{HTTP_USER_AGENT}", "a, b"), "no order"),
        (condition("{HTTP_USER_AGENT}", " a"), "no order"),
        (condition("{HTTP_USER_AGENT}", "a."), "no order"),
        (condition("{HTTP_USER_AGENT}", "(?=a)b"), "no order"),
        (condition("{REQUEST_URI}", "(a+)+b"), "no linear form"),
        (condition("{REQUEST_URI}", "(?=.*a)[^b].*c"), "no linear form"),
        (condition("{REQUEST_URI}", r"(a)\1"), "no linear form"),
        (condition("{UrlDecode:{REQUEST_URI}}", &"autodiscover".repeat(20)), "bytes"),
    ] {
        let error = translate_one(&set).unwrap_err();
        assert!(error.rule == "r" && error.server == "Apache" && error.reason.contains(reason), "{error}");
    }
}

#[test]
fn a_rule_for_responses_that_is_not_exact_is_refused_with_the_reason() {
    let rule = |inside: &str| {
        let text = format!("<rewrite><outboundRules>{inside}</outboundRules></rewrite>");
        RuleSet::parse(&text).unwrap()
    };
    let one = |variable: &str, pattern: &str, value: &str, more: &str| {
        rule(&format!(
            r#"<rule name="r"><match serverVariable="{variable}" pattern="{pattern}"/>{more}
               <action type="Rewrite" value="{value}"/></rule>"#
        ))
    };
    let csp = "RESPONSE_Content_Security_Policy";
    let any = r#"<conditions logicalGrouping="MatchAny"><add input="{REQUEST_URI}" pattern="a"/>
                 <add input="{RESPONSE_STATUS}" pattern="200"/></conditions>"#;
    let header = r#"<conditions><add input="{RESPONSE_X_A}" pattern="a"/></conditions>"#;
    for (set, reason) in [
        (one(csp, "a(.*)", "{R:1}b", ""), "the whole value"),
        (one(csp, "(.*)", "{R:1}", ""), "no text"),
        (one(csp, "(.*)", "{R:1}{R:1}a", ""), "once"),
        (one(csp, "(.*)", "{R:1}{HTTP_HOST}", ""), "once"),
        (one(csp, "(.*)", "{R:1}100%", ""), "a character"),
        (one(csp, "(.*)", "expr=true", ""), "starts with expr="),
        (one("RESPONSE_Set_Cookie", "(.*)", "a", ""), "not one value"),
        (one("RESPONSE_Content_Type", "(.*)", "a", ""), "Apache itself"),
        (one(csp, "(.*)", "a", any), "on the request or on the response"),
        (one(csp, "(.*)", "a", header), "unknown server variable"),
        (one(csp, "(.*)", "a", "").at(&Level::new("owa")), "stands at"),
    ] {
        let error = translate_one(&set).unwrap_err();
        assert!(error.rule == "r" && error.reason.contains(reason), "{error}");
    }
}

#[test]
fn the_site_s_own_name_is_data_and_not_text() {
    let scoped = SiteRules {
        observe: false,
        marker: "m\\\nInclude x".into(),
        sites: Some(vec!["a\n<If true>".into()]),
        rules: condition("n\\", "{REQUEST_URI}", "x"),
    };
    let config = translate(&[scoped]).unwrap();
    assert_eq!(config.sites[0].0, "a\n<If true>");
    assert!(!config.sites[0].1.contains("<If true>") && !config.sites[0].1.contains("\nInclude"));
}
