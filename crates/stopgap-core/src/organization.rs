//! What an organization says of its servers, level by level, and what of it counts for one server.
//!
//! Three levels: the organization, groups (by label), the server. A value of a nearer level wins, and
//! of two groups the one that stands first. Two settings are not values: MitigationsEnabled follows
//! Exchange's truth table (the organization's `false` wins over everything), and MitigationsBlocked is
//! the union of all lists.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stopgap_feed::document::Wave;

use crate::policy::{Approval, Block};
use crate::window::Window;

/// What one level says. `None` says nothing, and the next farther level counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Layer {
    /// MitigationsEnabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mitigations_enabled: Option<bool>,
    /// MitigationsBlocked.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mitigations_blocked: Vec<Block>,
    /// InternetWebProxy; an empty text: none, whatever a farther level says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub internet_web_proxy: Option<String>,
    /// Hosts that are asked without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub internet_web_proxy_bypass: Option<Vec<String>>,
    /// DataCollectionEnabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data_collection_enabled: Option<bool>,
    /// Whether a person approves first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub approval: Option<Approval>,
    /// Rings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rings: Option<Vec<Wave>>,
    /// When something new may come into force; an empty list: at any time, whatever a farther level says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub windows: Option<Vec<Window>>,
    /// Every change is held until then. The latest of all levels counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frozen_until: Option<Timestamp>,
    /// How many servers of a group change at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_parallel: Option<u32>,
    /// How many servers of a group have a service or a pool stopped at a time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_stopped: Option<u32>,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "level", content = "name")]
pub enum Origin {
    /// Nobody said anything.
    Default,
    /// The organization.
    Organization,
    /// A group, by its name.
    Group(String),
    /// The server.
    Server,
}

/// A value with its origin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Said<T> {
    /// The value that counts.
    pub value: T,
    /// Who said it.
    pub origin: Origin,
}

/// What counts for one server.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Effective {
    /// MitigationsEnabled, after the truth table.
    pub mitigations_enabled: Said<bool>,
    /// MitigationsBlocked: every entry with the level that said it.
    pub mitigations_blocked: Vec<Said<Block>>,
    /// InternetWebProxy.
    pub internet_web_proxy: Said<Option<String>>,
    /// Hosts that are asked without it.
    pub internet_web_proxy_bypass: Said<Vec<String>>,
    /// DataCollectionEnabled.
    pub data_collection_enabled: Said<bool>,
    /// Whether a person approves first.
    pub approval: Said<Option<Approval>>,
    /// Rings.
    pub rings: Said<Vec<Wave>>,
    /// When something new may come into force; none: at any time.
    pub windows: Said<Vec<Window>>,
    /// Every change is held until then.
    pub frozen_until: Said<Option<Timestamp>>,
    /// How many servers of its group change at a time.
    pub max_parallel: Said<Option<u32>>,
    /// How many servers of its group have a service or a pool stopped at a time.
    pub max_stopped: Said<Option<u32>>,
}

/// What counts for a server: `groups` in their order, the first one nearest.
pub fn effective(organization: &Layer, groups: &[(String, Layer)], server: &Layer) -> Effective {
    let nearest = || {
        std::iter::once((Origin::Server, server))
            .chain(groups.iter().map(|(name, layer)| (Origin::Group(name.clone()), layer)))
            .chain(std::iter::once((Origin::Organization, organization)))
    };
    let enabled = match organization.mitigations_enabled {
        Some(false) => Said { value: false, origin: Origin::Organization },
        _ => pick(nearest(), |layer| layer.mitigations_enabled).unwrap_or(default(true)),
    };
    let blocks = nearest().flat_map(|(origin, layer)| {
        layer.mitigations_blocked.iter().cloned().map(move |value| Said { value, origin: origin.clone() })
    });
    let frozen = nearest()
        .filter_map(|(origin, layer)| layer.frozen_until.map(|until| (until, origin)))
        .max_by_key(|(until, _)| *until)
        .map(|(until, origin)| Said { value: Some(until), origin });
    Effective {
        mitigations_enabled: enabled,
        mitigations_blocked: blocks.collect(),
        internet_web_proxy: pick(nearest(), |layer| layer.internet_web_proxy.clone())
            .map(|said| Said { value: Some(said.value).filter(|text| !text.is_empty()), origin: said.origin })
            .unwrap_or(default(None)),
        internet_web_proxy_bypass: pick(nearest(), |layer| layer.internet_web_proxy_bypass.clone())
            .unwrap_or(default(Vec::new())),
        data_collection_enabled: pick(nearest(), |layer| layer.data_collection_enabled)
            .unwrap_or(default(false)),
        approval: pick(nearest(), |layer| layer.approval.map(Some)).unwrap_or(default(None)),
        rings: pick(nearest(), |layer| layer.rings.clone()).unwrap_or(default(Vec::new())),
        windows: pick(nearest(), |layer| layer.windows.clone()).unwrap_or(default(Vec::new())),
        frozen_until: frozen.unwrap_or(default(None)),
        max_parallel: pick(nearest(), |layer| layer.max_parallel.map(Some)).unwrap_or(default(None)),
        max_stopped: pick(nearest(), |layer| layer.max_stopped.map(Some)).unwrap_or(default(None)),
    }
}

