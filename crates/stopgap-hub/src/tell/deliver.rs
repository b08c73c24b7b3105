//! Messages reach one receiver, each until it is taken or given up. A task for each, so that one that hangs holds up
//! nobody else.

use jiff::{SignedDuration, Timestamp};
use stopgap_tell::again_after;

use super::{AGAIN, LOOK};
use crate::db::DbError;
use crate::db::telling::{self, Attempt, Due};
use crate::events::{CHORE_FAILED, NOT_TOLD, TOLD};
use crate::problem::Causes;
use crate::state::AppState;

/// How long a claim holds: longer than any attempt takes.
const LEASE: SignedDuration = SignedDuration::from_mins(5);

pub(super) async fn run(state: AppState, receiver: String) {
    let mut made = state.tell.made.subscribe();
    // Waits for another attempt may be shorter than the look for what others made.
    let look = LOOK.min(state.tell.receivers.notify.retry_first());
    loop {
        made.borrow_and_update();
        let wait = match round(&state, &receiver).await {
            Ok(()) => look,
            Err(error) => {
                tracing::warn!(event = CHORE_FAILED, error = %Causes(&error), receiver, "deliveries cannot be read");
                AGAIN
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = made.changed() => {}
        }
    }
}

async fn round(state: &AppState, receiver: &str) -> Result<(), DbError> {
    loop {
        let due = telling::due(state.db.reader(), receiver, Timestamp::now()).await?;
        if due.is_empty() {
            return Ok(());
        }
        for one in due {
            let lease = Timestamp::now().checked_add(LEASE).unwrap_or(Timestamp::MAX);
            if telling::claim(&state.db, &one, lease).await? {
                let attempt = attempt(state, receiver, &one).await;
                telling::settle(&state.db, &one.id, &attempt, Timestamp::now()).await?;
            }
        }
    }
}

async fn attempt(state: &AppState, receiver: &str, due: &Due) -> Attempt {
    let receivers = &state.tell.receivers;
    let title = &due.message.title;
    let sent = match receivers.named(receiver) {
        Some(named) => named.send(&due.message, &due.id, Timestamp::now()).await.map_err(|error| error.0),
        None => Err("hub.toml names no such receiver".to_owned()),
    };
    let now = Timestamp::now();
    let Err(error) = sent else {
        tracing::info!(event = TOLD, receiver, "told: {title}");
        return Attempt::Sent;
    };
    let error: String = error.chars().filter(|c| !c.is_control()).take(500).collect();
    if now.duration_since(due.made_at) >= receivers.notify.give_up {
        tracing::error!(event = NOT_TOLD, receiver, "not told, and given up: {title}: {error}");
        return Attempt::GivenUp(error);
    }
    let part = random_part();
    let wait = again_after(receivers.notify.retry_first(), due.tries.saturating_add(1), part);
    tracing::warn!(event = NOT_TOLD, receiver, "not told yet: {title}: {error}");
    let next = SignedDuration::try_from(wait).ok().and_then(|wait| now.checked_add(wait).ok());
    Attempt::Again(error, next.unwrap_or(Timestamp::MAX))
}

/// Anything in 0..1. It spreads attempts; nothing has to be secret.
fn random_part() -> f64 {
    use ring::rand::{SecureRandom, SystemRandom};
    let mut octets = [0_u8; 4];
    match SystemRandom::new().fill(&mut octets) {
        Ok(()) => f64::from(u32::from_le_bytes(octets)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}
