//! One server: what it is, what is in force there, which settings count for it and who said so.

use askama::Template;
use axum::extract::{Path, State};
use jiff::{SignedDuration, Timestamp};
use stopgap_core::organization::{Effective, Origin, Said};
use stopgap_core::policy::{Approval, Block};
use stopgap_core::wire;

use super::csv;
use super::enrollments::labels_of;
use super::form::{Sent, escaped};
use super::marks::{Kind, Mark, Maybe, Time, minute};
use super::mitigations::address;
use super::overview::mark;
use super::visit::{Live, Shell, Shown, Visit, see};
use crate::api::extract::{Asked, At, Body, Why};
use crate::api::servers::{self as api, ServerPatch};
use crate::db::fleet;
use crate::db::history::{self, Feed};
use crate::db::layers::Group;
use crate::db::servers::{self, Event, Server};
use crate::people::Right;
use crate::problem::Problem;
use crate::settings::{self, Target};
use crate::state::AppState;

/// Events of a page.
const EVENTS: u32 = 50;
/// A clock that is off by more than this is told: certificates and documents are judged by it.
const CLOCK: i64 = 60_000;

#[derive(Template)]
#[template(path = "server.html")]
struct Page {
    shell: Shell,
    live: Live,
    server: Server,
    address: String,
    csv: String,
}

#[derive(Template)]
#[template(path = "server_live.html")]
struct Part {
    mark: Mark,
    heard: Maybe,
    reported: Maybe,
    joined: Time,
    paused: Option<Time>,
    clone: Option<Time>,
    clock: String,
    groups: Vec<Group>,
    settings: Vec<Setting>,
    mitigations: Vec<wire::Mitigation>,
    feeds: Vec<Feed>,
    events: Vec<Event>,
    server: Server,
}

/// One setting that counts, and whose word it is.
struct Setting {
    name: &'static str,
    value: String,
    origin: String,
}

pub(super) async fn show(State(state): State<AppState>, Path(name): Path<String>, visit: Visit) -> Shown {
    visit.may(Right::See)?;
    let db = state.db.reader();
    let server = servers::by_name(db, &name).await?;
    let server = server.ok_or_else(|| Problem::not_found(format_args!("server {name:?}")))?;
    let mitigations = servers::mitigations(db, &server.id).await?;
    if visit.wants_csv() {
        return Ok(file(&server, mitigations));
    }
    let organization = state.organization().await?;
    let (_, target) = Target::server(&state, &server.name).await?;
    let own = settings::get(&state, &target).await?;
    let effective = organization.effective(&server.labels, &own.layer);
    let part = Part {
        mark: mark(fleet::state_of(db, &server.id, visit.now).await?),
        heard: Maybe(server.last_contact),
        reported: Maybe(server.reported_at),
        joined: Time(server.enrolled_at),
        paused: server.paused_until.filter(|until| *until > visit.now).map(Time),
        clone: server.clone_seen_at.map(Time),
        clock: clock(server.clock_offset_ms),
        groups: organization.groups_of(&server.labels).map(|(group, _)| group.clone()).collect(),
        settings: settings_of(&effective, &server),
        feeds: history::feeds_of(db, &server.id).await?,
        events: servers::events(db, &server.id, None, EVENTS).await?,
        mitigations,
        server: server.clone(),
    };
    visit.live_page(&part, |live| Page {
        shell: visit.shell(server.name.clone(), "servers").with_live(),
        live,
        address: format!("/servers/{}", escaped(&server.name)),
        server,
        csv: visit.address_with(&[("format", "csv")]),
    })
}

fn clock(offset: i64) -> String {
    if offset.abs() < CLOCK {
        return String::new();
    }
    let length = super::marks::span(SignedDuration::from_millis(offset.abs()));
    format!("its clock is {length} {}", if offset > 0 { "ahead" } else { "behind" })
}

