//! The hub as agents meet it, on each database: joining, settings, the event stream, reports.

use std::time::Duration;

use crate::common::{Hub, Store, on_both};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sqlx::Row;
use stopgap_core::organization::Layer;
use stopgap_core::plan::sha256_hex;
use stopgap_hub::db::mirror::{self, Beside, Document};
use stopgap_hub::db::servers;
use stopgap_hub::people::{Principal, Role, Via};
use stopgap_hub::settings::{self, Target};

/// An enrollment token.
async fn token(hub: &Hub, uses: u32, lasts: SignedDuration) -> String {
    hub.enrollment(uses, lasts, &[("site", "berlin")]).await
}

const HOUR: SignedDuration = SignedDuration::from_hours(1);

/// Joins with a token: the answer's status and what it says.
pub async fn enroll(hub: &Hub, token: &str, name: &str, machine: &str) -> (u16, Value) {
    let machine = sha256_hex(machine.as_bytes());
    let body = json!({ "token": token, "name": name, "machine": machine, "agent_version": "0.1.0" });
    let answer = hub.ask("POST", "/v1/agent/enroll", "").json(&body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// A server that joined: its identity and its credential.
pub async fn server(hub: &Hub, name: &str) -> (String, String) {
    let token = token(hub, 1, HOUR).await;
    let (status, said) = enroll(hub, &token, name, name).await;
    assert_eq!(status, 200, "{said}");
    let word = |key: &str| said[key].as_str().unwrap().to_owned();
    (word("server"), word("credential"))
}

async fn get(hub: &Hub, path: &str, credential: &str) -> (u16, Value) {
    let answer = hub.ask("GET", path, credential).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap_or_default())
}

/// What the organization wants of it.
pub async fn settings_of(hub: &Hub, credential: &str) -> Value {
    let (status, settings) = get(hub, "/v1/agent/settings", credential).await;
    assert_eq!(status, 200, "{settings}");
    settings
}

/// The organization says this, in an operator's name.
async fn say(hub: &Hub, target: &Target, layer: Value) {
    let by = Principal {
        user: "ada".into(),
        role: Role::Administrator,
        via: Via::Token { id: "of the test".into(), owner: String::new(), scopes: Vec::new() },
    };
    let layer: Layer = serde_json::from_value(layer).unwrap();
    let version = settings::get(&hub.state, target).await.unwrap().version;
    settings::put(&hub.state, &by, target, version, layer, None).await.unwrap();
}

fn report(sequence: u64, at: &str, in_force: bool) -> Value {
    let status = if in_force { "Applied" } else { "Blocked" };
    json!({
        "sequence": sequence, "at": at, "agent_version": "0.1.0", "system": "linux", "mitigations_enabled": true,
        "facts": {"exchange": "15.2.721.2"}, "warnings": ["one"],
        "mitigations": [{"feed": "example", "id": "M1", "type": "UrlRewrite", "digest": "d", "verdict": "Applies",
            "status": status, "in_force": in_force, "applied_at": in_force.then_some(at)}],
        "feeds": [{"name": "example", "serial": 7}],
        "events": [{"at": at, "event": if in_force { 1005 } else { 1006 }, "mitigation": "example:M1", "text": at}],
    })
}

/// Reports in a server's name.
pub async fn tell(hub: &Hub, credential: &str, machine: &str, reports: &[Value]) -> (u16, Value) {
    let body = json!({ "machine": sha256_hex(machine.as_bytes()), "reports": reports });
    let answer = hub.ask("POST", "/v1/agent/reports", credential).json(&body).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

/// The cells of a query, as text.
async fn cells(hub: &Hub, sql: &'static str) -> Vec<Vec<String>> {
    let rows = sqlx::query(sql).fetch_all(hub.state.db.reader()).await.unwrap();
    let cell = |row: &sqlx::any::AnyRow, at: usize| {
        let text = row.try_get::<Option<String>, _>(at).ok().map(|text| text.unwrap_or_else(|| "-".into()));
        text.or_else(|| row.try_get::<i64, _>(at).ok().map(|n| n.to_string())).unwrap()
    };
    rows.iter().map(|row| (0..row.len()).map(|at| cell(row, at)).collect()).collect()
}

on_both!(a_token_is_good_for_its_uses_until_it_ends, async |hub: Hub| {
    let once = token(&hub, 1, HOUR).await;
    let (status, said) = enroll(&hub, &once, "Server1", "a").await;
    assert_eq!(status, 200, "{said}");
    assert!(said["credential"].as_str().unwrap().starts_with("sga_"));
    assert_eq!(enroll(&hub, &once, "Server2", "b").await.0, 401);
    let ended = token(&hub, 1, -HOUR).await;
    assert_eq!(enroll(&hub, &ended, "Server2", "b").await.0, 401);
    assert_eq!(enroll(&hub, "sge_made_up", "Server2", "b").await.0, 401);
    // A name that another machine has costs no use.
    let other = token(&hub, 1, HOUR).await;
    let (status, problem) = enroll(&hub, &other, "SERVER1", "b").await;
    assert_eq!((status, problem["type"].as_str()), (409, Some("/problems/conflict")));
    assert_eq!(enroll(&hub, &other, " Server2", "b").await.0, 422);
    assert_eq!(enroll(&hub, &other, "Server2", "b").await.0, 200);
    let kept = servers::by_name(hub.state.db.reader(), "server1").await.unwrap().unwrap();
    assert_eq!(kept.labels["site"], "berlin");
    let log = cells(&hub, "SELECT action, object FROM audit ORDER BY seq").await;
    assert_eq!(log, [["server.enroll", "server Server1"], ["server.enroll", "server Server2"]]);
    let kept = cells(&hub, "SELECT credential_hash FROM servers").await;
    assert!(kept.iter().all(|row| !row[0].contains("sga_")), "the credential itself is nowhere");
});

on_both!(a_machine_that_comes_back_is_the_same_server, async |hub: Hub| {
    let twice = token(&hub, 2, HOUR).await;
    let (_, first) = enroll(&hub, &twice, "Server1", "a").await;
    let (status, second) = enroll(&hub, &twice, "Server1", "a").await;
    assert_eq!((status, &second["server"]), (200, &first["server"]));
    let old = first["credential"].as_str().unwrap();
    assert_eq!(get(&hub, "/v1/agent/settings", old).await.0, 401);
    assert_eq!(get(&hub, "/v1/agent/settings", second["credential"].as_str().unwrap()).await.0, 200);
});

on_both!(a_credential_works_until_its_successor_was_used, async |hub: Hub| {
    let (_, first) = server(&hub, "Server1").await;
    let renew = async |credential: &str| {
        let answer = hub.ask("POST", "/v1/agent/credential", credential).send().await.unwrap();
        let said: Value = answer.json().await.unwrap();
        said["credential"].as_str().unwrap().to_owned()
    };
    let lost = renew(&first).await;
    let second = renew(&first).await;
    let works = async |credential: &str| get(&hub, "/v1/agent/settings", credential).await.0;
    assert_eq!((works(&first).await, works(&lost).await), (200, 401));
    assert_eq!((works(&second).await, works(&first).await, works(&second).await), (200, 401, 200));
});

on_both!(a_credential_opens_its_own_server_and_nothing_else, async |hub: Hub| {
    let (one, credential) = server(&hub, "Server1").await;
    let (other, _) = server(&hub, "Server2").await;
    let (_, second) = servers_settings(&hub, &other, &credential).await;
    assert!(second.get("blocks").is_none_or(|blocks| blocks.as_array().unwrap().is_empty()));
    for path in ["/v1/me", "/v1/servers", "/v1/servers/Server1", "/v1/audit", "/v1/organization"] {
        let (status, _) = get(&hub, path, &credential).await;
        assert!(matches!(status, 401 | 404), "{path}: {status}");
    }
    assert_ne!(one, other);
    for token in ["", "sga_made_up", hub.token(Role::Administrator).await.as_str()] {
        for path in ["/v1/agent/settings", "/v1/agent/events"] {
            assert_eq!(get(&hub, path, token).await.0, 401, "{path}");
        }
        assert_eq!(tell(&hub, token, "Server1", &[]).await.0, 401);
    }
});

/// A block for one server, as another one sees its own settings.
async fn servers_settings(hub: &Hub, blocked: &str, credential: &str) -> (u16, Value) {
    let target = Target {
        place: stopgap_hub::db::layers::Place::Server(blocked.to_owned()),
        object: "server Server2".into(),
    };
    say(hub, &target, json!({ "mitigations_blocked": [{ "id": "M9", "level": "server" }] })).await;
    get(hub, "/v1/agent/settings", credential).await
}

on_both!(settings_are_inherited_and_asked_again_only_when_they_changed, async |hub: Hub| {
    let (_, credential) = server(&hub, "Server1").await;
    let first = settings_of(&hub, &credential).await;
    assert_eq!(first["organization_enabled"], true);
    let tag = format!("\"{}\"", first["version"].as_str().unwrap());
    let again = hub.ask("GET", "/v1/agent/settings", &credential).header("if-none-match", &tag);
    let again = again.send().await.unwrap();
    assert_eq!((again.status().as_u16(), again.headers()["etag"].to_str().unwrap()), (304, tag.as_str()));
    let block = json!({ "id": "M1", "level": "organization", "take_off": true, "reason": "printing" });
    say(
        &hub,
        &Target::organization(),
        json!({ "mitigations_enabled": false, "mitigations_blocked": [block] }),
    )
    .await;
    let second = settings_of(&hub, &credential).await;
    assert_eq!(second["organization_enabled"], false);
    assert_eq!(second["blocks"][0]["reason"], "printing");
    assert_ne!(first["version"], second["version"]);
    say(&hub, &Target::organization(), json!({})).await;
    assert_eq!(settings_of(&hub, &credential).await["version"], first["version"], "what counts has a name");
});

/// Reads a stream until an event of this name came; its data.
pub async fn heard(stream: &mut reqwest::Response, name: &str) -> Value {
    let mut text = String::new();
    loop {
        let chunk = tokio::time::timeout(Duration::from_secs(30), stream.chunk()).await.unwrap().unwrap();
        text.push_str(std::str::from_utf8(&chunk.expect("the stream goes on")).unwrap());
        let mut events = text.split("\n\n").filter(|event| event.contains(&format!("event: {name}")));
        if let Some(event) = events.next().filter(|_| text.ends_with("\n\n")) {
            let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
            return serde_json::from_str(data).unwrap();
        }
    }
}

on_both!(the_stream_says_what_changed_and_who_knows_it_hears_nothing, async |hub: Hub| {
    let (_, credential) = server(&hub, "Server1").await;
    let (other, _) = server(&hub, "Server2").await;
    let first = settings_of(&hub, &credential).await["version"].as_str().unwrap().to_owned();
    let open = async |last: &str| {
        let request = hub.ask("GET", "/v1/agent/events", &credential).header("last-event-id", last);
        request.send().await.unwrap()
    };
    let mut new = open("").await;
    assert_eq!(heard(&mut new, "settings").await["version"], first.as_str());
    // Who comes back with that, and hears of a change, did not hear the same before.
    let mut back = open(&first).await;
    servers_settings(&hub, &other, &credential).await;
    say(&hub, &Target::organization(), json!({ "mitigations_enabled": false })).await;
    let second = settings_of(&hub, &credential).await["version"].clone();
    assert_eq!(heard(&mut back, "settings").await["version"], second, "a change for others is no event");
    hub.state.stopping.send_replace(true);
    while back.chunk().await.unwrap().is_some() {}
});

on_both!(reports_count_once_and_tell_when_it_was_in_force, async |hub: Hub| {
    let (_, credential) = server(&hub, "Server1").await;
    let (a, b, c) = ("2026-11-22T03:00:00Z", "2026-11-22T04:00:00Z", "2026-11-22T05:00:00Z");
    let batch = [report(1, a, true), report(2, b, false)];
    for _ in 0..2 {
        let (status, accepted) = tell(&hub, &credential, "Server1", &batch).await;
        assert_eq!((status, &accepted["through"]), (200, &json!(2)), "{accepted}");
        assert_eq!(accepted["settings"], settings_of(&hub, &credential).await["version"]);
    }
    let (_, accepted) = tell(&hub, &credential, "Server1", &[report(3, c, true)]).await;
    assert_eq!(accepted["through"], 3);
    let spans = cells(&hub, "SELECT id, from_at, until_at FROM spans ORDER BY from_at").await;
    let stored = |text: &str| text.replace('Z', ".000000Z");
    assert_eq!(spans, [["M1".into(), stored(a), stored(b)], ["M1".into(), stored(c), "-".into()]]);
    assert_eq!(cells(&hub, "SELECT seq FROM events ORDER BY seq").await, [["1"], ["2"], ["3"]]);
    let now = cells(&hub, "SELECT status, in_force FROM server_mitigations").await;
    assert_eq!(now, [["Applied", "1"]]);
    let kept = servers::by_name(hub.state.db.reader(), "Server1").await.unwrap().unwrap();
    assert_eq!((kept.sequence, kept.facts["exchange"].as_str()), (3, "15.2.721.2"));
    assert_eq!((kept.warnings.len(), kept.clone_seen_at), (1, None));
    // What is told no more is in force no more.
    let mut gone = report(4, "2026-11-22T06:00:00Z", false);
    gone["mitigations"] = json!([]);
    gone["events"] = json!([]);
    tell(&hub, &credential, "Server1", &[gone]).await;
    assert!(cells(&hub, "SELECT id FROM server_mitigations").await.is_empty());
    assert!(cells(&hub, "SELECT id FROM spans WHERE until_at IS NULL").await.is_empty());
});

on_both!(reports_that_were_merged_repeat_no_event, async |hub: Hub| {
    let (_, credential) = server(&hub, "Server1").await;
    let (a, b) = ("2026-11-22T03:00:00Z", "2026-11-22T04:00:00Z");
    tell(&hub, &credential, "Server1", &[report(1, a, true)]).await;
    let mut merged = report(3, b, true);
    merged["events"] = json!([report(1, a, true)["events"][0], report(3, b, false)["events"][0]]);
    tell(&hub, &credential, "Server1", &[merged]).await;
    let events = cells(&hub, "SELECT event FROM events ORDER BY seq").await;
    assert_eq!(events, [["1005"], ["1006"]]);
});

on_both!(a_clone_is_noticed, async |hub: Hub| {
    let at = "2026-11-22T03:00:00Z";
    for (name, machine, second) in [
        ("Server1", "another machine", report(2, at, true)),
        ("Server2", "Server2", report(1, "2026-11-22T03:00:09Z", true)),
    ] {
        let (_, credential) = server(&hub, name).await;
        let seen = async || {
            servers::by_name(hub.state.db.reader(), name).await.unwrap().unwrap().clone_seen_at.is_some()
        };
        tell(&hub, &credential, name, &[report(1, at, true)]).await;
        assert!(!seen().await, "{name}");
        tell(&hub, &credential, machine, &[second]).await;
        assert!(seen().await, "{name}");
    }
});

on_both!(one_server_after_another_and_nobody_after_a_failure, async |hub: Hub| {
    let (_, one) = server(&hub, "Server1").await;
    let (_, two) = server(&hub, "Server2").await;
    let ask = async |credential: &str| {
        let body = json!({ "mitigations": ["example:M1"] });
        let answer = hub.ask("POST", "/v1/agent/turn", credential).json(&body).send().await.unwrap();
        answer.json::<Value>().await.unwrap()
    };
    assert_eq!(ask(&one).await["granted"], true, "nobody takes turns here");
    say(&hub, &Target::organization(), json!({ "max_parallel": 1 })).await;
    assert_eq!(settings_of(&hub, &one).await["takes_turns"], true);
    assert_eq!(ask(&one).await["granted"], true);
    assert_eq!(ask(&one).await["granted"], true, "the same again");
    let waits = ask(&two).await;
    assert!(waits["granted"] == false && waits["reason"].as_str().unwrap().contains("Server1"), "{waits}");
    let mut failed = report(1, "2026-11-22T03:00:00Z", false);
    failed["mitigations"][0]["status"] = "Failed".into();
    tell(&hub, &one, "Server1", &[failed]).await;
    let waits = ask(&two).await;
    assert!(waits["reason"].as_str().unwrap().contains("failed"), "{waits}");
    tell(&hub, &one, "Server1", &[report(2, "2026-11-22T04:00:00Z", true)]).await;
    assert_eq!(ask(&two).await["granted"], true);
});

on_both!(a_report_of_before_does_not_end_a_turn_and_trying_again_is_no_success, async |hub: Hub| {
    let mut credentials = Vec::new();
    for name in ["Server1", "Server2", "Server3"] {
        credentials.push(server(&hub, name).await.1);
    }
    say(&hub, &Target::organization(), json!({ "max_parallel": 2 })).await;
    let ask = async |who: usize, id: &str, sequence: u64| {
        let body = json!({ "mitigations": [format!("example:{id}")], "sequence": sequence });
        let answer = hub.ask("POST", "/v1/agent/turn", &credentials[who]).json(&body).send().await.unwrap();
        answer.json::<Value>().await.unwrap()["granted"].as_bool().unwrap()
    };
    let at = "2026-11-22T03:00:00Z";
    assert!(ask(0, "M2", 1).await && ask(1, "M2", 0).await);
    // It was made before the feed brought M2, and waited to be sent.
    tell(&hub, &credentials[0], "Server1", &[report(1, at, true)]).await;
    assert!(!ask(2, "M2", 0).await, "two servers are at it");
    tell(&hub, &credentials[0], "Server1", &[report(2, at, true)]).await;
    assert!(ask(2, "M2", 0).await, "M2 was withdrawn meanwhile");
    tell(&hub, &credentials[1], "Server2", &[report(1, at, true)]).await;
    let mut failed = report(1, at, false);
    failed["mitigations"][0]["id"] = "M2".into();
    failed["mitigations"][0]["status"] = "Failed".into();
    tell(&hub, &credentials[2], "Server3", &[failed.clone()]).await;
    assert!(!ask(0, "M2", 2).await, "nobody after a failure");
    assert!(ask(2, "M2", 1).await, "who failed may try again");
    assert!(!ask(0, "M2", 2).await, "that it tries again is no success");
    assert!(ask(2, "M3", 1).await);
    failed["sequence"] = 2.into();
    tell(&hub, &credentials[2], "Server3", &[failed]).await;
    assert!(!ask(0, "M2", 2).await, "something else that went well is none either");
    tell(&hub, &credentials[2], "Server3", &[report(3, at, true)]).await;
    assert!(ask(0, "M2", 2).await);
});

on_both!(no_words_keep_the_hub_from_a_report, async |hub: Hub| {
    let (_, credential) = server(&hub, "Server1").await;
    let mut odd = report(1, "2026-11-22T03:00:00Z", true);
    let long = "x".repeat(100_000);
    odd["events"][0]["text"] = format!("a\0b{long}").into();
    odd["mitigations"][0]["reason"] = "a\0b".into();
    odd["feeds"][0]["error"] = "a\0b".into();
    odd["warnings"][0] = "a\0b".into();
    let (status, said) = tell(&hub, &credential, "Server1", &[odd]).await;
    assert_eq!((status, &said["through"]), (200, &json!(1)), "{said}");
    let kept = cells(&hub, "SELECT text FROM events").await;
    assert!(kept[0][0].starts_with("abx") && kept[0][0].len() == 2000);
    assert_eq!(cells(&hub, "SELECT reason FROM server_mitigations").await, [["ab"]]);
});

on_both!(nobody_ends_the_counting_of_a_servers_reports, async |hub: Hub| {
    let (_, credential) = server(&hub, "Server1").await;
    let at = "2026-11-22T03:00:00Z";
    let last = u64::try_from(i64::MAX).unwrap();
    assert_eq!(tell(&hub, &credential, "Server1", &[report(last, at, true)]).await.0, 422);
    assert_eq!(
        tell(&hub, &credential, "Server1", &[report(1, at, true), report(last, at, true)]).await.0,
        422
    );
    assert_eq!(tell(&hub, &credential, "Server1", &[report(30, at, true)]).await.1["through"], 30);
});

on_both!(a_mirror_never_goes_back_and_knows_what_stands_beside_a_feed, async |hub: Hub| {
    let document = |serial: u64| Document {
        feed: "example".into(),
        serial,
        hash: serial.to_string(),
        last_seen: None,
        octets: serial.to_string().into_bytes(),
    };
    let beside = |name: &str| Beside { feed: "example".into(), name: name.into(), octets: Vec::new() };
    let mut all = ["list-b", "cosignature-2", "list-a", "cosignature-10", "cosignature-1"].map(beside);
    let put = async |serial: u64, all: &[Beside]| {
        let mut change = hub.state.db.begin().await.unwrap();
        mirror::put(&mut change, &document(serial), all, Timestamp::now()).await.unwrap();
        change.commit().await.unwrap();
    };
    put(12, &all).await;
    put(11, &[]).await;
    assert_eq!(mirror::documents(hub.state.db.reader()).await.unwrap(), [document(12)]);
    mirror::in_order(&mut all);
    assert_eq!(mirror::beside(hub.state.db.reader()).await.unwrap(), all);
    put(12, &[]).await;
    assert!(mirror::beside(hub.state.db.reader()).await.unwrap().is_empty());
});

on_both!(a_server_that_was_removed_is_heard_no_more, async |hub: Hub| {
    let (_, credential) = server(&hub, "Server1").await;
    settings_of(&hub, &credential).await;
    let mut stream = hub.ask("GET", "/v1/agent/events", &credential).send().await.unwrap();
    heard(&mut stream, "settings").await;
    let admin = hub.token(Role::Administrator).await;
    let gone = hub.ask("DELETE", "/v1/servers/Server1", &admin).send().await.unwrap();
    assert_eq!(gone.status(), 204);
    assert_eq!(get(&hub, "/v1/agent/settings", &credential).await.0, 401);
    while stream.chunk().await.unwrap().is_some() {}
});

on_both!(a_mirrored_feed_is_announced_once_and_served_as_it_came, async |hub: Hub| {
    let mut hub = hub;
    let octets = b"<Feed/>\n".to_vec();
    let beside =
        |name: &str| Beside { feed: "example".into(), name: name.into(), octets: name.as_bytes().to_vec() };
    let point = sha256_hex(b"http://crl.example.org/1.crl");
    let document = Document {
        feed: "example".into(),
        serial: 12,
        hash: sha256_hex(&octets),
        last_seen: None,
        octets: octets.clone(),
    };
    let mut change = hub.state.db.begin().await.unwrap();
    let all = [beside("cosignature-1"), beside(&format!("list-{point}"))];
    mirror::put(&mut change, &document, &all, Timestamp::now()).await.unwrap();
    change.commit().await.unwrap();
    hub.restart().await;
    let (_, credential) = server(&hub, "Server1").await;
    let open = async |last: &str| {
        let request = hub.ask("GET", "/v1/agent/events", &credential).header("last-event-id", last);
        request.send().await.unwrap()
    };
    let mut stream = open("").await;
    let mut text = String::new();
    while !(text.contains("event: feed") && text.ends_with("\n\n")) {
        text.push_str(std::str::from_utf8(&stream.chunk().await.unwrap().unwrap()).unwrap());
    }
    assert!(text.contains(r#"{"feed":"example","serial":12}"#), "{text}");
    let id = text.lines().filter_map(|line| line.strip_prefix("id: ")).next_back().unwrap();
    let mut back = open(id).await;
    say(&hub, &Target::organization(), json!({ "mitigations_enabled": false })).await;
    let first = loop {
        let chunk = back.chunk().await.unwrap().unwrap();
        if !chunk.starts_with(b":") {
            break chunk;
        }
    };
    let first = std::str::from_utf8(&first).unwrap();
    assert!(first.contains("event: settings") && !first.contains("event: feed"), "{first}");
    assert_eq!(settings_of(&hub, &credential).await["feeds"], json!(["example"]));

    let ask = async |path: &str, tag: &str| {
        let asked = hub.ask("GET", path, &credential).header("if-none-match", tag).send().await.unwrap();
        let tag = asked.headers().get("etag").map(|tag| tag.to_str().unwrap().to_owned());
        (asked.status().as_u16(), tag.unwrap_or_default(), asked.bytes().await.unwrap().to_vec())
    };
    let (status, tag, served) = ask("/v1/agent/feeds/example", "").await;
    assert_eq!((status, served), (200, octets));
    assert_eq!(ask("/v1/agent/feeds/example", &tag).await.0, 304);
    assert_eq!(ask("/v1/agent/feeds/example.cosignature-1.xml", "").await.2, b"cosignature-1");
    assert_eq!(ask(&format!("/v1/agent/lists/{point}"), "").await.2, format!("list-{point}").as_bytes());
    for nothing in ["feeds/other", "feeds/example.cosignature-2.xml", "feeds/..%2fhub.toml", "lists/0"] {
        assert_eq!(ask(&format!("/v1/agent/{nothing}"), "").await.0, 404, "{nothing}");
    }
    assert_eq!(get(&hub, "/v1/agent/feeds/example", "sga_nobody").await.0, 401);
});

on_both!(a_batch_that_is_wrong_is_refused_whole, async |hub: Hub| {
    let (_, credential) = server(&hub, "Server1").await;
    let (one, two) = (report(1, "2026-11-22T03:00:00Z", true), report(2, "2026-11-22T04:00:00Z", true));
    assert_eq!(tell(&hub, &credential, "Server1", &[two, one.clone()]).await.0, 422);
    assert_eq!(tell(&hub, &credential, "Server1", &vec![one; 65]).await.0, 422);
    let text = hub
        .ask("POST", "/v1/agent/reports", &credential)
        .body("{")
        .header("content-type", "application/json");
    assert!(text.send().await.unwrap().status().is_client_error());
    assert!(cells(&hub, "SELECT seq FROM events").await.is_empty());
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_hub_commits_wakes_the_agents_of_another() {
    let test = "what_one_hub_commits_wakes_the_agents_of_another";
    let Some(hub) = Hub::start(Store::Postgres, test).await else { return };
    let (_, credential) = server(&hub, "Server1").await;
    let other = stopgap_hub::Hub::bind(stopgap_hub::Settings {
        data: hub.data(),
        listen: "127.0.0.1:0".parse().unwrap(),
        database: hub.database.clone(),
        tls: None,
        names: Vec::new(),
        bounds: stopgap_hub::Bounds::default(),
    })
    .await
    .unwrap();
    let url = other.url();
    let task = tokio::spawn(other.run(std::future::pending()));
    let request = hub.http.get(format!("{url}/v1/agent/events")).bearer_auth(&credential);
    let mut stream = request.send().await.unwrap();
    let first = heard(&mut stream, "settings").await;
    say(&hub, &Target::organization(), json!({ "mitigations_enabled": false })).await;
    let second = heard(&mut stream, "settings").await;
    assert_ne!(first, second);
    assert_eq!(second["version"], settings_of(&hub, &credential).await["version"]);
    task.abort();
}
