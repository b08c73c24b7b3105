//! Rules that change answers, on the answers of `responses.http`.

use stopgap_feed::document::Expect;
use stopgap_rules::pattern::{Pattern, PatternLimits};
use stopgap_rules::{Budget, Connection, Request, Response};

use super::{Expected, Judgement, MitigationRules, STEPS, Samples};
use crate::responses::{Fate, SampleResponse};

/// The header of an answer after the rules of one mitigation: its lines joined, and whether a rule changed any.
fn answer(
    own: &MitigationRules<'_>,
    request: &Request<'_>,
    response: &Response<'_>,
    name: &str,
) -> Result<(String, bool), String> {
    let text = |values: &mut dyn Iterator<Item = Vec<u8>>| {
        values.map(|value| String::from_utf8_lossy(&value).into_owned()).collect::<Vec<_>>().join(", ")
    };
    let mut value = text(&mut response.headers(name).map(|(_, value)| value.to_vec()));
    let mut changed = false;
    for (action, engine) in &own.engines {
        let verdict = engine.outbound(request, response);
        if let Some(rule) = verdict.over_limit {
            return Err(format!("rule \"{rule}\" of {action} took too many steps"));
        }
        changed |= !verdict.headers.is_empty();
        if let Some(change) = verdict.headers.iter().find(|change| change.name.eq_ignore_ascii_case(name)) {
            value = text(&mut change.values.iter().cloned());
        }
    }
    Ok((value, changed))
}

/// A probe for a header, on every answer that the mitigation is said to change.
pub(super) fn header_probe(
    wanted: &(&str, &str),
    head: &str,
    own: &MitigationRules<'_>,
    samples: &Samples,
) -> Judgement {
    let mut answers = samples.responses.iter().filter(|sample| sample.fate == Fate::Changed).peekable();
    if answers.peek().is_none() {
        let reason = "there is no `### changed` answer in responses.http; without one a header is seen on a server only";
        return Judgement::NotJudged(reason.to_owned());
    }
    for sample in answers {
        if let Err(reason) = shows(wanted, head, &sample.response, own) {
            return Judgement::Failed(format!("{}: {reason}", sample.name));
        }
    }
    Judgement::Proven
}

/// Whether the answer has the header that a probe looks for.
fn shows(
    (name, pattern): &(&str, &str),
    request: &str,
    response: &str,
    own: &MitigationRules<'_>,
) -> Result<(), String> {
    let request = Request::parse_head(request.as_bytes(), &Connection::default())
        .map_err(|error| format!("not a request head: {error}"))?;
    let response = Response::parse_head(response.as_bytes())
        .map_err(|error| format!("not an answer's head: {error}"))?;
    let pattern = Pattern::compile(pattern, true, &PatternLimits::default())
        .map_err(|error| format!("the probe's pattern: {error}"))?;
    let (value, _) = answer(own, &request, &response, name)?;
    match pattern.is_match(&value, &mut Budget::new(STEPS)) {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("expected {name} as the probe has it, found {value:?}")),
        Err(_) => Err("the probe's pattern took too many steps".to_owned()),
    }
}

pub(super) fn judge_response(
    sample: &SampleResponse,
    own: &MitigationRules<'_>,
    all: &[MitigationRules<'_>],
) -> (Expected, Judgement) {
    let judged = |result: Result<(), String>| result.map_or_else(Judgement::Failed, |()| Judgement::Proven);
    match sample.fate {
        Fate::Changed => {
            let probes = own.mitigation.probes.iter().filter_map(|probe| wanted(&probe.expect));
            let results: Vec<_> =
                probes.map(|wanted| shows(&wanted, &sample.request, &sample.response, own)).collect();
            if results.is_empty() {
                let reason =
                    "no probe says which header to look for: expected a Request with expect=\"header\"";
                return (Expected::Header, Judgement::Failed(reason.to_owned()));
            }
            (Expected::Header, judged(results.into_iter().collect()))
        }
        Fate::Untouched => {
            let untouched = || -> Result<(), String> {
                let request = Request::parse_head(sample.request.as_bytes(), &Connection::default())
                    .map_err(|error| format!("not a request head: {error}"))?;
                let response = Response::parse_head(sample.response.as_bytes())
                    .map_err(|error| format!("not an answer's head: {error}"))?;
                for rules in all {
                    if answer(rules, &request, &response, "")?.1 {
                        return Err(format!("a rule of {} changes it", rules.mitigation.id));
                    }
                }
                Ok(())
            };
            (Expected::Untouched, judged(untouched()))
        }
    }
}

pub(super) fn wanted(expect: &Expect) -> Option<(&str, &str)> {
    match expect {
        Expect::Header { name, pattern } => Some((name, pattern)),
        Expect::Blocked | Expect::Allowed => None,
    }
}
