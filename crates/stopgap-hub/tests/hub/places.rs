//! How many servers of a group may have something stopped: who has a place, who waits, who is told when one is free.

use crate::agents::heard;
use crate::common::{Hub, on_both};
use serde_json::{Value, json};
use stopgap_core::plan::sha256_hex;
use stopgap_hub::people::Role;

const AT: &str = "2026-11-23T03:00:00Z";

/// A server of group `web` that listens to nobody: its credential.
async fn web(hub: &Hub, name: &str) -> String {
    format!("sga_{}", hub.server(name, &[("role", "web")]).await)
}

async fn capped(hub: &Hub, most: u32) -> String {
    let administrator = hub.token(Role::Administrator).await;
    let group = json!({ "label_key": "role", "label_value": "web" });
    assert_eq!(hub.json("PUT", "/v1/groups/web", &administrator, group).await.0, 200);
    let said = hub.set("/v1/groups/web/settings", &administrator, json!({ "max_stopped": most })).await;
    assert_eq!(said.0, 200, "{said:?}");
    administrator
}

async fn asks(hub: &Hub, credential: &str, stops: &[&str], sequence: u64) -> Value {
    let mitigations = [&["example:M1"], stops].concat();
    let body = json!({ "mitigations": mitigations, "stops": stops, "sequence": sequence });
    let (status, answer) = hub.json("POST", "/v1/agent/turn", credential, body).await;
    assert_eq!(status, 200, "{answer}");
    answer
}

/// A report of S1, a service, in force or not; `says`: by an agent that tells what it stopped.
async fn reports(hub: &Hub, credential: &str, sequence: u64, in_force: bool, says: bool) {
    let mut report = json!({
        "sequence": sequence, "at": AT, "agent_version": "0.1.0", "mitigations_enabled": true,
        "mitigations": [{"feed": "example", "id": "S1", "type": "Service", "digest": "d",
            "verdict": if in_force { "Applies" } else { "Blocked" },
            "status": if in_force { "Applied" } else { "Blocked" }, "in_force": in_force}],
    });
    if says {
        report["stopped"] = if in_force { json!(["example:S1"]) } else { json!([]) };
    }
    let body = json!({ "machine": sha256_hex(b"m"), "reports": [report] });
    let (status, said) = hub.json("POST", "/v1/agent/reports", credential, body).await;
    assert_eq!(status, 200, "{said}");
}

on_both!(as_many_as_may_have_something_stopped_and_one_more_when_one_comes_back, async |hub: Hub| {
    let [one, two, three] = [web(&hub, "mail1").await, web(&hub, "mail2").await, web(&hub, "mail3").await];
    let other = format!("sga_{}", hub.server("file1", &[("role", "file")]).await);
    assert_eq!(asks(&hub, &one, &["example:S1"], 0).await, json!({ "granted": true }), "nobody caps yet");
    capped(&hub, 2).await;
    let settings = hub.get("/v1/agent/settings", &one).await.1;
    assert_eq!((&settings["caps_stops"], &settings["takes_turns"]), (&json!(true), &json!(false)));
    assert!(hub.get("/v1/agent/settings", &other).await.1.get("caps_stops").is_none());

    for credential in [&one, &three, &one, &other] {
        assert!(
            asks(&hub, credential, &["example:S1"], 0).await.get("stops_held").is_none(),
            "the same again, too"
        );
    }
    let held = "cap of group web: 2 of 2 servers have something stopped (mail1, mail3)";
    let answer = asks(&hub, &two, &["example:S1"], 0).await;
    assert_eq!(answer, json!({ "granted": true, "stops_held": held }), "and the rest may go on");
    assert!(asks(&hub, &two, &[], 0).await.get("stops_held").is_none(), "rules ask for no place");
    // In hand or in force: a place is a place.
    reports(&hub, &one, 1, true, true).await;
    assert_eq!(asks(&hub, &two, &["example:S1"], 0).await["stops_held"], held);
    assert!(
        asks(&hub, &one, &["example:S1", "example:S2"], 1).await.get("stops_held").is_none(),
        "it counts once"
    );
    // What stopped nothing keeps no place; the report of before it was asked for says nothing of it.
    let mut stream = hub.ask("GET", "/v1/agent/events", &two).send().await.unwrap();
    heard(&mut stream, "settings").await;
    reports(&hub, &three, 1, false, true).await;
    heard(&mut stream, "place").await;
    assert!(asks(&hub, &two, &["example:S1"], 0).await.get("stops_held").is_none());
    let answer = asks(&hub, &three, &["example:S1"], 1).await;
    assert_eq!(
        answer["stops_held"],
        "cap of group web: 2 of 2 servers have something stopped (mail1, mail2)"
    );
    // An agent that does not tell what it stopped is counted by what its mitigations are.
    reports(&hub, &two, 1, true, false).await;
    assert!(!asks(&hub, &three, &["example:S1"], 1).await["stops_held"].is_null());
    reports(&hub, &two, 2, false, false).await;
    assert!(asks(&hub, &three, &["example:S1"], 1).await.get("stops_held").is_none());
});

on_both!(of_two_that_ask_at_once_one_has_the_last_place, async |hub: Hub| {
    let servers = [web(&hub, "mail1").await, web(&hub, "mail2").await];
    capped(&hub, 1).await;
    let [one, two] = &servers;
    let stops = ["example:S1"];
    let answers = futures_util::future::join(asks(&hub, one, &stops, 0), asks(&hub, two, &stops, 0)).await;
    let held = [answers.0, answers.1].iter().filter(|answer| answer.get("stops_held").is_some()).count();
    assert_eq!(held, 1);
});

on_both!(a_server_that_waits_for_its_turn_keeps_no_place, async |hub: Hub| {
    let [one, two, three] = [web(&hub, "mail1").await, web(&hub, "mail2").await, web(&hub, "mail3").await];
    let administrator = capped(&hub, 1).await;
    let said = hub.set("/v1/groups/web/settings", &administrator, json!({ "max_parallel": 1 })).await;
    assert_eq!(said.0, 200, "{said:?}");
    assert_eq!(asks(&hub, &one, &[], 0).await["granted"], true, "it puts a rule on");
    let answer = asks(&hub, &two, &["example:S1"], 0).await;
    assert_eq!((&answer["granted"], answer.get("stops_held")), (&json!(false), None), "{answer}");
    // The first is done; the third comes before the second.
    reports(&hub, &one, 1, false, true).await;
    let answer = asks(&hub, &three, &["example:S1"], 0).await;
    assert_eq!(answer, json!({ "granted": true }));
});
