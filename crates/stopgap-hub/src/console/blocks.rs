//! Blocks of a mitigation: on which lists it stands, whose word that was, and setting and lifting one.

use askama::Template;
use axum::extract::{Path, State};
use http::StatusCode;
use jiff::{SignedDuration, Timestamp};
use stopgap_core::policy::Block;
use stopgap_feed::Key;

use super::form::Sent;
use super::marks::{Maybe, Time};
use super::mitigations::address;
use super::visit::{Shown, page, see};
use crate::audit::Entry;
use crate::db::audit::Search;
use crate::db::layers::{self, Place};
use crate::db::{Db, audit, fleet, servers};
use crate::people::{Principal, Right};
use crate::problem::{Answer, Problem};
use crate::settings::{self, Target};
use crate::state::AppState;

/// Somebody else may change the same settings at the same moment; a block is added to whatever they are then.
const ATTEMPTS: u32 = 5;
/// Entries of the log that are searched for who set a block.
const SEARCHED: u32 = 500;

/// A list that a mitigation stands on.
pub(super) struct Listed {
    /// As a form names it: `organization`, `group mail`, `server Server1`.
    pub(super) place: String,
    /// The block itself.
    pub(super) block: Block,
    /// Who set it, and when, where the log says so.
    pub(super) set: Option<(String, Time)>,
    /// Whether it has lapsed.
    pub(super) lapsed: bool,
}

impl Listed {
    pub(super) fn until(&self) -> Maybe {
        Maybe(self.block.until)
    }

    pub(super) fn reason(&self) -> &str {
        self.block.reason.as_deref().unwrap_or_default()
    }
}

/// Every list that this mitigation stands on: the organization's, groups', servers'.
pub(super) async fn listed(state: &AppState, key: &Key, now: Timestamp) -> Answer<Vec<Listed>> {
    let organization = state.organization().await?;
    let mut found: Vec<(String, Vec<Block>)> =
        vec![("organization".into(), organization.layer.layer.mitigations_blocked.clone())];
    for (group, said) in &organization.groups {
        found.push((format!("group {}", group.name), said.layer.mitigations_blocked.clone()));
    }
    for (server, layer) in fleet::layers_with_blocks(state.db.reader()).await? {
        found.push((format!("server {server}"), layer.mitigations_blocked));
    }
    let mut listed = Vec::new();
    for (place, blocks) in found {
        for block in blocks.into_iter().filter(|block| concerns(block, key)) {
            let set = who_set(&state.db, &place, &block).await?;
            let lapsed = block.until.is_some_and(|until| until <= now);
            listed.push(Listed { place: place.clone(), block, set, lapsed });
        }
    }
    Ok(listed)
}

fn concerns(block: &Block, key: &Key) -> bool {
    let feed = block.feed.as_ref().is_none_or(|feed| *feed == key.feed);
    feed && (block.id.covers(&key.id) || key.id.covers(&block.id))
}

/// The newest entry that put this block where none was, or another.
async fn who_set(db: &Db, place: &str, block: &Block) -> Answer<Option<(String, Time)>> {
    let search = Search { action: "settings.set".into(), object: place.into(), ..Search::default() };
    let entries = audit::search(db.reader(), &search, None, SEARCHED).await?;
    let setter = entries.into_iter().find(|entry| holds(&entry.after, block) && !holds(&entry.before, block));
    Ok(setter.and_then(|Entry { user, time, .. }| Some((user, Time(time.parse().ok()?)))))
}

fn holds(layer: &Option<serde_json::Value>, block: &Block) -> bool {
    let blocks = layer.as_ref().and_then(|layer| layer.get("mitigations_blocked")?.as_array());
    let wanted = serde_json::to_value(block).unwrap_or_default();
    blocks.is_some_and(|blocks| blocks.contains(&wanted))
}

/// `POST /mitigations/{feed}/{id}/block`. Taking off is asked about once more, with what it will do.
pub(super) async fn block(
    State(state): State<AppState>,
    Path((feed, id)): Path<(String, String)>,
    sent: Sent,
) -> Shown {
    sent.by.may(Right::Operate)?;
    let key = key(&feed, &id)?;
    let reason = sent.fields.reason()?;
    let target = target(&state, sent.fields.get("place")).await?;
    let until = until(sent.fields.get("for"), Timestamp::now())?;
    let take_off = sent.fields.get("take_off") == "1";
    if take_off && sent.fields.get("confirmed") != "1" {
        let in_force = in_force(&state, &key, &target.place).await?;
        let page_ = Confirm {
            csrf: sent.fields.get("csrf").to_owned(),
            key: key.to_string(),
            address: address(&feed, &id),
            object: target.object,
            place: sent.fields.get("place").to_owned(),
            duration: sent.fields.get("for").to_owned(),
            reason,
            in_force,
            until: Maybe(until),
        };
        return Ok(page(StatusCode::OK, &page_));
    }
    let block = Block {
        id: key.id.clone(),
        feed: Some(key.feed.clone()),
        level: target.level(),
        take_off,
        reason: Some(reason.clone()),
        until,
    };
    change(&state, &sent.by, &target, &reason, |blocks| {
        blocks.retain(|other| !same(other, &key));
        blocks.push(block.clone());
        true
    })
    .await?;
    let done = if take_off { "reverting" } else { "blocked" };
    Ok(see(&format!("{}?done={done}", address(&feed, &id))))
}

