//! `POST /v1/agent/reports`: what a server says of itself. A batch is one transaction and is answered after its
//! commit; the same one again changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use http::HeaderMap;
use http::header::DATE;
use jiff::Timestamp;
use stopgap_core::wire::{Accepted, Happened, MAX_REPORTS, MAX_STEP, Mitigation, Reports, ServerReport};

use super::{Agent, turn};
use crate::db::reports::{self, Last, Name};
use crate::db::{Change, DbError, time};
use crate::problem::{Answer, Problem};
use crate::state::AppState;
use crate::tell;

/// Mitigations of one report: more than every feed of the world has.
const MAX_MITIGATIONS: usize = 10_000;

/// Characters of what a server says in words.
const MAX_TEXT: usize = 2000;

/// Takes a batch.
pub async fn post(
    State(state): State<AppState>,
    agent: Agent,
    headers: HeaderMap,
    Json(mut batch): Json<Reports>,
) -> Answer<Json<Accepted>> {
    check(&batch)?;
    batch.reports.iter_mut().for_each(tidy);
    let now = Timestamp::now();
    let id = &agent.server.id;
    let through = kept(&state, &agent, &batch, &headers, now).await?;
    let roster = state.agents.roster.get(&state).await?;
    let mirrored = state.agents.mirrored.borrow().clone();
    let told = roster.settings(&state, id, &mirrored).await?;
    let settings = told.map(|told| told.version.clone()).unwrap_or_default();
    Ok(Json(Accepted { through, settings }))
}

/// Keeps a batch in one transaction; the sequence up to which everything is kept.
async fn kept(
    state: &AppState,
    agent: &Agent,
    batch: &Reports,
    headers: &HeaderMap,
    now: Timestamp,
) -> Answer<u64> {
    let id = &agent.server.id;
    let is_fronted = state.agents.roster.get(state).await?.is_fronted(state, id).await?;
    let mut change = state.db.begin().await?;
    let last = reports::lock(&mut change, id, now).await?;
    let last = last.ok_or_else(|| Problem::unauthorized("this server was removed"))?;
    let new: Vec<&ServerReport> =
        batch.reports.iter().filter(|report| report.sequence > last.sequence).collect();
    if let Some(first) = new.first().filter(|first| first.sequence - last.sequence > MAX_STEP) {
        return Err(Problem::unprocessable(format_args!(
            "the report after {} is {}: nobody made so many",
            last.sequence, first.sequence
        )));
    }
    if batch.machine != last.machine || steps_back(&last, batch) {
        reports::clone_seen(&mut change, id, now).await?;
    }
    let (mut told, mut freed, mut counter) = (false, false, None);
    if let Some(newest) = new.last() {
        let event_seq = happened(&mut change, id, &last, &new, now).await?;
        let kept = reports::mitigations(&mut change, id).await?;
        mitigations(&mut change, id, &last, &new, kept.clone()).await?;
        if tell::is_on(state) {
            // What is kept was replaced: what was kept before tells what is new.
            let events: Vec<Happened> = new.iter().flat_map(|report| report.events.clone()).collect();
            let before = last.reported_at.map(|at| (at, &kept));
            let happenings = tell::of_report(before, newest.at, &newest.mitigations, &events);
            told = !happenings.is_empty();
            tell::note(&mut change, state.tell.receivers(), &agent.server.name, &happenings, now).await?;
        }
        freed = turn::reported(&mut change, id, newest).await?;
        reports::put_feeds(&mut change, id, &newest.feeds).await?;
        reports::state(&mut change, id, newest, event_seq, ahead(headers, now)).await?;
        if is_fronted && last.has_other_facts(newest) {
            counter = Some(change.bump_settings().await?);
        }
    }
    change.commit().await?;
    if let Some(counter) = counter {
        state.wake(counter);
    }
    if told {
        state.tell.noted();
    }
    if freed {
        state.agents.places.freed();
    }
    Ok(new.last().map_or(last.sequence, |newest| newest.sequence))
}

