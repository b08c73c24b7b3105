//! `POST /v1/agent/turn`: where `max_parallel` says how many servers of a group change at a time, each asks before
//! it puts something on, and the next one follows only after the last one reported that all is well. Where
//! `max_stopped` says how many of them may have a service or a pool stopped, each asks before it stops one; a place is
//! taken from the answer on, and as long as the server's reports say that something is stopped.

use axum::Json;
use axum::extract::State;
use jiff::{SignedDuration, Timestamp};
use stopgap_core::report::Status;
use stopgap_core::stops;
use stopgap_core::wire::{self, ServerReport, TurnAnswer};

use super::Agent;
use super::roster::Cap;
use crate::db::turns::{self, STOPS, Turn};
use crate::db::{Change, DbError};
use crate::problem::{Answer, Problem};
use crate::state::AppState;

/// A server that went away in its turn keeps the others waiting no longer than this.
const LONGEST: SignedDuration = SignedDuration::from_hours(1);
/// What one turn may name.
const MAX_MITIGATIONS: usize = 1000;
/// What an operator has to look at before the next server follows.
const FAILED: [&str; 3] = ["Failed", "Ineffective", "Contested"];
/// Types of mitigations that stop something.
const STOPPING: [&str; 2] = ["Service", "AppPool"];

/// Answers whether it is this server's turn. The same question again has the same answer.
pub async fn post(
    State(state): State<AppState>,
    agent: Agent,
    Json(asked): Json<wire::Turn>,
) -> Answer<Json<TurnAnswer>> {
    let many = asked.mitigations.len().max(asked.stops.len()) > MAX_MITIGATIONS;
    if many || asked.mitigations.iter().chain(&asked.stops).any(|name| name.len() > 300) {
        return Err(Problem::unprocessable(format_args!(
            "a turn is for at most {MAX_MITIGATIONS} mitigations"
        )));
    }
    let id = &agent.server.id;
    let roster = state.agents.roster.get(&state).await?;
    let parallel = roster.turns(&state, id).await?;
    let cap = roster.cap(&state, id).await?.filter(|_| !asked.stops.is_empty());
    if parallel.is_none() && cap.is_none() {
        return Ok(Json(TurnAnswer { granted: true, reason: None, stops_held: None }));
    }
    let now = Timestamp::now();
    let mut change = state.db.begin().await?;
    turns::lock(&mut change).await?;
    turns::forget(&mut change, now.saturating_sub(LONGEST).unwrap_or(now)).await?;
    let stops_held = match &cap {
        Some(cap) => held(&mut change, cap, id).await?,
        None => None,
    };
    let mut mitigations = asked.mitigations;
    if stops_held.is_some() {
        mitigations.retain(|name| !asked.stops.contains(name));
    }
    let reason = match parallel.filter(|_| !mitigations.is_empty()) {
        Some((scope, most)) => {
            turn_of(&mut change, (&scope, most), id, mitigations, (asked.sequence, now)).await?
        }
        None => None,
    };
    // A server that waits for its turn keeps no place from others meanwhile.
    if cap.is_some() && stops_held.is_none() && reason.is_none() {
        turns::grant(&mut change, STOPS, id, &asked.stops, asked.sequence, now).await?;
    }
    change.commit().await?;
    state.agents.places.waits(id, stops_held.is_some());
    Ok(Json(TurnAnswer { granted: reason.is_none(), reason, stops_held }))
}

/// Why a server may not stop anything now.
async fn held(change: &mut Change, cap: &Cap, id: &str) -> Result<Option<String>, DbError> {
    let holders = turns::holders(change).await?;
    if holders.iter().any(|server| server.id == id) {
        return Ok(None);
    }
    let others: Vec<&str> = holders
        .iter()
        .filter(|server| cap.counts(&server.labels))
        .map(|server| server.name.as_str())
        .collect();
    Ok(stops::held(&cap.whose, cap.most, &others))
}

/// Gives a server its turn, or says for whom it waits.
async fn turn_of(
    change: &mut Change,
    (scope, most): (&str, u32),
    id: &str,
    mitigations: Vec<String>,
    (sequence, now): (u64, Timestamp),
) -> Result<Option<String>, DbError> {
    let taken = turns::of_scope(change, scope).await?;
    let others: Vec<&Turn> = taken.iter().filter(|turn| turn.server != *id).collect();
    let reason = waits(&others, most);
    if reason.is_none() {
        let failed = taken.iter().find(|turn| turn.server == *id && turn.failed.is_some());
        let all = with_failed(mitigations, failed);
        turns::grant(change, scope, id, &all, sequence, now).await?;
    }
    Ok(reason)
}

/// What failed belongs to the turn until it is well, whatever else the server goes on with.
fn with_failed(mut asked: Vec<String>, failed: Option<&Turn>) -> Vec<String> {
    let before = failed.into_iter().flat_map(|turn| &turn.mitigations);
    asked.extend(before.cloned());
    asked.sort();
    asked.dedup();
    asked.truncate(MAX_MITIGATIONS);
    asked
}

