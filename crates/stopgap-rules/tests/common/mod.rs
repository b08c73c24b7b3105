//! What the tests share: the real rules, and short ways to ask.
#![allow(dead_code, reason = "each test file uses its own part")]

pub mod dice;
pub mod generate;
pub mod haproxy;
pub mod inputs;
pub mod nginx;
pub mod nginx_syntax;

use stopgap_rules::translate::SiteRules;
use stopgap_rules::{Connection, Engine, EngineLimits, Request, RuleSet, Verdict};

/// The requests of the table: the first is stopped by every revision, the last two by none.
pub const M1_REQUESTS: [&str; 6] = [
    "/autodiscover/autodiscover.json?@evil.example/PowerShell/&Email=autodiscover/autodiscover.json%3f@evil.example",
    "/autodiscover/autodiscover.json?a..foo.var/owa/?&Email=autodiscover/autodiscover.json?a..foo.var&Protocol=XYZ&FooProtocol=Powershell",
    "/autodiscover/autodiscover.json?x/p%6Fwershell/",
    "/PowerShell/?Email=autodiscover/autodiscover.json",
    "/autodiscover/autodiscover.xml",
    "/powershell",
];

/// Input and pattern of the revisions of M1, the first one first.
pub const M1_REVISIONS: [(&str, &str); 4] = [
    ("{REQUEST_URI}", r".*autodiscover\.json.*\@.*Powershell.*"),
    ("{REQUEST_URI}", r".*autodiscover\.json.*Powershell.*"),
    ("{UrlDecode:{REQUEST_URI}}", r".*autodiscover\.json.*Powershell.*"),
    ("{UrlDecode:{REQUEST_URI}}", "(?=.*autodiscover)(?=.*powershell)"),
];

pub fn m1(revision: usize) -> RuleSet {
    let (input, pattern) = M1_REVISIONS[revision - 1];
    condition("EEMS M1.1 PowerShell - inbound", input, pattern)
}

/// One rule with one condition that aborts.
pub fn condition(name: &str, input: &str, pattern: &str) -> RuleSet {
    rules(&format!(
        r#"<rule name="{}" stopProcessing="true"><match url=".*"/>
           <conditions><add input="{}" pattern="{}"/></conditions><action type="AbortRequest"/></rule>"#,
        escape(name),
        escape(input),
        escape(pattern)
    ))
}

pub fn escape(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | ' '..='!' | '#'..='%' | '('..=';' => c.to_string(),
            c => format!("&#{};", u32::from(c)),
        })
        .collect()
}

pub fn cookie_rules() -> RuleSet {
    rules(
        r#"<rule name="X-AnonResource-Backend Abort - inbound"><match url="(.*)"/>
             <conditions><add input="{HTTP_COOKIE}" pattern="(.*)X-AnonResource-Backend(.*)"/></conditions>
             <action type="AbortRequest"/></rule>
           <rule name="X-BEResource Abort - inbound" stopProcessing="true"><match url=".*"/>
             <conditions><add input="{HTTP_COOKIE}" pattern="(.*)X-BEResource=(.+)/(.+)~(.+)"/></conditions>
             <action type="AbortRequest"/></rule>"#,
    )
}

pub fn rules(inside: &str) -> RuleSet {
    RuleSet::parse(&format!("<rewrite><rules>{inside}</rules></rewrite>")).unwrap()
}

pub fn engine(rules: &RuleSet) -> Engine {
    Engine::compile(rules, &EngineLimits::default()).unwrap()
}

pub fn get(engine: &Engine, target: &str) -> Verdict {
    engine.evaluate(&Request::new("GET", target.as_bytes(), [], Connection::default()))
}

/// What the engine says to the octets of a head; nothing is too much for it.
pub fn judged(engine: &Engine, head: &[u8]) -> Verdict {
    let verdict = engine.evaluate(&Request::parse_head(head, &Connection::default()).unwrap());
    assert!(!verdict.over_limit);
    verdict
}

/// Rules for one site, or for every site.
pub fn scoped(rules: RuleSet, site: Option<&str>) -> SiteRules {
    SiteRules {
        observe: false,
        marker: "example M1.1".into(),
        sites: site.map(|site| vec![site.to_owned()]),
        rules,
    }
}

/// Rule sets, each for a site of its own, which `name` says of its number: the names, the engines, and what a
/// translation takes.
pub fn sites(
    sets: Vec<RuleSet>,
    name: impl Fn(usize) -> String,
) -> (Vec<String>, Vec<Engine>, Vec<SiteRules>) {
    let names: Vec<String> = (0..sets.len()).map(name).collect();
    let engines = sets.iter().map(engine).collect();
    let scoped = sets.into_iter().zip(&names).map(|(rules, name)| scoped(rules, Some(name))).collect();
    (names, engines, scoped)
}
