//! `POST /v1/agent/enroll`: a server joins with an enrollment token.

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde_json::json;
use stopgap_core::wire::{Enroll, Enrolled};

use super::agent::{PREFIX, forgotten};
use crate::audit::Said;
use crate::db::{agents, enrollments};
use crate::problem::{Answer, Problem};
use crate::secret;
use crate::state::AppState;

/// No server's name is longer: it is a host's name, or what an administrator calls it.
const MAX_NAME: usize = 255;

/// Joins. A use of the token is spent only where the server did join.
pub async fn post(State(state): State<AppState>, Json(enroll): Json<Enroll>) -> Answer<Json<Enrolled>> {
    check(&enroll)?;
    let now = Timestamp::now();
    let roster = state.agents.roster.get(&state).await?;
    let mut change = state.db.begin_alone().await?;
    let token = enrollments::take(&mut change, &secret::hash(&enroll.token), now).await?;
    let token = token.ok_or_else(|| {
        Problem::unauthorized(
            "no server can join with this token: it ended, was used as often as it may be, or never was one; \
             `stopgap hub enrollment create` makes another",
        )
    })?;
    let (id, credential) = (secret::identity()?, secret::new(PREFIX)?);
    let joining = agents::Joining {
        id: &id,
        name: &enroll.name,
        machine: &enroll.machine,
        credential_hash: &secret::hash(&credential),
        labels: &token.labels,
        agent_version: &enroll.agent_version,
    };
    let server = agents::join(&mut change, &joining, now).await?;
    let came_back = server.id != id;
    let id = server.id.clone();
    let said = Said {
        user: format!("enrollment {} by {}", token.id, token.created_by),
        action: "server.enroll".into(),
        object: format!("server {}", enroll.name),
        ..Said::default()
    };
    change.audit(now, &said.to(json!({ "id": id, "labels": token.labels }))).await?;
    if came_back {
        forgotten(&mut change, &id).await?;
    }
    let counter = match roster.is_of_a_front(&server.labels) {
        true => Some(change.bump_settings().await?),
        false => None,
    };
    change.commit().await?;
    // Nothing is remembered of an identity that was made just now.
    if came_back {
        state.agents.credentials.forget(&id);
    }
    state.agents.roster.joined(server).await;
    if let Some(counter) = counter {
        state.wake(counter);
    }
    Ok(Json(Enrolled { server: id, credential }))
}

fn check(enroll: &Enroll) -> Answer<()> {
    let name = &enroll.name;
    if name.trim() != name || name.is_empty() || name.len() > MAX_NAME || name.chars().any(char::is_control) {
        return Err(Problem::unprocessable(format_args!(
            "a server's name has 1 to {MAX_NAME} octets, no control characters, and no blanks around it"
        )));
    }
    let is_hash = enroll.machine.len() == 64 && enroll.machine.chars().all(|c| c.is_ascii_hexdigit());
    if !is_hash || enroll.agent_version.len() > MAX_NAME {
        return Err(Problem::unprocessable("`machine` is a SHA-256 in hexadecimal"));
    }
    Ok(())
}
