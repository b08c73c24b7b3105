//! The rule sets, each with the requests that it was made for.

use std::fs;
use std::path::Path;

use stopgap_feed::document::{ActionKind, Mitigation};
use stopgap_rules::{Action, Engine, EngineLimits, RuleSet};

use crate::ROOT;
use crate::dice::Dice;

/// A rule set: a site of its own on every server.
pub struct Book {
    /// Such as `M1.1`, `M1 revision 2`, `generated 7`.
    pub name: String,
    /// As the gateway reads it.
    pub text: String,
    pub rules: RuleSet,
    pub engine: Engine,
    /// Request heads, attacks and benign ones.
    pub seeds: Vec<Vec<u8>>,
    /// No rule changes what goes on, so the origin can judge what arrives as if it had been sent so.
    pub judged_at_origin: bool,
    /// Statuses with which a rule of it answers.
    pub statuses: Vec<u16>,
}

impl Book {
    fn new(name: String, text: String, seeds: Vec<Vec<u8>>) -> Book {
        let rules = RuleSet::parse(&text).unwrap_or_else(|error| panic!("{name}: {error:?}\n{text}"));
        let engine = Engine::compile(&rules, &EngineLimits::default())
            .unwrap_or_else(|error| panic!("{name}: {error:?}\n{text}"));
        let changes = |rule: &stopgap_rules::Rule| {
            !rule.server_variables.is_empty() || matches!(rule.action, Action::Rewrite { .. })
        };
        let judged_at_origin = !rules.rules.iter().any(changes);
        let status = |rule: &stopgap_rules::Rule| match &rule.action {
            Action::CustomResponse { status, .. } => Some(*status),
            Action::Redirect { redirect_type, .. } => Some(redirect_type.status()),
            _ => None,
        };
        let statuses = rules.rules.iter().filter_map(status).collect();
        Book { name, text, rules, engine, seeds, judged_at_origin, statuses }
    }
}

/// Every book; the same for the same seed and the same catalogue.
pub fn all(seed: u64, generated: usize) -> Vec<Book> {
    let mut books = catalogue();
    books.extend(history());
    books.extend((0..generated).map(|n| generate(n, &mut Dice::new(seed ^ (0x600D << 32) ^ n as u64))));
    books
}

/// The rules of `mitigations/`, whatever is there: a book for each action that has inbound rules.
pub fn catalogue() -> Vec<Book> {
    let folder = Path::new(ROOT).join("mitigations");
    let mut folders: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.sort();
    let mut books = Vec::new();
    for folder in folders {
        let Ok(text) = fs::read_to_string(folder.join("mitigation.xml")) else { continue };
        let mitigation =
            Mitigation::from_octets(&text).unwrap_or_else(|error| panic!("{folder:?}: {error:?}"));
        let mut seeds = heads(&folder.join("attack.http"));
        seeds.extend(heads(&folder.join("benign.http")));
        for action in &mitigation.actions {
            let ActionKind::UrlRewrite { rewrite } = &action.kind else { continue };
            if !RuleSet::parse(rewrite).is_ok_and(|set| set.rules.is_empty()) {
                books.push(Book::new(action.id.to_string(), rewrite.clone(), seeds.clone()));
            }
        }
    }
    assert!(books.len() >= 3, "the catalogue has rules");
    books
}

/// Input and pattern of M1's one condition, as each revision had it.
const M1: [(&str, &str); 4] = [
    ("{REQUEST_URI}", r".*autodiscover\.json.*\@.*Powershell.*"),
    ("{REQUEST_URI}", r".*autodiscover\.json.*Powershell.*"),
    ("{UrlDecode:{REQUEST_URI}}", r".*autodiscover\.json.*Powershell.*"),
    ("{UrlDecode:{REQUEST_URI}}", "(?=.*autodiscover)(?=.*powershell)"),
];

fn history() -> Vec<Book> {
    let folder = Path::new(ROOT).join("mitigations/M1");
    let mut seeds = heads(&folder.join("attack.http"));
    seeds.extend(heads(&folder.join("benign.http")));
    let book = |(n, (input, pattern)): (usize, &(&str, &str))| {
        let rule = rule("M1", &[condition(input, pattern, false)], "MatchAll", ABORT);
        Book::new(format!("M1 revision {}", n + 1), rewrite(&rule), seeds.clone())
    };
    M1.iter().enumerate().map(book).collect()
}

const ABORT: &str = r#"<action type="AbortRequest"/>"#;

