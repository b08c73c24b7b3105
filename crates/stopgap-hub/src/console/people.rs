//! Accounts and API tokens.

use askama::Template;
use axum::extract::{Path, State};
use http::StatusCode;
use jiff::Timestamp;

use super::csv;
use super::form::{Sent, escaped};
use super::marks::{Maybe, Time};
use super::visit::{Shell, Shown, Visit, page, see};
use crate::api::NewToken;
use crate::api::extract::{Asked, At, Why};
use crate::api::tokens as api;
use crate::db::people::User;
use crate::db::tokens::Token;
use crate::db::{people, tokens};
use crate::people::accounts::{self, Update};
use crate::people::issue::{self, Maker};
use crate::people::{Right, Role, Scope};
use crate::problem::Problem;
use crate::state::AppState;

/// Accounts and tokens of a page: an organization has fewer.
const MOST: u32 = 1000;

#[derive(Template)]
#[template(path = "people.html")]
struct Page {
    shell: Shell,
    users: Vec<User>,
    tokens: Vec<Token>,
    roles: [Role; 4],
    csv: String,
}

pub(super) async fn show(State(state): State<AppState>, visit: Visit) -> Shown {
    visit.may(Right::Audit)?;
    let users = people::page(state.db.reader(), "", MOST).await?;
    let tokens = tokens::page(state.db.reader(), "", MOST).await?;
    if visit.wants_csv() {
        let time = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
        let header =
            ["Kind", "Name", "Role", "Scopes", "Disabled", "CreatedAt", "UsedAt", "ExpiresAt", "CreatedBy"];
        let user = |user: User| {
            let cells = [user.disabled.to_string(), user.created_at.to_string(), time(user.signed_in_at)];
            let mut row = vec!["user".to_owned(), user.name, user.role.to_string(), String::new()];
            row.extend(cells);
            row.extend([String::new(), String::new()]);
            row
        };
        let token = |token: Token| {
            let words: Vec<String> = token.scopes.iter().map(ToString::to_string).collect();
            let cells =
                [String::new(), token.created_at.to_string(), time(token.used_at), time(token.expires_at)];
            let mut row = vec!["token".to_owned(), token.label, token.role.to_string(), words.join(" ")];
            row.extend(cells);
            row.push(token.user);
            row
        };
        let rows = users.into_iter().map(user).chain(tokens.into_iter().map(token));
        return Ok(csv::file("people", &header, rows));
    }
    let csv = visit.address_with(&[("format", "csv")]);
    visit.page(&Page { shell: visit.shell("People", "people"), users, tokens, roles: Role::ALL, csv })
}

impl Page {
    fn address(&self, user: &User) -> String {
        format!("/people/users/{}", escaped(&user.name))
    }

    /// Who changes their own password tells the present one.
    fn is_own(&self, user: &User) -> bool {
        user.name == self.shell.user
    }

    fn scopes(&self, token: &Token) -> String {
        let words: Vec<String> = token.scopes.iter().map(ToString::to_string).collect();
        words.join(", ")
    }

    fn maybe(&self, at: &Option<Timestamp>) -> Maybe {
        Maybe(*at)
    }

    fn time(&self, at: &Timestamp) -> Time {
        Time(*at)
    }
}

fn role(text: &str) -> Result<Role, Problem> {
    text.parse().map_err(Problem::unprocessable)
}

/// `POST /people/users`.
pub(super) async fn add(State(state): State<AppState>, sent: Sent) -> Shown {
    sent.by.may(Right::Administer)?;
    let role = role(sent.fields.get("role"))?;
    let kept = state.passwords.hash(raw(&sent, "password")).await?;
    let mut change = state.db.begin_alone().await?;
    accounts::add(&mut change, &sent.by.user, sent.fields.get("name"), role, &kept, Timestamp::now()).await?;
    change.commit().await?;
    Ok(see("/people?done=saved"))
}

/// A password may begin or end with a space.
fn raw<'a>(sent: &'a Sent, name: &str) -> &'a str {
    sent.fields.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str()).unwrap_or_default()
}

/// `POST /people/users/{name}`: another role, another password, disabled or not, or removed.
pub(super) async fn change(State(state): State<AppState>, Path(name): Path<String>, sent: Sent) -> Shown {
    let update = match sent.fields.get("what") {
        "remove" => {
            accounts::remove(&state, &sent.by, &name).await?;
            return Ok(see("/people?done=removed"));
        }
        "role" => Update { role: Some(role(sent.fields.get("role"))?), ..Update::default() },
        "disable" => Update { disabled: Some(true), ..Update::default() },
        "enable" => Update { disabled: Some(false), ..Update::default() },
        "password" => Update {
            password: Some(raw(&sent, "password").to_owned()),
            present: Some(raw(&sent, "present").to_owned()),
            ..Update::default()
        },
        _ => return Err(Problem::unprocessable("expected role, disable, enable, password or remove").into()),
    };
    accounts::update(&state, &sent.by, &name, update).await?;
    Ok(see("/people?done=saved"))
}

#[derive(Template)]
#[template(path = "secret.html")]
pub(super) struct Told {
    pub(super) heading: String,
    pub(super) secret: String,
    pub(super) next: String,
    pub(super) command: String,
}

impl Told {
    fn asset(&self, name: &str) -> &'static str {
        super::assets::address(name)
    }
}

/// `POST /people/tokens`. The answer is the page that tells the secret: it is told once, and no address leads back.
pub(super) async fn make_token(State(state): State<AppState>, sent: Sent) -> Shown {
    sent.by.may(Right::Administer)?;
    let hours = sent.fields.filled("hours").map(str::parse).transpose();
    let hours = hours.map_err(|_| Problem::unprocessable("a token's hours are a number"))?;
    let scopes = sent.fields.get("scopes").split([' ', ',']).filter(|word| !word.is_empty());
    let scopes: Result<Vec<Scope>, String> = scopes.map(str::parse).collect();
    let new = NewToken {
        label: sent.fields.get("label").to_owned(),
        role: role(sent.fields.get("role"))?,
        scopes: scopes.map_err(Problem::unprocessable)?,
        hours,
    };
    api::check(&sent.by, &new)?;
    let heading = format!("Token {}", new.label);
    let now = Timestamp::now();
    let mut change = state.db.begin_alone().await?;
    let made = issue::token(&mut change, &Maker::from(&sent.by), new.wanted(now), now).await;
    let (_, secret) = made.map_err(Problem::from)?;
    change.commit().await?;
    let told = Told {
        heading,
        secret,
        next: "/people".into(),
        command: "STOPGAP_HUB=https://… STOPGAP_TOKEN=… stopgap org get".into(),
    };
    Ok(page(StatusCode::OK, &told))
}

/// `POST /people/tokens/{id}/remove`.
pub(super) async fn remove_token(State(state): State<AppState>, Path(id): Path<String>, sent: Sent) -> Shown {
    let reason = sent.fields.filled("reason").map(str::to_owned);
    api::remove(State(state), sent.by, At(id), Asked(Why { reason })).await?;
    Ok(see("/people?done=removed"))
}
