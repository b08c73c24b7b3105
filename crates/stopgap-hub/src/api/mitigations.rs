//! Mitigations over all servers: counted, and one by one.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};

use super::extract::{Asked, At, Page, Part};
use super::servers::{Which, filter};
use crate::db::servers;
use crate::people::{Principal, Right};
use crate::problem::{Answer, Problem};
use crate::state::AppState;

/// A mitigation over all servers.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Summary {
    /// The feed.
    pub feed: String,
    /// Its id in that feed.
    pub id: String,
    /// Its type.
    #[serde(rename = "type")]
    pub action_type: String,
    /// The publisher's description.
    pub description: String,
    /// Servers that know of it.
    pub servers: u64,
    /// Servers where it was observed in force.
    pub in_force: u64,
    /// Servers in each status.
    pub statuses: BTreeMap<String, u64>,
}

/// Every mitigation that some server knows of.
#[utoipa::path(get, path = "/v1/mitigations", tag = "mitigations", params(Part),
    responses((status = 200, body = Page<Summary>)))]
pub async fn list(
    State(state): State<AppState>,
    by: Principal,
    Asked(part): Asked<Part>,
) -> Answer<Json<Page<Summary>>> {
    by.may(Right::See)?;
    let limit = part.limit();
    let mut found = summaries(&state).await?;
    found.retain(|summary| name(summary).as_str() > part.after());
    found.truncate(limit as usize + 1);
    for summary in &mut found {
        describe(&state, summary).await?;
    }
    Ok(Page::of(found, limit, name))
}

fn name(summary: &Summary) -> String {
    format!("{}:{}", summary.feed, summary.id)
}

/// Counted, without types and descriptions, in the order of their names.
pub async fn summaries(state: &AppState) -> Answer<Vec<Summary>> {
    let mut found: BTreeMap<String, Summary> = BTreeMap::new();
    for count in servers::counts(state.db.reader()).await? {
        let one = found.entry(format!("{}:{}", count.feed, count.id)).or_insert_with(|| Summary {
            feed: count.feed,
            id: count.id,
            action_type: String::new(),
            description: String::new(),
            servers: 0,
            in_force: 0,
            statuses: BTreeMap::new(),
        });
        one.servers += count.servers;
        one.in_force += if count.in_force { count.servers } else { 0 };
        *one.statuses.entry(count.status).or_default() += count.servers;
    }
    Ok(found.into_values().collect())
}

/// Fills in type and description, as some server reported them.
pub async fn describe(state: &AppState, summary: &mut Summary) -> Answer<()> {
    if let Some(example) = servers::example(state.db.reader(), &summary.feed, &summary.id).await? {
        summary.action_type = example.action_type;
        summary.description = example.description;
    }
    Ok(())
}

/// A mitigation on a server.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct OnServer {
    /// The server's name.
    pub server: String,
    /// As it reported it.
    #[serde(flatten)]
    #[schema(value_type = Object)]
    pub mitigation: stopgap_core::wire::Mitigation,
}

/// One mitigation on every server that knows of it, by the server's name.
#[utoipa::path(get, path = "/v1/mitigations/{feed}/{id}", tag = "mitigations",
    params(("feed" = String, Path), ("id" = String, Path), Part),
    responses((status = 200, body = Page<OnServer>), (status = 404, body = Problem)))]
pub async fn get(
    State(state): State<AppState>,
    by: Principal,
    At((feed, id)): At<(String, String)>,
    Asked(part): Asked<Part>,
) -> Answer<Json<Page<OnServer>>> {
    by.may(Right::See)?;
    let limit = part.limit();
    let found = servers::with_mitigation(state.db.reader(), &feed, &id, part.after(), limit + 1).await?;
    if found.is_empty() && servers::example(state.db.reader(), &feed, &id).await?.is_none() {
        return Err(Problem::not_found(format_args!("mitigation {feed}:{id} on any server")));
    }
    let found = found.into_iter().map(|one| OnServer { server: one.server, mitigation: one.mitigation });
    Ok(Page::of(found.collect(), limit, |one| one.server.clone()))
}

/// A server with all its mitigations.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
pub struct ServerMitigations {
    /// The server's name.
    pub server: String,
    /// Its mitigations, as it reported them.
    #[schema(value_type = Vec<Object>)]
    pub mitigations: Vec<stopgap_core::wire::Mitigation>,
}

/// Every server with all its mitigations, by the server's name; at most 50 servers a page.
#[utoipa::path(get, path = "/v1/mitigations/by-server", tag = "mitigations", params(Part, Which),
    responses((status = 200, body = Page<ServerMitigations>), (status = 404, body = Problem)))]
pub async fn by_server(
    State(state): State<AppState>,
    by: Principal,
    Asked(part): Asked<Part>,
    Asked(which): Asked<Which>,
) -> Answer<Json<Page<ServerMitigations>>> {
    by.may(Right::See)?;
    let limit = part.limit().min(50);
    let filter = filter(&state, which).await?;
    let mut rows = Vec::new();
    for server in servers::page(state.db.reader(), &filter, part.after(), limit + 1).await? {
        let mitigations = servers::mitigations(state.db.reader(), &server.id).await?;
        rows.push(ServerMitigations { server: server.name, mitigations });
    }
    Ok(Page::of(rows, limit, |row| row.server.clone()))
}
