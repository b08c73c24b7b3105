//! Runs a document's rules on requests before anybody else does: what must be blocked is refused by
//! the mitigation's own rules, what must pass is refused by no rule of the document.
//!
//! ```text
//! Probes (in the document) ──┐
//! attack.http  ── blocked ───┼──> rule engine ──> proven, failed (with its reason), not judged
//! benign.http  ── allowed ───┘
//! ```
//!
//! The same is proven again on each live server by the agent; this is the cheap half, before signing.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};
use stopgap_feed::Id;
use stopgap_feed::document::{ActionKind, Document, Expect, Mitigation};
use stopgap_rules::{Connection, Engine, EngineLimits, Request, RuleSet, Verdict};

use crate::requests::SampleRequest;

/// The requests beside the document, of one mitigation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Samples {
    /// Must be refused.
    pub attack: Vec<SampleRequest>,
    /// Must pass.
    pub benign: Vec<SampleRequest>,
}

/// What a request is expected to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Expected {
    /// The mitigation refuses it.
    Blocked,
    /// No rule refuses it.
    Allowed,
    /// The answer has a header.
    Header,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "result", content = "reason", rename_all = "kebab-case")]
pub enum Judgement {
    /// As expected.
    Proven,
    /// Not as expected, and how.
    Failed(String),
    /// This cannot be told without a server, and why.
    NotJudged(String),
}

/// One request and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Case {
    /// Whose request it is.
    #[serde(serialize_with = "as_text")]
    pub mitigation: Id,
    /// Where it stands: `Probes`, `attack.http`, `benign.http`.
    pub source: &'static str,
    /// Its name there.
    pub name: String,
    /// What it is expected to show.
    pub expected: Expected,
    /// What came of it.
    #[serde(flatten)]
    pub judgement: Judgement,
}

/// Rules that the engine does not take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// The action that holds them.
    #[serde(serialize_with = "as_text")]
    pub action: Id,
    /// The engine's words.
    pub reason: String,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ProofReport {
    /// Every request, in the document's order.
    pub cases: Vec<Case>,
    /// Rules that the engine does not take; their requests count as failed.
    pub broken: Vec<Broken>,
}

fn as_text<S: Serializer>(id: &Id, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(id.as_str())
}

impl ProofReport {
    /// Whether nothing failed.
    pub fn is_proven(&self) -> bool {
        self.broken.is_empty() && self.failed().next().is_none()
    }

    /// What failed.
    pub fn failed(&self) -> impl Iterator<Item = &Case> {
        self.cases.iter().filter(|case| matches!(case.judgement, Judgement::Failed(_)))
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { mitigation, source, name, .. } = self;
        let expected = match self.expected {
            Expected::Blocked => "blocked",
            Expected::Allowed => "allowed",
            Expected::Header => "header",
        };
        write!(f, "{mitigation} {source} ({name}): {expected}: ")?;
        match &self.judgement {
            Judgement::Proven => f.write_str("proven"),
            Judgement::Failed(reason) => write!(f, "failed: {reason}"),
            Judgement::NotJudged(reason) => write!(f, "not judged: {reason}"),
        }
    }
}

/// Runs every request of the document, and of `samples` by mitigation, through the rules.
pub fn prove(document: &Document, samples: &BTreeMap<Id, Samples>) -> ProofReport {
    let mut report = ProofReport::default();
    let rules: Vec<MitigationRules> = document
        .mitigations
        .iter()
        .map(|mitigation| MitigationRules::of(mitigation, &mut report.broken))
        .collect();
    let none = Samples::default();
    for own in &rules {
        let samples = samples.get(&own.mitigation.id).unwrap_or(&none);
        for request in requests(own.mitigation, samples) {
            let judgement = judge(request.expected, request.head, own, &rules);
            report.cases.push(Case {
                mitigation: own.mitigation.id.clone(),
                source: request.source,
                name: request.name,
                expected: request.expected,
                judgement,
            });
        }
    }
    report
}

