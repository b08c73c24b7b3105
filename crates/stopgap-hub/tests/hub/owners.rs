//! Whose hand a token is, what it reaches, and who may change a password.

use serde_json::{Value, json};
use stopgap_hub::people::Role;

use crate::common::{Hub, on_both};

const PASSWORD: &str = "correct horse battery";

/// Somebody who signed in.
struct SignedIn<'a> {
    hub: &'a Hub,
    cookie: String,
    csrf: String,
}

impl<'a> SignedIn<'a> {
    async fn new(hub: &'a Hub, name: &str, role: Role) -> SignedIn<'a> {
        let administrator = hub.token_named(Role::Administrator, &format!("who made {name}")).await;
        let user = json!({"name": name, "role": role, "password": PASSWORD});
        assert_eq!(hub.json("POST", "/v1/users", &administrator, user).await.0, 201);
        let answer = hub.ask("POST", "/v1/session", "").json(&json!({"user": name, "password": PASSWORD}));
        let answer = answer.send().await.unwrap();
        let cookie = answer.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
        let csrf = answer.json::<Value>().await.unwrap()["csrf"].as_str().unwrap().to_owned();
        SignedIn { hub, cookie, csrf }
    }

    async fn json(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let request = self.hub.ask(method, path, "").header("cookie", &self.cookie);
        let answer = request.header("x-csrf-token", &self.csrf).json(&body).send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap_or_default())
    }

    async fn token(&self, body: Value) -> String {
        let (status, made) = self.json("POST", "/v1/tokens", body).await;
        assert_eq!(status, 201, "{made}");
        made["secret"].as_str().unwrap().to_owned()
    }
}

on_both!(a_token_is_its_owners_hand_and_nobody_is_two_people, async |hub: Hub| {
    let server = hub.server("S", &[]).await;
    hub.reports(&server, "example:M1", "Waiting", false).await;
    let ada = SignedIn::new(&hub, "Ada", Role::Administrator).await;
    let token = ada.token(json!({"label": "ada's", "role": "administrator"})).await;
    // Not through a token that the token makes, either.
    let body = json!({"label": "the second", "role": "administrator"});
    let second = hub.json("POST", "/v1/tokens", &token, body).await.1["secret"].as_str().unwrap().to_owned();
    let wanted = json!({"mitigation": "example:M1", "level": "organization"});
    let ask = async |by: &str| {
        let (status, asked) = match by {
            "" => ada.json("POST", "/v1/approvals", wanted.clone()).await,
            by => hub.json("POST", "/v1/approvals", by, wanted.clone()).await,
        };
        assert_eq!(status, 201, "{asked}");
        format!("/v1/approvals/{}", asked["id"].as_str().unwrap())
    };
    let approve = json!({"state": "approved"});
    let by_ada = ask("").await;
    for hand in [&token, &second] {
        assert_eq!(hub.json("PUT", &by_ada, hand, approve.clone()).await.0, 403);
    }
    let by_token = ask(&second).await;
    assert_eq!(ada.json("PUT", &by_token, approve.clone()).await.0, 403);
    assert_eq!(hub.json("PUT", &by_token, &token, approve.clone()).await.0, 403);
    // Somebody else's is.
    let grace = SignedIn::new(&hub, "Grace", Role::Administrator).await;
    let hers = grace.token(json!({"label": "grace's", "role": "operator"})).await;
    assert_eq!(hub.json("PUT", &by_token, &hers, approve.clone()).await.0, 200);
    assert_eq!(grace.json("PUT", &by_ada, approve).await.0, 200);
    // What was given is not asked for again.
    let (status, again) = grace.json("POST", "/v1/approvals", wanted.clone()).await;
    assert!(status == 409 && again["detail"].as_str().unwrap().contains("is approved there by"), "{again}");
});

