//! The store and the door: both databases, made from nothing, asked, and found again.

use crate::common::{Hub, on_both};
use stopgap_hub::audit::{Chain, Said};
use stopgap_hub::people::Role;

on_both!(a_hub_is_ready_and_knows_who_asks, async |hub: Hub| {
    assert_eq!(hub.ask("GET", "/livez", "").send().await.unwrap().status(), 200);
    assert_eq!(hub.ask("GET", "/readyz", "").send().await.unwrap().status(), 200);
    let nobody = hub.ask("GET", "/v1/me", "").send().await.unwrap();
    assert_eq!(nobody.status(), 401);
    assert_eq!(nobody.headers()["content-type"], "application/problem+json");
    assert_eq!(nobody.json::<serde_json::Value>().await.unwrap()["type"], "/problems/unauthorized");
    let token = hub.token(Role::Operator).await;
    let me: serde_json::Value = hub.ask("GET", "/v1/me", &token).send().await.unwrap().json().await.unwrap();
    assert_eq!(me, serde_json::json!({"user": "token the operator's", "role": "operator"}));
    let almost = hub.ask("GET", "/v1/me", &token[..token.len() - 1]).send().await.unwrap();
    assert_eq!(almost.status(), 401);
});

on_both!(what_was_committed_is_there_after_a_restart, async |mut hub: Hub| {
    let token = hub.token(Role::Viewer).await;
    hub.restart().await;
    assert_eq!(hub.ask("GET", "/v1/me", &token).send().await.unwrap().status(), 200);
});

on_both!(entries_of_the_log_follow_each_other_however_many_write_at_once, async |hub: Hub| {
    let writers = (0..8).map(|writer| {
        let db = hub.state.db.clone();
        tokio::spawn(async move {
            for n in 0..5 {
                let mut change = db.begin().await.unwrap();
                let said = Said {
                    user: format!("w{writer}"),
                    action: "test".into(),
                    object: n.to_string(),
                    ..Said::default()
                };
                change.audit(jiff::Timestamp::now(), &said).await.unwrap();
                change.commit().await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let entries = stopgap_hub::db::audit::page(hub.state.db.reader(), 0, 100).await.unwrap();
    let mut chain = Chain::default();
    for entry in &entries {
        assert!(chain.take(entry), "{entry:?}");
    }
    let (seq, head) = stopgap_hub::db::audit::head(hub.state.db.reader()).await.unwrap();
    assert!(chain.end(seq, &head).ok);
    assert_eq!(seq, 40);
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_is_its_owners_in_a_folder_that_is_open_to_all() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o755)).unwrap();
    let db = stopgap_hub::db::Db::open(&data, None).await.unwrap();
    for entry in std::fs::read_dir(&data).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "{:?} has mode {mode:o}", entry.file_name());
    }
    db.close().await;
}
