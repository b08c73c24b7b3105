//! `/v1/openapi.json`: OpenAPI 3.1, made from the handlers.

use axum::Json;
use http::StatusCode;
use utoipa::openapi::path::{Operation, Parameter, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::security::{
    ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::{Content, Ref, RefOr, Response};
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
        super::history::get,
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
    modifiers(&Schemes, &Refusals)
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

/// What every operation of a kind may answer: said once, and not in front of each handler.
struct Refusals;

impl Modify for Refusals {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for item in document.paths.paths.values_mut() {
            let operations =
                [&mut item.get, &mut item.put, &mut item.post, &mut item.patch, &mut item.delete];
            operations.into_iter().flatten().for_each(complete);
        }
    }
}

fn complete(operation: &mut Operation) {
    // An operation that says that nobody need be signed in says so with one empty requirement.
    let open = operation.security.as_ref().is_some_and(|some| some.contains(&SecurityRequirement::default()));
    let header = |name: &str| {
        let parameters = operation.parameters.iter().flatten();
        parameters.into_iter().any(|one| matches!(one, RefOr::T(one) if one.name == name))
    };
    let mut statuses = vec![400, 422, 431, 503];
    if !open {
        statuses.extend([401, 403]);
    }
    if operation.request_body.is_some() {
        statuses.extend([413, 415]);
    }
    let path = |one: &RefOr<Parameter>| matches!(one, RefOr::T(one) if one.parameter_in == ParameterIn::Path);
    if operation.parameters.iter().flatten().any(path) {
        statuses.push(404);
    }
    if header("If-Match") {
        statuses.extend([412, 428]);
    }
    if header("Idempotency-Key") {
        statuses.push(409);
    }
    for parameter in operation.parameters.iter_mut().flatten() {
        let RefOr::T(parameter) = parameter else { continue };
        let pattern = match parameter.name.as_str() {
            "If-Match" => "^\"[0-9]{1,19}\"$",
            "Idempotency-Key" => "^[!-~]{1,128}$",
            _ => continue,
        };
        let text = ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern));
        parameter.schema = Some(text.build().into());
    }
    let responses = &mut operation.responses.responses;
    for status in statuses {
        responses.entry(status.to_string()).or_insert_with(|| Response::new("").into());
    }
    for (status, response) in responses {
        let RefOr::T(response) = response else { continue };
        let code = status.parse().ok().and_then(|code| StatusCode::from_u16(code).ok());
        if response.description.is_empty() {
            response.description = code.and_then(|code| code.canonical_reason()).unwrap_or_default().into();
        }
        // A head that is too large is refused before anybody reads it, and without a word.
        let told = |code: &StatusCode| *code != StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        if code.filter(told).is_some_and(|code| code.is_client_error() || code.is_server_error()) {
            let problem = Content::new(Some(Ref::from_schema_name("Problem")));
            response.content =
                [("application/problem+json".to_owned(), problem.into())].into_iter().collect();
        }
    }
}

/// The document.
pub async fn get() -> Json<utoipa::openapi::OpenApi> {
    Json(Document::openapi())
}
