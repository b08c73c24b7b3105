//! What stands around a hub: proxies in front of it, `hub.toml` beside it, a database that ends a change behind it.

use std::fs;

use jiff::Timestamp;
use serde_json::json;
use stopgap_hub::db::{DbError, mirror};
use stopgap_hub::people::Role;
use stopgap_hub::problem::Problem;
use stopgap_hub::secret;

use crate::common::{Cluster, Hub, Store, on_both};

on_both!(behind_a_trusted_proxy_each_network_has_its_own_attempts, async |mut hub: Hub| {
    fs::write(hub.data().join("hub.toml"), "trusted_proxies = [\"127.0.0.0/8\"]\n").unwrap();
    hub.restart().await;
    let guess = async |from: &str| {
        let body = json!({"user": "Ada", "password": "a guess of many"});
        let request = hub.ask("POST", "/v1/session", "").header("x-forwarded-for", from).json(&body);
        request.send().await.unwrap().status().as_u16()
    };
    let mut one = Vec::new();
    for n in 0..11 {
        // What the client wrote itself stands in front, and does not count.
        one.push(guess(&format!("203.0.113.{n}, 198.51.100.7")).await);
    }
    assert!(one[..10] == [401; 10] && one[10] == 429, "{one:?}");
    assert_eq!(guess("198.51.100.8").await, 401);
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_of_proxies_that_is_none_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("hub.toml"), "trusted_proxies = [\"0.0.0.0/0\"]\n").unwrap();
    let settings = stopgap_hub::Settings {
        data: folder.path().to_owned(),
        listen: "127.0.0.1:0".parse().unwrap(),
        database: None,
        tls: None,
        names: Vec::new(),
        bounds: stopgap_hub::Bounds::default(),
    };
    let refused = stopgap_hub::Hub::bind(settings).await.err().unwrap().to_string();
    assert!(refused.contains("hub.toml") && refused.contains("0.0.0.0/0"), "{refused}");
}

on_both!(a_feed_that_is_taken_out_of_the_file_is_served_no_longer, async |mut hub: Hub| {
    let document = mirror::Document {
        feed: "example".into(),
        serial: 7,
        hash: secret::hash("octets"),
        last_seen: None,
        octets: b"octets".to_vec(),
    };
    let put = async |hub: &Hub| {
        let mut change = hub.state.db.begin().await.unwrap();
        mirror::put(&mut change, &document, &[], Timestamp::now()).await.unwrap();
        change.commit().await.unwrap();
    };
    let served = async |hub: &Hub| mirror::documents(hub.state.db.reader()).await.unwrap().len();
    put(&hub).await;
    // A hub without a file takes nothing away: another one may mirror for it.
    hub.restart().await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(served(&hub).await, 1);
    fs::write(hub.data().join("hub.toml"), "mirror_interval = \"1s\"\n").unwrap();
    hub.restart().await;
    let mut left = 1;
    for _ in 0..100 {
        left = served(&hub).await;
        if left == 0 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert_eq!(left, 0);
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_the_database_ended_for_another_is_asked_for_again() {
    let Some(hub) = Hub::start(Store::Postgres, "a_change_that_the_database_ended_for_another").await else {
        return;
    };
    let (one, other) = (hub.server("A", &[]).await, hub.server("B", &[]).await);
    let touch = async |change: &mut stopgap_hub::db::Change, id: &str| {
        let sql = "UPDATE servers SET system = system WHERE id = $1";
        sqlx::query(sql).bind(id.to_owned()).execute(change.on()).await.map_err(DbError::from)
    };
    let mut first = hub.state.db.begin().await.unwrap();
    let mut second = hub.state.db.begin().await.unwrap();
    touch(&mut first, &one).await.unwrap();
    touch(&mut second, &other).await.unwrap();
    let (a, b) = tokio::join!(touch(&mut first, &other), async {
        let done = touch(&mut second, &one).await;
        // Whichever is ended, the other goes on.
        drop(second);
        done
    });
    let ended = [a, b].into_iter().find_map(Result::err).expect("two that wait for each other");
    assert!(ended.is_contended(), "{ended:?}");
    let problem = Problem::from(ended);
    assert_eq!((problem.status, problem.retry_after), (503, Some(1)));
    drop(first);
    assert_eq!(hub.get("/v1/servers", &hub.token(Role::Viewer).await).await.0, 200);
}

/// Waits until PostgreSQL has somebody wait for a row.
async fn somebody_waits(hub: &Hub) {
    let sql = "SELECT CAST(COUNT(*) AS BIGINT) FROM pg_locks WHERE NOT granted";
    for _ in 0..600 {
        let waiting: i64 = sqlx::query_scalar(sql).fetch_one(hub.state.db.reader()).await.unwrap();
        if waiting > 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("nobody waits");
}

/// Makes a change that holds `first` and then wants `second`, while a request that `asks` holds the second and wants
/// the first: PostgreSQL ends the one that waited first, which is the request. Its answer.
async fn in_the_way(
    hub: &Hub,
    first: &'static str,
    second: &'static str,
    asks: reqwest::RequestBuilder,
) -> u16 {
    let mut change = hub.state.db.begin().await.unwrap();
    sqlx::query(first).execute(change.on()).await.unwrap();
    let asked = tokio::spawn(asks.send());
    somebody_waits(hub).await;
    sqlx::query(second).execute(change.on()).await.unwrap();
    change.commit().await.unwrap();
    asked.await.unwrap().unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_the_database_ended_is_made_once_more_by_the_hub_itself() {
    let test = "a_change_that_the_database_ended_is_made_once_more_by_the_hub_itself";
    // Alone: whoever waits in there is this test's.
    let Some(cluster) = Cluster::private(test) else { return };
    let hub = Hub::start_on(Some(cluster)).await;
    let token = hub.token(Role::Administrator).await;
    hub.server("A", &[]).await;
    const LOG: &str = "UPDATE audit_head SET seq = seq WHERE one = 1";
    const SERVERS: &str = "UPDATE servers SET system = system";
    let labels = hub.ask("PATCH", "/v1/servers/A", &token).json(&json!({"labels": {"site": "north"}}));
    assert_eq!(in_the_way(&hub, SERVERS, LOG, labels).await, 200);
    let (_, server) = hub.get("/v1/servers/A", &token).await;
    assert_eq!(server["labels"]["site"], "north", "{server}");
    let (_, log) = hub.get("/v1/audit", &token).await;
    let entries = log["items"].as_array().unwrap();
    assert_eq!(entries.len(), 1, "once: {log}");
    // Without a body, too.
    assert_eq!(in_the_way(&hub, SERVERS, LOG, hub.ask("DELETE", "/v1/servers/A", &token)).await, 204);
    assert_eq!(hub.get("/v1/servers/A", &token).await.0, 404);
    let (_, verified) = hub.get("/v1/audit/verify", &token).await;
    assert_eq!((&verified["ok"], &verified["entries"]), (&json!(true), &json!(2)), "{verified}");
}
