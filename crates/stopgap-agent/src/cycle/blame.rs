//! Blame: which mitigations of a change refuse a legitimate request.
//!
//! Several come with one change, and one greedy rule breaks the probes of all. What is blamed is not
//! tried again by itself, so the others must not be.

use stopgap_core::plan::{ActionRef, Wanted};
use stopgap_feed::Key;
use stopgap_feed::document::{ActionKind, Probe};
use stopgap_rules::{Connection, Engine, EngineLimits, Outcome, Request, RuleSet};

/// The mitigations among `puts_on` whose rules touch the request of `probe`; where there is none, the
/// harm came about otherwise, and it is the one whose probe it is.
pub(super) fn blame(probe: &Probe, own: &Key, wanted: &[Wanted], puts_on: &[ActionRef]) -> Vec<Key> {
    let is_new = |wanted: &&Wanted| {
        puts_on.iter().any(|what| what.key == wanted.key && what.action == wanted.action.id)
    };
    let mut guilty: Vec<Key> = wanted
        .iter()
        .filter(is_new)
        .filter(|wanted| touches(wanted, probe))
        .map(|wanted| wanted.key.clone())
        .collect();
    if guilty.is_empty() {
        guilty.push(own.clone());
    }
    guilty
}

fn touches(wanted: &Wanted, probe: &Probe) -> bool {
    let ActionKind::UrlRewrite { rewrite } = &wanted.action.kind else { return false };
    let Ok(rules) = RuleSet::parse(rewrite) else { return false };
    let Ok(engine) = Engine::compile(&rules, &EngineLimits::default()) else { return false };
    let connection = Connection::default();
    let Ok(request) = Request::parse_head(probe.head.as_bytes(), &connection) else { return false };
    engine.evaluate(&request).action != Outcome::None
}
