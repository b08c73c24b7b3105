//! A server that fronts a group: what it is told of the group's versions, when, and who is told nothing.

use crate::agents::{enroll, heard, server, settings_of, tell};
use crate::common::{Hub, on_both};
use jiff::SignedDuration;
use serde_json::{Value, json};
use stopgap_hub::people::Role;

/// The API, in an administrator's name.
async fn api(hub: &Hub, method: &str, path: &str, body: Value) {
    let token = hub.token(Role::Administrator).await;
    let answer = hub.ask(method, path, &token).json(&body).send().await.unwrap();
    assert!(answer.status().is_success(), "{method} {path}: {}", answer.text().await.unwrap());
}

async fn label(hub: &Hub, server: &str, labels: Value) {
    api(hub, "PATCH", &format!("/v1/servers/{server}"), json!({ "labels": labels })).await;
}

fn report(sequence: u64, facts: Value, unknown: Value) -> Value {
    json!({ "sequence": sequence, "at": format!("2026-11-22T03:00:{sequence:02}Z"), "agent_version": "0.1.0",
        "mitigations_enabled": true, "facts": facts, "facts_unknown": unknown })
}

on_both!(a_front_is_told_what_the_groups_members_report, async |hub: Hub| {
    let (_, front) = server(&hub, "front").await;
    let (_, one) = server(&hub, "mail1").await;
    let (_, three) = server(&hub, "mail3").await;
    let group = json!({ "label_key": "role", "label_value": "mail", "position": 1 });
    api(&hub, "PUT", "/v1/groups/web", group).await;
    let says = async |credential: &str, name: &str, reports: &[Value]| {
        let (status, said) = tell(&hub, credential, name, reports).await;
        assert_eq!(status, 200, "{said}");
    };
    let group_of = async |credential: &str| settings_of(&hub, credential).await["protected"]["web"].clone();

    // An administrator's word comes first.
    assert_eq!(settings_of(&hub, &front).await.get("protected"), None);
    label(&hub, "front", json!({ "protects": "web, edge" })).await;
    let told = settings_of(&hub, &front).await["protected"].clone();
    assert_eq!(told["web"]["unknown"], "it has no members", "{told}");
    assert_eq!(told["edge"]["unknown"], "the hub has no group of this name", "{told}");
    label(&hub, "mail1", json!({ "role": "mail" })).await;
    label(&hub, "mail3", json!({ "role": "mail" })).await;
    assert_eq!(group_of(&front).await["unknown"], "mail1 has not reported yet");
    says(
        &one,
        "mail1",
        &[report(1, json!({ "exchange": "15.2.1118.20", "ecosystem": "Debian:12" }), json!({}))],
    )
    .await;
    let told = group_of(&front).await;
    assert_eq!(told["products"]["exchange"]["unknown"], "mail3 has not reported yet", "{told}");

    // What changes the group is pushed to its front, at once.
    let version = settings_of(&hub, &front).await["version"].as_str().unwrap().to_owned();
    let request = hub.ask("GET", "/v1/agent/events", &front).header("last-event-id", format!("{version}."));
    let mut stream = request.send().await.unwrap();
    says(&three, "mail3", &[report(1, json!({ "exchange": "15.2.986.5" }), json!({}))]).await;
    let heard_of = heard(&mut stream, "settings").await["version"].clone();
    assert_eq!(heard_of, settings_of(&hub, &front).await["version"]);
    assert_ne!(heard_of, version.as_str());
    let versions = json!([{ "version": "15.2.986.5", "server": "mail3" },
        { "version": "15.2.1118.20", "server": "mail1" }]);
    assert_eq!(group_of(&front).await, json!({ "products": { "exchange": { "versions": versions } } }));

    // The same again is no news; what cannot be read is.
    let counter = hub.state.db.settings_counter().await.unwrap();
    says(&three, "mail3", &[report(2, json!({ "exchange": "15.2.986.5" }), json!({}))]).await;
    assert_eq!(hub.state.db.settings_counter().await.unwrap(), counter);
    says(&three, "mail3", &[report(3, json!({}), json!({ "exchange": "the file is locked" }))]).await;
    let told = group_of(&front).await;
    assert_eq!(told["products"]["exchange"]["unknown"], "mail3: the file is locked", "{told}");

    // Nobody else is told, and what nobody is told of wakes nobody.
    assert_eq!(settings_of(&hub, &one).await.get("protected"), None);
    label(&hub, "front", json!({})).await;
    assert_eq!(settings_of(&hub, &front).await.get("protected"), None);
    let counter = hub.state.db.settings_counter().await.unwrap();
    says(&three, "mail3", &[report(4, json!({ "exchange": "15.2.986.36" }), json!({}))]).await;
    assert_eq!(hub.state.db.settings_counter().await.unwrap(), counter);
});

on_both!(a_member_that_joins_or_leaves_changes_what_the_front_is_told, async |hub: Hub| {
    // The label of an enrollment token does as well.
    let group = json!({ "label_key": "site", "label_value": "berlin", "position": 1 });
    api(&hub, "PUT", "/v1/groups/berlin", group).await;
    let (_, front) = server(&hub, "front").await;
    label(&hub, "front", json!({ "protects": "berlin" })).await;
    let told = async || settings_of(&hub, &front).await["protected"]["berlin"]["unknown"].clone();
    assert_eq!(told().await, "it has no members");
    server(&hub, "mail1").await;
    assert_eq!(told().await, "mail1 has not reported yet");
    api(&hub, "DELETE", "/v1/servers/mail1", json!({})).await;
    assert_eq!(told().await, "it has no members");
    // So is a front that joins with its label.
    let token = hub.enrollment(1, SignedDuration::from_hours(1), &[("protects", "site of all")]).await;
    let group = json!({ "label_key": "site", "label_value": "all", "position": 2 });
    api(&hub, "PUT", "/v1/groups/site%20of%20all", group).await;
    let (status, joined) = enroll(&hub, &token, "second", "second").await;
    assert_eq!(status, 200, "{joined}");
    let settings = settings_of(&hub, joined["credential"].as_str().unwrap()).await;
    assert_eq!(settings["protected"]["site of all"]["unknown"], "it has no members", "{settings}");
});
