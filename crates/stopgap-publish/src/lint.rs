//! Looks at a document before it is signed, for what no agent would take, what no publisher means,
//! and what will not work everywhere.
//!
//! Not in here: whether the rules block what they should ([`crate::prove`]).

use std::collections::BTreeSet;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Serialize, Serializer};
use stopgap_core::version;
use stopgap_feed::document::{Action, ActionKind, Document, Expect, Mitigation};
use stopgap_feed::document::{Condition, Detect, Product};
use stopgap_feed::limits::Limits;
use stopgap_feed::{Id, scan};
use stopgap_rules::pattern::{Pattern, PatternLimits};
use stopgap_rules::translate::{CannotExpress, apache, haproxy, iis, nginx};
use stopgap_rules::{Connection, Engine, EngineLimits, Request, RuleSet};

use crate::prove::ORDINARY;

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Good to know.
    Note,
    /// Probably not meant.
    Warning,
    /// Must not be released as it is.
    Error,
    /// No agent would take the document at all.
    Invalid,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How much it weighs.
    pub level: Level,
    /// Its stable name.
    pub code: &'static str,
    /// In which mitigation; none: in the document.
    #[serde(serialize_with = "as_text")]
    pub mitigation: Option<Id>,
    /// What it is, in a sentence.
    pub message: String,
}

fn as_text<S: Serializer>(id: &Option<Id>, serializer: S) -> Result<S::Ok, S::Error> {
    id.as_ref().map(Id::as_str).serialize(serializer)
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Note => "note",
            Level::Warning => "warning",
            Level::Error | Level::Invalid => "error",
        };
        write!(f, "{level}[{}]: ", self.code)?;
        if let Some(id) = &self.mitigation {
            write!(f, "{id}: ")?;
        }
        f.write_str(&self.message)
    }
}

/// Whether the document must not be released: an error, or worse, is among the findings.
pub fn is_wanting(findings: &[Finding]) -> bool {
    findings.iter().any(|finding| finding.level >= Level::Error)
}

/// What the document is judged by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// The time of the release.
    pub now: Timestamp,
    /// Days that the document must be valid for; see [`crate::folder::FeedSettings::on_call_gap_days`].
    pub horizon_days: u16,
}

/// Everything that is to be said about the document, gravest first.
pub fn lint(bytes: &[u8], settings: &Settings) -> Vec<Finding> {
    let limits = Limits::default();
    let mut findings = Findings::default();
    match Document::from_unsigned(bytes, &limits) {
        Err(refusal) => findings.add(Level::Invalid, refusal.code(), None, refusal.to_string()),
        Ok(document) => {
            check_document(&document, settings, &mut findings);
            for mitigation in &document.mitigations {
                check_mitigation(mitigation, settings, &mut findings);
            }
            if is_signed(bytes, &limits) {
                let message = "the document is signed; the signature is not looked at here".to_owned();
                findings.add(Level::Note, "signed", None, message);
            }
        }
    }
    let mut findings = findings.0;
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.level));
    findings
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, level: Level, code: &'static str, mitigation: Option<&Id>, message: String) {
        self.0.push(Finding { level, code, mitigation: mitigation.cloned(), message });
    }
}

fn is_signed(bytes: &[u8], limits: &Limits) -> bool {
    let Ok(scanned) = scan::scan(bytes, limits) else { return false };
    let Ok(tree) = scanned.parse() else { return false };
    tree.descendants().any(|node| node.has_tag_name((stopgap_feed::dsig::NAMESPACE, "Signature")))
}

fn check_document(document: &Document, settings: &Settings, findings: &mut Findings) {
    for warning in &document.warnings {
        findings.add(Level::Warning, "unknown", None, warning.clone());
    }
    if document.feed.is_none() || document.serial.is_none() {
        let message =
            "the document names no feed or no serial: it can be replayed, also in place of another feed";
        findings.add(Level::Error, "no-freshness", None, message.to_owned());
    }
    match document.expires {
        None => {
            let message = "the document never expires: whoever holds it back is not noticed".to_owned();
            findings.add(Level::Error, "no-expiry", None, message);
        }
        Some(expires) if expires <= settings.now => {
            let message = format!("the document expired at {expires}, and it is {} now", settings.now);
            findings.add(Level::Error, "expired", None, message);
        }
        Some(expires) => {
            let days = i64::from(settings.horizon_days);
            if expires.duration_since(settings.now) < SignedDuration::from_hours(days * 24) {
                let message = format!(
                    "the document expires at {expires}, less than {days} days from {}: nobody may be there to renew it",
                    settings.now
                );
                findings.add(Level::Error, "short-horizon", None, message);
            }
        }
    }
    if let Some(issued) = document.issued.filter(|issued| *issued > settings.now) {
        let message = format!("the document says that it is issued at {issued}, after {}", settings.now);
        findings.add(Level::Warning, "issued-later", None, message);
    }
    if document.mitigations.is_empty() && document.withdrawn.is_empty() {
        findings.add(Level::Warning, "empty-feed", None, "the document holds nothing".to_owned());
    }
    for withdrawn in &document.withdrawn {
        if withdrawn.reason.trim().is_empty() {
            let message = "it is withdrawn without a reason".to_owned();
            findings.add(Level::Warning, "no-reason", Some(&withdrawn.id), message);
        }
    }
}

