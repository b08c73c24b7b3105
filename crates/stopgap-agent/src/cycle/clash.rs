//! Clashes: two mitigations on one target that do different things to one request.
//!
//! Nobody resolves them: each was signed for itself, and the target evaluates them in the order of their ids. An
//! operator is told, with both names, before the change that brings them together.

use std::collections::BTreeSet;

use stopgap_core::plan::{Change, Wanted};
use stopgap_feed::document::ActionKind;
use stopgap_rules::{Connection, Engine, EngineLimits, Outcome, Request, RuleSet, Verdict};

/// So many evaluations at most for one change: a few hundred mitigations at once are compared in a second.
const MOST_EVALUATIONS: usize = 20_000;

/// One sentence for each pair with something that the change puts on: the requests of their probes are what is
/// compared. That no clash is found proves nothing; one that is found is one.
pub(super) fn clashes(wanted: &[Wanted], change: &Change) -> Vec<String> {
    let is_new =
        |one: &Wanted| change.puts_on.iter().any(|what| what.key == one.key && what.action == one.action.id);
    let engines: Vec<(&Wanted, Engine)> = wanted.iter().filter_map(|one| Some((one, engine(one)?))).collect();
    let mut told = BTreeSet::new();
    let mut found = Vec::new();
    let mut left = MOST_EVALUATIONS;
    for (at, (one, first)) in engines.iter().enumerate() {
        for (other, second) in engines.iter().skip(at + 1) {
            if one.key == other.key || !(is_new(one) || is_new(other)) || !shares_a_site(one, other) {
                continue;
            }
            for probe in one.probes.iter().chain(&other.probes) {
                let Some(rest) = left.checked_sub(2) else { return found };
                left = rest;
                let connection = Connection::default();
                let Ok(request) = Request::parse_head(probe.head.as_bytes(), &connection) else { continue };
                let (a, b) = (first.evaluate(&request), second.evaluate(&request));
                if differ(&a, &b) && told.insert((&one.key, &other.key)) {
                    let head = probe.head.lines().next().unwrap_or_default();
                    found.push(format!(
                        "{}: {} and {} do different things to `{head}` ({:?} and {:?}); the first that decides wins",
                        change.target, one.key, other.key, a.action, b.action
                    ));
                }
            }
        }
    }
    found
}

/// Both act, and not in the same way.
fn differ(a: &Verdict, b: &Verdict) -> bool {
    let acts = |verdict: &Verdict| verdict.action != Outcome::None || !verdict.headers.is_empty();
    let same = a.action == b.action && a.status == b.status && a.url == b.url && a.headers == b.headers;
    acts(a) && acts(b) && !same
}

fn shares_a_site(one: &Wanted, other: &Wanted) -> bool {
    match (&one.sites, &other.sites) {
        (Some(one), Some(other)) => one.iter().any(|site| other.contains(site)),
        _ => true,
    }
}

fn engine(wanted: &Wanted) -> Option<Engine> {
    let ActionKind::UrlRewrite { rewrite } = &wanted.action.kind else { return None };
    Engine::compile(&RuleSet::parse(rewrite).ok()?, &EngineLimits::default()).ok()
}
