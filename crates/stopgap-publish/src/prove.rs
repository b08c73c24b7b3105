//! Runs a document's rules on requests before anybody else does: what must be blocked is refused by
//! the mitigation's own rules, what must pass is refused by no rule of the document.
//!
//! ```text
//! Probes (in the document) ────┐
//! attack.http    ── blocked ───┼──> rule engine ──> proven, failed (with its reason), not judged
//! benign.http    ── allowed ───┤
//! responses.http ── header ────┘
//! attack.http ── forge ── mutants ──> rule engine ──> refused, or a survivor that is listed
//! ```
//!
//! Two things more make rules unfit whatever they block: that they refuse what every site gets
//! ([`ORDINARY`]), and that a request costs more than [`STEPS`].
//!
//! The same is proven again on each live server by the agent; this is the cheap half, before signing.

mod answers;
mod mutants;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};
use stopgap_feed::Id;
use stopgap_feed::document::{ActionKind, Document, Expect, Mitigation};
use stopgap_rules::{Connection, Engine, EngineLimits, Request, RuleSet, Verdict};

use crate::forge::{Declared, Mutation};
use crate::requests::SampleRequest;
use crate::responses::SampleResponse;
use answers::{header_probe, judge_response, wanted};
use mutants::forge;

/// Steps that the rules of one action may take for one request of 8 KB: about half a millisecond, and a fortieth
/// of what an agent grants. What needs more on the bench is near the agent's bound with the requests of others.
pub const STEPS: u64 = 100_000;

/// The requests beside the document, of one mitigation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Samples {
    /// Must be refused.
    pub attack: Vec<SampleRequest>,
    /// Must pass.
    pub benign: Vec<SampleRequest>,
    /// Answers that must be changed, and some that must not.
    pub responses: Vec<SampleResponse>,
    /// What the author says of mutations.
    pub declared: Declared,
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
    /// The answer comes out as it went in.
    Untouched,
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
    /// Where it stands: `Probes`, `attack.http`, `benign.http`, `responses.http`.
    pub source: &'static str,
    /// Its name there.
    pub name: String,
    /// What it is expected to show.
    pub expected: Expected,
    /// What came of it.
    #[serde(flatten)]
    pub judgement: Judgement,
}

/// Rules that are unfit whatever they block: the engine does not take them, they refuse what every site gets, or
/// they cost too much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// The action that holds them.
    #[serde(serialize_with = "as_text")]
    pub action: Id,
    /// Why.
    pub reason: String,
}

/// What became of the mutants of one attack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Forged {
    /// Whose attack it is.
    #[serde(serialize_with = "as_text")]
    pub mitigation: Id,
    /// The attack's name.
    pub name: String,
    /// Mutants that were tried.
    pub tried: usize,
    /// How many of them no rule of the mitigation refuses.
    pub survived: usize,
    /// The first of these.
    pub survivors: Vec<Survivor>,
}

/// A mutant that no rule of its mitigation refuses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Survivor {
    /// How it was made.
    pub mutation: Mutation,
    /// Its head.
    pub head: String,
}

/// A rule that has no text that a request must hold for it to match: it is looked at for every request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WithoutLiteral {
    /// The action that holds it.
    #[serde(serialize_with = "as_text")]
    pub action: Id,
    /// Its name.
    pub rule: String,
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ProofReport {
    /// Every request, in the document's order.
    pub cases: Vec<Case>,
    /// Rules that are unfit; the requests of those that the engine does not take count as failed.
    pub broken: Vec<Broken>,
    /// Every attack's mutants.
    pub forged: Vec<Forged>,
    /// Rules that are looked at for every request: a warning.
    pub without_literal: Vec<WithoutLiteral>,
}

fn as_text<S: Serializer>(id: &Id, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(id.as_str())
}

impl ProofReport {
    /// Whether nothing failed.
    pub fn is_proven(&self) -> bool {
        self.broken.is_empty() && self.failed().next().is_none()
    }

    /// Mutants that no rule refuses, of all attacks together.
    pub fn survived(&self) -> usize {
        self.forged.iter().map(|forged| forged.survived).sum()
    }

