//! What agents and hubs said to each other in earlier versions is understood by this one, and what it says by them:
//! `fixtures/wire/v1` holds documents as they were recorded, and is added to, never changed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use stopgap_core::wire::{
    Accepted, Enroll, Enrolled, Renewed, Reports, ServerReport, Settings, Turn, TurnAnswer,
};

fn recorded(name: &str) -> Value {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/wire/v1").join(name);
    serde_json::from_slice(
        &std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display())),
    )
    .unwrap()
}

/// Whether everything that `old` says stands in `new`, which may say more.
fn says(new: &Value, old: &Value) -> Result<(), String> {
    match (new, old) {
        (Value::Object(new), Value::Object(old)) => old.iter().try_for_each(|(name, value)| {
            let found = new.get(name).ok_or_else(|| format!("{name} is no longer said"))?;
            says(found, value).map_err(|why| format!("{name}: {why}"))
        }),
        (Value::Array(new), Value::Array(old)) if new.len() == old.len() => {
            new.iter().zip(old).try_for_each(|(new, old)| says(new, old))
        }
        _ if new == old => Ok(()),
        _ => Err(format!("{old} became {new}")),
    }
}

/// The same with a field at each place that no version knows.
fn with_more(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.iter().map(|(name, value)| (name.clone(), with_more(value)));
            let more = [("of_a_later_version".to_owned(), json!({"any": [1, null, "thing"]}))];
            Value::Object(fields.chain(more).collect())
        }
        Value::Array(items) => Value::Array(items.iter().map(with_more).collect()),
        other => other.clone(),
    }
}

/// Reads a recorded document, also with more in it than is known, and says again all that it said.
fn understood<T: DeserializeOwned + Serialize + PartialEq + std::fmt::Debug>(name: &str) -> T {
    let old = recorded(name);
    let read: T = serde_json::from_value(old.clone()).unwrap_or_else(|error| panic!("{name}: {error}"));
    let again = serde_json::to_value(&read).unwrap();
    says(&again, &old).unwrap_or_else(|why| panic!("{name}: {why}"));
    let mut more = with_more(&old);
    // These hold what servers and people name themselves, and nothing else has a place there.
    for map in ["/protected_facts", "/protected", "/protected/web/products"] {
        drop_at(&mut more, &format!("{map}/of_a_later_version"));
    }
    for report in more.get_mut("reports").and_then(Value::as_array_mut).into_iter().flatten() {
        drop_at(report, "/facts/of_a_later_version");
        drop_at(report, "/facts_unknown/of_a_later_version");
    }
    let with_more: T =
        serde_json::from_value(more).unwrap_or_else(|error| panic!("{name} with more: {error}"));
    assert_eq!(with_more, read, "{name}");
    read
}

fn drop_at(value: &mut Value, pointer: &str) {
    let Some((parent, name)) = pointer.rsplit_once('/') else { return };
    if let Some(Value::Object(fields)) = value.pointer_mut(parent) {
        fields.remove(name);
    }
}

#[test]
fn every_recorded_document_is_understood_and_said_again() {
    understood::<Enroll>("enroll.json");
    understood::<Enrolled>("enrolled.json");
    understood::<Renewed>("renewed.json");
    understood::<Settings>("settings.json");
    understood::<Accepted>("accepted.json");
    understood::<Turn>("turn.json");
    understood::<TurnAnswer>("turn-answer.json");
    let reports: Reports = understood("reports.json");
    assert_eq!((reports.reports.len(), reports.reports[0].stopped.as_ref()), (2, None));
    understood::<Turn>("turn-stops.json");
    let held: TurnAnswer = understood("turn-answer-held.json");
    assert!(held.granted && held.stops_held.is_some());
    let settings: Settings = understood("settings-cap.json");
    assert!(settings.caps_stops);
    let reports: Reports = understood("reports-stopped.json");
    assert_eq!(reports.reports[0].stopped.as_deref(), Some(&["example:S1".to_owned()][..]));
    let reports: Reports = understood("reports-plan.json");
    assert_eq!(reports.reports[0].mitigations[0].plan[0].kind, "swap");
}

#[test]
fn what_a_group_has_and_what_a_member_could_not_read_is_understood_too() {
    let settings: Settings = understood("settings-protected.json");
    let exchange = &settings.protected["web"].products["exchange"];
    assert_eq!((exchange.versions[0].server.as_str(), exchange.versions.len()), ("mail3", 2));
    assert_eq!(exchange.unknown.as_deref(), Some("mail2 has not reported yet"));
    let reports: Reports = understood("reports-unreadable.json");
    assert_eq!(reports.reports[0].facts_unknown["exchange"], "the file is locked");
    // Of a hub and of an agent from before.
    assert!(understood::<Settings>("settings.json").protected.is_empty());
    assert!(understood::<Reports>("reports.json").reports[0].facts_unknown.is_empty());
}

#[test]
fn the_least_that_was_ever_said_holds_nothing_back() {
    let settings: Settings = understood("settings-least.json");
    let nothing = recorded("settings-least.json");
    assert!(settings.blocks.is_empty() && settings.rings.is_empty() && settings.approvals.is_empty());
    assert_eq!((settings.frozen_until, settings.approval, settings.takes_turns), (None, None, false));
    assert!(!settings.caps_stops);
    // What is said of it now is said in words that an old agent passes over.
    assert!(says(&serde_json::to_value(&settings).unwrap(), &nothing).is_ok());
    let answer: TurnAnswer = understood("turn-least.json");
    assert!(answer.granted && answer.stops_held.is_none());
}

/// An old hub refuses a report without the fields that it asks for.
#[test]
fn what_an_old_hub_asks_for_is_still_reported() {
    let old = recorded("reports.json");
    let least = old.pointer("/reports/0").unwrap();
    let report: ServerReport = serde_json::from_value(least.clone()).unwrap();
    let said = serde_json::to_value(&report).unwrap();
    for name in least.as_object().unwrap().keys() {
        assert!(said.get(name).is_some_and(|value| !value.is_null()), "{name}");
    }
}
