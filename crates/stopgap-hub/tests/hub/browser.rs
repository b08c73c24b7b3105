//! Every page of the console in a real browser, over a fleet with a past (e2e/console/pages.mjs): no serious fault by
//! axe, nothing that the security policy refuses, usable on a telephone and by keyboard.
//!
//! `STOPGAP_SCREENSHOTS=$PWD/docs/console cargo test -p stopgap-hub --test hub browser` takes the pictures of the manual.

#[path = "../../../../e2e/console/node.rs"]
mod node;

use std::path::Path;

use crate::common::{Hub, Store, fleet};
use serde_json::json;
use stopgap_hub::people::Role;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_page_is_accessible_and_loads_nothing_from_elsewhere() {
    let test = "every_page_is_accessible_and_loads_nothing_from_elsewhere";
    let hub = Hub::start(Store::Sqlite, test).await.unwrap();
    fleet::fill(&hub).await;
    said(&hub).await;
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
}
