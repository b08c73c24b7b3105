//! `/v1/openapi.json`: OpenAPI 3.1, made from the handlers.

use axum::Json;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::problem::Problem;

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Stopgap hub",
        description = "Settings, servers, mitigations, approvals and the audit log of an organization.",
        license(name = "Apache-2.0", identifier = "Apache-2.0")
    ),
    paths(
        super::me::get,
        super::settings::organization,
        super::settings::replace_organization,
        super::settings::patch_organization,
        super::settings::group,
        super::settings::replace_group,
        super::settings::patch_group,
        super::settings::server,
        super::settings::replace_server,
        super::settings::patch_server,
        super::settings::effective,
        super::servers::list,
        super::servers::get,
        super::servers::patch,
        super::servers::remove,
        super::servers::mitigations,
        super::servers::events,
        super::groups::list,
        super::groups::put,
        super::groups::remove,
        super::mitigations::list,
        super::mitigations::by_server,
        super::mitigations::get,
        super::approvals::list,
        super::approvals::request,
        super::approvals::decide,
        super::audit::search,
        super::audit::verify,
        super::tokens::list,
        super::tokens::create,
        super::tokens::remove,
        super::users::list,
        super::users::create,
        super::users::patch,
        super::users::remove,
        super::enrollments::list,
        super::enrollments::create,
        super::enrollments::remove,
        super::session::sign_in,
        super::session::sign_out,
        crate::tell::list,
        crate::tell::test,
        crate::tell::troubles,
    ),
    components(schemas(Problem)),
    security(("token" = []), ("session" = [])),
    modifiers(&Schemes)
)]
struct Document;

struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_default();
        let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).build();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
        let cookie = ApiKey::Cookie(ApiKeyValue::new(crate::people::SECURE_COOKIE));
        components.add_security_scheme("session", SecurityScheme::ApiKey(cookie));
    }
}

/// The document.
pub async fn get() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}