fn check(batch: &Reports) -> Answer<()> {
    if batch.reports.len() > MAX_REPORTS {
        let count = batch.reports.len();
        return Err(Problem::unprocessable(format_args!(
            "{count} reports: a batch has at most {MAX_REPORTS}"
        )));
    }
    let sequences: Vec<u64> = batch.reports.iter().map(|report| report.sequence).collect();
    let mut steps = sequences.iter().zip(sequences.iter().skip(1));
    let grows = steps.all(|(one, next)| one < next && next - one <= MAX_STEP);
    if !grows || sequences.iter().any(|sequence| *sequence == 0 || i64::try_from(*sequence).is_err()) {
        return Err(Problem::unprocessable(
            "the sequence of reports grows from 1 on, one report after another",
        ));
    }
    if batch.reports.iter().any(|report| report.mitigations.len() > MAX_MITIGATIONS) {
        return Err(Problem::unprocessable(format_args!(
            "a report has at most {MAX_MITIGATIONS} mitigations"
        )));
    }
    Ok(())
}

/// Words as every database takes them: PostgreSQL's have no NUL, and one program's output that has it must not keep
/// the hub from all that a server says.
fn tidy(report: &mut ServerReport) {
    let mut words = vec![&mut report.agent_version, &mut report.system, &mut report.settings];
    for one in &mut report.mitigations {
        words.extend([&mut one.digest, &mut one.verdict, &mut one.status]);
        words.extend(&mut one.reason);
    }
    words.extend(report.feeds.iter_mut().filter_map(|feed| feed.error.as_mut()));
    words.extend(report.facts.values_mut().chain(report.facts_unknown.values_mut()));
    for event in &mut report.events {
        words.push(&mut event.text);
        words.extend(&mut event.mitigation);
    }
    for text in words.into_iter().filter(|text| text.len() > MAX_TEXT || text.contains('\0')) {
        *text = text.chars().filter(|c| *c != '\0').take(MAX_TEXT).collect();
    }
}

/// Whether somebody else told the hub what this server believes to tell it first: a clone of it, or itself before
/// its disk was put back.
fn steps_back(last: &Last, batch: &Reports) -> bool {
    let other = |report: &ServerReport| {
        report.sequence == last.sequence && last.reported_at.is_some_and(|at| time(at) != time(report.at))
    };
    let behind = batch.reports.last().is_some_and(|newest| newest.sequence < last.sequence);
    behind || batch.reports.iter().any(other)
}

/// Milliseconds that the server's clock is ahead, by the `Date` of its request (a second coarse). Reports may have
/// waited, so that their own times tell nothing.
fn ahead(headers: &HeaderMap, now: Timestamp) -> Option<i64> {
    let date = headers.get(DATE)?.to_str().ok()?;
    let theirs = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(date).ok()?;
    let ahead = theirs.as_millisecond() - now.as_millisecond();
    // Half a second is what the header does not tell.
    Some(if ahead.abs() <= 1500 { 0 } else { ahead })
}

/// Events, each once: reports that waited long are merged, and may repeat what was told. Returns the number of
/// the last.
async fn happened(
    change: &mut Change,
    id: &str,
    last: &Last,
    new: &[&ServerReport],
    now: Timestamp,
) -> Result<i64, DbError> {
    let all: Vec<&Happened> = new.iter().flat_map(|report| &report.events).collect();
    let merged = new.first().is_some_and(|first| first.sequence > last.sequence + 1);
    let mut known = BTreeSet::new();
    if let Some(since) = all.iter().map(|event| event.at).min().filter(|_| merged) {
        known.extend(reports::events_since(change, id, since).await?);
    }
    let mut seq = last.event_seq;
    for event in all {
        if known.contains(&(time(event.at), i64::from(event.event), event.text.clone())) {
            continue;
        }
        seq += 1;
        reports::put_event(change, id, seq, event, now).await?;
    }
    Ok(seq)
}