on_both!(a_token_may_no_more_than_its_owner_may_by_now, async |hub: Hub| {
    let root = hub.token(Role::Administrator).await;
    let _stays = SignedIn::new(&hub, "Grace", Role::Administrator).await;
    let ada = SignedIn::new(&hub, "Ada", Role::Administrator).await;
    let all = ada.token(json!({"label": "all", "role": "administrator"})).await;
    let reads = ada.token(json!({"label": "reads", "role": "viewer"})).await;
    let works = async |all_works: bool, reads_works: bool| {
        let expected = [all_works, reads_works].map(|works| if works { 200 } else { 401 });
        assert_eq!([hub.get("/v1/me", &all).await.0, hub.get("/v1/me", &reads).await.0], expected);
    };
    works(true, true).await;
    let change = async |patch: Value| {
        assert_eq!(hub.json("PATCH", "/v1/users/ada", &root, patch).await.0, 200);
    };
    change(json!({"role": "operator"})).await;
    works(false, true).await;
    change(json!({"disabled": true, "role": "administrator"})).await;
    works(false, false).await;
    change(json!({"disabled": false})).await;
    works(true, true).await;
    assert_eq!(hub.ask("DELETE", "/v1/users/ada", &root).send().await.unwrap().status(), 204);
    works(false, false).await;
});

on_both!(a_token_reaches_what_its_scopes_name, async |hub: Hub| {
    hub.server("S", &[]).await;
    let root = hub.token(Role::Administrator).await;
    let body = json!({"label": "narrow", "role": "administrator", "scopes": ["servers:read", "tokens"]});
    let (_, made) = hub.json("POST", "/v1/tokens", &root, body).await;
    assert_eq!(made["scopes"], json!(["servers:read", "tokens"]));
    let narrow = made["secret"].as_str().unwrap();
    for (method, path, body, expected) in [
        ("GET", "/v1/me", json!({}), 200),
        ("GET", "/v1/servers/S/settings", json!({}), 200),
        ("PATCH", "/v1/servers/S", json!({"labels": {}}), 403),
        ("GET", "/v1/audit", json!({}), 403),
        ("GET", "/v1/organization/settings", json!({}), 403),
        // What it makes reaches no more than it does itself.
        ("POST", "/v1/tokens", json!({"label": "x", "role": "administrator"}), 403),
        ("POST", "/v1/tokens", json!({"label": "x", "role": "viewer", "scopes": ["servers"]}), 403),
        ("POST", "/v1/tokens", json!({"label": "x", "role": "viewer", "scopes": ["servers:read"]}), 201),
        ("POST", "/v1/tokens", json!({"label": "x", "role": "viewer", "scopes": ["everything"]}), 422),
    ] {
        assert_eq!(hub.json(method, path, narrow, body.clone()).await.0, expected, "{method} {path} {body}");
    }
    // A page of the console shows more than one area.
    assert_eq!(hub.get("/servers", narrow).await.0, 403);
    assert_eq!(hub.get("/servers", &root).await.0, 200);
});

on_both!(who_changes_their_own_password_tells_the_present_one, async |hub: Hub| {
    let vera = SignedIn::new(&hub, "Vera", Role::Viewer).await;
    let change = async |body: Value| vera.json("PATCH", "/v1/users/vera", body).await.0;
    let new = "a longer horse battery";
    assert_eq!(change(json!({"password": new})).await, 422);
    assert_eq!(change(json!({"password": new, "present": "not this one"})).await, 403);
    assert_eq!(change(json!({"password": new, "present": PASSWORD})).await, 200);
    let sign_in = async |password: &str| {
        let body = json!({"user": "Vera", "password": password});
        hub.json("POST", "/v1/session", "", body).await.0
    };
    assert_eq!([sign_in(PASSWORD).await, sign_in(new).await], [401, 200]);
    // An administrator gives another one without it.
    let root = hub.token(Role::Administrator).await;
    assert_eq!(hub.json("PATCH", "/v1/users/vera", &root, json!({"password": PASSWORD})).await.0, 200);
});

on_both!(the_present_password_is_not_guessed_without_end, async |hub: Hub| {
    let vera = SignedIn::new(&hub, "Vera", Role::Viewer).await;
    let mut statuses = Vec::new();
    for _ in 0..12 {
        let guess = json!({"password": "a longer horse battery", "present": "a guess of many"});
        statuses.push(vera.json("PATCH", "/v1/users/vera", guess).await.0);
    }
    assert!(
        statuses[..10].iter().all(|status| *status == 403) && statuses[10..].contains(&429),
        "{statuses:?}"
    );
});
