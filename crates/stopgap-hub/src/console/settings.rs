//! Settings of the organization, of groups and of servers, as forms; and the groups themselves.

use askama::Template;
use axum::extract::{Path, State};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use stopgap_core::organization::Layer;
use stopgap_core::policy::Approval;
use stopgap_core::window::Window;
use stopgap_feed::document::Wave;

use super::form::{Fields, Sent, escaped};
use super::marks::Maybe;
use super::server::block;
use super::visit::{Shell, Shown, Visit, see};
use crate::api::extract::{Asked, At, Body, Why};
use crate::api::groups::{self, GroupDocument};
use crate::db::layers::{Group, Versioned};
use crate::people::Right;
use crate::problem::{Answer, Problem};
use crate::settings::{self, Target};
use crate::state::AppState;

/// The word for "no proxy, whatever a farther level says".
const NO_PROXY: &str = "none";

#[derive(Template)]
#[template(path = "settings.html")]
struct Page {
    shell: Shell,
    heading: String,
    address: String,
    said: Versioned,
    blocks: Vec<String>,
    fields: Written,
    groups: Option<Vec<(Group, String)>>,
    group: Option<Group>,
}

/// What is written for no windows at all, whatever a farther level says.
const NO_WINDOW: &str = "any time";

/// A layer as the fields of a form.
#[derive(Debug, Default, PartialEq, Eq)]
struct Written {
    mitigations_enabled: &'static str,
    data_collection_enabled: &'static str,
    approval: &'static str,
    frozen_until: String,
    rings: String,
    windows: String,
    max_parallel: String,
    max_stopped: String,
    proxy: String,
    bypass: String,
}

impl Page {
    fn changed(&self) -> Maybe {
        Maybe(self.said.changed_at)
    }

    fn by(&self) -> &str {
        self.said.changed_by.as_deref().unwrap_or_default()
    }
}

pub(super) async fn organization(State(state): State<AppState>, visit: Visit) -> Shown {
    let said = settings::get(&state, &Target::organization()).await?;
    let organization = state.organization().await?;
    let groups = organization.groups.iter();
    let groups = groups.map(|(group, _)| (group.clone(), group_address(&group.name))).collect();
    page(&visit, "Settings of the organization".into(), "/settings".into(), said, Some(groups), None)
}

pub(super) async fn group(State(state): State<AppState>, Path(name): Path<String>, visit: Visit) -> Shown {
    let target = Target::group(&state, &name).await?;
    let said = settings::get(&state, &target).await?;
    let organization = state.organization().await?;
    let group =
        organization.groups.iter().find(|(group, _)| group.name == name).map(|(group, _)| group.clone());
    page(&visit, format!("Settings of the group {name}"), group_address(&name), said, None, group)
}

pub(super) async fn server(State(state): State<AppState>, Path(name): Path<String>, visit: Visit) -> Shown {
    let (server, target) = Target::server(&state, &name).await?;
    let said = settings::get(&state, &target).await?;
    let address = format!("/servers/{}/settings", escaped(&server.name));
    page(&visit, format!("Settings of the server {}", server.name), address, said, None, None)
}

fn group_address(name: &str) -> String {
    format!("/settings/groups/{}", escaped(name))
}

fn page(
    visit: &Visit,
    heading: String,
    address: String,
    said: Versioned,
    groups: Option<Vec<(Group, String)>>,
    group: Option<Group>,
) -> Shown {
    visit.may(Right::See)?;
    visit.page(&Page {
        shell: visit.shell(heading.clone(), "settings"),
        heading,
        address,
        blocks: said.layer.mitigations_blocked.iter().map(block).collect(),
        fields: written(&said.layer),
        said,
        groups,
        group,
    })
}

pub(super) async fn change_organization(State(state): State<AppState>, sent: Sent) -> Shown {
    change(&state, &sent, &Target::organization(), "/settings").await
}

pub(super) async fn change_group(
    State(state): State<AppState>,
    Path(name): Path<String>,
    sent: Sent,
) -> Shown {
    let target = Target::group(&state, &name).await?;
    change(&state, &sent, &target, &group_address(&name)).await
}

pub(super) async fn change_server(
    State(state): State<AppState>,
    Path(name): Path<String>,
    sent: Sent,
) -> Shown {
    let (server, target) = Target::server(&state, &name).await?;
    change(&state, &sent, &target, &format!("/servers/{}/settings", escaped(&server.name))).await
}

