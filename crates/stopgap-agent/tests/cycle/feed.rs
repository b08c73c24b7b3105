//! Feeds from a line of words, as the scripts write them.
//!
//! ```text
//!   2 PING1 M1(below=15.2.986.36) -M2        serial 2, a heartbeat, M1 for builds below, M2 withdrawn
//!   3 feed=other M1                          bound to another name
//!   3 by=stranger M1                         signed by somebody with the same names
//! ```
//!
//! `M1` refuses `/m1` (and so on for any id). In parentheses, divided by commas:
//! `revision=N` another text with the same effect; `weak` it refuses nothing that it should (or takes out `m1old`);
//! `redirects` it sends away and does not refuse; `harmful` it refuses a request that it should not, `greedy` everything; `inexpressible` no target
//! takes it; `no-probes`; `below=VERSION` for builds of `exchange` below it;
//! `service` it takes the service `m1` out of service, `pool` the pool, `first=NAME` another before it; `supersedes=ID`; `expires=TIME`; `severity=WORD`; `waves=PERCENT:SECONDS` for all of its waves.

use jiff::Timestamp;
use stopgap_testkit::feeds::{PING, feed, rule, signed};

use crate::world::{PUBLISHER, STRANGER};

/// The signed document.
pub fn document(words: &str, now: Timestamp) -> Vec<u8> {
    let mut words = words.split_whitespace();
    let serial = words.next().unwrap().parse().unwrap();
    let (mut name, mut pki, mut content) = ("example", &PUBLISHER, String::new());
    for word in words {
        match word.split_once('=') {
            Some(("feed", other)) => name = other,
            Some(("by", "stranger")) => pki = &STRANGER,
            _ => content.push_str(&element(word)),
        }
    }
    signed(&feed(name, serial, now, &content), pki)
}

fn element(word: &str) -> String {
    if let Some(id) = word.strip_prefix('-') {
        return format!("<Withdrawn id=\"{id}\" reason=\"recalled\"/>");
    }
    if word == "PING1" {
        return PING.to_owned();
    }
    let (id, options) = match word.split_once('(') {
        Some((id, options)) => (id, options.strip_suffix(')').unwrap()),
        None => (word, ""),
    };
    let path = format!("/{}", id.to_lowercase());
    let mut pattern = format!("^{path}$");
    let mut benign = "/".to_owned();
    let (mut attributes, mut applicability, mut probes) = (String::new(), String::new(), true);
    let (mut rollout, mut redirects) = (String::new(), false);
    let (mut switches, mut weak, mut first) = (None, false, None);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=').unwrap_or((option, "")) {
            ("revision", number) => pattern = format!("^{path}x{{0,{number}}}$"),
            ("weak", _) => (pattern, weak) = ("^/something/else".into(), true),
            ("first", other) => first = Some(other),
            ("service", _) => switches = Some("Service"),
            ("pool", _) => switches = Some("AppPool"),
            ("harmful", _) => (pattern, benign) = (format!("^{path}"), format!("{path}/benign")),
            ("redirects", _) => redirects = true,
            ("greedy", _) => pattern = "^/".into(),
            // Look-behind is nothing that this language has.
            ("inexpressible", _) => pattern = format!("(?&lt;=x){path}$"),
            ("no-probes", _) => probes = false,
            ("below", version) => {
                applicability = format!(
                    "<Applicability><Product name=\"exchange\" versions=\"dotted\">\
                     <Range below=\"{version}\"/></Product></Applicability>"
                );
            }
            (attribute @ ("supersedes" | "expires" | "severity"), value) => {
                attributes.push_str(&format!(" {attribute}=\"{value}\""));
            }
            ("waves", value) => {
                let (percent, after) = value.split_once(':').unwrap();
                rollout = format!("<Rollout><Wave percent=\"{percent}\" after=\"PT{after}S\"/></Rollout>");
            }
            other => panic!("{other:?} is no option"),
        }
    }
    if let Some(kind) = switches {
        let name = if weak { format!("{}old", id.to_lowercase()) } else { id.to_lowercase() };
        let names = first.into_iter().chain([name.as_str()]).enumerate();
        let action = |(at, name): (usize, &str)| {
            format!(
                "<Action id=\"{id}.{}\" type=\"{kind}\" scope=\"Server\" desc=\"takes it out\">\
                 <Value>{name}</Value></Action>",
                at + 1
            )
        };
        let actions: String = names.map(action).collect();
        return format!(
            "<Config id=\"{id}\" desc=\"Out of service\"><ActionList>{actions}</ActionList></Config>"
        );
    }
    let mut text = rule(id, &pattern, &path)
        .replacen("GET / ", &format!("GET {benign} "), 1)
        .replacen("<Config", &format!("<Config{attributes}"), 1)
        .replacen("<ActionList>", &format!("{applicability}<ActionList>"), 1);
    if !probes {
        let (head, tail) = (text.find("<Probes>").unwrap(), text.find("</Config>").unwrap());
        text.replace_range(head..tail, "");
    }
    if redirects {
        text =
            text.replace("<action type=\"AbortRequest\"/>", "<action type=\"Redirect\" url=\"/elsewhere\"/>");
    }
    text.replacen("</Config>", &format!("{rollout}</Config>"), 1)
}
