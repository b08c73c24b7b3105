//! What is done once an hour: certificates renewed, and forgotten what nobody asks for any more.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::door::Door;
use crate::db::retention;
use crate::events::CHORE_FAILED;
use crate::state::AppState;

const HOUR: Duration = Duration::from_secs(3600);
/// Servers' events. The audit log is kept for ever, and so are the spans in which something was in force.
const EVENTS: SignedDuration = SignedDuration::from_hours(400 * 24);
/// What people were told.
const MESSAGES: SignedDuration = SignedDuration::from_hours(90 * 24);
/// A POST is sent again within a day or not at all.
const IDEMPOTENCY: SignedDuration = SignedDuration::from_hours(24);

/// Until the hub stops.
pub(super) async fn run(state: AppState, door: Arc<Door>) {
    let mut stopping = state.stopping.subscribe();
    loop {
        let now = Timestamp::now();
        door.renew(now);
        if let Err(error) =
            retention::forget(&state.db, now, now - IDEMPOTENCY, now - EVENTS, now - MESSAGES).await
        {
            tracing::warn!(event = CHORE_FAILED, %error, "what is old was not forgotten");
        }
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => return,
            () = tokio::time::sleep(HOUR) => {}
        }
    }
}
