//! Nothing that a rule holds can become syntax of HAProxy: of its maps, of its commands, of its patterns. The
//! readers here are written from HAProxy's documentation and know nothing of the translator.
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
use common::haproxy::{Haproxy, Shape, installed};
use common::{condition, generate, rules};
use stopgap_rules::translate::haproxy::{Entry, HaproxyConfig, translate, translate_one};
use stopgap_rules::translate::{CannotExpress, SiteRules};

const FILE: &str = "/etc/haproxy/stopgap.map";

/// A map's file: a line each, `#` comments, blanks before a key, the key up to a blank, the rest the value.
fn map(text: &str) -> Vec<(&str, &str)> {
    text.split('\n')
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.trim_start_matches([' ', '\t']).trim_end_matches('\r'))
        .filter(|line| !line.is_empty())
        .map(|line| {
            let (key, value) = line.split_once([' ', '\t']).expect("a key and a value");
            (key, value.trim_matches([' ', '\t']))
        })
        .collect()
}

/// A command line: commands end at `;` or a line's end, words at blanks, and a backslash takes any meaning from
/// what follows.
fn commands(line: &str) -> Vec<Vec<String>> {
    let mut commands = vec![vec![String::new()]];
    let mut chars = line.chars();
    while let Some(char) = chars.next() {
        let words = commands.last_mut().unwrap();
        match char {
            '\\' => words.last_mut().unwrap().extend(chars.next()),
            ' ' | '\t' => words.push(String::new()),
            ';' | '\n' | '\r' => commands.push(vec![String::new()]),
            char => words.last_mut().unwrap().push(char),
        }
    }
    commands
}

/// A pattern of nothing but what the translator means to write; the rest of it, where it is something else.
fn foreign(pattern: &str) -> Option<String> {
    let mut rest = pattern.strip_prefix('^').unwrap_or(pattern);
    rest = rest.strip_prefix("(?-n)").unwrap_or(rest);
    let mut open = 0usize;
    while let Some(first) = rest.chars().next() {
        let known = ["(?(DEFINE)", "(?:", "(?=", "(?!", "(?>", "("];
        let hex = |text: &str| {
            text.strip_prefix("\\x")
                .filter(|t| {
                    t.len() >= 2 && t.is_char_boundary(2) && t[..2].chars().all(|c| c.is_ascii_hexdigit())
                })
                .map(|t| t[2..].len())
        };
        let call = || {
            let (number, after) = rest.strip_prefix("(?")?.split_once(')')?;
            (number == "-1" || number.parse::<u8>().is_ok()).then_some(after)
        };
        rest = if let Some(after) = call() {
            after
        } else if let Some(group) = known.iter().find(|group| rest.starts_with(**group)) {
            open += 1;
            &rest[group.len()..]
        } else if first == ')' {
            open = open.checked_sub(1)?;
            let after = &rest[1..];
            after.strip_prefix("*+").or(after.strip_prefix("?+")).unwrap_or(after)
        } else if first == '[' {
            let mut inside = rest[1..].strip_prefix('^').unwrap_or(&rest[1..]);
            while !inside.starts_with(']') {
                inside = if let Some(left) = hex(inside) {
                    &inside[inside.len() - left..]
                } else if let Some(after) = inside.strip_prefix("\\n").or(inside.strip_prefix("\\r")) {
                    after
                } else if inside
                    .starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_' || c == '%')
                {
                    &inside[1..]
                } else {
                    return Some(inside.to_owned());
                };
            }
            let after = &inside[1..];
            ["++", "*+", "?+"].iter().find_map(|times| after.strip_prefix(*times)).unwrap_or(after)
        } else if let Some(left) = hex(rest) {
            let after = &rest[rest.len() - left..];
            after.strip_prefix("++").unwrap_or(after)
        } else if let Some(after) = rest.strip_prefix("\\n").or(rest.strip_prefix("\\r")) {
            after
        } else if first == '|' || first == '%' || first.is_ascii_alphanumeric() {
            let after = &rest[1..];
            after.strip_prefix("++").unwrap_or(after)
        } else {
            return Some(rest.to_owned());
        };
    }
    (open != 0).then(|| "an open group".to_owned())
}

const WORDS: [&str; 27] = [
    "abort", "pass", "200", "204", "400", "401", "402", "403", "404", "405", "406", "409", "410", "413",
    "415", "418", "421", "422", "429", "444", "451", "500", "501", "502", "503", "504", "",
];

fn check(config: &HaproxyConfig) {
    let text = config.map();
    let entries: Vec<(&str, &str)> =
        config.entries.iter().map(|entry| (entry.key.as_str(), entry.value.as_str())).collect();
    assert_eq!(map(&text), entries, "{text}");
    let gate: Vec<(&str, &str)> = config.gate.iter().map(|key| (key.as_str(), "open")).collect();
    assert_eq!(map(&config.gate()), gate);
    let gate_file = format!("{FILE}.gate");
    let parts = [(&*gate_file, vec![("^", "open")]), (FILE, entries), (&*gate_file, gate)];
    for (replacement, (file, wanted)) in config.replacements(FILE).iter().zip(parts) {
        assert_eq!(commands(&replacement.prepare()), [["prepare", "map", file]]);
        let mut lines = replacement.commands(7);
        assert_eq!(commands(&lines.pop().unwrap()), [["commit", "map", "@7", file]]);
        assert_eq!(lines.len(), wanted.len());
        for (line, (key, value)) in lines.iter().zip(wanted) {
            assert_eq!(commands(line), [["add", "map", "@7", file, key, value]]);
            assert!(line.len() < 15_000, "{} bytes", line.len());
        }
    }
    for key in &config.gate {
        assert!(
            key.bytes().all(|b| b.is_ascii_graphic()) && foreign(key.trim_start_matches('^')).is_none(),
            "{key}"
        );
    }
    for Entry { key, value, comment } in &config.entries {
        assert!(key.starts_with('^') && key.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\''));
        assert_eq!(foreign(key), None, "{key}");
        assert!(WORDS.contains(&value.as_str()), "{value}");
        assert!(comment.bytes().all(|b| b.is_ascii_graphic() || b == b' '), "{comment:?}");
    }
}

