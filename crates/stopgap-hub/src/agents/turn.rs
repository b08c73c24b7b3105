//! `POST /v1/agent/turn`: where `max_parallel` says how many servers of a group change at a time, each asks before
//! it puts something on, and the next one follows only after the last one reported that all is well.

use axum::Json;
use axum::extract::State;
use jiff::{SignedDuration, Timestamp};
use stopgap_core::report::Status;
use stopgap_core::wire::{self, ServerReport, TurnAnswer};

use super::Agent;
use crate::db::turns::{self, Turn};
use crate::db::{Change, DbError};
use crate::problem::{Answer, Problem};
use crate::state::AppState;

/// A server that went away in its turn keeps the others waiting no longer than this.
const LONGEST: SignedDuration = SignedDuration::from_hours(1);
/// What one turn may name.
const MAX_MITIGATIONS: usize = 1000;
/// What an operator has to look at before the next server follows.
const FAILED: [&str; 3] = ["Failed", "Ineffective", "Contested"];

/// Answers whether it is this server's turn. The same question again has the same answer.
pub async fn post(
    State(state): State<AppState>,
    agent: Agent,
    Json(asked): Json<wire::Turn>,
) -> Answer<Json<TurnAnswer>> {
    if asked.mitigations.len() > MAX_MITIGATIONS || asked.mitigations.iter().any(|name| name.len() > 300) {
        return Err(Problem::unprocessable(format_args!(
            "a turn is for at most {MAX_MITIGATIONS} mitigations"
        )));
    }
    let granted = TurnAnswer { granted: true, reason: None };
    let id = &agent.server.id;
    let roster = state.agents.roster.get(&state).await?;
    let Some((scope, most)) = roster.turns(&state, id).await? else { return Ok(Json(granted)) };
    let now = Timestamp::now();
    let mut change = state.db.begin().await?;
    turns::lock(&mut change).await?;
    turns::forget(&mut change, now.saturating_sub(LONGEST).unwrap_or(now)).await?;
    let taken = turns::of_scope(&mut change, &scope).await?;
    let others: Vec<&Turn> = taken.iter().filter(|turn| turn.server != *id).collect();
    let answer = match waits(&others, most) {
        None => {
            let failed = taken.iter().find(|turn| turn.server == *id && turn.failed.is_some());
            let all = with_failed(asked.mitigations, failed);
            turns::grant(&mut change, &scope, id, &all, asked.sequence, now).await?;
            granted
        }
        reason => TurnAnswer { granted: false, reason },
    };
    change.commit().await?;
    Ok(Json(answer))
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

/// What a report says of its server's turn: it is over, it failed, or nothing yet.
pub(super) async fn reported(change: &mut Change, id: &str, report: &ServerReport) -> Result<(), DbError> {
    for turn in turns::of_server(change, id).await? {
        match outcome(&turn, report) {
            Some(Ok(())) if report.sequence > turn.after => turns::end(change, id).await?,
            Some(Err(why)) if turn.failed.as_ref() != Some(&why) => turns::fail(change, id, &why).await?,
            Some(Ok(()) | Err(_)) | None => {}
        }
    }
    Ok(())
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
