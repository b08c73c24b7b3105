//! What goes on beside requests: who was in contact is written, what other hubs committed is heard.

use std::time::Duration;

use super::agent::FORGOTTEN;
use super::mirror;
use crate::db::{DbError, agents};
use crate::events::CHORE_FAILED;
use crate::problem::Causes;
use crate::state::AppState;

/// Contacts are written so often, all at once.
const WRITE_SEEN: Duration = Duration::from_secs(10);
/// Between two attempts to hear the database; what was missed is read after each.
const LISTEN_AGAIN: Duration = Duration::from_secs(2);
/// What a lost word would cost: the counter is read so often in any case.
const READ_COUNTER: Duration = Duration::from_secs(30);

/// Runs until the hub stops.
pub(super) async fn run(state: AppState) {
    let mut stopping = state.stopping.subscribe();
    tokio::select! {
        _ = stopping.wait_for(|stopping| *stopping) => {}
        () = write_seen(&state) => {}
        () = listen(&state) => {}
        () = mirror::run(&state) => {}
    }
    if let Err(error) = write(&state).await {
        tracing::debug!(error = %Causes(&error), "the last contacts were not written");
    }
}

async fn write_seen(state: &AppState) {
    loop {
        tokio::time::sleep(WRITE_SEEN).await;
        state.agents.credentials.tidy();
        if let Err(error) = write(state).await {
            tracing::warn!(event = CHORE_FAILED, error = %Causes(&error), "who was in contact was not written");
        }
    }
}

async fn write(state: &AppState) -> Result<(), DbError> {
    let seen = state.agents.take_seen();
    if seen.is_empty() {
        return Ok(());
    }
    let mut change = state.db.begin().await?;
    agents::seen(&mut change, &seen).await?;
    change.commit().await
}

/// Wakes this hub's agents at what other hubs on the same database committed.
async fn listen(state: &AppState) {
    loop {
        if let Err(error) = hear(state).await {
            tracing::warn!(event = CHORE_FAILED, error = %Causes(&error), "the database is not heard; it is asked again");
        }
        tokio::time::sleep(LISTEN_AGAIN).await;
    }
}

async fn hear(state: &AppState) -> Result<(), DbError> {
    let Some(mut ear) = state.db.ear().await? else { return std::future::pending().await };
    let credentials = &state.agents.credentials;
    // Whatever was said before somebody listened.
    credentials.forget_all();
    loop {
        let counter = state.db.settings_counter().await?;
        // What was not heard may have been that a server was removed.
        if counter > *state.settings.borrow() {
            credentials.forget_all();
        }
        state.wake(counter);
        match tokio::time::timeout(READ_COUNTER, ear.hear()).await {
            Ok(Ok(Some(said))) => {
                if let Some(counter) = said.strip_prefix("settings ").and_then(|number| number.parse().ok()) {
                    state.wake(counter);
                } else if let Some(server) = said.strip_prefix(FORGOTTEN) {
                    credentials.forget(server);
                } else if said == "feeds" {
                    mirror::reload(state).await?;
                }
            }
            // The connection was lost for a while.
            Ok(Ok(None)) => credentials.forget_all(),
            Err(_) => {}
            Ok(Err(error)) => return Err(error),
        }
    }
}