/// Every generated set is refused, or read back as it was meant; and a real HAProxy has the same patterns.
#[test]
fn hostile_rules_stay_words() {
    let (mut translated, mut refused) = (0, 0);
    let mut all = HaproxyConfig::default();
    for seed in 0..1_500 {
        let mut dice = Dice::new(seed);
        let mut scoped = generate::scoped(&mut dice);
        if seed % 3 == 0 {
            scoped.rules = generate::any(&mut dice);
        }
        // One rule that is refused refuses the set, so they come one by one, too.
        let rules = scoped.rules.rules.clone();
        let single = rules.into_iter().map(|rule| {
            let mut one = scoped.clone();
            one.rules.rules = vec![rule];
            one
        });
        let sets: Vec<SiteRules> = single.chain([scoped.clone()]).collect();
        for set in sets {
            match translate(&[set]) {
                Ok(config) => {
                    translated += 1;
                    check(&config);
                    if all.entries.len() < 400 {
                        all.entries.extend(config.entries);
                        all.gate.extend(config.gate);
                    }
                }
                Err(_) => refused += 1,
            }
        }
    }
    println!("{translated} sets translated, {refused} refused");
    assert!(translated > 1_500, "{translated}");
    if !installed("hostile_rules_stay_words") {
        return;
    }
    let names = ["site".to_owned()];
    let entries = all.entries.iter().map(|entry| (entry.key.clone(), entry.value.clone()));
    let wanted: (Vec<(String, String)>, Vec<String>) = (entries.collect(), all.gate.clone());
    let from_file = Haproxy::start(&all, &names, Shape::default());
    assert!(from_file.entries() == wanted, "from the file");
    let updated = Haproxy::with_maps("", "", &names, Shape::default());
    updated.update(&all);
    assert!(updated.entries() == wanted, "through the socket");
    // Again: the old ones leave.
    updated.update(&all);
    assert!(updated.entries() == wanted, "through the socket, again");
    updated.update(&HaproxyConfig::default());
    assert_eq!(updated.entries(), (vec![], vec![]));
}

/// The reader of patterns sees what does not belong there.
#[test]
fn the_reader_knows_foreign_patterns() {
    for bad in [
        "^(?-n)a.b",
        "^(?-n)(a",
        "^(?-n)a*",
        "^(?-n)(?:a)*",
        "^(?-n)[^a]+",
        "^(?-n)\\d",
        "^(?-n)(*COMMIT)",
        "^(?-n)[[:alpha:]]",
        "^(?-n)a\"",
        "^(?-n)(?<n>a)",
    ] {
        assert!(foreign(bad).is_some(), "{bad}");
    }
}

#[test]
fn the_hook_takes_plain_paths_only() {
    let hook = HaproxyConfig::hook(FILE).unwrap();
    assert!(hook.contains("map_reg(/etc/haproxy/stopgap.map)"), "{hook}");
    for bad in ["", "stopgap.map", "/a b", "/a)", "/a,b", "/a\nb", "/a\"", "/a#b", "/é", "/a\\", "/$A"] {
        assert!(HaproxyConfig::hook(bad).is_err(), "{bad}");
    }
}

#[test]
fn what_haproxy_cannot_do_exactly_is_refused_with_the_reason() {
    let refused = |inside: &str| -> CannotExpress { translate_one(&rules(inside)).unwrap_err() };
    let action = |action: &str| format!(r#"<rule name="r"><match url=".*"/><action {action}/></rule>"#);
    let set = |input: &str, pattern: &str| translate_one(&condition("r", input, pattern)).unwrap_err();
    for (error, reason) in [
        (refused(&action(r#"type="Redirect" url="/""#)), "Redirect"),
        (refused(&action(r#"type="Rewrite" url="/""#)), "Rewrite"),
        (
            refused(&action(r#"type="CustomResponse" statusCode="499""#)),
            "the hook in HAProxy's frontends answers",
        ),
        (refused(r#"<rule name="r"><match url="^owa"/><action type="AbortRequest"/></rule>"#), "match url"),
        (refused(r#"<rule name="r"><match url="^.*$"/><action type="AbortRequest"/></rule>"#), "match url"),
        (
            refused(
                r#"<rule name="r"><match url=".*"/><serverVariables><set name="A" value=""/></serverVariables>
               <action type="None"/></rule>"#,
            ),
            "server variables",
        ),
        (set("{URL}", "a"), "no equal"),
        (set("{REMOTE_ADDR}", "a"), "no equal"),
        (set("{ToLower:{REQUEST_URI}}", "a"), "no equal"),
        (set("{UrlDecode:{UrlDecode:{REQUEST_URI}}}", "a"), "no equal"),
        (set("{HTTP_CONNECTION}", "a"), "changes this header"),
        (set("{HTTP_CONTENT_LENGTH}", "a"), "changes this header"),
        (set("{REQUEST_URI}", "(a+)+b"), "no linear form"),
        (set("{REQUEST_URI}", "(?=.*a)[^b].*c"), "no linear form"),
        (set("{REQUEST_URI}", r"(a)\1"), "no linear form"),
        (set("{UrlDecode:{REQUEST_URI}}", &"autodiscover".repeat(60)), "bytes"),
    ] {
        assert!(error.rule == "r" && error.server == "HAProxy" && error.reason.contains(reason), "{error}");
    }
}
