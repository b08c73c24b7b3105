//! Settings, groups and servers over the API.

use crate::common::{Hub, on_both};
use serde_json::{Value, json};
use stopgap_hub::people::Role;

const ORGANIZATION: &str = "/v1/organization/settings";

on_both!(nobody_overwrites_what_they_have_not_read, async |hub: Hub| {
    let token = hub.token(Role::Operator).await;
    let first = hub.tag(ORGANIZATION, &token).await;
    assert_eq!(first, "\"0\"");
    let put = |tag: Option<String>, enabled: bool| {
        let request = hub.ask("PUT", ORGANIZATION, &token).json(&json!({"mitigations_enabled": enabled}));
        if let Some(tag) = tag { request.header("if-match", tag) } else { request }
    };
    assert_eq!(put(None, false).send().await.unwrap().status(), 428);
    assert_eq!(put(Some("*".into()), false).send().await.unwrap().status(), 428);
    let changed = put(Some(first.clone()), false).send().await.unwrap();
    assert_eq!(changed.status(), 200);
    let second = changed.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(changed.json::<Value>().await.unwrap(), json!({"mitigations_enabled": false}));
    // Whoever read the first version has not seen the second.
    let stale = put(Some(first), true).send().await.unwrap();
    assert_eq!(stale.status(), 412);
    assert_eq!(stale.json::<Value>().await.unwrap()["type"], "/problems/stale");
    assert_eq!(hub.get(ORGANIZATION, &token).await.1, json!({"mitigations_enabled": false}));
    // The same again is no change, and a version never returns.
    assert_eq!(put(Some(second.clone()), false).send().await.unwrap().headers()["etag"], second.as_str());
    let known = hub.ask("GET", ORGANIZATION, &token).header("if-none-match", &second).send().await.unwrap();
    assert_eq!(known.status(), 304);
});

