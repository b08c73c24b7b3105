//! Polls of agents that have the settings of now are answered in front of the routes. Nothing tells them from what the
//! routes answer, and they outlast neither a change nor the credential.

use std::collections::BTreeMap;

use crate::agents::server;
use crate::common::{Hub, Store, on_both};
use serde_json::{Value, json};
use stopgap_hub::people::Role;

const SETTINGS: &str = "/v1/agent/settings";

/// What a server is told that has the settings of this tag: the status and the headers, other than the time.
async fn poll(hub: &Hub, credential: &str, tag: &str) -> (u16, BTreeMap<String, String>) {
    let answer = hub.ask("GET", SETTINGS, credential).header("if-none-match", tag).send().await.unwrap();
    let mut headers = BTreeMap::new();
    for (name, value) in answer.headers() {
        headers.insert(name.to_string(), value.to_str().unwrap().to_owned());
    }
    assert!(headers.remove("date").is_some());
    (answer.status().as_u16(), headers)
}

on_both!(a_poll_in_front_of_the_routes_is_answered_and_counted_as_behind_them, async |hub: Hub| {
    let (_, one) = server(&hub, "Server1").await;
    let (_, other) = server(&hub, "Server2").await;
    let tag = hub.tag(SETTINGS, &one).await;
    // Nobody has seen this credential, so the routes answer it.
    let behind = poll(&hub, &other, &tag).await;
    assert_eq!((behind.0, &behind.1["etag"]), (304, &tag));
    assert!(
        behind.1.keys().eq(["cache-control", "etag"]) && behind.1["cache-control"] == "no-cache",
        "{behind:?}"
    );
    assert_eq!(poll(&hub, &other, &tag).await, behind);
    assert_eq!(poll(&hub, &other, &format!("\"of-before\", {tag}")).await, behind);
    let viewer = hub.token(Role::Viewer).await;
    let metrics = hub.ask("GET", "/metrics", &viewer).send().await.unwrap().text().await.unwrap();
    let counted = metrics.lines().filter(|line| line.contains(SETTINGS) && line.contains("304"));
    assert!(counted.map(|line| line.rsplit(' ').next().unwrap()).eq(["3"]), "{metrics}");
});

on_both!(a_poll_after_a_change_has_the_settings_of_after_it, async |hub: Hub| {
    let (_, credential) = server(&hub, "Server1").await;
    let operator = hub.token(Role::Administrator).await;
    let first = hub.tag(SETTINGS, &credential).await;
    for enabled in [false, true, false] {
        let tag = hub.tag(SETTINGS, &credential).await;
        assert_eq!(poll(&hub, &credential, &tag).await.0, 304);
        let (status, said) =
            hub.set("/v1/organization/settings", &operator, json!({ "mitigations_enabled": enabled })).await;
        assert_eq!(status, 200, "{said}");
        let (status, headers) = poll(&hub, &credential, &tag).await;
        assert_eq!((status, headers["etag"] == tag), (200, false));
    }
    assert_eq!(poll(&hub, &credential, &first).await.0, 200);
});

on_both!(a_poll_with_a_credential_that_ended_is_refused_at_once, async |hub: Hub| {
    let (_, first) = server(&hub, "Server1").await;
    let tag = hub.tag(SETTINGS, &first).await;
    assert_eq!(poll(&hub, &first, &tag).await.0, 304);
    let (_, renewed) = hub.json("POST", "/v1/agent/credential", &first, Value::Null).await;
    let second = renewed["credential"].as_str().unwrap();
    assert_eq!(poll(&hub, &first, &tag).await.0, 304, "its successor was not used yet");
    assert_eq!(poll(&hub, second, &tag).await.0, 304);
    assert_eq!(poll(&hub, &first, &tag).await.0, 401);
    assert_eq!(poll(&hub, second, &tag).await.0, 304);
    let admin = hub.token(Role::Administrator).await;
    let gone = hub.ask("DELETE", "/v1/servers/Server1", &admin).send().await.unwrap();
    assert_eq!(gone.status(), 204);
    assert_eq!(poll(&hub, second, &tag).await.0, 401);
});

/// Waits until this is refused.
async fn ends(hub: &Hub, credential: &str, tag: &str) {
    for _ in 0..200 {
        if poll(hub, credential, tag).await.0 == 401 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("a credential that ended at another hub is still good");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_that_ended_at_one_hub_is_refused_by_the_other() {
    let test = "a_credential_that_ended_at_one_hub_is_refused_by_the_other";
    let Some(hub) = Hub::start(Store::Postgres, test).await else { return };
    let other = hub.other().await;
    let (_, first) = server(&hub, "Server1").await;
    let tag = hub.tag(SETTINGS, &first).await;
    assert_eq!(poll(&other, &first, &tag).await.0, 304);
    let (_, renewed) = hub.json("POST", "/v1/agent/credential", &first, Value::Null).await;
    let second = renewed["credential"].as_str().unwrap();
    assert_eq!(poll(&other, &first, &tag).await.0, 304, "its successor was not used yet");
    assert_eq!(poll(&hub, second, &tag).await.0, 304);
    // No change of settings tells of this one.
    ends(&other, &first, &tag).await;
    assert_eq!(poll(&other, second, &tag).await.0, 304);
    let admin = hub.token(Role::Administrator).await;
    assert_eq!(hub.ask("DELETE", "/v1/servers/Server1", &admin).send().await.unwrap().status(), 204);
    ends(&other, second, &tag).await;
}
