//! Notes become messages: the same on many servers within the window is one.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use stopgap_tell::{Kind, Message};

use super::{AGAIN, LOOK};
use crate::db::telling::{self, Group};
use crate::db::{Change, DbError};
use crate::events::CHORE_FAILED;
use crate::problem::Causes;
use crate::secret;
use crate::state::AppState;

pub(super) async fn run(state: AppState) {
    let mut noted = state.tell.noted.subscribe();
    loop {
        noted.borrow_and_update();
        let wait = match round(&state).await {
            Ok(wait) => wait,
            Err(error) => {
                tracing::warn!(event = CHORE_FAILED, error = %Causes(&error), "what is to be told was not gathered");
                AGAIN
            }
        };
        // A note that comes meanwhile may be due before that.
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = noted.changed() => {}
        }
    }
}

/// Gathers what is due; how long nothing else is.
async fn round(state: &AppState) -> Result<Duration, DbError> {
    let mut wait = LOOK;
    for group in telling::groups(state.db.reader()).await? {
        let now = Timestamp::now();
        let due = due_at(&group, state.tell.receivers.notify.window, state.tell.receivers.notify.repeat);
        if due > now {
            wait = wait.min(due.duration_since(now).unsigned_abs());
            continue;
        }
        let mut change = state.db.begin().await?;
        let notes = telling::take(&mut change, group.kind, &group.object).await?;
        let (Some(first), Some(last)) =
            (notes.iter().map(|note| note.at).min(), notes.iter().map(|note| note.at).max())
        else {
            continue;
        };
        let said: Vec<(String, String)> = notes.into_iter().map(|note| (note.server, note.words)).collect();
        let about = |id| Message::about(id, group.kind, &group.object, (first, last), &said, 0);
        make(state, &mut change, group.kind, about, now).await?;
        change.commit().await?;
        state.tell.made();
    }
    Ok(wait)
}

/// When the notes of one thing are told: after the window, and not too soon after the last message of the same.
fn due_at(group: &Group, window: SignedDuration, repeat: SignedDuration) -> Timestamp {
    let after = |at: Timestamp, wait: SignedDuration| at.checked_add(wait).unwrap_or(Timestamp::MAX);
    let due = after(group.first, window);
    group.told.map_or(due, |told| due.max(after(told, repeat)))
}

/// Keeps a message, with a delivery for each receiver that wants it; its number.
pub(super) async fn make(
    state: &AppState,
    change: &mut Change,
    kind: Kind,
    message: impl FnOnce(String) -> Message,
    now: Timestamp,
) -> Result<i64, DbError> {
    let seq = telling::number(change).await?;
    let wanting = state.tell.receivers.all().filter(|receiver| receiver.wants(kind));
    // Without randomness there is no identity, and the number does as well.
    let name = |receiver: String| secret::identity().unwrap_or_else(|_| format!("{seq} {receiver}"));
    let receivers: Vec<(String, String)> =
        wanting.map(|receiver| receiver.name()).map(|receiver| (name(receiver.clone()), receiver)).collect();
    telling::put(change, seq, &message(seq.to_string()), &receivers, now).await?;
    Ok(seq)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_again_waits_longer_than_the_first() {
        let at = |minute: u8| format!("2026-11-22T12:{minute:02}:00Z").parse::<Timestamp>().unwrap();
        let group = |told| Group { kind: Kind::Failed, object: "example:M1".into(), first: at(10), told };
        let (window, repeat) = (SignedDuration::from_mins(1), SignedDuration::from_mins(15));
        assert_eq!(due_at(&group(None), window, repeat), at(11));
        assert_eq!(due_at(&group(Some(at(9))), window, repeat), at(24));
        assert_eq!(due_at(&group(Some(at(1))), window, repeat), at(16));
    }
}
