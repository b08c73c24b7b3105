//! `/v1/me`: who asks.

use axum::Json;
use serde::{Deserialize, Serialize};

use crate::people::{Principal, Role};

/// Who asks, and what they may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Me {
    /// As the audit log has it.
    pub user: String,
    /// Their role.
    pub role: Role,
    /// For a browser: what a change has to send as `X-CSRF-Token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub csrf: Option<String>,
}

/// Who asks.
#[utoipa::path(get, path = "/v1/me", tag = "people", responses((status = 200, body = Me), (status = 401, body = crate::problem::Problem)))]
pub async fn get(principal: Principal) -> Json<Me> {
    let csrf = principal.csrf().map(str::to_owned);
    Json(Me { user: principal.user, role: principal.role, csrf })
}
