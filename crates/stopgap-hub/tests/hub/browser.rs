//! Every page of the console in a real browser, over a fleet with a past (e2e/console/pages.mjs): no serious fault by
//! axe, nothing that the security policy refuses, usable on a telephone and by keyboard.
//!
//! `STOPGAP_SCREENSHOTS=$PWD/docs/console cargo test -p stopgap-hub --test hub browser` takes the pictures of the manual.

#[path = "../../../../e2e/console/node.rs"]
mod node;

use std::path::Path;
use std::time::Duration;

use crate::common::{Hub, Store, fleet};
use crate::tell::receivers::Collector;
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use stopgap_hub::db::{telling, time, troubles};
use stopgap_hub::people::Role;
use stopgap_tell::Kind;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_is_accessible_and_loads_nothing_from_elsewhere() {
    let test = "every_page_is_accessible_and_loads_nothing_from_elsewhere";
    let mut hub = Hub::start(Store::Sqlite, test).await.unwrap();
    fleet::fill(&hub).await;
    fleet::mirror(&mut hub).await;
    said(&hub).await;
    let _chat = told(&mut hub).await;
    let target = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let Some(mut script) = node::script("pages.mjs", &hub.url, target, test) else { return };
    let done = tokio::task::spawn_blocking(move || script.output().unwrap()).await.unwrap();
    let told = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    println!("{told}");
    assert!(done.status.success(), "{told}");
}

/// What people said, so that pages have something to show.
async fn said(hub: &Hub) {
    let token = hub.token_named(Role::Operator, "rollout script").await;
    let set = async |path: &str, patch| assert_eq!(hub.set(path, &token, patch).await.0, 200);
    set(
        "/v1/organization/settings",
        json!({"internet_web_proxy": "http://proxy.example:3128",
               "mitigations_blocked": [{"feed": "example", "id": "M4", "reason": "the plotter needs it"}]}),
    )
    .await;
    set("/v1/groups/web/settings", json!({"approval": "required", "max_parallel": 2})).await;
    set(
        "/v1/groups/mail/settings",
        json!({"rings": [{"percent": 10, "after_seconds": 0}, {"percent": 50, "after_seconds": 7200},
                         {"percent": 100, "after_seconds": 86400}]}),
    )
    .await;
    let ask =
        json!({"mitigation": "example:M2", "level": "group", "name": "web", "reason": "tested in the lab"});
    assert_eq!(hub.json("POST", "/v1/approvals", &token, ask).await.0, 201);
    let administrator = hub.token_named(Role::Administrator, "installation").await;
    let twenty = json!({"uses": 20, "hours": 24, "labels": {"role": "mail"}});
    assert_eq!(hub.json("POST", "/v1/enrollments", &administrator, twenty).await.0, 201);
}

/// What people were told: of two receivers one does not answer, and a server is quiet.
async fn told(hub: &mut Hub) -> Collector {
    let chat = Collector::start().await;
    // A feed without its trust cannot be asked for: what is mirrored of it stays.
    std::fs::write(
        hub.data().join("hub.toml"),
        format!(
            "[[feed]]\nname = \"example\"\nurl = \"http://127.0.0.1:9/\"\ntrust = \"none.toml\"\n[notify]\nwindow = \"0s\"\nretry = \"10m\"\ndigest = \"off\"\n\
             [[webhook]]\nname = \"chat\"\nform = \"slack\"\nurl = \"{}\"\n\
             [[webhook]]\nname = \"tickets\"\nform = \"slack\"\nurl = \"http://127.0.0.1:9/\"\n",
            chat.url
        ),
    )
    .unwrap();
    let now = Timestamp::now();
    let ago = |hours: i64| now - SignedDuration::from_hours(hours);
    let mut change = hub.state.db.begin().await.unwrap();
    for (hours, kind, mitigation, servers, words) in [
        (120, Kind::Applied, "example:M1", &["mail01", "mail02", "mail03"][..], "proven"),
        (
            28,
            Kind::Failed,
            "intern:M7.1",
            &["edge02"],
            "nginx rejected the staged rules: unknown directive in line 4",
        ),
        (
            20,
            Kind::AwaitingApproval,
            "example:M2",
            &["web01", "web02", "web03", "web04", "web05"],
            "a person approves each revision here",
        ),
        (
            2,
            Kind::Ineffective,
            "example:M1",
            &["mail06"],
            "the probe M1.1 still passes on https://127.0.0.1:8443",
        ),
    ] {
        for server in servers {
            telling::note(&mut change, kind, mitigation, server, words, ago(hours)).await.unwrap();
        }
    }
    // The hub was there all the time, so that who said nothing is quiet.
    troubles::set_word(&mut change, "listening_since", &time(ago(600))).await.unwrap();
    troubles::set_word(&mut change, "judged_at", &time(now - SignedDuration::from_mins(2))).await.unwrap();
    change.commit().await.unwrap();
    hub.restart().await;
    let viewer = hub.token(Role::Viewer).await;
    for _ in 0..600 {
        let (_, page) = hub.get("/v1/notifications", &viewer).await;
        let messages = page["items"].as_array().unwrap();
        let tried = |one: &serde_json::Value| {
            one["deliveries"].as_array().unwrap().iter().all(|to| to["tries"].as_u64() > Some(0))
        };
        if messages.len() >= 5 && messages.iter().all(tried) {
            return chat;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{}", hub.get("/v1/notifications", &viewer).await.1);
}