fn check_mitigation(mitigation: &Mitigation, settings: &Settings, findings: &mut Findings) {
    let mut add = |level, code, message: String| findings.add(level, code, Some(&mitigation.id), message);
    for unsupported in &mitigation.unsupported {
        add(Level::Error, "unsupported", unsupported.clone());
    }
    if mitigation.octets.contains("/replace-me/") {
        let message = "it still holds `/replace-me/` of a new mitigation: put the real path there";
        add(Level::Warning, "placeholder", message.to_owned());
    }
    if mitigation.actions.is_empty() {
        add(Level::Error, "no-action", "it does nothing: expected an Action".to_owned());
    }
    if mitigation.description.trim().is_empty() {
        add(Level::Warning, "no-description", "it has no description".to_owned());
    }
    if let Some(expires) = mitigation.expires.filter(|expires| *expires <= settings.now) {
        add(Level::Error, "mitigation-expired", format!("it expired at {expires}"));
    }
    let acts = mitigation.actions.iter().any(|action| !matches!(action.kind, ActionKind::DoNothing));
    if acts && mitigation.rollback.as_deref().is_none_or(|text| text.trim().is_empty()) {
        add(Level::Warning, "no-rollback", "it does not say how a person takes it off by hand".to_owned());
    }
    check_probes(mitigation, &mut add);
    if let Some(condition) = &mitigation.applicability {
        check_versions(condition, &mut add);
    }
    for action in &mitigation.actions {
        if let ActionKind::UrlRewrite { rewrite } = &action.kind {
            check_rules(action, rewrite, &mut add);
        }
    }
}

