//! A database that goes away under load, and comes back.

use std::time::Duration;

use crate::common::{Cluster, Hub};
use serde_json::json;
use stopgap_hub::people::Role;

const PATH: &str = "/v1/organization/settings";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgresql_is_restarted_and_the_hub_goes_on_by_itself() {
    let test = "postgresql_is_restarted_and_the_hub_goes_on_by_itself";
    let Some(cluster) = Cluster::private(test) else { return };
    let hub = Hub::start_on(Some(cluster.clone())).await;
    let token = hub.token(Role::Administrator).await;
    let (stop, mut stopped) = tokio::sync::watch::channel(false);
    let (http, url, bearer) = (hub.http.clone(), hub.url.clone(), token.clone());
    // Every change that is acknowledged is remembered, whatever happens to the database meanwhile.
    let writer = tokio::spawn(async move {
        let (mut acknowledged, mut n) = (0_u32, 0_u32);
        while !*stopped.borrow_and_update() {
            n += 1;
            let get = http.get(format!("{url}{PATH}")).bearer_auth(&bearer).send().await.unwrap();
            let Some(tag) = get.headers().get("etag").cloned() else {
                tokio::time::sleep(Duration::from_millis(20)).await;
                continue;
            };
            let patch = json!({"max_parallel": n});
            let request = http.patch(format!("{url}{PATH}")).bearer_auth(&bearer).header("if-match", tag);
            let status = request.json(&patch).send().await.unwrap().status().as_u16();
            acknowledged += u32::from(status == 200);
            assert!(matches!(status, 200 | 412 | 500 | 503), "{status}");
        }
        acknowledged
    });
    let ready = async || hub.ask("GET", "/readyz", "").send().await.unwrap().status().as_u16();
    tokio::time::sleep(Duration::from_millis(300)).await;
    tokio::task::spawn_blocking({
        let cluster = cluster.clone();
        move || cluster.stop()
    })
    .await
    .unwrap();
    assert_eq!(ready().await, 503, "without its database a hub is not ready");
    assert_eq!(hub.ask("GET", "/livez", "").send().await.unwrap().status(), 200);
    tokio::task::spawn_blocking(move || cluster.start()).await.unwrap();
    let mut patience = 200;
    while ready().await != 200 {
        patience -= 1;
        assert!(patience > 0, "the hub did not come back");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    stop.send_replace(true);
    let acknowledged = writer.await.unwrap();
    let (_, verified) = hub.get("/v1/audit/verify", &token).await;
    assert_eq!(verified["ok"], true, "{verified}");
    let entries = verified["entries"].as_u64().unwrap();
    assert!(acknowledged > 0 && entries >= u64::from(acknowledged), "{entries} of {acknowledged}");
}
