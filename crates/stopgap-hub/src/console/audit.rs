//! The audit log, as a page and as a file.

use askama::Template;
use axum::extract::State;
use serde_json::Value;

use super::csv;
use super::marks::Time;
use super::visit::{Shell, Shown, Visit};
use crate::audit::{Entry, Verified};
use crate::db::audit::{self, Search};
use crate::people::Right;
use crate::state::AppState;

/// Entries of a page, and of a file: who needs more asks the API, page by page.
const PAGE: u32 = 100;
const FILE: u32 = 100_000;

#[derive(Template)]
#[template(path = "audit.html")]
struct Page {
    shell: Shell,
    entries: Vec<Line>,
    search: Search,
    since: String,
    next: Option<String>,
    first: Option<String>,
    csv: String,
    check: String,
    verified: Option<Verified>,
}

struct Line {
    entry: Entry,
    at: Option<Time>,
    changes: Vec<Changed>,
}

/// One setting that a change changed.
#[derive(Debug, PartialEq, Eq)]
struct Changed {
    name: String,
    before: String,
    after: String,
}

pub(super) async fn show(State(state): State<AppState>, visit: Visit) -> Shown {
    visit.may(Right::Audit)?;
    let since = visit.query.get("since").to_owned();
    let search = Search {
        action: visit.query.get("action").to_owned(),
        user: visit.query.get("user").to_owned(),
        object: visit.query.get("object").to_owned(),
        since: crate::past::begin_of_day(&since),
        until: None,
    };
    let db = state.db.reader();
    if visit.wants_csv() {
        let entries = audit::search(db, &search, None, FILE).await?;
        return Ok(file(entries));
    }
    let before = visit.query.get("before").parse().ok();
    let mut entries = audit::search(db, &search, before, PAGE + 1).await?;
    let more = entries.len() > PAGE as usize;
    entries.truncate(PAGE as usize);
    let next = entries
        .last()
        .filter(|_| more)
        .map(|entry| visit.address_with(&[("before", &entry.seq.to_string())]));
    let verified = if visit.query.get("check") == "1" { Some(audit::verify(&state.db).await?) } else { None };
    visit.page(&Page {
        shell: visit.shell("Audit log", "audit"),
        entries: entries.into_iter().map(line).collect(),
        search,
        since,
        next,
        first: before.map(|_| visit.address_with(&[("before", "")])),
        csv: visit.address_with(&[("format", "csv"), ("before", ""), ("check", "")]),
        check: visit.address_with(&[("check", "1")]),
        verified,
    })
}

fn line(entry: Entry) -> Line {
    let changes = changes(entry.before.as_ref(), entry.after.as_ref());
    Line { at: entry.time.parse().ok().map(Time), changes, entry }
}

/// What differs between two documents, name by name; a value that is no object is shown whole.
fn changes(before: Option<&Value>, after: Option<&Value>) -> Vec<Changed> {
    let empty = serde_json::Map::new();
    let map = |value: Option<&Value>| match value {
        None => Some(empty.clone()),
        Some(Value::Object(map)) => Some(map.clone()),
        Some(_) => None,
    };
    let text = |value: Option<&Value>| match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    };
    let (Some(from), Some(to)) = (map(before), map(after)) else {
        return vec![Changed { name: String::new(), before: text(before), after: text(after) }];
    };
    let mut names: Vec<&String> =
        from.keys().chain(to.keys().filter(|name| !from.contains_key(*name))).collect();
    names.sort();
    names
        .into_iter()
        .filter(|name| from.get(*name) != to.get(*name))
        .map(|name| Changed { name: name.clone(), before: text(from.get(name)), after: text(to.get(name)) })
        .filter(|changed| changed.before != changed.after)
        .collect()
}

fn file(entries: Vec<Entry>) -> axum::response::Response {
    let header = ["Number", "Time", "User", "Action", "Object", "Before", "After", "Reason", "Hash"];
    let text = |value: Option<Value>| value.map(|value| value.to_string()).unwrap_or_default();
    let rows = entries.into_iter().map(|entry| {
        vec![
            entry.seq.to_string(),
            entry.time,
            entry.user,
            entry.action,
            entry.object,
            text(entry.before),
            text(entry.after),
            entry.reason.unwrap_or_default(),
            entry.hash,
        ]
    });
    csv::file("audit", &header, rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_differs_is_shown_and_what_does_not_is_not() {
        let before = json!({"a": 1, "b": "same", "c": true});
        let after = json!({"a": 2, "b": "same", "d": ["x"]});
        let found = changes(Some(&before), Some(&after));
        let expected = [("a", "1", "2"), ("c", "true", ""), ("d", "", "[\"x\"]")];
        let expected = expected.map(|(name, before, after)| Changed {
            name: name.into(),
            before: before.into(),
            after: after.into(),
        });
        assert_eq!(found, expected);
    }
}
