//! Nothing that a rule holds can become a directive of nginx.
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
use common::{escape, rules};
use stopgap_rules::translate::nginx::{translate, translate_one};
use stopgap_rules::translate::{CannotExpress, SiteRules};
use stopgap_rules::{Conditions, Level, OutboundAction, OutboundRule, OutboundSubject, PatternSyntax};

/// The words of a configuration as nginx reads them: `ngx_conf_read_token`, with its quotes and escapes.
fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            ' ' | '\t' | '\r' | '\n' => {}
            '#' => while chars.next().is_some_and(|c| c != '\n') {},
            ';' | '{' | '}' => tokens.push(char.to_string()),
            '"' | '\'' => {
                let mut word = String::from("=");
                loop {
                    match chars.next().expect("an open quote") {
                        '\\' if matches!(chars.peek(), Some('"' | '\'' | '\\')) => word.extend(chars.next()),
                        end if end == char => break,
                        other => word.push(other),
                    }
                }
                tokens.push(word);
            }
            first => {
                let mut word = String::from(first);
                while let Some(next) = chars.peek().filter(|c| !" \t\r\n;{}".contains(**c)) {
                    word.push(*next);
                    chars.next();
                }
                tokens.push(word);
            }
        }
    }
    tokens
}

/// The maps: their names, their keys and their values, each as expected.
fn check_http(text: &str) {
    let tokens = tokens(text);
    let mut rest = tokens.as_slice();
    while let [map, source, variable, open, tail @ ..] = rest {
        assert_eq!((map.as_str(), open.as_str()), ("map", "{"), "{text}");
        assert!(source.trim_start_matches(['=', '-']).starts_with(['$', '1', '0']), "{source}");
        assert!(variable.starts_with("$stopgap_"), "{variable}");
        rest = tail;
        loop {
            match rest {
                [close, tail @ ..] if close == "}" => {
                    rest = tail;
                    break;
                }
                [key, value, end, tail @ ..] => {
                    assert!(key == "default" || key.starts_with("=~^"), "{key}");
                    assert!(!key.contains(['\n', '"', '\'', ';', '#', '$']), "{key}");
                    let known = ["0", "1", "pass", "abort", "403", "$request_uri", "=/$request_uri"];
                    assert!(known.contains(&value.as_str()) || value.starts_with("$stopgap_"), "{value}");
                    assert_eq!(end, ";", "{text}");
                    rest = tail;
                }
                _ => panic!("a map that does not end: {text}"),
            }
        }
    }
    assert!(rest.is_empty(), "{rest:?}");
}

const NASTY: [&str; 24] = [
    "\"",
    "'",
    ";",
    "}",
    "{",
    "#",
    "\n",
    "\r\n",
    "$",
    "\\",
    "\\\\",
    "\\\"",
    "}\nreturn 200;",
    "${x}",
    "\" abort; \"",
    " ",
    "*/",
    "é",
    "\u{2028}",
    "\u{1b}",
    "include /etc/passwd;",
    "\t",
    "~",
    "%",
];

