//! Approvals: whoever asks that a revision may come into force is not who lets it.

use jiff::Timestamp;
use serde_json::{Value, json};
use stopgap_feed::Key;

use crate::db::approvals::{self, Approval, Scope, State};
use crate::db::{Change, layers, servers};
use crate::people::{Principal, Right};
use crate::problem::{Answer, Problem};
use crate::secret;
use crate::state::AppState;

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Wanted {
    /// The mitigation.
    pub key: Key,
    /// SHA-256 of the revision's octets, in hex; `None`: the only one that servers report.
    pub digest: Option<String>,
    /// For whom.
    pub level: Scope,
    /// The group's or server's name; nothing for the organization.
    pub name: String,
    /// Why.
    pub reason: Option<String>,
}

/// Keeps a request, in this change.
pub async fn request(
    change: &mut Change,
    by: &Principal,
    wanted: Wanted,
    now: Timestamp,
) -> Answer<Approval> {
    by.may(Right::Operate)?;
    let mut name = wanted.name.clone();
    let there = match wanted.level {
        Scope::Organization => wanted.name.is_empty(),
        Scope::Group => layers::group(change.on(), &wanted.name).await?.is_some(),
        Scope::Server => match servers::by_name(change.on(), &wanted.name).await? {
            Some(server) => {
                name = server.name;
                true
            }
            None => false,
        },
    };
    if !there {
        let (level, name) = (json!(wanted.level), &wanted.name);
        return Err(Problem::unprocessable(format_args!(
            "there is no level {level} with the name {name:?}; the organization has none"
        )));
    }
    let approval = Approval {
        id: secret::identity()?,
        feed: wanted.key.feed.to_string(),
        mitigation: wanted.key.id.to_string(),
        digest: digest(change, &wanted).await?,
        level: wanted.level,
        name,
        state: State::Requested,
        requested_by: by.user.clone(),
        requested_at: now,
        reason: wanted.reason.clone(),
        decided_by: None,
        decided_at: None,
    };
    let same = |given: &Approval| {
        let key = given.feed == approval.feed && given.mitigation == approval.mitigation;
        key && given.digest == approval.digest && given.level == approval.level && given.name == approval.name
    };
    if let Some(given) = approvals::approved(change.on()).await?.iter().find(|given| same(given)) {
        let (key, by) = (&wanted.key, given.decided_by.as_deref().unwrap_or_default());
        let digest = &given.digest;
        return Err(Problem::conflict(format_args!(
            "this revision of {key} ({digest}) is approved there by {by}"
        )));
    }
    approvals::insert(change, &approval, &by.person()).await?;
    let said = by.said("approval.request", &object(&approval)).to(about(&approval));
    change.audit(now, &said.because(wanted.reason)).await?;
    Ok(approval)
}

async fn digest(change: &mut Change, wanted: &Wanted) -> Answer<String> {
    let (feed, id) = (wanted.key.feed.to_string(), wanted.key.id.to_string());
    if let Some(digest) = &wanted.digest {
        let hex = digest.len() == 64 && digest.bytes().all(|octet| octet.is_ascii_hexdigit());
        if !hex {
            return Err(Problem::unprocessable("digest is no SHA-256: expected 64 hexadecimal digits"));
        }
        return Ok(digest.to_ascii_lowercase());
    }
    let mut known = servers::digests(change.on(), &feed, &id).await?;
    match (known.pop(), known.is_empty()) {
        (Some(digest), true) => Ok(digest),
        (None, _) => {
            Err(Problem::unprocessable(format_args!("no server knows {feed}:{id}; give its digest")))
        }
        (Some(_), false) => Err(Problem::unprocessable(format_args!(
            "servers know several revisions of {feed}:{id}; give the digest of the one that you mean"
        ))),
    }
}

/// Decides a request, or takes back an approval. Approving one's own request is refused.
pub async fn decide(
    state: &AppState,
    by: &Principal,
    id: &str,
    to: State,
    reason: Option<String>,
) -> Answer<Approval> {
    by.may(Right::Operate)?;
    let now = Timestamp::now();
    let mut change = state.db.begin_alone().await?;
    let found = approvals::by_id(change.on(), id).await?;
    let (mut approval, asker) = found.ok_or_else(|| Problem::not_found(format_args!("approval {id:?}")))?;
    let (from, action) = match to {
        State::Approved => (State::Requested, "approval.approve"),
        State::Rejected => (State::Requested, "approval.reject"),
        State::Withdrawn => (State::Approved, "approval.withdraw"),
        State::Requested => {
            return Err(Problem::unprocessable("a decision is approved, rejected or withdrawn"));
        }
    };
    if to == State::Approved && (asker == by.person() || asker == by.key()) {
        return Err(Problem::forbidden("you asked for it: somebody else approves it"));
    }
    if !approvals::decide(&mut change, id, from, to, &by.user, now).await? {
        return Err(Problem::conflict(format_args!("it is {} by now", json!(approval.state))));
    }
    (approval.state, approval.decided_by, approval.decided_at) = (to, Some(by.user.clone()), Some(now));
    let said = by.said(action, &object(&approval)).to(about(&approval)).because(reason);
    change.audit(now, &said).await?;
    let counter = change.bump_settings().await?;
    change.commit().await?;
    state.wake(counter);
    Ok(approval)
}

fn object(approval: &Approval) -> String {
    format!("mitigation {}:{}", approval.feed, approval.mitigation)
}

fn about(approval: &Approval) -> Value {
    json!({"id": approval.id, "digest": approval.digest, "level": approval.level, "name": approval.name,
           "requested_by": approval.requested_by})
}
