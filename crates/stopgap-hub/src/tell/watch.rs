//! The hub judges its servers once a minute: what is wrong is kept, and told when it begins and when it is over.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use stopgap_tell::Kind;
use stopgap_tell::happening::Happening;

use super::standing::{By, judge, newest};
use super::{is_on, note};
use crate::db::{Change, DbError, time, troubles};
use crate::events::CHORE_FAILED;
use crate::problem::Causes;
use crate::state::AppState;

/// How often.
const EVERY: SignedDuration = SignedDuration::from_secs(60);
/// Longer without a judgement: no hub was there, and servers need their time to be heard of again.
const GAP: SignedDuration = SignedDuration::from_mins(10);

const JUDGED: &str = "judged_at";
const LISTENING: &str = "listening_since";

pub(super) async fn run(state: AppState) {
    let quiet = state.tell.receivers().notify.quiet_after;
    let every = EVERY.min(quiet).unsigned_abs().max(Duration::from_millis(200));
    loop {
        if let Err(error) = round(&state, Timestamp::now()).await {
            tracing::warn!(event = CHORE_FAILED, error = %Causes(&error), "servers were not judged");
        }
        tokio::time::sleep(every).await;
    }
}

async fn round(state: &AppState, now: Timestamp) -> Result<(), DbError> {
    let every = EVERY.min(state.tell.receivers().notify.quiet_after);
    let ago = |wait: SignedDuration| now.checked_sub(wait).unwrap_or(Timestamp::MIN);
    let mut change = state.db.begin().await?;
    // Two hubs take turns; the tenth is for clocks that differ.
    let Some(before) = troubles::turn(&mut change, JUDGED, &time(ago(every * 9 / 10)), &time(now)).await?
    else {
        return Ok(());
    };
    let before: Option<Timestamp> = before.and_then(|text| text.parse().ok());
    let kept = troubles::word(change.on(), LISTENING).await?.and_then(|text| text.parse().ok());
    let listening = kept.filter(|_| before.is_some_and(|before| now.duration_since(before) < GAP));
    if listening.is_none() {
        troubles::set_word(&mut change, LISTENING, &time(now)).await?;
    }
    let told = judge_all(state, &mut change, listening.unwrap_or(now), now).await?;
    change.commit().await?;
    if told {
        state.tell.noted();
    }
    Ok(())
}

/// Judges all servers; whether there is something to tell.
async fn judge_all(
    state: &AppState,
    change: &mut Change,
    listening_since: Timestamp,
    now: Timestamp,
) -> Result<bool, DbError> {
    let servers = troubles::judged(change).await?;
    let mut serials = troubles::serials(change).await?;
    let mirrored = troubles::mirrored(change).await?;
    for (feed, serial) in newest(&servers, &mirrored) {
        if serials.get(&feed).is_none_or(|(known, _)| *known < serial) {
            troubles::put_serial(change, &feed, serial, now).await?;
            serials.insert(feed, (serial, now));
        }
    }
    let receivers = state.tell.receivers();
    let by = By { quiet_after: receivers.notify.quiet_after, listening_since, serials: &serials, now };
    let mut known = troubles::known(change).await?;
    let mut told = false;
    for server in &servers {
        let found = judge(server, by);
        let kinds: BTreeSet<Kind> = found.iter().map(|(kind, _)| *kind).collect();
        let mut happenings = Vec::new();
        for (kind, text) in found {
            let was = known.remove(&(server.id.clone(), kind));
            if was.as_ref() != Some(&text) {
                troubles::put(change, &server.id, kind, &text, now).await?;
            }
            if was.is_none() {
                happenings.push(Happening { kind, object: String::new(), text });
            }
        }
        let over: Vec<Kind> = known
            .keys()
            .filter(|(id, kind)| *id == server.id && !kinds.contains(kind))
            .map(|(_, kind)| *kind)
            .collect();
        let mut ended = Vec::new();
        for kind in over {
            known.remove(&(server.id.clone(), kind));
            troubles::over(change, &server.id, kind).await?;
            // A quiet server's other troubles are unknown, not over.
            if !kinds.contains(&Kind::Quiet) {
                ended.push(kind.word());
            }
        }
        if !ended.is_empty() {
            let text = format!("over: {}", ended.join(", "));
            happenings.push(Happening { kind: Kind::Recovered, object: String::new(), text });
        }
        if is_on(state) && !happenings.is_empty() {
            note(change, receivers, &server.name, &happenings, now).await?;
            told = true;
        }
    }
    // What is left belongs to servers that were removed.
    for (server, kind) in known.into_keys() {
        troubles::over(change, &server, kind).await?;
    }
    Ok(told)
}
