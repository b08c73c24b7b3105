//! Accounts and sessions: who may sign in, and who is.

use std::net::{IpAddr, Ipv6Addr};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{Principal, Right, Role, Via};
use crate::audit::Said;
use crate::db::Change;
use crate::db::people::{self, User};
use crate::events::SIGN_IN_REFUSED;
use crate::problem::{Answer, Problem};
use crate::secret;
use crate::state::AppState;

/// How long somebody stays signed in: a working day.
pub const SESSION: SignedDuration = SignedDuration::from_hours(12);
/// How long a sign-in link may work: it lies in a terminal's past.
const LINK_AT_MOST: SignedDuration = SignedDuration::from_hours(24);
/// Letters of a name.
const MAX_NAME: usize = 64;

/// A new session: the cookie's value, told once, and the `Set-Cookie` header that carries it.
#[derive(Debug)]
pub struct SignedIn {
    /// Who.
    pub user: User,
    /// Goes into every form.
    pub csrf: String,
    /// The header's value.
    pub set_cookie: String,
}

/// Signs somebody in. One answer for every reason to refuse.
pub async fn sign_in(state: &AppState, name: &str, password: &str, from: IpAddr) -> Answer<SignedIn> {
    state.limits.attempt(name, from)?;
    let found = people::with_password(state.db.reader(), name).await?;
    let (user, kept) = found.map_or((None, None), |(user, kept)| (Some(user), Some(kept)));
    let fits = state.passwords.check(password, kept.clone()).await?;
    let Some(user) = user.filter(|user| fits && !user.disabled) else {
        return Err(refused(name, from));
    };
    let now = Timestamp::now();
    let mut change = state.db.begin_alone().await?;
    // Checking took a while: a password that was changed meanwhile has ended all sessions, and begins none.
    let present = people::with_password(change.on(), name).await?;
    if !present.is_some_and(|(user, password)| !user.disabled && kept == Some(password)) {
        return Err(refused(name, from));
    }
    begin(state, change, user, "session.start", from, now).await
}

/// Makes a way in for one time, in this change: its secret, told once. `by`: as the audit log has it; the caller has
/// checked what they may do.
pub async fn link(
    change: &mut Change,
    by: &str,
    name: &str,
    now: Timestamp,
    lasts: SignedDuration,
) -> Answer<String> {
    let (user, _) = people::with_password(change.on(), name).await?.ok_or_else(|| nobody(name))?;
    let expires = now.checked_add(lasts).ok().filter(|end| *end > now && lasts <= LINK_AT_MOST);
    let expires = expires.ok_or_else(|| {
        Problem::unprocessable("a sign-in link works for up to a day; expected such as 15m")
    })?;
    let value = secret::new("")?;
    people::insert_link(change, &user.name, &secret::hash(&value), now, expires).await?;
    let said = Said {
        user: by.to_owned(),
        action: "user.link".into(),
        object: format!("user {}", user.name),
        ..Said::default()
    };
    change.audit(now, &said.to(json!({"expires_at": expires}))).await?;
    Ok(value)
}

/// Signs somebody in who has such a way in.
pub async fn sign_in_by_link(state: &AppState, link: &str, from: IpAddr) -> Answer<SignedIn> {
    let now = Timestamp::now();
    let mut change = state.db.begin_alone().await?;
    let user = people::take_link(&mut change, &secret::hash(link), now).await?;
    let user = user.ok_or_else(|| {
        Problem::unauthorized(
            "this link was used, or its time is over; `stopgap hub user link` makes another",
        )
    })?;
    begin(state, change, user, "session.start-by-link", from, now).await
}

/// Begins a session in this change, and ends the change.
async fn begin(
    state: &AppState,
    mut change: Change,
    user: User,
    action: &str,
    from: IpAddr,
    now: Timestamp,
) -> Answer<SignedIn> {
    let (value, csrf) = (secret::new("")?, secret::new("")?);
    people::insert_session(&mut change, &user.name, &secret::hash(&value), &csrf, now, now + SESSION).await?;
    let said = Said {
        user: user.name.clone(),
        action: action.into(),
        object: format!("user {}", user.name),
        after: Some(json!({"from": from.to_string()})),
        ..Said::default()
    };
    change.audit(now, &said).await?;
    change.commit().await?;
    let set_cookie = cookie(state, &value, SESSION.as_secs());
    Ok(SignedIn { user, csrf, set_cookie })
}

fn refused(name: &str, from: IpAddr) -> Problem {
    let account: String = name.chars().take(MAX_NAME).collect();
    tracing::warn!(event = SIGN_IN_REFUSED, account = %account.escape_debug(), %from, "a sign-in was refused");
    Problem::unauthorized("name or password is wrong")
}

/// Ends a session. Returns the `Set-Cookie` header that removes its cookie.
pub async fn sign_out(state: &AppState, by: &Principal) -> Answer<String> {
    if let Via::Session { hash, .. } = &by.via {
        let mut change = state.db.begin_alone().await?;
        people::end_session(&mut change, hash).await?;
        change.audit(Timestamp::now(), &by.said("session.end", &format!("user {}", by.user))).await?;
        change.commit().await?;
    }
    Ok(cookie(state, "", 0))
}