/// For whom a server waits.
fn waits(others: &[&Turn], most: u32) -> Option<String> {
    let failed = others.iter().find_map(|turn| turn.failed.as_ref().map(|why| (turn, why)));
    if let Some((turn, why)) = failed {
        return Some(format!("{} comes first and failed: {why}", turn.name));
    }
    let full = others.len() >= usize::try_from(most.max(1)).unwrap_or(usize::MAX);
    let first = others.first().filter(|_| full)?;
    Some(format!("{} is changing since {:.0}", first.name, first.granted_at))
}

/// What a report says of its server's turns: each is over, it failed, or nothing yet. Whether a place came free.
pub(super) async fn reported(change: &mut Change, id: &str, report: &ServerReport) -> Result<bool, DbError> {
    let mut has = has_stopped(report);
    let mut had = turns::put_stopped(change, id, has).await?;
    for turn in turns::of_server(change, id).await? {
        let outcome = outcome(&turn, report);
        if turn.scope == STOPS {
            had = true;
            // What failed stopped nothing, or the report says that it did.
            if outcome.is_some() && report.sequence > turn.after {
                turns::end(change, &turn).await?;
            } else {
                has = true;
            }
            continue;
        }
        match outcome {
            Some(Ok(())) if report.sequence > turn.after => turns::end(change, &turn).await?,
            Some(Err(why)) if turn.failed.as_ref() != Some(&why) => turns::fail(change, &turn, &why).await?,
            Some(Ok(()) | Err(_)) | None => {}
        }
    }
    Ok(had && !has)
}

/// Whether a server has something stopped. An agent that does not say so says at least what its mitigations are.
fn has_stopped(report: &ServerReport) -> bool {
    let by_type = |one: &wire::Mitigation| one.in_force && STOPPING.contains(&one.action_type.as_str());
    match &report.stopped {
        Some(stopped) => !stopped.is_empty(),
        None => report.mitigations.iter().any(by_type),
    }
}

fn outcome(turn: &Turn, report: &ServerReport) -> Option<Result<(), String>> {
    let mut open = false;
    for name in &turn.mitigations {
        let is = |one: &&wire::Mitigation| format!("{}:{}", one.feed, one.id) == *name;
        // What the feeds bring no more is done.
        let Some(one) = report.mitigations.iter().find(is) else { continue };
        if FAILED.contains(&one.status.as_str()) {
            let why = one.reason.as_deref().map(|why| format!(": {why}")).unwrap_or_default();
            return Some(Err(format!("{name} is {}{why}", one.status)));
        }
        // What only observes is put on as far as it ever is.
        open |= one.verdict == "Applies" && !one.in_force && one.status != Status::Observing.word();
        // It still waits, be it for this very turn.
        open |= matches!(one.verdict.as_str(), "Frozen" | "Scheduled" | "AwaitingApproval") && !one.in_force;
    }
    (!open).then_some(Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn turn(failed: Option<&str>) -> Turn {
        Turn {
            scope: "organization".into(),
            server: "1".into(),
            name: "Server1".into(),
            mitigations: vec!["example:M1".into()],
            granted_at: Timestamp::UNIX_EPOCH,
            after: 0,
            failed: failed.map(str::to_owned),
        }
    }

    fn report(verdict: &str, status: &str, in_force: bool) -> ServerReport {
        serde_json::from_value(serde_json::json!({
            "sequence": 1, "at": Timestamp::UNIX_EPOCH, "agent_version": "1", "mitigations_enabled": true,
            "mitigations": [{"feed": "example", "id": "M1", "type": "UrlRewrite", "verdict": verdict,
                             "status": status, "in_force": in_force}],
        }))
        .unwrap()
    }

    #[test]
    fn as_many_as_may_go_on_and_nobody_after_a_failure() {
        let (well, failed) = (turn(None), turn(Some("example:M1 is Failed")));
        assert_eq!(waits(&[], 1), None);
        assert!(waits(&[&well], 1).unwrap().contains("Server1 is changing"));
        assert_eq!(waits(&[&well], 2), None);
        assert!(waits(&[&failed], 5).unwrap().contains("failed: example:M1"));
    }

    #[test]
    fn a_turn_is_over_when_it_is_in_force_and_well() {
        let said = |verdict, status, in_force| outcome(&turn(None), &report(verdict, status, in_force));
        assert_eq!(said("Applies", "Applied", true), Some(Ok(())));
        assert_eq!(said("Applies", "Unproven", true), Some(Ok(())));
        assert_eq!(said("Applies", "Applied", false), None);
        assert_eq!(said("Applies", "Observing", false), Some(Ok(())));
        assert_eq!(said("Frozen", "Frozen", false), None);
        assert_eq!(said("Blocked", "Blocked", false), Some(Ok(())));
        assert!(said("Applies", "Failed", false).unwrap().is_err());
        assert!(said("Applies", "Ineffective", true).unwrap().is_err());
    }
}
