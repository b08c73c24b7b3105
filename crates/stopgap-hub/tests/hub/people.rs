//! Who may do what: roles, sessions, tokens, approvals, and what is sent twice.

use crate::common::{Hub, on_both};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use stopgap_hub::people::{Role, accounts};

const PASSWORD: &str = "correct horse battery";

/// Every change that there is, with a body that would be taken.
const CHANGES: &[(&str, &str, &str)] = &[
    ("PUT", "/v1/organization/settings", r#"{"mitigations_enabled":false}"#),
    ("PATCH", "/v1/organization/settings", r#"{"mitigations_enabled":false}"#),
    ("PUT", "/v1/groups/g", r#"{"label_key":"a","label_value":"b"}"#),
    ("PUT", "/v1/groups/g/settings", "{}"),
    ("PATCH", "/v1/groups/g/settings", "{}"),
    ("DELETE", "/v1/groups/g", ""),
    ("PATCH", "/v1/servers/S", r#"{"labels":{}}"#),
    ("PUT", "/v1/servers/S/settings", "{}"),
    ("PATCH", "/v1/servers/S/settings", "{}"),
    ("DELETE", "/v1/servers/S", ""),
    ("POST", "/v1/approvals", r#"{"mitigation":"example:M1","level":"organization"}"#),
    ("PUT", "/v1/approvals/x", r#"{"state":"approved"}"#),
    ("POST", "/v1/tokens", r#"{"label":"x","role":"viewer"}"#),
    ("DELETE", "/v1/tokens/x", ""),
    ("POST", "/v1/users", r#"{"name":"x","role":"viewer","password":"correct horse battery"}"#),
    ("PATCH", "/v1/users/x", r#"{"role":"viewer"}"#),
    ("DELETE", "/v1/users/x", ""),
    ("POST", "/v1/enrollments", r#"{"uses":1,"hours":1}"#),
    ("DELETE", "/v1/enrollments/x", ""),
    ("POST", "/v1/notifications/test", "{}"),
];

async fn status(hub: &Hub, token: &str, (method, path, body): (&str, &str, &str)) -> u16 {
    let request = hub.ask(method, path, token).header("if-match", "\"0\"");
    let request = request.header("content-type", "application/json").body(body.to_owned());
    request.send().await.unwrap().status().as_u16()
}

on_both!(whoever_only_sees_changes_nothing, async |hub: Hub| {
    hub.server("S", &[]).await;
    for role in [Role::Viewer, Role::Auditor] {
        let token = hub.token(role).await;
        for change in CHANGES {
            assert_eq!(status(&hub, &token, *change).await, 403, "{role}: {change:?}");
        }
    }
    for change in CHANGES {
        assert_eq!(status(&hub, "", *change).await, 401, "nobody: {change:?}");
    }
    let operator = hub.token(Role::Operator).await;
    for change in
        CHANGES.iter().filter(|(_, path, _)| !path.contains("settings") && !path.contains("approvals"))
    {
        assert_eq!(status(&hub, &operator, *change).await, 403, "operator: {change:?}");
    }
    // Nothing of all that happened.
    let (_, found) = hub.get("/v1/audit", &hub.token(Role::Auditor).await).await;
    assert_eq!(found["items"], json!([]));
    for (role, expected) in
        [(Role::Viewer, 403), (Role::Operator, 403), (Role::Auditor, 200), (Role::Administrator, 200)]
    {
        let token = hub.token_named(role, &format!("another {role}'s")).await;
        assert_eq!(hub.get("/v1/audit", &token).await.0, expected, "{role}");
        assert_eq!(hub.get("/v1/servers", &token).await.0, 200, "{role}");
    }
});

on_both!(every_change_of_the_description_is_guarded, async |hub: Hub| {
    let (_, document) = hub.get("/v1/openapi.json", "").await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods
            .as_object()
            .unwrap()
            .keys()
            .filter(|m| ["put", "post", "patch", "delete"].contains(&m.as_str()))
        {
            let shape = |path: &str| path.split('/').map(str::len).count();
            let method = method.to_uppercase();
            let like = |known: &str| {
                shape(known) == shape(path)
                    && known.split('/').zip(path.split('/')).all(|(a, b)| a == b || b.starts_with('{'))
            };
            let tested = CHANGES.iter().any(|(known, at, _)| *known == method && like(at));
            assert!(
                tested || path == "/v1/session",
                "{method} {path} is not among the changes that are tried"
            );
        }
    }
});

on_both!(somebody_signs_in_changes_and_signs_out, async |hub: Hub| {
    let administrator = hub.token(Role::Administrator).await;
    let new = json!({"name": "Ada", "role": "operator", "password": PASSWORD});
    assert_eq!(hub.json("POST", "/v1/users", &administrator, new.clone()).await.0, 201);
    let (taken, _) = hub
        .json(
            "POST",
            "/v1/users",
            &administrator,
            json!({"name": "ADA", "role": "viewer", "password": PASSWORD}),
        )
        .await;
    assert_eq!(taken, 409);
    let sign_in = |user: &str, password: &str| {
        hub.ask("POST", "/v1/session", "").json(&json!({"user": user, "password": password})).send()
    };
    // One answer, whether the name or the password is wrong.
    let wrong: Value = sign_in("Ada", "wrong horse battery").await.unwrap().json().await.unwrap();
    let unknown: Value = sign_in("Bob", PASSWORD).await.unwrap().json().await.unwrap();
    assert_eq!((&wrong["status"], &wrong), (&json!(401), &unknown));
    let signed_in = sign_in("ada", PASSWORD).await.unwrap();
    assert_eq!(signed_in.status(), 200);
    let cookie = signed_in.headers()["set-cookie"].to_str().unwrap().to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let cookie = cookie.split(';').next().unwrap().to_owned();
    let me: Value = signed_in.json().await.unwrap();
    assert_eq!((&me["user"], &me["role"]), (&json!("Ada"), &json!("operator")));
    let put = |csrf: Option<&str>| {
        let request = hub.ask("PUT", "/v1/organization/settings", "").header("cookie", &cookie);
        let request = request.header("if-match", "\"0\"").json(&json!({"mitigations_enabled": false}));
        if let Some(csrf) = csrf { request.header("x-csrf-token", csrf) } else { request }.send()
    };
    assert_eq!(put(None).await.unwrap().status(), 403);
    assert_eq!(put(Some("0000")).await.unwrap().status(), 403);
    assert_eq!(put(Some(me["csrf"].as_str().unwrap())).await.unwrap().status(), 200);
    let out = hub.ask("DELETE", "/v1/session", "").header("cookie", &cookie);
    let out = out.header("x-csrf-token", me["csrf"].as_str().unwrap()).send().await.unwrap();
    assert_eq!(out.status(), 204);
    assert_eq!(hub.ask("GET", "/v1/me", "").header("cookie", &cookie).send().await.unwrap().status(), 401);
    // The log has the name, and no secret.
    let (_, log) = hub.get("/v1/audit?user=Ada", &administrator).await;
    assert_eq!(log["items"].as_array().unwrap().len(), 3);
    assert!(!log.to_string().contains(PASSWORD) && !log.to_string().contains(me["csrf"].as_str().unwrap()));
});

on_both!(a_disabled_account_is_out_at_once_and_the_last_administrator_stays, async |hub: Hub| {
    let administrator = hub.token(Role::Administrator).await;
    let new = json!({"name": "Ada", "role": "administrator", "password": PASSWORD});
    assert_eq!(hub.json("POST", "/v1/users", &administrator, new).await.0, 201);
    let body = json!({"user": "Ada", "password": PASSWORD});
    let signed_in = hub.ask("POST", "/v1/session", "").json(&body).send().await.unwrap();
    let cookie = signed_in.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    for patch in [json!({"disabled": true}), json!({"role": "viewer"})] {
        assert_eq!(hub.json("PATCH", "/v1/users/ada", &administrator, patch).await.0, 409);
    }
    assert_eq!(hub.ask("DELETE", "/v1/users/ada", &administrator).send().await.unwrap().status(), 409);
    let another = json!({"name": "Grace", "role": "administrator", "password": PASSWORD});
    assert_eq!(hub.json("POST", "/v1/users", &administrator, another).await.0, 201);
    assert_eq!(hub.json("PATCH", "/v1/users/ada", &administrator, json!({"disabled": true})).await.0, 200);
    assert_eq!(hub.ask("GET", "/v1/me", "").header("cookie", &cookie).send().await.unwrap().status(), 401);
    assert_eq!(hub.ask("POST", "/v1/session", "").json(&body).send().await.unwrap().status(), 401);
});

on_both!(passwords_are_not_tried_without_end, async |hub: Hub| {
    let mut statuses = Vec::new();
    for _ in 0..12 {
        let body = json!({"user": "Ada", "password": "a guess of many"});
        let answer = hub.ask("POST", "/v1/session", "").json(&body).send().await.unwrap();
        statuses.push(answer.status().as_u16());
        if answer.status() == 429 {
            assert!(answer.headers().contains_key("retry-after"));
        }
    }
    assert_eq!(statuses[..10], [401; 10]);
    assert!(statuses[10..].contains(&429), "{statuses:?}");
});

on_both!(a_token_is_told_once_works_and_is_taken_back, async |hub: Hub| {
    let administrator = hub.token(Role::Administrator).await;
    let send = || {
        let request = hub.ask("POST", "/v1/tokens", &administrator).header("idempotency-key", "one");
        request.json(&json!({"label": "ci", "role": "viewer", "hours": 1})).send()
    };
    let first: Value = send().await.unwrap().json().await.unwrap();
    let secret = first["secret"].as_str().unwrap().to_owned();
    assert!(secret.starts_with("sgt_"));
    // Sent again, it is the same token, and the secret is not told again.
    let again = send().await.unwrap();
    assert_eq!(
        (again.status().as_u16(), &again.headers()["idempotency-replayed"]),
        (201, &"true".parse().unwrap())
    );
    let again: Value = again.json().await.unwrap();
    assert_eq!((&again["id"], &again["secret"]), (&first["id"], &Value::Null));
    let other = hub.ask("POST", "/v1/tokens", &administrator).header("idempotency-key", "one");
    let other = other.json(&json!({"label": "other", "role": "viewer"})).send().await.unwrap();
    assert_eq!(other.status(), 422);
    let (_, list) = hub.get("/v1/tokens", &administrator).await;
    assert_eq!(list["items"].as_array().unwrap().len(), 2);
    assert!(!list.to_string().contains(&secret) && !list.to_string().contains("hash"));
    assert_eq!(hub.get("/v1/me", &secret).await.1["user"], "token ci");
    let path = format!("/v1/tokens/{}", first["id"].as_str().unwrap());
    assert_eq!(hub.ask("DELETE", &path, &administrator).send().await.unwrap().status(), 204);
    assert_eq!(hub.get("/v1/me", &secret).await.0, 401);
});

on_both!(who_asks_for_an_approval_does_not_give_it, async |hub: Hub| {
    let (asks, gives) =
        (hub.token_named(Role::Operator, "asks").await, hub.token_named(Role::Operator, "gives").await);
    let id = hub.server("S1", &[]).await;
    hub.reports(&id, "example:M1", "AwaitingApproval", false).await;
    let wanted = json!({"mitigation": "example:M1", "level": "organization", "reason": "read the rule"});
    let (status, approval) = hub.json("POST", "/v1/approvals", &asks, wanted).await;
    assert_eq!((status, &approval["state"]), (201, &json!("requested")));
    assert_eq!(approval["digest"].as_str().unwrap().len(), 64);
    let path = format!("/v1/approvals/{}", approval["id"].as_str().unwrap());
    let approve = json!({"state": "approved"});
    assert_eq!(hub.json("PUT", &path, &asks, approve.clone()).await.0, 403);
    let before = *hub.state.settings.borrow();
    assert_eq!(hub.json("PUT", &path, &gives, approve.clone()).await.0, 200);
    assert!(*hub.state.settings.borrow() > before, "agents are woken");
    assert_eq!(hub.json("PUT", &path, &gives, approve).await.0, 409);
    let (_, list) = hub.get("/v1/approvals?state=approved", &asks).await;
    assert_eq!(list["items"][0]["decided_by"], "token gives");
    let organization = hub.state.organization().await.unwrap();
    let server = stopgap_hub::db::servers::by_name(hub.state.db.reader(), "S1").await.unwrap().unwrap();
    assert_eq!(organization.approvals_of(&server.name, &server.labels).len(), 1);
    assert_eq!(hub.json("PUT", &path, &asks, json!({"state": "withdrawn"})).await.0, 200);
    assert_eq!(hub.state.organization().await.unwrap().approvals_of(&server.name, &server.labels).len(), 0);
    for wanted in [
        json!({"mitigation": "example:M9", "level": "organization"}),
        json!({"mitigation": "M1", "level": "organization"}),
        json!({"mitigation": "example:M1", "level": "server", "name": "none"}),
        json!({"mitigation": "example:M1", "level": "organization", "digest": "12"}),
    ] {
        assert_eq!(hub.json("POST", "/v1/approvals", &asks, wanted.clone()).await.0, 422, "{wanted}");
    }
});

on_both!(an_enrollment_token_has_uses_and_an_end, async |hub: Hub| {
    let administrator = hub.token(Role::Administrator).await;
    let wanted = json!({"uses": 2, "hours": 24, "labels": {"site": "vienna"}});
    let (status, made) = hub.json("POST", "/v1/enrollments", &administrator, wanted).await;
    assert_eq!((status, &made["uses_left"]), (201, &json!(2)));
    let hash = stopgap_hub::secret::hash(made["secret"].as_str().unwrap());
    let now = Timestamp::now();
    let take = async |hash: &str, at| {
        let mut change = hub.state.db.begin().await.unwrap();
        let taken = stopgap_hub::db::enrollments::take(&mut change, hash, at).await.unwrap();
        change.commit().await.unwrap();
        taken.map(|one| one.uses_left)
    };
    assert_eq!(take(&hash, now + SignedDuration::from_hours(25)).await, None);
    assert_eq!(take("another", now).await, None);
    assert_eq!(
        [take(&hash, now).await, take(&hash, now).await, take(&hash, now).await],
        [Some(1), Some(0), None]
    );
    for wrong in [
        json!({"uses": 0, "hours": 1}),
        json!({"uses": 1, "hours": 0}),
        json!({"uses": 1, "hours": 1, "labels": {"a=b": "c"}}),
    ] {
        assert_eq!(
            hub.json("POST", "/v1/enrollments", &administrator, wrong.clone()).await.0,
            422,
            "{wrong}"
        );
    }
});

on_both!(every_refusal_is_a_problem, async |hub: Hub| {
    let token = hub.token(Role::Administrator).await;
    let path = "/v1/organization/settings";
    let send = |method: &str, path: &str, kind: &str, body: String| {
        hub.ask(method, path, &token)
            .header("if-match", "\"0\"")
            .header("content-type", kind)
            .body(body)
            .send()
    };
    for (method, path, kind, body, expected) in [
        ("PUT", path, "text/plain", "{}".to_owned(), 415),
        ("PUT", path, "application/json", "{".to_owned(), 400),
        ("PUT", path, "application/json", "[]".to_owned(), 422),
        ("PUT", path, "application/json", "null".to_owned(), 422),
        ("PUT", path, "application/json", r#"{"nothing":1}"#.to_owned(), 422),
        (
            "PUT",
            path,
            "application/json",
            format!("{{\"internet_web_proxy\":\"{}\"}}", "x".repeat(300_000)),
            413,
        ),
        ("POST", path, "application/json", "{}".to_owned(), 405),
        ("GET", "/v1/nothing", "application/json", String::new(), 404),
        ("GET", "/v1/servers?limit=x", "application/json", String::new(), 400),
        ("GET", "/v1/servers/%ff", "application/json", String::new(), 400),
        ("GET", "/v1/audit?since=yesterday", "application/json", String::new(), 400),
        ("GET", "/v1/audit?after=x", "application/json", String::new(), 422),
    ] {
        let answer = send(method, path, kind, body).await.unwrap();
        assert_eq!(answer.status(), expected, "{method} {path}");
        assert_eq!(answer.headers()["content-type"], "application/problem+json", "{method} {path}");
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
        assert_eq!(answer.json::<Value>().await.unwrap()["status"], expected);
    }
});

on_both!(an_approval_goes_with_its_server_and_ends_with_it, async |hub: Hub| {
    hub.server("S", &[]).await;
    let administrator = hub.token(Role::Administrator).await;
    let (asks, decides) =
        (hub.token_named(Role::Operator, "a").await, hub.token_named(Role::Operator, "b").await);
    let group = json!({"label_key": "a", "label_value": "b"});
    assert_eq!(hub.json("PUT", "/v1/groups/g", &administrator, group).await.0, 200);
    let mut ids = Vec::new();
    for (level, name) in [("server", "s"), ("group", "g")] {
        let digest = "0".repeat(64);
        let wanted = json!({"mitigation": "example:M1", "digest": digest, "level": level, "name": name});
        let (status, asked) = hub.json("POST", "/v1/approvals", &asks, wanted).await;
        assert_eq!(status, 201, "{asked}");
        let path = format!("/v1/approvals/{}", asked["id"].as_str().unwrap());
        assert_eq!(hub.json("PUT", &path, &decides, json!({"state": "approved"})).await.0, 200);
        ids.push(asked["id"].clone());
    }
    let of = async |id: &Value| {
        let (_, found) = hub.get("/v1/approvals", &decides).await;
        let found = found["items"].as_array().unwrap().iter().find(|one| one["id"] == *id).cloned().unwrap();
        (found["name"].clone(), found["state"].clone())
    };
    assert_eq!(hub.json("PATCH", "/v1/servers/S", &administrator, json!({"name": "T"})).await.0, 200);
    assert_eq!(of(&ids[0]).await, (json!("T"), json!("approved")));
    for path in ["/v1/servers/T", "/v1/groups/g"] {
        assert_eq!(hub.ask("DELETE", path, &administrator).send().await.unwrap().status(), 204);
    }
    assert_eq!(of(&ids[0]).await, (json!("T"), json!("withdrawn")));
    assert_eq!(of(&ids[1]).await, (json!("g"), json!("withdrawn")));
});

on_both!(a_link_signs_in_once_and_ends_with_the_password, async |hub: Hub| {
    let new = json!({"name": "Ada", "role": "operator", "password": PASSWORD});
    let administrator = hub.token(Role::Administrator).await;
    assert_eq!(hub.json("POST", "/v1/users", &administrator, new).await.0, 201);
    let now = Timestamp::now();
    let link = async |lasts: SignedDuration| {
        let mut change = hub.state.db.begin().await.unwrap();
        let made = accounts::link(&mut change, "root", "ada", now, lasts).await;
        change.commit().await.unwrap();
        made
    };
    // The cookie is in the answer that leads to the console, and not in the console's own.
    let straight = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    let straight = straight.build().unwrap();
    let follow = async |link: &str| {
        let request = straight.post(format!("{}/sign-in/{link}", hub.url)).header("origin", &hub.url);
        request.header("content-type", "application/x-www-form-urlencoded").send().await.unwrap()
    };
    let first = link(SignedDuration::from_mins(15)).await.unwrap();
    // Whoever looks at the address does not spend it.
    let page = hub.http.get(format!("{}/sign-in/{first}", hub.url)).send().await.unwrap();
    assert_eq!(
        (page.status().as_u16(), page.headers()["referrer-policy"].to_str().unwrap()),
        (200, "no-referrer")
    );
    assert!(page.text().await.unwrap().contains(&format!("action=\"/sign-in/{first}\"")));
    let signed = follow(&first).await;
    assert!(signed.headers().contains_key("set-cookie"), "{signed:?}");
    assert_eq!(follow(&first).await.status(), 401, "it works once");
    assert_eq!(follow("none").await.status(), 401);

    let second = link(SignedDuration::from_mins(15)).await.unwrap();
    let changed =
        hub.json("PATCH", "/v1/users/Ada", &administrator, json!({"password": "another password"})).await;
    assert_eq!(changed.0, 200, "{changed:?}");
    assert_eq!(follow(&second).await.status(), 401, "a changed password ends it");
    let third = link(SignedDuration::from_secs(1)).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    assert_eq!(follow(&third).await.status(), 401, "its time is over");
    for wrong in [SignedDuration::ZERO, SignedDuration::from_hours(25)] {
        assert_eq!(link(wrong).await.unwrap_err().status, 422);
    }
    let (_, log) = hub.get("/v1/audit?action=user.link", &administrator).await;
    assert!(!log.to_string().contains(&third), "the log tells the secret");
});