#[derive(Template)]
#[template(path = "confirm.html")]
struct Confirm {
    csrf: String,
    key: String,
    address: String,
    object: String,
    place: String,
    duration: String,
    reason: String,
    in_force: u64,
    until: Maybe,
}

impl Confirm {
    fn asset(&self, name: &str) -> &'static str {
        super::assets::address(name)
    }

    fn servers(&self) -> String {
        super::marks::servers(self.in_force)
    }
}

/// `POST /mitigations/{feed}/{id}/unblock`.
pub(super) async fn unblock(
    State(state): State<AppState>,
    Path((feed, id)): Path<(String, String)>,
    sent: Sent,
) -> Shown {
    sent.by.may(Right::Operate)?;
    let reason = sent.fields.reason()?;
    let target = target(&state, sent.fields.get("place")).await?;
    let named: Key =
        key(sent.fields.filled("feed").unwrap_or(&feed), sent.fields.filled("id").unwrap_or(&id))?;
    let everywhere = sent.fields.get("feed") == "*";
    let lifts = |block: &Block| {
        block.id == named.id
            && if everywhere { block.feed.is_none() } else { block.feed.as_ref() == Some(&named.feed) }
    };
    change(&state, &sent.by, &target, &reason, |blocks| {
        let before = blocks.len();
        blocks.retain(|block| !lifts(block));
        blocks.len() != before
    })
    .await?;
    Ok(see(&format!("{}?done=unblocked", address(&feed, &id))))
}

fn same(block: &Block, key: &Key) -> bool {
    block.id == key.id && block.feed.as_ref() == Some(&key.feed)
}

/// Changes a place's list; `with` says whether there was anything to change.
async fn change(
    state: &AppState,
    by: &Principal,
    target: &Target,
    reason: &str,
    with: impl Fn(&mut Vec<Block>) -> bool,
) -> Answer<()> {
    let mut stale = None;
    for _ in 0..ATTEMPTS {
        let mut said = settings::get(state, target).await?;
        if !with(&mut said.layer.mitigations_blocked) {
            return Err(Problem::conflict(format_args!("it is not on the list of {} by now", target.object)));
        }
        match settings::put(state, by, target, said.version, said.layer, Some(reason.to_owned())).await {
            Ok(_) => return Ok(()),
            Err(problem) if problem.status == 412 => stale = Some(problem),
            Err(problem) => return Err(problem),
        }
    }
    Err(stale.unwrap_or_else(|| Problem::conflict("the settings change all the time; try again")))
}

/// A feed and an id, as an address has them.
pub(super) fn key(feed: &str, id: &str) -> Answer<Key> {
    let unknown = || Problem::not_found(format_args!("mitigation {feed}:{id}"));
    let id = id.parse().map_err(|_| unknown())?;
    // A block of every feed names none; it is told apart before this is looked at.
    let feed = if feed == "*" { "any" } else { feed };
    Ok(Key { feed: feed.parse().map_err(|_| unknown())?, id })
}

/// `organization`, `group NAME` or `server NAME`.
async fn target(state: &AppState, place: &str) -> Answer<Target> {
    match place.split_once(' ').unwrap_or((place, "")) {
        ("organization", "") => Ok(Target::organization()),
        ("group", name) => Target::group(state, name).await,
        ("server", name) => Ok(Target::server(state, name).await?.1),
        _ => Err(Problem::unprocessable(
            "where is it to be blocked? Choose the organization, a group or a server",
        )),
    }
}

fn until(duration: &str, now: Timestamp) -> Answer<Option<Timestamp>> {
    let hours = match duration {
        "" => return Ok(None),
        text => text.parse::<i64>().ok().filter(|hours| (1..=24 * 365).contains(hours)),
    };
    let hours =
        hours.ok_or_else(|| Problem::unprocessable("for how long? Expected 1 to 8760 hours, or nothing"))?;
    Ok(Some(now + SignedDuration::from_hours(hours)))
}

/// On how many servers of a place it is in force.
async fn in_force(state: &AppState, key: &Key, place: &Place) -> Answer<u64> {
    let label = match place {
        Place::Organization => None,
        Place::Group(name) => layers::group(state.db.reader(), name)
            .await?
            .map(|(group, _)| (group.label_key, group.label_value)),
        Place::Server(id) => {
            let on_it = servers::mitigations(state.db.reader(), id).await?;
            let there = on_it.iter().any(|one| one.feed == key.feed && one.id == key.id && one.in_force);
            return Ok(u64::from(there));
        }
    };
    Ok(fleet::in_force(state.db.reader(), &key.feed.to_string(), &key.id.to_string(), label).await?)
}