/// Patterns over every part of the linear form, and some that have none.
const PATTERNS: [&str; 40] = [
    "foo",
    "^/foo",
    "bar$",
    "foo.*bar",
    "foo.+bar",
    "(.*)foo(.*)bar(.*)",
    "foo|bar",
    "foo.*bar|^/baz|x$",
    "(?=.*foo)(?=.*bar)",
    "(?=.*foo)(?!.*bar)",
    "^(?!.*foo)(?=.*bar)",
    "^(?=.*bar)(?!.*baz)",
    "[^/]foo",
    "[fb]oo",
    "b[ae]r",
    "ba[rz]{1}",
    r"foo\.bar",
    r"\.\./",
    r"\.\.[/\\]",
    "%2e",
    "%2f|%5c",
    r"\\",
    "%00|\\x00",
    "//",
    ";foo",
    "[?&]foo=",
    "=.*bar",
    "é",
    "[^\\x00-\\x7f]",
    "\\ufffd",
    "\\x0a|\\x0d",
    "foo.{1}bar",
    "fo[o0]",
    "\\bfoo",
    "(foo|bar)baz",
    "[0-9]foo",
    "foo[^&]*bar",
    "\\$\\{",
    "jndi",
    "s",
];

const INPUTS: [&str; 14] = [
    "{REQUEST_URI}",
    "{REQUEST_URI}",
    "{UrlDecode:{REQUEST_URI}}",
    "{UrlDecode:{REQUEST_URI}}",
    "{QUERY_STRING}",
    "{UrlDecode:{QUERY_STRING}}",
    "{HTTP_COOKIE}",
    "{UrlDecode:{HTTP_COOKIE}}",
    "{HTTP_USER_AGENT}",
    "{UrlDecode:{HTTP_X_API_VERSION}}",
    "{HTTP_AUTHORIZATION}",
    "{HTTP_REFERER}",
    "{REQUEST_METHOD}",
    "{URL}",
];

/// One to three rules with zero to two conditions.
fn generate(number: usize, dice: &mut Dice) -> Book {
    let count = 1 + dice.roll(3);
    let rules: String = (0..count)
        .map(|n| {
            // A rule without conditions holds for everything: only a last one is worth having.
            let conditions: Vec<String> = (0..1 + dice.roll(2))
                .map(|_| {
                    let input = dice.pick(&INPUTS);
                    let pattern = if input == "{REQUEST_METHOD}" {
                        dice.pick(&["^(PUT|DELETE)$", "^POST$", "^(?!GET|HEAD|POST|OPTIONS)"])
                    } else {
                        dice.pick(&PATTERNS)
                    };
                    // A negated condition alone refuses nearly everything.
                    let negate = n > 0 && dice.roll(6) == 0;
                    condition(input, pattern, negate)
                })
                .collect();
            let grouping = dice.pick(&["MatchAll", "MatchAny"]);
            let action = match dice.roll(8) {
                0 => r#"<action type="CustomResponse" statusCode="403" statusReason="No" statusDescription="no"/>"#,
                1 => r#"<action type="CustomResponse" statusCode="410" statusReason="No" statusDescription="no"/>"#,
                2 if n + 1 < count => r#"<action type="None"/>"#,
                _ => ABORT,
            };
            rule(&format!("generated {number}.{n}"), &conditions, grouping, action)
        })
        .collect();
    Book::new(format!("generated {number}"), rewrite(&rules), Vec::new())
}

fn rewrite(rules: &str) -> String {
    format!("<rewrite><rules>{rules}</rules></rewrite>")
}

fn rule(name: &str, conditions: &[String], grouping: &str, action: &str) -> String {
    format!(
        "<rule name=\"{name}\" stopProcessing=\"true\"><match url=\".*\"/><conditions \
         logicalGrouping=\"{grouping}\">{}</conditions>{action}</rule>",
        conditions.concat()
    )
}

fn condition(input: &str, pattern: &str, negate: bool) -> String {
    let pattern = pattern.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    format!("<add input=\"{input}\" pattern=\"{pattern}\" negate=\"{negate}\"/>")
}

/// The heads of a `.http` file, lines ended with CRLF, with the empty line.
fn heads(path: &Path) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let requests =
        stopgap_publish::requests::parse(&text).unwrap_or_else(|error| panic!("{path:?}: {error}"));
    requests.into_iter().map(|request| request.head.into_bytes()).collect()
}