on_both!(of_many_who_change_the_same_version_one_does, async |hub: Hub| {
    let token = hub.token(Role::Operator).await;
    let requests = (0..8).map(|n| {
        let body = json!({"max_parallel": n + 1});
        hub.ask("PUT", ORGANIZATION, &token).header("if-match", "\"0\"").json(&body).send()
    });
    let mut statuses = Vec::new();
    for request in requests.map(tokio::spawn).collect::<Vec<_>>() {
        statuses.push(request.await.unwrap().unwrap().status().as_u16());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
});

on_both!(a_change_is_in_the_log_with_before_after_and_why, async |hub: Hub| {
    let token = hub.token(Role::Administrator).await;
    let path = format!("{ORGANIZATION}?reason=a%20test");
    let (status, _) = {
        let tag = hub.tag(ORGANIZATION, &token).await;
        let body = json!({"mitigations_enabled": false});
        let answer =
            hub.ask("PATCH", &path, &token).header("if-match", tag).json(&body).send().await.unwrap();
        (answer.status().as_u16(), ())
    };
    assert_eq!(status, 200);
    assert_eq!(hub.set(ORGANIZATION, &token, json!({"mitigations_enabled": true})).await.0, 200);
    let (_, found) = hub.get("/v1/audit?action=settings", &token).await;
    let entries = found["items"].as_array().unwrap();
    assert_eq!(entries.len(), 2);
    let oldest = &entries[1];
    assert_eq!((&oldest["action"], &oldest["object"]), (&json!("settings.set"), &json!("organization")));
    assert_eq!((&oldest["before"], &oldest["after"]), (&json!({}), &json!({"mitigations_enabled": false})));
    assert_eq!((&oldest["reason"], &oldest["user"]), (&json!("a test"), &json!("token the administrator's")));
    assert_eq!(entries[0]["before"], json!({"mitigations_enabled": false}));
    assert_eq!(hub.get("/v1/audit?action=token", &token).await.1["items"], json!([]));
    let (_, verified) = hub.get("/v1/audit/verify", &token).await;
    assert_eq!((&verified["ok"], &verified["entries"]), (&json!(true), &json!(2)));
    // Somebody who can write to the database is found by the chain.
    let mut change = hub.state.db.begin().await.unwrap();
    sqlx::query("UPDATE audit SET user_name = 'mallory' WHERE seq = 1").execute(change.on()).await.unwrap();
    change.commit().await.unwrap();
    let (_, verified) = hub.get("/v1/audit/verify", &token).await;
    assert_eq!((&verified["ok"], &verified["fault"]), (&json!(false), &json!("entry 1 was altered")));
});

on_both!(the_documented_truth_table, async |hub: Hub| {
    let token = hub.token(Role::Operator).await;
    hub.server("Server1", &[]).await;
    let enabled = async || {
        let (_, effective) = hub.get("/v1/servers/server1/effective", &token).await;
        (
            effective["mitigations_enabled"]["value"].clone(),
            effective["mitigations_enabled"]["origin"]["level"].clone(),
        )
    };
    assert_eq!(enabled().await, (json!(true), json!("default")));
    for (organization, server, expected, origin) in [
        (true, true, true, "server"),
        (true, false, false, "server"),
        (false, true, false, "organization"),
        (false, false, false, "organization"),
    ] {
        assert_eq!(hub.set(ORGANIZATION, &token, json!({"mitigations_enabled": organization})).await.0, 200);
        let path = "/v1/servers/Server1/settings";
        assert_eq!(hub.set(path, &token, json!({"mitigations_enabled": server})).await.0, 200);
        assert_eq!(enabled().await, (json!(expected), json!(origin)), "{organization} {server}");
    }
});

on_both!(a_group_is_its_label_and_the_nearest_wins, async |hub: Hub| {
    let administrator = hub.token(Role::Administrator).await;
    hub.server("Mail1", &[("site", "vienna"), ("role", "mail")]).await;
    hub.server("Web1", &[("site", "vienna")]).await;
    for (name, key, value, position) in [("vienna", "site", "vienna", 2), ("mail", "role", "mail", 1)] {
        let body = json!({"label_key": key, "label_value": value, "position": position});
        let (status, answer) = hub.json("PUT", &format!("/v1/groups/{name}"), &administrator, body).await;
        assert_eq!(status, 200, "{answer}");
    }
    let set = async |group: &str, patch: Value| {
        assert_eq!(hub.set(&format!("/v1/groups/{group}/settings"), &administrator, patch).await.0, 200);
    };
    set("vienna", json!({"internet_web_proxy": "http://vienna:3128", "mitigations_blocked": ["M1"]})).await;
    set("mail", json!({"internet_web_proxy": "", "mitigations_blocked": ["example:M2"]})).await;
    let (_, mail) = hub.get("/v1/servers/Mail1", &administrator).await;
    assert_eq!(mail["groups"], json!(["mail", "vienna"]));
    assert_eq!(mail["effective"]["internet_web_proxy"]["value"], Value::Null);
    assert_eq!(mail["blocked"], json!(["example:M2", "M1"]));
    let (_, web) = hub.get("/v1/servers/Web1", &administrator).await;
    assert_eq!(web["effective"]["internet_web_proxy"]["value"], json!("http://vienna:3128"));
    assert_eq!(
        web["effective"]["mitigations_blocked"][0]["origin"],
        json!({"level": "group", "name": "vienna"})
    );
    let names = async |query: &str| {
        let (_, page) = hub.get(&format!("/v1/servers?{query}"), &administrator).await;
        page["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|s| s["name"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(names("group=mail").await, ["Mail1"]);
    assert_eq!(names("label=site%3Dvienna").await, ["Mail1", "Web1"]);
    assert_eq!(names("name=EB").await, ["Web1"]);
    assert_eq!(names("name=%25").await, Vec::<String>::new());
    // Relabeled, it is in the group no longer.
    let (status, _) = hub.json("PATCH", "/v1/servers/mail1", &administrator, json!({"labels": {}})).await;
    assert_eq!((status, names("group=mail").await), (200, Vec::new()));
    assert_eq!(hub.ask("DELETE", "/v1/groups/vienna", &administrator).send().await.unwrap().status(), 204);
    let (_, web) = hub.get("/v1/servers/Web1/effective", &administrator).await;
    assert_eq!(web["internet_web_proxy"]["origin"]["level"], "default");
});

on_both!(lists_come_in_pages, async |hub: Hub| {
    let token = hub.token(Role::Viewer).await;
    for n in 0..5 {
        hub.server(&format!("S{n}"), &[]).await;
    }
    let (mut names, mut after) = (Vec::new(), String::new());
    loop {
        let (_, page) = hub.get(&format!("/v1/servers?limit=2&after={after}"), &token).await;
        names
            .extend(page["items"].as_array().unwrap().iter().map(|s| s["name"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        next.clone_into(&mut after);
    }
    assert_eq!(names, ["S0", "S1", "S2", "S3", "S4"]);
});

on_both!(a_server_is_renamed_and_forgotten, async |hub: Hub| {
    let administrator = hub.token(Role::Administrator).await;
    let id = hub.server("Old", &[("a", "b")]).await;
    hub.server("Other", &[]).await;
    hub.reports(&id, "example:M1", "Applied", true).await;
    let path = "/v1/servers/Old/settings";
    assert_eq!(hub.set(path, &administrator, json!({"mitigations_enabled": false})).await.0, 200);
    let taken = hub.json("PATCH", "/v1/servers/old", &administrator, json!({"name": "OTHER"})).await;
    assert_eq!(taken.0, 409, "{}", taken.1);
    assert_eq!(hub.json("PATCH", "/v1/servers/old", &administrator, json!({"name": "New"})).await.0, 200);
    // Its settings follow its identity.
    let (_, server) = hub.get("/v1/servers/new", &administrator).await;
    assert_eq!((&server["enabled"], &server["applied"]), (&json!(false), &json!(["M1"])));
    assert_eq!(hub.get("/v1/servers/old", &administrator).await.0, 404);
    assert_eq!(hub.ask("DELETE", "/v1/servers/new", &administrator).send().await.unwrap().status(), 204);
    assert_eq!(hub.get("/v1/servers/new", &administrator).await.0, 404);
    assert_eq!(hub.get("/v1/mitigations", &administrator).await.1["items"], json!([]));
});

on_both!(mitigations_are_counted_over_all_servers, async |hub: Hub| {
    let token = hub.token(Role::Viewer).await;
    for (name, status, in_force) in [("A", "Applied", true), ("B", "Applied", true), ("C", "Blocked", false)]
    {
        let id = hub.server(name, &[]).await;
        hub.reports(&id, "example:M1", status, in_force).await;
    }
    let (_, page) = hub.get("/v1/mitigations", &token).await;
    let expected = json!([{"feed": "example", "id": "M1", "type": "UrlRewrite", "description": "about M1", "servers": 3,
        "in_force": 2, "statuses": {"Applied": 2, "Blocked": 1}}]);
    assert_eq!(page["items"], expected);
    let (_, page) = hub.get("/v1/mitigations/example/M1?limit=2", &token).await;
    assert_eq!((page["items"].as_array().unwrap().len(), &page["next"]), (2, &json!("B")));
    let (_, page) = hub.get("/v1/mitigations/by-server", &token).await;
    assert_eq!(page["items"][2]["mitigations"][0]["status"], "Blocked");
    assert_eq!(hub.get("/v1/servers?status=Blocked", &token).await.1["items"][0]["name"], "C");
    assert_eq!(hub.get("/v1/mitigations/example/M9", &token).await.0, 404);
});
