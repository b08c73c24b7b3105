//! Groups: servers that have a label in common, and settings between the organization's and theirs.

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::extract::{Asked, At, Body, Why};
use super::servers::{MAX_WORD, labels};
use crate::db::approvals::{self, Scope};
use crate::db::layers::{self, Group};
use crate::people::{Principal, Right};
use crate::problem::{Answer, Problem};
use crate::settings::MAX_GROUPS;
use crate::state::AppState;

/// Groups, the nearest first.
#[utoipa::path(get, path = "/v1/groups", tag = "groups", responses((status = 200, body = Vec<Group>)))]
pub async fn list(State(state): State<AppState>, by: Principal) -> Answer<Json<Vec<Group>>> {
    by.may(Right::See)?;
    let groups = layers::groups(state.db.reader()).await?;
    Ok(Json(groups.into_iter().map(|(group, _)| group).collect()))
}

/// What a group is made of.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GroupDocument {
    /// The label's key.
    #[schema(min_length = 1, max_length = 128, pattern = "^[^=]+$")]
    pub label_key: String,
    /// The label's value.
    #[schema(max_length = 128)]
    pub label_value: String,
    /// Of two groups of a server, the one with the lower position is nearer.
    #[serde(default)]
    #[schema(value_type = i64, minimum = 0, maximum = 4_294_967_295_u32)]
    pub position: u32,
}

/// Make a group, or change it.
#[utoipa::path(put, path = "/v1/groups/{name}", tag = "groups", params(("name" = String, Path), Why),
    request_body = GroupDocument, responses((status = 200, body = Group), (status = 422, body = Problem)))]
pub async fn put(
    State(state): State<AppState>,
    by: Principal,
    At(name): At<String>,
    Asked(why): Asked<Why>,
    Body(document): Body<GroupDocument>,
) -> Answer<Json<Group>> {
    by.may(Right::Administer)?;
    let GroupDocument { label_key, label_value, position } = document;
    labels(&[(label_key.clone(), label_value.clone())].into())?;
    let letters = name.chars().count();
    if letters == 0 || letters > MAX_WORD || name.chars().any(|c| c.is_control() || c == '/') {
        return Err(Problem::unprocessable(format_args!(
            "{name:?} is no group's name; up to {MAX_WORD} letters, no slash"
        )));
    }
    let group = Group { name, label_key, label_value, position };
    let mut change = state.db.begin_alone().await?;
    let before = layers::group(change.on(), &group.name).await?.map(|(group, _)| group);
    if before.as_ref() == Some(&group) {
        return Ok(Json(group));
    }
    if before.is_none() && layers::groups(change.on()).await?.len() >= MAX_GROUPS {
        return Err(Problem::unprocessable(format_args!("there are {MAX_GROUPS} groups, and no more")));
    }
    layers::put_group(&mut change, &group).await?;
    let mut said = by.said("group.set", &format!("group {}", group.name)).to(json!(group));
    said.before = before.map(|before| json!(before));
    change.audit(Timestamp::now(), &said.because(why.reason)).await?;
    let counter = change.bump_settings().await?;
    change.commit().await?;
    state.wake(counter);
    Ok(Json(group))
}

/// Remove a group and its settings.
#[utoipa::path(delete, path = "/v1/groups/{name}", tag = "groups", params(("name" = String, Path), Why),
    responses((status = 204), (status = 404, body = Problem)))]
pub async fn remove(
    State(state): State<AppState>,
    by: Principal,
    At(name): At<String>,
    Asked(why): Asked<Why>,
) -> Answer<StatusCode> {
    by.may(Right::Administer)?;
    let mut change = state.db.begin_alone().await?;
    let found = layers::group(change.on(), &name).await?;
    let (group, said) = found.ok_or_else(|| Problem::not_found(format_args!("group {name:?}")))?;
    let now = Timestamp::now();
    layers::remove_group(&mut change, &name).await?;
    approvals::end(&mut change, Scope::Group, &name, &by.user, now).await?;
    let before = json!({"group": group, "settings": said.layer});
    let said = by.said("group.remove", &format!("group {name}")).from(before);
    change.audit(now, &said.because(why.reason)).await?;
    let counter = change.bump_settings().await?;
    change.commit().await?;
    state.wake(counter);
    Ok(StatusCode::NO_CONTENT)
}