/// What counts, in the names that Exchange's administrators know.
fn settings_of(effective: &Effective, server: &Server) -> Vec<Setting> {
    fn setting<T>(name: &'static str, said: &Said<T>, text: impl FnOnce(&T) -> String) -> Setting {
        Setting { name, value: text(&said.value), origin: origin(&said.origin) }
    }
    let truth = |value: &bool| if *value { "True" } else { "False" }.to_owned();
    let time = |value: &Option<Timestamp>| value.map(|at| format!("{} UTC", minute(at))).unwrap_or_default();
    let number = |value: &Option<u32>| value.map(|value| value.to_string()).unwrap_or_default();
    let mut all = vec![setting("MitigationsEnabled", &effective.mitigations_enabled, truth)];
    if !server.mitigations_enabled {
        all.push(Setting {
            name: "MitigationsEnabled",
            value: "False".into(),
            origin: "on the server itself".into(),
        });
    }
    for said in &effective.mitigations_blocked {
        all.push(setting("MitigationsBlocked", said, block));
    }
    for id in &server.mitigations_blocked {
        all.push(Setting {
            name: "MitigationsBlocked",
            value: id.clone(),
            origin: "on the server itself".into(),
        });
    }
    all.extend([
        setting("Approval", &effective.approval, |value| match value {
            Some(Approval::Required) => "a person approves each revision".into(),
            Some(Approval::Automatic) => "the publisher's signature suffices".into(),
            None => "as the server is configured".into(),
        }),
        setting("Frozen until", &effective.frozen_until, time),
        setting("Rings", &effective.rings, |rings| {
            let ring = |ring: &stopgap_feed::document::Wave| match ring.after_seconds {
                0 => format!("{} % at once", ring.percent),
                seconds => format!("{} % after {}", ring.percent, super::settings::duration(seconds)),
            };
            rings.iter().map(ring).collect::<Vec<_>>().join(", ")
        }),
        setting("Maintenance windows (UTC)", &effective.windows, |windows| {
            windows.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
        }),
        setting("Servers at a time", &effective.max_parallel, number),
        setting("Servers with something stopped", &effective.max_stopped, number),
        setting("InternetWebProxy", &effective.internet_web_proxy, |value| value.clone().unwrap_or_default()),
        setting("InternetWebProxyBypassList", &effective.internet_web_proxy_bypass, |value| value.join(", ")),
        setting("DataCollectionEnabled", &effective.data_collection_enabled, truth),
    ]);
    all
}

/// A block in one line: what, how, until when, why.
pub(super) fn block(block: &Block) -> String {
    let feed = block.feed.as_ref().map(|feed| format!("{feed}:")).unwrap_or_default();
    let mut text = format!("{feed}{}", block.id);
    if block.take_off {
        text.push_str(", taken off");
    }
    if let Some(until) = block.until {
        text.push_str(&format!(", until {} UTC", minute(until)));
    }
    if let Some(reason) = &block.reason {
        text.push_str(&format!(": {reason}"));
    }
    text
}

pub(super) fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Default => "default".into(),
        Origin::Organization => "organization".into(),
        Origin::Group(name) => format!("group {name}"),
        Origin::Server => "this server".into(),
    }
}

impl Page {
    fn labels(&self) -> String {
        let labels: Vec<String> =
            self.server.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        labels.join(" ")
    }
}

impl Part {
    fn status(&self, one: &wire::Mitigation) -> Mark {
        Mark::status(&one.status, one.in_force)
    }

    fn mitigation(&self, one: &wire::Mitigation) -> String {
        address(&one.feed.to_string(), &one.id.to_string())
    }

    fn time(&self, at: &Option<Timestamp>) -> Maybe {
        Maybe(*at)
    }

    fn at(&self, at: &Timestamp) -> Time {
        Time(*at)
    }

    fn labels(&self) -> String {
        let labels: Vec<String> =
            self.server.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        labels.join(", ")
    }

    fn facts(&self) -> String {
        let facts: Vec<String> =
            self.server.facts.iter().map(|(name, version)| format!("{name} {version}")).collect();
        facts.join(", ")
    }
}

fn file(server: &Server, mitigations: Vec<wire::Mitigation>) -> axum::response::Response {
    // The columns of Get-Mitigations come first, as `get-mitigations --export-csv` has them.
    let header = [
        "Server",
        "ID",
        "Type",
        "Description",
        "Status",
        "Feed",
        "InForce",
        "AppliedAt",
        "ProvenAt",
        "Reason",
    ];
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
    let rows = mitigations.into_iter().map(|one| {
        vec![
            server.name.clone(),
            one.id.to_string(),
            one.action_type,
            one.description,
            one.status,
            one.feed.to_string(),
            one.in_force.to_string(),
            time(one.applied_at),
            time(one.proven_at),
            one.reason.unwrap_or_default(),
        ]
    });
    csv::file(&server.name, &header, rows)
}

/// `POST /servers/{name}/labels`: another name, other labels.
pub(super) async fn change(State(state): State<AppState>, Path(name): Path<String>, sent: Sent) -> Shown {
    let reason = Some(sent.fields.reason()?);
    let new = sent.fields.get("name").to_owned();
    let labels = Some(labels_of(sent.fields.get("labels"))?);
    let patch = ServerPatch { name: Some(new.clone()), labels };
    let _ = api::patch(State(state), sent.by, At(name), Asked(Why { reason }), Body(patch)).await?;
    Ok(see(&format!("/servers/{}?done=saved", escaped(&new))))
}

/// `POST /servers/{name}/remove`.
pub(super) async fn remove(State(state): State<AppState>, Path(name): Path<String>, sent: Sent) -> Shown {
    let reason = Some(sent.fields.reason()?);
    api::remove(State(state), sent.by, At(name), Asked(Why { reason })).await?;
    Ok(see("/servers?done=removed"))
}
