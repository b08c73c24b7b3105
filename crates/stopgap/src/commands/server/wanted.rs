//! A change of settings at the hub: read, changed, and written under the version that was read.

use std::str::FromStr;

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use stopgap_core::policy::Block;
use stopgap_core::window::Window;
use stopgap_feed::{FeedName, Id};

use super::Wanted;
use super::edits::{self, Edits};
use crate::commands::remote::{Remote, Written};
use crate::exit::Failure;
use crate::system;

/// How often settings are read again that somebody else changed meanwhile.
const ATTEMPTS: u32 = 5;

/// An entry of MitigationsBlocked: `M1`, or `example:M1`.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    feed: Option<FeedName>,
    id: Id,
}

impl FromStr for Entry {
    type Err = String;

    fn from_str(text: &str) -> Result<Entry, String> {
        let (feed, id) = match text.split_once(':') {
            Some((feed, id)) => (Some(feed.parse::<FeedName>().map_err(|error| error.to_string())?), id),
            None => (None, text),
        };
        Ok(Entry { feed, id: id.parse::<Id>().map_err(|error| error.to_string())? })
    }
}

/// What is to be changed, checked before anything is asked.
pub struct Change {
    /// What is replaced.
    values: Map<String, Value>,
    blocked: Option<Edits<Entry>>,
    take_off: bool,
    until: Option<Timestamp>,
    reason: Option<String>,
}

impl Change {
    /// Refuses what changes nothing.
    pub fn of(wanted: &Wanted) -> Result<Change, Failure> {
        let mut values = Map::new();
        if let Some(enabled) = wanted.mitigations_enabled {
            values.insert("mitigations_enabled".into(), json!(enabled));
        }
        if let Some(proxy) = &wanted.internet_web_proxy {
            values.insert("internet_web_proxy".into(), json!(proxy));
        }
        if let Some(hosts) = &wanted.internet_web_proxy_bypass {
            let hosts: Vec<&str> = hosts.split(',').map(str::trim).filter(|host| !host.is_empty()).collect();
            values.insert("internet_web_proxy_bypass".into(), json!(hosts));
        }
        if let Some(enabled) = wanted.data_collection_enabled {
            values.insert("data_collection_enabled".into(), json!(enabled));
        }
        // Nothing said is `null`, which takes a value back.
        if let Some(approval) = &wanted.approval {
            values.insert("approval".into(), said(approval));
        }
        if let Some(until) = &wanted.freeze {
            values.insert("frozen_until".into(), freeze(until, Timestamp::now())?);
        }
        if !wanted.windows.is_empty() {
            values.insert("windows".into(), windows(&wanted.windows)?);
        }
        for (name, most) in [("max_parallel", wanted.max_parallel), ("max_stopped", wanted.max_stopped)] {
            if let Some(most) = most {
                values.insert(name.into(), if most == 0 { Value::Null } else { json!(most) });
            }
        }
        let blocked = wanted.mitigations_blocked.as_deref().map(edits::read).transpose()?;
        if values.is_empty() && blocked.is_none() {
            return Err(Failure::usage(
                "nothing to set: give --mitigations-enabled, --mitigations-blocked or another setting",
            ));
        }
        if wanted.lasting.is_some_and(|lasting| !lasting.is_positive()) {
            return Err(Failure::usage("--for: expected a time to come, such as 4h"));
        }
        let until = wanted.lasting.map(|lasting| Timestamp::now().checked_add(lasting)).transpose();
        let until = until.map_err(|_| Failure::usage("--for is too long"))?;
        Ok(Change { values, blocked, take_off: wanted.revert, until, reason: wanted.reason.clone() })
    }

    /// Carries it out on the settings at `path`.
    pub async fn carry_out(&self, remote: &Remote, path: &[&str]) -> Result<(), Failure> {
        for _ in 0..ATTEMPTS {
            let (tag, before) = remote.tagged(path).await?;
            let mut patch = self.values.clone();
            if let Some(edits) = &self.blocked {
                let present = before.get("mitigations_blocked").cloned().unwrap_or(json!([]));
                let present: Vec<Block> = serde_json::from_value(present)?;
                patch.insert("mitigations_blocked".into(), self.blocks(present, edits));
            }
            match remote.patch(path, &tag, &Value::Object(patch), self.reason.as_deref()).await? {
                Written::Done => return Ok(()),
                Written::Stale => {}
            }
        }
        Err(Failure::new(anyhow::anyhow!("somebody else changes the same settings all the time"))
            .hint("nothing was changed; try again"))
    }