fn cookie(state: &AppState, value: &str, seconds: i64) -> String {
    let secure = if state.secure { "; Secure" } else { "" };
    let name = state.cookie_name();
    format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

/// Makes an account whose password hashes to `kept`, in this change. `by`: as the audit log has it; the caller has
/// checked what they may do.
pub async fn add(
    change: &mut Change,
    by: &str,
    name: &str,
    role: Role,
    kept: &str,
    now: Timestamp,
) -> Answer<User> {
    let letters = name.chars().count();
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_' | '@' | '+');
    if letters == 0 || letters > MAX_NAME || !name.chars().all(plain) {
        return Err(Problem::unprocessable(format_args!(
            "{name:?} is no name of an account; expected up to {MAX_NAME} letters, digits and . - _ @ +"
        )));
    }
    let user = User { name: name.to_owned(), role, disabled: false, created_at: now, signed_in_at: None };
    people::insert(change, &user, kept).await?;
    let said = Said {
        user: by.to_owned(),
        action: "user.add".into(),
        object: format!("user {name}"),
        ..Said::default()
    };
    change.audit(now, &said.to(json!({"role": role}))).await?;
    Ok(user)
}

/// A change of an account; what is `None` stays.
#[derive(Debug, Clone, Default)]
pub struct Update {
    /// Another role.
    pub role: Option<Role>,
    /// Whether they may no longer sign in; their sessions end.
    pub disabled: Option<bool>,
    /// Another password; their sessions end.
    pub password: Option<String>,
    /// The present one: who changes their own password tells it, since a browser that was left open is not its owner.
    pub present: Option<String>,
}

/// Changes an account. Anybody may give themselves another password; the last administrator stays one.
pub async fn update(state: &AppState, by: &Principal, name: &str, update: Update) -> Answer<User> {
    let themselves = matches!(by.via, Via::Session { .. }) && by.user.to_lowercase() == name.to_lowercase();
    if update.role.is_some() || update.disabled.is_some() || !themselves {
        by.may(Right::Administer)?;
    }
    if themselves && update.password.is_some() {
        let present = update.present.as_deref().ok_or_else(|| {
            Problem::unprocessable("who changes their own password tells the present one, as `present`")
        })?;
        // Counted as signing in is: here, too, a password can be guessed. The account alone counts.
        state.limits.attempt(name, IpAddr::V6(Ipv6Addr::UNSPECIFIED))?;
        let known = people::with_password(state.db.reader(), name).await?.map(|(_, kept)| kept);
        if !state.passwords.check(present, known).await? {
            return Err(Problem::forbidden("the present password is another"));
        }
    }
    let kept = match &update.password {
        Some(password) => Some(state.passwords.hash(password).await?),
        None => None,
    };
    let now = Timestamp::now();
    let mut change = state.db.begin_alone().await?;
    let (mut user, _) = people::with_password(change.on(), name).await?.ok_or_else(|| nobody(name))?;
    let before = json!({"role": user.role, "disabled": user.disabled});
    user.role = update.role.unwrap_or(user.role);
    user.disabled = update.disabled.unwrap_or(user.disabled);
    people::update(&mut change, name, user.role, user.disabled).await?;
    if let Some(kept) = &kept {
        people::set_password(&mut change, name, kept).await?;
    }
    if user.disabled {
        people::end_sessions(&mut change, name).await?;
    }
    keep_one(&mut change, &before).await?;
    let after = json!({"role": user.role, "disabled": user.disabled, "password": kept.is_some().then_some("changed")});
    let said = by.said("user.set", &format!("user {}", user.name)).from(before).to(after);
    change.audit(now, &said).await?;
    change.commit().await?;
    Ok(user)
}

/// Removes an account; its sessions end. The last administrator stays.
pub async fn remove(state: &AppState, by: &Principal, name: &str) -> Answer<()> {
    by.may(Right::Administer)?;
    let mut change = state.db.begin_alone().await?;
    let (user, _) = people::with_password(change.on(), name).await?.ok_or_else(|| nobody(name))?;
    let before = json!({"role": user.role, "disabled": user.disabled});
    people::remove(&mut change, name).await?;
    keep_one(&mut change, &before).await?;
    change
        .audit(Timestamp::now(), &by.said("user.remove", &format!("user {}", user.name)).from(before))
        .await?;
    Ok(change.commit().await?)
}

/// Refuses a change after which nobody could administer the hub from the console.
async fn keep_one(change: &mut Change, before: &serde_json::Value) -> Answer<()> {
    let was = before.get("role") == Some(&json!(Role::Administrator))
        && before.get("disabled") == Some(&json!(false));
    if was && people::administrators(change.on()).await? == 0 {
        return Err(Problem::conflict(
            "this is the last account with the role administrator; make another first",
        ));
    }
    Ok(())
}

fn nobody(name: &str) -> Problem {
    Problem::not_found(format_args!("user {name:?}"))
}
