//! An agent of an earlier version at this hub: it sends what was recorded then (stopgap-core's tests/fixtures/wire/v1),
//! also with more in it than the hub knows, and finds in each answer what it asks for.

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::common::{Hub, on_both};

fn recorded(name: &str) -> Value {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../stopgap-core/tests/fixtures/wire/v1");
    serde_json::from_slice(&std::fs::read(format!("{folder}/{name}")).unwrap()).unwrap()
}

/// Whether an answer has each field of a recorded one, of the same kind.
fn has(answer: &Value, recorded: &Value) {
    for (name, value) in recorded.as_object().unwrap() {
        let found = &answer[name];
        assert_eq!(std::mem::discriminant(found), std::mem::discriminant(value), "{name} of {answer}");
    }
}

on_both!(an_agent_of_an_earlier_version_is_understood_and_understands, async |hub: Hub| {
    let secret = hub.enrollment(1, SignedDuration::from_hours(1), &[]).await;

    let mut enroll = recorded("enroll.json");
    enroll["token"] = json!(secret);
    enroll["of_a_later_version"] = json!({"any": "thing"});
    let (status, enrolled) = hub.json("POST", "/v1/agent/enroll", "", enroll).await;
    assert_eq!(status, 200, "{enrolled}");
    has(&enrolled, &recorded("enrolled.json"));
    let credential = enrolled["credential"].as_str().unwrap();

    let mut reports = recorded("reports.json");
    reports["of_a_later_version"] = json!(1);
    reports["reports"][1]["mood"] = json!("fine");
    reports["reports"][1]["mitigations"][0]["color"] = json!("blue");
    let (status, accepted) = hub.json("POST", "/v1/agent/reports", credential, reports).await;
    assert_eq!(status, 200, "{accepted}");
    has(&accepted, &recorded("accepted.json"));
    assert_eq!(accepted["through"], 2);
    let (status, settings) = hub.get("/v1/agent/settings", credential).await;
    assert_eq!(status, 200, "{settings}");
    has(&settings, &recorded("settings-least.json"));
    let (status, turn) = hub.json("POST", "/v1/agent/turn", credential, recorded("turn.json")).await;
    assert_eq!(status, 200, "{turn}");
    has(&turn, &recorded("turn-least.json"));
    let (status, renewed) = hub.json("POST", "/v1/agent/credential", credential, json!({})).await;
    assert_eq!(status, 200, "{renewed}");
    has(&renewed, &recorded("renewed.json"));
});