/// What is in force now, and when it came and went: report by report, as far as they tell.
async fn mitigations(
    change: &mut Change,
    id: &str,
    last: &Last,
    new: &[&ServerReport],
    kept: reports::Mitigations,
) -> Result<(), DbError> {
    let mut in_force: BTreeMap<Name, bool> =
        kept.iter().map(|(name, (_, in_force))| (name.clone(), *in_force)).collect();
    let mut before = last.reported_at;
    for report in new {
        for mitigation in &report.mitigations {
            let name = name(mitigation);
            match (in_force.get(&name).copied(), mitigation.in_force) {
                (known, true) if known != Some(true) => {
                    let from = began(mitigation, report.at, before.filter(|_| known.is_some()));
                    reports::begin_span(change, id, &name, from).await?;
                }
                (Some(true), false) => reports::end_span(change, id, &name, report.at).await?,
                _ => {}
            }
            in_force.insert(name, mitigation.in_force);
        }
        let named: BTreeSet<Name> = report.mitigations.iter().map(name).collect();
        let gone: Vec<Name> = in_force.keys().filter(|name| !named.contains(*name)).cloned().collect();
        for name in gone {
            if in_force.remove(&name) == Some(true) {
                reports::end_span(change, id, &name, report.at).await?;
            }
        }
        before = Some(report.at);
    }
    let Some(newest) = new.last() else { return Ok(()) };
    let mut left = kept;
    for mitigation in &newest.mitigations {
        let document = serde_json::to_string(mitigation).unwrap_or_default();
        if left.remove(&name(mitigation)).is_none_or(|(old, _)| old != document) {
            reports::put_mitigation(change, id, mitigation, &document).await?;
            let since = mitigation.applied_at.map_or(newest.at, |applied| applied.min(newest.at));
            reports::note_need(change, mitigation, since).await?;
        }
    }
    for name in left.into_keys() {
        reports::drop_mitigation(change, id, &name).await?;
    }
    Ok(())
}

fn name(mitigation: &Mitigation) -> Name {
    (mitigation.feed.to_string(), mitigation.id.to_string())
}

/// Since when it is in force: since it was put on, and not before the report that knew it without.
fn began(mitigation: &Mitigation, at: Timestamp, without: Option<Timestamp>) -> Timestamp {
    let put_on = mitigation.applied_at.unwrap_or(at).min(at);
    without.map_or(put_on, |without| put_on.max(without.min(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(reports: &[(u64, &str)]) -> Reports {
        let reports: Vec<serde_json::Value> = reports
            .iter()
            .map(|(sequence, at)| {
                serde_json::json!({ "sequence": sequence, "at": at, "agent_version": "1", "mitigations_enabled": true })
            })
            .collect();
        serde_json::from_value(serde_json::json!({ "machine": "m", "reports": reports })).unwrap()
    }

    const A: &str = "2026-11-22T03:00:00Z";
    const B: &str = "2026-11-22T03:00:01Z";

    #[test]
    fn a_clone_is_told_from_an_answer_that_was_lost() {
        let last = Last {
            sequence: 7,
            reported_at: Some(A.parse().unwrap()),
            machine: "m".into(),
            event_seq: 0,
            facts: Default::default(),
        };
        assert!(!steps_back(&last, &batch(&[(8, B)])));
        assert!(!steps_back(&last, &batch(&[(6, B), (7, A)])), "the same again");
        assert!(!steps_back(&last, &batch(&[(7, A), (8, B)])));
        assert!(!steps_back(&last, &batch(&[(12, B)])), "reports that waited were merged");
        assert!(steps_back(&last, &batch(&[(7, B)])), "somebody else told the seventh");
        assert!(steps_back(&last, &batch(&[(3, A)])));
    }

    #[test]
    fn a_batch_grows() {
        assert!(check(&batch(&[(1, A), (2, B)])).is_ok());
        for wrong in [&[(2, A), (1, B)][..], &[(1, A), (1, B)], &[(0, A)], &[(u64::MAX, A)]] {
            assert_eq!(check(&batch(wrong)).unwrap_err().status, 422, "{wrong:?}");
        }
        let many: Vec<(u64, &str)> = (1..=65).map(|n| (n, A)).collect();
        assert_eq!(check(&batch(&many)).unwrap_err().status, 422);
    }

    #[test]
    fn it_is_in_force_since_it_was_put_on_and_not_while_it_was_off() {
        let [a, b] = [A, B].map(|text| text.parse::<Timestamp>().unwrap());
        let put_on = |at: Option<Timestamp>| -> Mitigation {
            serde_json::from_value(serde_json::json!({ "feed": "example", "id": "M1", "type": "UrlRewrite",
                "verdict": "Applies", "status": "Applied", "in_force": true, "applied_at": at }))
            .unwrap()
        };
        assert_eq!(began(&put_on(Some(a)), b, None), a);
        assert_eq!(began(&put_on(None), b, None), b);
        assert_eq!(
            began(&put_on(Some(a)), b, Some(b)),
            b,
            "it was off, and the ledger remembers the first time"
        );
        assert_eq!(began(&put_on(Some(b)), a, None), a, "a clock that runs ahead");
    }
}