    /// Mutants that were tried.
    pub fn tried(&self) -> usize {
        self.forged.iter().map(|forged| forged.tried).sum()
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
            Expected::Untouched => "untouched",
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
    let rules: Vec<MitigationRules> =
        document.mitigations.iter().map(|mitigation| MitigationRules::of(mitigation, &mut report)).collect();
    let none = Samples::default();
    for own in &rules {
        let samples = samples.get(&own.mitigation.id).unwrap_or(&none);
        let mut case = |source, name: &str, expected, judgement| {
            let (mitigation, name) = (own.mitigation.id.clone(), name.to_owned());
            report.cases.push(Case { mitigation, source, name, expected, judgement });
        };
        for request in requests(own.mitigation, samples) {
            let judgement = match &request.header {
                Some(wanted) => header_probe(wanted, request.head, own, samples),
                None => judge(request.expected, request.head, own, &rules),
            };
            case(request.source, &request.name, request.expected, judgement);
        }
        for sample in &samples.responses {
            let (expected, judgement) = judge_response(sample, own, &rules);
            case("responses.http", &sample.name, expected, judgement);
        }
        for attack in samples.attack.iter().filter(|_| own.has_rules) {
            report.forged.push(forge(own, attack, &samples.declared));
        }
        let asked = requests(own.mitigation, samples).map(|request| request.head.to_owned());
        own.check_cost(asked, &mut report.broken);
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
    fn of(mitigation: &'a Mitigation, report: &mut ProofReport) -> Self {
        let mut rules = Self { mitigation, engines: Vec::new(), has_rules: false };
        for action in &mitigation.actions {
            let ActionKind::UrlRewrite { rewrite } = &action.kind else { continue };
            rules.has_rules = true;
            let mut broken = |reason| report.broken.push(Broken { action: action.id.clone(), reason });
            let engine = match engine(rewrite) {
                Ok(engine) => engine,
                Err(reason) => {
                    broken(reason);
                    continue;
                }
            };
            for (head, verdict) in ORDINARY.iter().filter_map(|head| Some((head, verdict(&engine, head)?))) {
                if verdict.is_refusal() {
                    let line = head.lines().next().unwrap_or_default();
                    broken(format!(
                        "rule {} refuses `{line}`, which every site gets: expected a rule that stops attacks alone",
                        rule_name(&verdict)
                    ));
                }
            }
            let names = engine.rules_without_literal();
            let named = names.map(|rule| WithoutLiteral { action: action.id.clone(), rule: rule.to_owned() });
            report.without_literal.extend(named);
            rules.engines.push((&action.id, engine));
        }
        rules
    }

    /// Asks again with the bench's own bound: an over-long ordinary address, many headers, and every sample.
    fn check_cost(&self, samples: impl Iterator<Item = String>, broken: &mut Vec<Broken>) {
        let long = [
            format!("GET /{}?{} HTTP/1.1\r\n\r\n", "a/".repeat(2_000), "b=%63&".repeat(700)),
            format!(
                "GET / HTTP/1.1\r\nCookie: {}\r\nUser-Agent: {}\r\n\r\n",
                "a=b; ".repeat(1_600),
                "x".repeat(8_000)
            ),
        ];
        let heads: Vec<String> = long.into_iter().chain(samples).collect();
        for action in &self.mitigation.actions {
            let ActionKind::UrlRewrite { rewrite } = &action.kind else { continue };
            let limits = EngineLimits { steps: STEPS, ..EngineLimits::default() };
            let Ok(engine) = compile(rewrite, &limits) else { continue };
            let costly = heads.iter().find_map(|head| {
                let verdict = verdict(&engine, head)?;
                verdict.over_limit.then_some((head, verdict))
            });
            if let Some((head, verdict)) = costly {
                let line: String = head.lines().next().unwrap_or_default().chars().take(60).collect();
                let reason =
                    format!("rule {} takes more than {STEPS} steps for `{line}`", rule_name(&verdict));
                broken.push(Broken { action: action.id.clone(), reason });
            }
        }
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
    compile(rewrite, &EngineLimits::default())
}

fn compile(rewrite: &str, limits: &EngineLimits) -> Result<Engine, String> {
    let rules = RuleSet::parse(rewrite).map_err(|error| error.to_string())?;
    Engine::compile(&rules, limits).map_err(|error| error.to_string())
}

/// What every site gets, whatever it is. Rules that refuse one of these stop more than an attack.
pub const ORDINARY: [&str; 6] = [
    "GET / HTTP/1.1\r\nHost: www.example.org\r\n\r\n",
    "GET /index.html?page=2 HTTP/1.1\r\nHost: www.example.org\r\nCookie: session=1\r\n\r\n",
    "POST /sign-in HTTP/1.1\r\nHost: www.example.org\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 0\r\n\r\n",
    "HEAD /favicon.ico HTTP/1.1\r\nHost: www.example.org\r\nUser-Agent: check\r\n\r\n",
    "GET /search?q=caf%C3%A9%20au%20lait HTTP/1.1\r\nHost: www.example.org\r\nAccept: text/html,*/*;q=0.8\r\nReferer: https://www.example.org/?a=b&c=d\r\n\r\n",
    "PUT /api/v1/items/12 HTTP/1.1\r\nHost: www.example.org\r\nAuthorization: Bearer abc.def.ghi\r\nContent-Type: application/json\r\nContent-Length: 0\r\n\r\n",
];

fn verdict(engine: &Engine, head: &str) -> Option<Verdict> {
    Request::parse_head(head.as_bytes(), &Connection::default()).ok().map(|request| engine.evaluate(&request))
}

struct Asked<'a> {
    source: &'static str,
    name: String,
    expected: Expected,
    head: &'a str,
    /// Name and pattern of the header that a probe looks for.
    header: Option<(&'a str, &'a str)>,
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
        header: wanted(&probe.expect),
    });
    let file = |source, expected| {
        move |request: &'a SampleRequest| Asked {
            source,
            name: request.name.clone(),
            expected,
            head: &request.head,
            header: None,
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
        Expected::Header | Expected::Untouched => {
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
