//! People who change things at the same moment: nobody's change is lost, refused for another's sake, or half seen.

use crate::common::{Hub, on_both};
use serde_json::json;
use stopgap_hub::people::Role;

on_both!(changes_of_different_kinds_never_wait_for_each_other_in_a_circle, async |hub: Hub| {
    let token = hub.token(Role::Administrator).await;
    hub.server("S", &[]).await;
    for round in 0..15 {
        let said = json!({"mitigations_enabled": round % 2 == 0});
        let labels = json!({"labels": {"round": round.to_string()}});
        let group = json!({"label_key": "round", "label_value": "1", "position": round});
        let (organization, own, server, group, other) = tokio::join!(
            hub.set("/v1/organization/settings", &token, said.clone()),
            hub.set("/v1/servers/S/settings", &token, said),
            hub.json("PATCH", "/v1/servers/S", &token, labels),
            hub.json("PUT", "/v1/groups/g", &token, group.clone()),
            hub.json("PUT", "/v1/groups/h", &token, group),
        );
        for (status, answer) in [organization, own, server, group, other] {
            assert_eq!(status, 200, "round {round}: {answer}");
        }
    }
});

on_both!(two_administrators_cannot_each_be_taken_for_the_one_who_stays, async |hub: Hub| {
    let token = hub.token(Role::Administrator).await;
    for name in ["ada", "grace"] {
        let user = json!({"name": name, "role": "administrator", "password": "correct horse battery"});
        assert_eq!(hub.json("POST", "/v1/users", &token, user).await.0, 201);
    }
    for round in 0..10 {
        let less = json!({"role": "viewer"});
        let (one, other) = tokio::join!(
            hub.json("PATCH", "/v1/users/ada", &token, less.clone()),
            hub.json("PATCH", "/v1/users/grace", &token, less),
        );
        let mut statuses = [one.0, other.0];
        statuses.sort_unstable();
        assert_eq!(statuses, [200, 409], "round {round}: {one:?} {other:?}");
        for name in ["ada", "grace"] {
            let path = format!("/v1/users/{name}");
            assert_eq!(hub.json("PATCH", &path, &token, json!({"role": "administrator"})).await.0, 200);
        }
    }
});

on_both!(a_text_that_cannot_be_kept_is_the_senders_fault, async |hub: Hub| {
    let token = hub.token(Role::Administrator).await;
    let found = hub.get("/v1/servers?name=%00", &token).await;
    assert!(found.0 < 500, "{found:?}");
    let credentials = json!({"user": "a\u{0}", "password": "x"});
    let refused = hub.json("POST", "/v1/session", "", credentials).await;
    assert!(refused.0 < 500, "{refused:?}");
});
