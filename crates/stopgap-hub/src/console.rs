//! The console: pages for people.
//!
//! Every page is made here and is whole without a script: links are links, changes are forms. htmx asks for the part
//! of a page that changes by itself ([`visit::Live`]) every few seconds, and gets nothing while it is the same.
//! No script and no style stands in a page, so that the security policy (`serve/headers.rs`) can refuse both.
//!
//! A page reads the store through `db/` and changes it through the same functions as the API (`settings/`,
//! `people/`, `approvals`): what the API refuses, the console refuses. A form names its session ([`form`]), and one
//! that was sent from elsewhere is not looked at.

mod approvals;
mod assets;
mod audit;
mod blocks;
mod chart;
mod content;
mod csv;
mod enrollments;
mod form;
mod marks;
mod mitigation;
mod mitigations;
mod notifications;
mod overview;
mod past;
mod people;
mod report;
mod server;
mod servers;
mod session;
mod settings;
mod visit;

use axum::Router;
use axum::routing::{get, post};

use crate::state::AppState;

/// What the console's requests share on this hub.
#[derive(Debug, Default)]
pub struct Shared {}

/// The routes, from `/` on.
pub fn router() -> Router<AppState> {
    Router::new()
        .route("/", get(overview::show))
        .route("/sign-in", get(session::ask).post(session::begin))
        .route("/sign-in/{link}", get(session::offer).post(session::follow))
        .route("/sign-out", post(session::end))
        .route("/servers", get(servers::show))
        .route("/servers/{name}", get(server::show))
        .route("/servers/{name}/settings", get(settings::server).post(settings::change_server))
        .route("/servers/{name}/labels", post(server::change))
        .route("/servers/{name}/remove", post(server::remove))
        .route("/mitigations", get(mitigations::show))
        .route("/mitigations/{feed}/{id}", get(mitigation::show))
        .route("/mitigations/{feed}/{id}/block", post(blocks::block))
        .route("/mitigations/{feed}/{id}/unblock", post(blocks::unblock))
        .route("/mitigations/{feed}/{id}/approvals", post(approvals::request))
        .route("/approvals", get(approvals::show))
        .route("/approvals/{id}", post(approvals::decide))
        .route("/audit", get(audit::show))
        .route("/past", get(past::show))
        .route("/report", get(report::show))
        .route("/notifications", get(notifications::show).post(notifications::test))
        .route("/settings", get(settings::organization).post(settings::change_organization))
        .route("/settings/groups", post(settings::put_group))
        .route("/settings/groups/{name}", get(settings::group).post(settings::change_group))
        .route("/settings/groups/{name}/remove", post(settings::remove_group))
        .route("/people", get(people::show))
        .route("/people/users", post(people::add))
        .route("/people/users/{name}", post(people::change))
        .route("/people/tokens", post(people::make_token))
        .route("/people/tokens/{id}/remove", post(people::remove_token))
        .route("/enrollments", get(enrollments::show).post(enrollments::make))
        .route("/enrollments/{id}/remove", post(enrollments::remove))
        .route("/static/{file}", get(assets::get))
}