    fn blocks(&self, mut present: Vec<Block>, edits: &Edits<Entry>) -> Value {
        let among = |list: &[Entry], block: &Block| {
            list.iter().any(|entry| entry.id == block.id && entry.feed == block.feed)
        };
        if edits.replace {
            present.retain(|block| among(&edits.add, block));
        }
        present.retain(|block| !among(&edits.remove, block));
        let mut list: Vec<Value> = Vec::new();
        for block in &present {
            // What is named again is said anew where it is said with more.
            let again = (self.take_off || self.until.is_some()) && among(&edits.add, block);
            if !again {
                list.push(json!(block));
            }
        }
        for entry in &edits.add {
            let there = present.iter().any(|block| entry.id == block.id && entry.feed == block.feed);
            if !there || self.take_off || self.until.is_some() {
                list.push(json!({"id": entry.id, "feed": entry.feed, "take_off": self.take_off,
                                 "until": self.until, "reason": self.reason}));
            }
        }
        Value::Array(list)
    }
}

fn said(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { json!(text) }
}

/// Until when changes are held; a time that has passed would hold none, and is a slip.
fn freeze(text: &str, now: Timestamp) -> Result<Value, Failure> {
    if text.is_empty() {
        return Ok(Value::Null);
    }
    let until = match text.parse::<Timestamp>() {
        Ok(until) => Some(until),
        Err(_) => system::lasting(text).ok().and_then(|lasting| now.checked_add(lasting).ok()),
    };
    let until = until.filter(|until| *until > now).ok_or_else(|| {
        Failure::usage(format_args!(
            "--freeze {text:?}; expected a time to come: 4h, 7d or 2026-11-22T20:00:00Z"
        ))
    })?;
    Ok(json!(until))
}

fn windows(texts: &[String]) -> Result<Value, Failure> {
    match texts {
        [one] if one.is_empty() => Ok(Value::Null),
        [one] if one == "any time" => Ok(json!([])),
        texts => {
            let read: Result<Vec<Window>, String> = texts.iter().map(|text| text.parse()).collect();
            Ok(json!(read.map_err(|why| Failure::usage(format_args!("--window: {why}")))?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(blocked: &str) -> Wanted {
        Wanted {
            mitigations_enabled: None,
            mitigations_blocked: Some(blocked.into()),
            revert: false,
            lasting: None,
            internet_web_proxy: None,
            internet_web_proxy_bypass: None,
            data_collection_enabled: None,
            approval: None,
            freeze: None,
            windows: Vec::new(),
            max_parallel: None,
            max_stopped: None,
            reason: None,
        }
    }

    fn after(present: &str, wanted: &Wanted) -> Vec<String> {
        let block = |text: &str| {
            let entry: Entry = text.parse().unwrap();
            json!({"id": entry.id, "feed": entry.feed, "level": "server", "reason": "as before"})
        };
        let present = present.split_terminator(',').map(block).collect();
        let present: Vec<Block> = serde_json::from_value(Value::Array(present)).unwrap();
        let change = Change::of(wanted).unwrap();
        let list = change.blocks(present, change.blocked.as_ref().unwrap());
        let name = |block: &Value| {
            let feed = block["feed"].as_str().map(|feed| format!("{feed}:")).unwrap_or_default();
            let kept = if block["reason"] == "as before" { "" } else { "*" };
            format!("{feed}{}{kept}", block["id"].as_str().unwrap())
        };
        list.as_array().unwrap().iter().map(name).collect()
    }

    #[test]
    fn a_freeze_is_how_long_or_until_when_and_windows_are_read_before_anything_is_asked() {
        let now: Timestamp = "2026-11-22T03:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("7d", json!("2026-11-29T03:00:00Z")),
            ("2026-11-22T20:00:00Z", json!("2026-11-22T20:00:00Z")),
            ("", Value::Null),
        ] {
            assert_eq!(freeze(text, now).unwrap(), expected);
        }
        assert!(freeze("2026-11-22T02:00:00Z", now).is_err() && freeze("until Monday", now).is_err());
        let of = |texts: &[&str]| windows(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        assert_eq!(of(&["sun,sat 2:00 6h", "22:00 4h"]).unwrap(), json!(["sat,sun 02:00 6h", "22:00 4h"]));
        assert_eq!(of(&["any time"]).unwrap(), json!([]));
        assert_eq!(of(&[""]).unwrap(), Value::Null);
        assert!(of(&["at night"]).is_err());
    }

    #[test]
    fn a_list_replaces_and_signs_change_and_what_stays_keeps_its_reason() {
        assert_eq!(after("M1,M2", &wanted("M2,M3")), ["M2", "M3*"]);
        assert_eq!(after("M1,M2", &wanted("+M3,-M1")), ["M2", "M3*"]);
        assert_eq!(after("M1,example:M1", &wanted("-M1")), ["example:M1"]);
        assert_eq!(after("M1", &wanted("-M01")), Vec::<String>::new());
        assert_eq!(after("M1", &wanted("")), Vec::<String>::new());
        assert_eq!(after("M1", &Wanted { revert: true, ..wanted("+M1") }), ["M1*"]);
    }
}
