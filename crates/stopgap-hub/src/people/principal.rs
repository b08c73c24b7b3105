//! Who a request comes from, read from its headers.

use axum::extract::FromRequestParts;
use http::header::{AUTHORIZATION, COOKIE};
use http::request::Parts;
use http::{HeaderMap, Method};
use jiff::Timestamp;

use super::{Right, Role, Scope, scope};
use crate::audit::Said;
use crate::db::tokens::Token;
use crate::db::{people, tokens};
use crate::problem::{Answer, Problem};
use crate::secret;
use crate::state::AppState;

/// The session's cookie where the hub is reached over TLS: the prefix makes a browser refuse it from anywhere else.
pub const SECURE_COOKIE: &str = "__Host-stopgap";
/// The same over plain HTTP on a loopback address.
pub const PLAIN_COOKIE: &str = "stopgap";
/// Where a script in a browser sends the session's CSRF token.
pub const CSRF_HEADER: &str = "x-csrf-token";

/// Who asks. As an extractor it answers 401 where nobody is known, and 403 to a change that a session makes without
/// its CSRF token in the header. A form has it in a field instead: [`Principal::of`] and [`Principal::form`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// As the audit log has it: a user's name, or `token LABEL`.
    pub user: String,
    /// What they may do.
    pub role: Role,
    /// How they showed who they are.
    pub via: Via,
}

/// How somebody showed who they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Via {
    /// An API token, by its id.
    Token {
        /// Its id.
        id: String,
        /// Whose it is; empty: it stands for itself.
        owner: String,
        /// What of the API it reaches; nothing: all of it.
        scopes: Vec<Scope>,
    },
    /// A signed-in browser.
    Session {
        /// What the session's cookie hashes to: the session's key in the store.
        hash: String,
        /// Goes into every form, and comes back with it.
        csrf: String,
    },
}

impl Principal {
    /// Refuses with 403 where the role does not have the right.
    pub fn may(&self, right: Right) -> Answer<()> {
        if self.role.allows(right) {
            return Ok(());
        }
        let needs = match right {
            Right::See => "viewer",
            Right::Audit => "auditor or administrator",
            Right::Operate => "operator",
            Right::Administer => "administrator",
        };
        let role = self.role;
        Err(Problem::forbidden(format_args!("this needs the role {needs}; {} has {role}", self.user)))
    }

    /// An entry of the audit log in their name.
    pub fn said(&self, action: &str, object: &str) -> Said {
        Said { user: self.user.clone(), action: action.into(), object: object.into(), ..Said::default() }
    }

    /// What tells them from everybody else, whatever they are called: one token is never two people.
    pub fn key(&self) -> String {
        match &self.via {
            Via::Token { id, .. } => format!("token {id}"),
            Via::Session { .. } => format!("user {}", self.user.to_lowercase()),
        }
    }

    /// Who stands behind it: a token is its owner's hand, so that nobody is two people.
    pub fn person(&self) -> String {
        match &self.via {
            Via::Token { owner, .. } if !owner.is_empty() => owner.clone(),
            _ => self.key(),
        }
    }

    /// What of the API is reached; nothing: all of it.
    pub fn scopes(&self) -> &[Scope] {
        match &self.via {
            Via::Token { scopes, .. } => scopes,
            Via::Session { .. } => &[],
        }
    }

    /// The session's CSRF token; `None` for a token of the API, which no browser sends by itself.
    pub fn csrf(&self) -> Option<&str> {
        match &self.via {
            Via::Session { csrf, .. } => Some(csrf),
            Via::Token { .. } => None,
        }
    }

    /// Refuses a form whose CSRF field is not this session's. Hashes are compared, so that time tells nothing.
    pub fn form(&self, csrf: &str) -> Answer<()> {
        match self.csrf() {
            Some(own) if secret::hash(own) == secret::hash(csrf) => Ok(()),
            _ => Err(Problem::forbidden("the form was not made for this session; open the page again")),
        }
    }

    /// Who sent these headers; `None`: nobody that is known.
    pub async fn of(state: &AppState, headers: &HeaderMap) -> Answer<Option<Principal>> {
        let now = Timestamp::now();
        if let Some(token) = bearer(headers) {
            let found = tokens::by_hash(state.db.reader(), &secret::hash(token)).await?;
            let Some(token) = found.filter(|token| token.expires_at.is_none_or(|end| now < end)) else {
                return Ok(None);
            };
            // What somebody may no longer do, their tokens may not either.
            if let Some(name) = token.owner.strip_prefix("user ") {
                let owner = people::with_password(state.db.reader(), name).await?;
                if !owner.is_some_and(|(owner, _)| !owner.disabled && owner.role.covers(token.role)) {
                    return Ok(None);
                }
            }
            state.touch_token(&token, now).await;
            let user = format!("token {}", token.label);
            let Token { id, owner, scopes, .. } = token;
            return Ok(Some(Principal { user, role: token.role, via: Via::Token { id, owner, scopes } }));
        }
        let Some(value) = cookie(headers, state.cookie_name()) else { return Ok(None) };
        let hash = secret::hash(value);
        let found = people::session(state.db.reader(), &hash, now).await?;
        Ok(found.map(|session| Principal {
            user: session.user.name,
            role: session.user.role,
            via: Via::Session { hash, csrf: session.csrf },
        }))
    }
}

impl FromRequestParts<AppState> for Principal {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Problem> {
        let Some(principal) = Principal::of(state, &parts.headers).await? else {
            return Err(Problem::unauthorized(
                "nobody is signed in: send `Authorization: Bearer TOKEN`, with a token from `stopgap hub token create`",
            ));
        };
        let reads = matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
        if !scope::reach(principal.scopes(), parts.uri.path(), reads) {
            let scopes: Vec<String> = principal.scopes().iter().map(ToString::to_string).collect();
            return Err(Problem::forbidden(format_args!(
                "{} reaches {} alone",
                principal.user,
                scopes.join(", ")
            )));
        }
        if !reads && principal.csrf().is_some() {
            let sent = parts.headers.get(CSRF_HEADER).and_then(|value| value.to_str().ok());
            principal.form(sent.unwrap_or_default())?;
        }
        Ok(principal)
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find(|(found, _)| *found == name)
        .map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_found_among_others_and_by_its_whole_name() {
        let mut headers = HeaderMap::new();
        headers.append(COOKIE, "a=b; xstopgap=1; stopgap=2".parse().unwrap());
        assert_eq!(cookie(&headers, PLAIN_COOKIE), Some("2"));
        assert_eq!(cookie(&headers, SECURE_COOKIE), None);
    }
}