async fn change(state: &AppState, sent: &Sent, target: &Target, address: &str) -> Shown {
    sent.by.may(Right::Operate)?;
    let reason = sent.fields.reason()?;
    let version = sent.fields.get("version").parse();
    let version: u64 =
        version.map_err(|_| Problem::bad_request("the form has no version; open the page again"))?;
    let before = settings::get(state, target).await?;
    // What is blocked is changed on a mitigation's page; here it stays as it is under the version that was seen.
    let layer = Layer { mitigations_blocked: before.layer.mitigations_blocked, ..read(&sent.fields)? };
    settings::put(state, &sent.by, target, version, layer, Some(reason)).await?;
    Ok(see(&format!("{address}?done=saved")))
}

fn written(layer: &Layer) -> Written {
    let truth = |value: Option<bool>| match value {
        None => "",
        Some(true) => "true",
        Some(false) => "false",
    };
    let ring = |ring: &Wave| format!("{} after {}", ring.percent, duration(ring.after_seconds));
    Written {
        mitigations_enabled: truth(layer.mitigations_enabled),
        data_collection_enabled: truth(layer.data_collection_enabled),
        approval: match layer.approval {
            None => "",
            Some(Approval::Required) => "required",
            Some(Approval::Automatic) => "automatic",
        },
        frozen_until: layer
            .frozen_until
            .map(|at| at.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M").to_string())
            .unwrap_or_default(),
        rings: layer.rings.iter().flatten().map(ring).collect::<Vec<_>>().join("\n"),
        windows: match layer.windows.as_deref() {
            Some([]) => NO_WINDOW.into(),
            windows => {
                let lines = windows.unwrap_or_default().iter().map(ToString::to_string);
                lines.collect::<Vec<_>>().join("\n")
            }
        },
        max_parallel: layer.max_parallel.map(|value| value.to_string()).unwrap_or_default(),
        max_stopped: layer.max_stopped.map(|value| value.to_string()).unwrap_or_default(),
        proxy: match layer.internet_web_proxy.as_deref() {
            None => String::new(),
            Some("") => NO_PROXY.into(),
            Some(proxy) => proxy.into(),
        },
        bypass: layer.internet_web_proxy_bypass.as_deref().unwrap_or_default().join("\n"),
    }
}

fn read(fields: &Fields) -> Answer<Layer> {
    let truth = |name: &str| match fields.get(name) {
        "" => Ok(None),
        "true" => Ok(Some(true)),
        "false" => Ok(Some(false)),
        other => {
            Err(Problem::unprocessable(format_args!("{name} is {other:?}; expected true, false or nothing")))
        }
    };
    let lines = |name: &str| -> Vec<String> {
        fields.get(name).lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    };
    let rings: Vec<Wave> = lines("rings").iter().map(|line| ring(line)).collect::<Answer<_>>()?;
    let windows = match lines("windows") {
        any if any == [NO_WINDOW] => Some(Vec::new()),
        lines => {
            let read: Result<Vec<Window>, String> = lines.iter().map(|line| line.parse()).collect();
            Some(read.map_err(Problem::unprocessable)?).filter(|windows| !windows.is_empty())
        }
    };
    let number = |text: &str| {
        let wrong =
            || Problem::unprocessable(format_args!("servers at a time is {text:?}; expected a number"));
        text.parse().map_err(|_| wrong())
    };
    Ok(Layer {
        mitigations_enabled: truth("mitigations_enabled")?,
        data_collection_enabled: truth("data_collection_enabled")?,
        approval: match fields.get("approval") {
            "" => None,
            "required" => Some(Approval::Required),
            _ => Some(Approval::Automatic),
        },
        frozen_until: fields.filled("frozen_until").map(moment).transpose()?,
        rings: Some(rings).filter(|rings| !rings.is_empty()),
        windows,
        max_parallel: fields.filled("max_parallel").map(number).transpose()?,
        max_stopped: fields.filled("max_stopped").map(number).transpose()?,
        internet_web_proxy: fields
            .filled("internet_web_proxy")
            .map(|proxy| if proxy == NO_PROXY { String::new() } else { proxy.to_owned() }),
        internet_web_proxy_bypass: Some(lines("internet_web_proxy_bypass")).filter(|hosts| !hosts.is_empty()),
        ..Layer::default()
    })
}

/// A minute as a browser's field has it, in UTC.
fn moment(text: &str) -> Answer<Timestamp> {
    let parsed = text.parse::<DateTime>().ok().and_then(|at| at.to_zoned(TimeZone::UTC).ok());
    let wrong =
        || Problem::unprocessable(format_args!("{text:?} is no time; expected 2026-11-22T20:00, in UTC"));
    parsed.map(|at| at.timestamp()).ok_or_else(wrong)
}

/// `10 after 2h`.
fn ring(line: &str) -> Answer<Wave> {
    let parsed = || {
        let (percent, after) = line.split_once("after")?;
        let percent = percent.trim().trim_end_matches('%').trim_end().parse().ok()?;
        (percent <= 100).then_some(Wave { percent, after_seconds: seconds(after.trim())? })
    };
    let wrong =
        || Problem::unprocessable(format_args!("{line:?} is no ring; expected a line such as: 10 after 2h"));
    parsed().ok_or_else(wrong)
}

const UNITS: [(char, u64); 4] = [('d', 86_400), ('h', 3600), ('m', 60), ('s', 1)];

fn seconds(text: &str) -> Option<u64> {
    let (unit, length) = UNITS.into_iter().find(|(unit, _)| text.ends_with(*unit))?;
    text.trim_end_matches(unit).trim_end().parse::<u64>().ok()?.checked_mul(length)
}

/// In the largest unit that says it whole.
pub(super) fn duration(seconds: u64) -> String {
    let fits = |(_, length): &(char, u64)| seconds > 0 && seconds.is_multiple_of(*length);
    let (unit, length) = UNITS.into_iter().find(fits).unwrap_or(('h', 3600));
    format!("{}{unit}", seconds / length)
}

/// `POST /settings/groups`.
pub(super) async fn put_group(State(state): State<AppState>, sent: Sent) -> Shown {
    let fields = &sent.fields;
    let position = fields.get("position").parse();
    let position =
        position.map_err(|_| Problem::unprocessable("a group's position is a number from 0 on"))?;
    let label = fields.get("label").split_once('=');
    let (key, value) = label.ok_or_else(|| Problem::unprocessable("a group's label is written KEY=VALUE"))?;
    let (label_key, label_value) = (key.trim().to_owned(), value.trim().to_owned());
    let document = GroupDocument { label_key, label_value, position };
    let name = fields.get("name").to_owned();
    let why = Asked(Why { reason: Some(fields.reason()?) });
    let _ = groups::put(State(state), sent.by, At(name.clone()), why, Body(document)).await?;
    Ok(see(&format!("{}?done=saved", group_address(&name))))
}

/// `POST /settings/groups/{name}/remove`.
pub(super) async fn remove_group(
    State(state): State<AppState>,
    Path(name): Path<String>,
    sent: Sent,
) -> Shown {
    let reason = Some(sent.fields.reason()?);
    groups::remove(State(state), sent.by, At(name), Asked(Why { reason })).await?;
    Ok(see("/settings?done=removed"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let layer = Layer {
            mitigations_enabled: Some(false),
            internet_web_proxy: Some(String::new()),
            internet_web_proxy_bypass: Some(vec!["a.example".into(), "*.b.example".into()]),
            approval: Some(Approval::Required),
            rings: Some(vec![
                Wave { percent: 10, after_seconds: 0 },
                Wave { percent: 100, after_seconds: 7200 },
            ]),
            windows: Some(vec!["sat,sun 02:00 6h".parse().unwrap(), "22:00 4h".parse().unwrap()]),
            frozen_until: Some("2026-11-22T20:00:00Z".parse().unwrap()),
            max_parallel: Some(2),
            max_stopped: Some(3),
            ..Layer::default()
        };
        let written = written(&layer);
        assert_eq!(written.rings, "10 after 0h\n100 after 2h");
        let fields = [
            ("mitigations_enabled", written.mitigations_enabled),
            ("data_collection_enabled", written.data_collection_enabled),
            ("approval", written.approval),
            ("frozen_until", &written.frozen_until),
            ("rings", &written.rings),
            ("windows", &written.windows),
            ("max_parallel", &written.max_parallel),
            ("max_stopped", &written.max_stopped),
            ("internet_web_proxy", &written.proxy),
            ("internet_web_proxy_bypass", &written.bypass),
        ];
        let fields = Fields(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
        assert_eq!(read(&fields).unwrap(), layer);
        assert_eq!(read(&Fields::default()).unwrap(), Layer::default());
        let never = Fields(vec![("windows".to_owned(), NO_WINDOW.to_owned())]);
        assert_eq!(read(&never).unwrap().windows, Some(Vec::new()));
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for (name, value) in [
            ("rings", "10% of them"),
            ("rings", "101 after 1h"),
            ("max_parallel", "few"),
            ("windows", "at night"),
            ("frozen_until", "tomorrow"),
        ] {
            let fields = Fields(vec![(name.to_owned(), value.to_owned())]);
            assert_eq!(read(&fields).map_err(|problem| problem.status), Err(422), "{name}={value}");
        }
    }
}