#[test]
fn names_markers_sites_and_patterns_stay_words() {
    let mut translated = 0;
    for seed in 0..500 {
        let mut dice = Dice::new(seed);
        let mut nasty = || -> String { (0..=dice.roll(4)).map(|_| dice.pick(&NASTY)).collect() };
        let (name, marker, site, literal, reason) = (nasty(), nasty(), nasty(), nasty(), nasty());
        let backslashed: String = literal.chars().map(|c| format!("\\{c}")).collect();
        for (syntax, pattern) in
            [("ECMAScript", &literal), ("ECMAScript", &backslashed), ("ExactMatch", &literal)]
        {
            let url = if syntax == "ECMAScript" { r#"url="""# } else { r#"url="no" negate="true""# };
            let escaped = |text: &str| escape(&text.replace('\u{1b}', " "));
            let set = rules(&format!(
                r#"<rule name="{}!" patternSyntax="{syntax}"><match {url}/>
                   <conditions logicalGrouping="MatchAny"><add input="{{UrlDecode:{{REQUEST_URI}}}}" pattern="{}"/>
                   <add input="{{HTTP_COOKIE}}" pattern="{}"/></conditions>
                   <action type="CustomResponse" statusCode="403" statusReason="{}"/></rule>"#,
                escaped(&name),
                escaped(pattern),
                escaped(pattern),
                escaped(&reason)
            ));
            let scoped = SiteRules { marker: marker.clone(), sites: Some(vec![site.clone()]), rules: set };
            // A pattern can have no linear form, or not be one at all; it must not get through by halves.
            let Ok(config) = translate(&[scoped]) else { continue };
            translated += 1;
            check_http(&config.http);
            let expected = ["if", "($stopgap_verdict", "=", "403)", "{", "return", "403", ";", "}"];
            assert_eq!(tokens(&config.server), expected);
        }
    }
    assert!(translated > 500, "{translated}");
}

#[test]
fn what_nginx_cannot_do_exactly_is_refused_with_the_reason() {
    let refused = |inside: &str| -> CannotExpress { translate_one(&rules(inside)).unwrap_err() };
    let action = |action: &str| format!(r#"<rule name="r"><match url=".*"/><action {action}/></rule>"#);
    let condition = |input: &str, pattern: &str| {
        format!(
            r#"<rule name="r"><match url=".*"/><conditions><add input="{input}" pattern="{pattern}"/></conditions>
               <action type="AbortRequest"/></rule>"#
        )
    };
    for (inside, reason) in [
        (action(r#"type="Redirect" url="/""#), "Redirect"),
        (action(r#"type="Rewrite" url="/""#), "Rewrite"),
        (action(r#"type="CustomResponse" statusCode="444""#), "meaning of its own"),
        (r#"<rule name="r"><match url="^owa"/><action type="AbortRequest"/></rule>"#.to_owned(), "match url"),
        (r#"<rule name="r"><match url="^.*$"/><action type="AbortRequest"/></rule>"#.to_owned(), "match url"),
        (
            r#"<rule name="r"><match url=""/><serverVariables><set name="A" value=""/></serverVariables>
               <action type="None"/></rule>"#
                .to_owned(),
            "server variables",
        ),
        (condition("{URL}", "a"), "no equal"),
        (condition("{ToLower:{REQUEST_URI}}", "a"), "no equal"),
        (condition("{UrlDecode:{UrlDecode:{REQUEST_URI}}}", "a"), "no equal"),
        (condition("{HTTP_X_FORWARDED_FOR}", "a"), "repeated header"),
        (condition("{REQUEST_URI}", "(a+)+b"), "no linear form"),
        (condition("{REQUEST_URI}", "(?=.*a)[^b].*c"), "no linear form"),
        (condition("{REQUEST_URI}", r"(a)\1"), "no linear form"),
        (condition("{UrlDecode:{REQUEST_URI}}", &"autodiscover".repeat(20)), "bytes"),
    ] {
        let error = refused(&inside);
        assert!(error.rule == "r" && error.reason.contains(reason), "{error}");
    }
}

#[test]
fn rules_below_the_site_and_rules_for_responses_are_refused() {
    let inside = r#"<rule name="r"><match url=".*"/><action type="AbortRequest"/></rule>"#;
    let below = rules(inside).at(&Level::new("owa"));
    let error = translate_one(&below).unwrap_err();
    assert!(error.rule == "r" && error.reason.contains("stands at \"owa\""), "{error}");

    let mut outbound = rules(inside);
    outbound.outbound.push(OutboundRule {
        name: "o".into(),
        level: Level::default(),
        enabled: true,
        pre_condition: None,
        pattern_syntax: PatternSyntax::EcmaScript,
        stop_processing: false,
        subject: OutboundSubject::Variable("RESPONSE_X_A".into()),
        pattern: ".*".into(),
        ignore_case: true,
        negate: false,
        conditions: Conditions::default(),
        action: OutboundAction::Rewrite { value: "b".into(), replace: true },
    });
    let error = translate_one(&outbound).unwrap_err();
    assert!(error.rule == "o" && error.reason.contains("responses"), "{error}");

    // Disabled, they are as if they were not there.
    let mut disabled = below;
    disabled.rules[0].enabled = false;
    outbound.outbound[0].enabled = false;
    assert!(translate_one(&disabled).is_ok() && translate_one(&outbound).is_ok());
}