fn default<T>(value: T) -> Said<T> {
    Said { value, origin: Origin::Default }
}

fn pick<'a, T>(
    mut levels: impl Iterator<Item = (Origin, &'a Layer)>,
    value: impl Fn(&Layer) -> Option<T>,
) -> Option<Said<T>> {
    levels.find_map(|(origin, layer)| value(layer).map(|value| Said { value, origin }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Level;

    fn enabled(value: Option<bool>) -> Layer {
        Layer { mitigations_enabled: value, ..Layer::default() }
    }

    #[test]
    fn the_documented_truth_table_with_groups_between() {
        let (t, f) = (Some(true), Some(false));
        for (organization, group, server, expected, origin) in [
            (None, None, None, true, Origin::Default),
            (t, None, t, true, Origin::Server),
            (t, None, f, false, Origin::Server),
            (f, None, t, false, Origin::Organization),
            (f, t, f, false, Origin::Organization),
            (t, f, None, false, Origin::Group("mail".into())),
            (t, f, t, true, Origin::Server),
        ] {
            let groups = [("mail".to_owned(), enabled(group))];
            let effective = effective(&enabled(organization), &groups, &enabled(server));
            assert_eq!(effective.mitigations_enabled, Said { value: expected, origin });
        }
    }

    #[test]
    fn blocks_add_up_and_the_longest_freeze_counts() {
        let block = |id: &str, level| Block {
            id: id.parse().unwrap(),
            feed: None,
            level,
            take_off: false,
            reason: None,
            until: None,
        };
        let layer = |id, level, frozen: &str| Layer {
            mitigations_blocked: vec![block(id, level)],
            frozen_until: Some(frozen.parse().unwrap()),
            ..Layer::default()
        };
        let organization = layer("M1", Level::Organization, "2026-11-22T05:00:00Z");
        let server = layer("M2", Level::Server, "2026-11-22T04:00:00Z");
        let effective = effective(&organization, &[], &server);
        let ids: Vec<String> = effective.mitigations_blocked.iter().map(|b| b.value.id.to_string()).collect();
        assert_eq!(ids, ["M2", "M1"]);
        assert_eq!(effective.frozen_until.origin, Origin::Organization);
    }

    #[test]
    fn the_nearest_windows_count_and_an_empty_list_takes_them_away() {
        let with = |texts: &[&str]| {
            let windows = texts.iter().map(|text| text.parse().unwrap()).collect();
            Layer { windows: Some(windows), ..Layer::default() }
        };
        let organization = with(&["sat 02:00 4h", "sun 02:00 4h"]);
        let none = Layer::default();
        let counts = |groups: &[(String, Layer)], server: &Layer| {
            let said = effective(&organization, groups, server).windows;
            (said.value.len(), said.origin)
        };
        let night = [("night".to_owned(), with(&["22:00 6h"]))];
        assert_eq!(counts(&[], &none), (2, Origin::Organization));
        assert_eq!(counts(&night, &none), (1, Origin::Group("night".into())));
        assert_eq!(counts(&night, &with(&[])), (0, Origin::Server));
    }

    #[test]
    fn a_proxy_is_taken_away_by_an_empty_text() {
        let with = |proxy: &str| Layer { internet_web_proxy: Some(proxy.into()), ..Layer::default() };
        let effective = effective(&with("http://proxy:3128"), &[("dmz".into(), with(""))], &Layer::default());
        let expected = Said { value: None, origin: Origin::Group("dmz".into()) };
        assert_eq!(effective.internet_web_proxy, expected);
    }
}