/// One mitigation's rules, an engine for each action.
struct MitigationRules<'a> {
    mitigation: &'a Mitigation,
    engines: Vec<(&'a Id, Engine)>,
    /// It has rules, whether the engine takes them or not.
    has_rules: bool,
}

impl<'a> MitigationRules<'a> {
    fn of(mitigation: &'a Mitigation, broken: &mut Vec<Broken>) -> Self {
        let mut rules = Self { mitigation, engines: Vec::new(), has_rules: false };
        for action in &mitigation.actions {
            let ActionKind::UrlRewrite { rewrite } = &action.kind else { continue };
            rules.has_rules = true;
            match engine(rewrite) {
                Ok(engine) => rules.engines.push((&action.id, engine)),
                Err(reason) => broken.push(Broken { action: action.id.clone(), reason }),
            }
        }
        rules
    }

    /// The first action whose rules refuse the request.
    fn refusal(&self, request: &Request<'_>) -> Option<(&'a Id, Verdict)> {
        self.engines.iter().find_map(|(action, engine)| {
            let verdict = engine.evaluate(request);
            verdict.is_refusal().then_some((*action, verdict))
        })
    }
}

/// The engine of one `<rewrite>` element, with the limits that agents use.
pub(crate) fn engine(rewrite: &str) -> Result<Engine, String> {
    let rules = RuleSet::parse(rewrite).map_err(|error| error.to_string())?;
    Engine::compile(&rules, &EngineLimits::default()).map_err(|error| error.to_string())
}

struct Asked<'a> {
    source: &'static str,
    name: String,
    expected: Expected,
    head: &'a str,
}

fn requests<'a>(mitigation: &'a Mitigation, samples: &'a Samples) -> impl Iterator<Item = Asked<'a>> {
    let probes = mitigation.probes.iter().enumerate().map(|(index, probe)| Asked {
        source: "Probes",
        name: format!("request {}", index + 1),
        expected: match probe.expect {
            Expect::Blocked => Expected::Blocked,
            Expect::Allowed => Expected::Allowed,
            Expect::Header { .. } => Expected::Header,
        },
        head: &probe.head,
    });
    let file = |source, expected| {
        move |request: &'a SampleRequest| Asked {
            source,
            name: request.name.clone(),
            expected,
            head: &request.head,
        }
    };
    probes
        .chain(samples.attack.iter().map(file("attack.http", Expected::Blocked)))
        .chain(samples.benign.iter().map(file("benign.http", Expected::Allowed)))
}

fn judge(
    expected: Expected,
    head: &str,
    own: &MitigationRules<'_>,
    all: &[MitigationRules<'_>],
) -> Judgement {
    let request = match Request::parse_head(head.as_bytes(), &Connection::default()) {
        Ok(request) => request,
        Err(error) => return Judgement::Failed(format!("not a request head: {error}")),
    };
    match expected {
        Expected::Header => {
            Judgement::NotJudged("a header of the answer can only be seen on a server".to_owned())
        }
        Expected::Blocked if !own.has_rules => Judgement::NotJudged(
            "the mitigation has no rewrite rules; what it stops is seen on a server".to_owned(),
        ),
        Expected::Blocked => match own.refusal(&request) {
            Some((_, verdict)) if verdict.over_limit => Judgement::Failed(format!(
                "refused only because rule {} took too many steps, not because it matched",
                rule_name(&verdict)
            )),
            Some(_) => Judgement::Proven,
            None => Judgement::Failed(format!("no rule of {} refuses it", own.mitigation.id)),
        },
        Expected::Allowed => match all.iter().find_map(|rules| rules.refusal(&request)) {
            Some((action, verdict)) if verdict.over_limit => Judgement::Failed(format!(
                "refused because rule {} of {action} took too many steps",
                rule_name(&verdict)
            )),
            Some((action, verdict)) => {
                Judgement::Failed(format!("refused by rule {} of {action}", rule_name(&verdict)))
            }
            None => Judgement::Proven,
        },
    }
}

fn rule_name(verdict: &Verdict) -> String {
    format!("\"{}\"", verdict.rule.as_deref().unwrap_or_default())
}