fn check_probes(mitigation: &Mitigation, add: &mut impl FnMut(Level, &'static str, String)) {
    let has_rules = mitigation.actions.iter().any(|a| matches!(a.kind, ActionKind::UrlRewrite { .. }));
    let has = |wanted: fn(&Expect) -> bool| mitigation.probes.iter().any(|probe| wanted(&probe.expect));
    if has_rules && !has(|expect| matches!(expect, Expect::Blocked | Expect::Header { .. })) {
        let message =
            "no probe shows that it works: expected a Request with expect=\"blocked\" or \"header\"";
        add(Level::Error, "no-blocked-probe", message.to_owned());
    }
    if has_rules && !has(|expect| matches!(expect, Expect::Allowed)) {
        let message = "no probe shows that it does no harm: expected a Request with expect=\"allowed\"";
        add(Level::Error, "no-allowed-probe", message.to_owned());
    }
    for (index, probe) in mitigation.probes.iter().enumerate() {
        let place = index + 1;
        if let Err(error) = Request::parse_head(probe.head.as_bytes(), &Connection::default()) {
            add(Level::Error, "bad-probe", format!("probe {place} is no request head: {error}"));
        }
    }
}

fn check_rules(action: &Action, rewrite: &str, add: &mut impl FnMut(Level, &'static str, String)) {
    let id = &action.id;
    let rules = match RuleSet::parse(rewrite) {
        Ok(rules) => rules,
        Err(error) => return add(Level::Error, "bad-rules", format!("{id}: {error}")),
    };
    let engine = match Engine::compile(&rules, &EngineLimits::default()) {
        Ok(engine) => engine,
        Err(error) => return add(Level::Error, "bad-pattern", format!("{id}: {error}")),
    };
    if engine.is_empty() && !engine.has_outbound() {
        add(Level::Error, "no-rules", format!("{id}: expected at least one enabled rule"));
    }
    let mut names = BTreeSet::new();
    for rule in &rules.rules {
        if rule.name.trim() != rule.name {
            add(
                Level::Warning,
                "rule-name",
                format!("{id}: the rule name \"{}\" begins or ends with a blank", rule.name),
            );
        }
        // IIS compares these unique keys without regard to case.
        if !names.insert(rule.name.to_lowercase()) {
            add(
                Level::Error,
                "rule-name-twice",
                format!("{id}: two rules are named \"{}\"; IIS answers such a file with 500.19", rule.name),
            );
        }
    }
    if ORDINARY.iter().all(|head| refuses(&engine, head)) {
        add(Level::Error, "refuses-everything", format!("{id}: its rules refuse every ordinary request"));
    }
    let long = format!("GET /{}?{} HTTP/1.1\r\n\r\n", "a/".repeat(2_000), "b=%63&".repeat(700));
    if over_limit(&engine, &long) {
        add(
            Level::Error,
            "slow-pattern",
            format!(
                "{id}: an ordinary address of 8 KB exceeds the engine's step limit, and would be refused"
            ),
        );
    }
    for rule in engine.rules_without_literal() {
        add(
            Level::Warning,
            "no-literal",
            format!(
                "{id}: no text is in every request that rule \"{rule}\" matches: it is held against each request"
            ),
        );
    }
    for server in servers(&rules) {
        if let Err(error) = server.expressed {
            add(Level::Note, server.code, format!("{id}: {error}"));
        }
    }
}

/// One server, and whether rules can be expressed there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its name, as in `stopgap rules translate --to`; `gateway` for our own, which takes every rule.
    pub name: &'static str,
    /// The code of the finding where it cannot.
    pub code: &'static str,
    /// Or why not.
    pub expressed: Result<(), CannotExpress>,
}

/// Every server that rules are translated for.
pub fn servers(rules: &RuleSet) -> Vec<Server> {
    let server = |name, code, result: Result<String, CannotExpress>| Server {
        name,
        code,
        expressed: result.map(drop),
    };
    vec![
        Server { name: "gateway", code: "not-on-gateway", expressed: Ok(()) },
        server("nginx", "not-on-nginx", nginx::translate_one(rules)),
        server("apache", "not-on-apache", apache::translate_one(rules)),
        server("haproxy", "not-on-haproxy", haproxy::translate_one(rules)),
        server("iis", "not-on-iis", iis::translate_one(rules)),
    ]
}

/// Which servers can express the rules of each action of a document that can be read: `M1.1: gateway, nginx`.
pub fn expressed(bytes: &[u8]) -> Vec<(Id, Vec<&'static str>)> {
    let Ok(document) = Document::from_unsigned(bytes, &Limits::default()) else { return Vec::new() };
    let actions = document.mitigations.iter().flat_map(|mitigation| &mitigation.actions);
    let servers = |action: &Action| {
        let ActionKind::UrlRewrite { rewrite } = &action.kind else { return None };
        let rules = RuleSet::parse(rewrite).ok()?;
        let able = servers(&rules).into_iter().filter(|server| server.expressed.is_ok());
        Some((action.id.clone(), able.map(|server| server.name).collect()))
    };
    actions.filter_map(servers).collect()
}

/// A bound that is no version would make every server unsure of itself.
fn check_versions(condition: &Condition, add: &mut impl FnMut(Level, &'static str, String)) {
    let product: &Product = match condition {
        Condition::Product(product) => product,
        Condition::All(parts) | Condition::Any(parts) => {
            return parts.iter().for_each(|part| check_versions(part, add));
        }
    };
    let bounds = product.ranges.iter().flat_map(|range| [&range.from, &range.below, &range.through]);
    for bound in bounds.flatten() {
        if let Err(error) = version::compare(product.scheme, bound, bound) {
            add(Level::Error, "bad-version", format!("Product {}: {error}", product.name));
        }
    }
    for detect in &product.detect {
        check_detect(&product.name, detect, add);
    }
}

/// A pattern that agents do not understand makes the mitigation unsupported everywhere; one that begins
/// anywhere finds the version of something else sooner or later.
fn check_detect(product: &str, detect: &Detect, add: &mut impl FnMut(Level, &'static str, String)) {
    let Detect::File { path, pattern } = detect else { return };
    if let Err(error) = Pattern::compile(pattern, true, &PatternLimits::for_version()) {
        add(Level::Error, "bad-detect", format!("Product {product}: the pattern of {path}: {error}"));
    } else if !pattern.starts_with('^') {
        let message = "does not begin with `^`, and can find the version of something else";
        add(Level::Warning, "loose-detect", format!("Product {product}: the pattern of {path} {message}"));
    }
}

fn refuses(engine: &Engine, head: &str) -> bool {
    Request::parse_head(head.as_bytes(), &Connection::default())
        .is_ok_and(|request| engine.evaluate(&request).is_refusal())
}

fn over_limit(engine: &Engine, head: &str) -> bool {
    Request::parse_head(head.as_bytes(), &Connection::default())
        .is_ok_and(|request| engine.evaluate(&request).over_limit)
}
