//! `POST /v1/agent/credential`: another credential. The one before works until the new one was used, so that an
//! answer that was lost locks nobody out.

use axum::Json;
use axum::extract::State;
use stopgap_core::wire::Renewed;

use super::Agent;
use super::agent::PREFIX;
use crate::db::agents;
use crate::problem::Answer;
use crate::secret;
use crate::state::AppState;

/// Makes one.
pub async fn post(State(state): State<AppState>, agent: Agent) -> Answer<Json<Renewed>> {
    let credential = secret::new(PREFIX)?;
    let mut change = state.db.begin().await?;
    agents::offer(&mut change, &agent.server.id, &secret::hash(&credential)).await?;
    change.commit().await?;
    Ok(Json(Renewed { credential }))
}
