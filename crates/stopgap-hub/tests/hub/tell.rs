//! Telling people, on each database: what servers report and what the hub judges reaches a real SMTP server and a
//! webhook, once, whoever is down in between.

pub mod receivers;
mod smtp;

use std::time::Duration;

use crate::common::{Hub, Store, on_both};
use jiff::{SignedDuration, Timestamp};
use receivers::Collector;
use serde_json::{Value, json};
use smtp::Smtp;
use sqlx::Row;
use stopgap_hub::people::Role;
use stopgap_hub::secret;

const SECRET: &str = "a secret that nobody may read in a log";
const NOW: &str = "[notify]\nwindow = \"0s\"\nrepeat = \"0s\"\nretry = \"20ms\"\nname = \"hub.example\"\n";

/// A hub that reads this `hub.toml`.
async fn with(hub: &mut Hub, text: &str) {
    std::fs::write(hub.data().join("secret"), format!("{SECRET}\n")).unwrap();
    std::fs::write(hub.data().join("hub.toml"), text).unwrap();
    hub.restart().await;
}

fn webhook(collector: &Collector, more: &str) -> String {
    let url = &collector.url;
    format!("[[webhook]]\nname = \"own\"\nurl = \"{url}\"\nsecret_file = \"secret\"\n{more}\n")
}

/// A server that joined; its credential.
async fn join(hub: &Hub, name: &str) -> String {
    let token = hub.enrollment(1, SignedDuration::from_hours(1), &[]).await;
    let body = json!({"token": token, "name": name, "machine": secret::hash(name), "agent_version": "0.1.0"});
    let (status, said) = hub.json("POST", "/v1/agent/enroll", "", body).await;
    assert_eq!(status, 200, "{said}");
    said["credential"].as_str().unwrap().to_owned()
}

/// Report number `sequence` of a server: M1 in this status.
async fn report(hub: &Hub, name: &str, credential: &str, sequence: u64, status: &str) {
    let at = Timestamp::from_second(1_790_000_000 + i64::try_from(sequence).unwrap() * 60).unwrap();
    let in_force = status == "Applied";
    let mitigations = if status.is_empty() {
        json!([])
    } else {
        json!([{"feed": "example", "id": "M1", "type": "UrlRewrite", "verdict": "Applies", "status": status,
                "description": "Refuses autodiscover", "in_force": in_force,
                "reason": (status == "Failed").then_some("nginx: =cmd|calc <b>")}])
    };
    let report = json!({"sequence": sequence, "at": at, "agent_version": "0.1.0", "mitigations_enabled": true,
                        "mitigations": mitigations});
    let body = json!({"machine": secret::hash(name), "reports": [report]});
    let (status, said) = hub.json("POST", "/v1/agent/reports", credential, body).await;
    assert_eq!(status, 200, "{said}");
}

/// Messages, once each is delivered or given up and there are as many as this.
async fn told(hub: &Hub, token: &str, count: usize) -> Vec<Value> {
    for _ in 0..600 {
        let (status, page) = hub.get("/v1/notifications", token).await;
        assert_eq!(status, 200, "{page}");
        let items = page["items"].as_array().unwrap().clone();
        let done = |one: &Value| one["deliveries"].as_array().unwrap().iter().all(|d| d["state"] != "waits");
        if items.len() >= count && items.iter().all(done) {
            return items;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not {count} messages: {}", hub.get("/v1/notifications", token).await.1);
}

async fn rows(hub: &Hub, sql: &'static str) -> i64 {
    sqlx::query(sql).fetch_one(hub.state.db.reader()).await.unwrap().try_get(0).unwrap()
}

on_both!(what_happens_on_a_server_reaches_a_webhook_signed_and_once, async |mut hub: Hub| {
    let collector = Collector::start().await;
    with(&mut hub, &format!("{NOW}{}", webhook(&collector, ""))).await;
    let viewer = hub.token(Role::Viewer).await;
    let credential = join(&hub, "web01").await;
    report(&hub, "web01", &credential, 1, "").await;
    report(&hub, "web01", &credential, 2, "Failed").await;
    report(&hub, "web01", &credential, 2, "Failed").await;
    let messages = told(&hub, &viewer, 2).await;
    assert_eq!(messages.len(), 2, "{messages:?}");
    let got = collector.got();
    assert_eq!(got.len(), 2, "{got:?}");
    for request in &got {
        let (t, v1) = request.header("stopgap-signature").split_once(",v1=").unwrap();
        let t: i64 = t.strip_prefix("t=").unwrap().parse().unwrap();
        let expected = stopgap_tell::form::signature(
            SECRET.as_bytes(),
            &request.body,
            Timestamp::from_second(t).unwrap(),
        );
        assert_eq!(expected, format!("t={t},v1={v1}"));
        let body = request.json();
        assert_eq!(body["delivery"], request.header("stopgap-delivery"));
        assert_eq!(
            (body["from"].as_str(), body["mitigation"].as_str()),
            (Some("hub.example"), Some("example:M1"))
        );
        assert_eq!((body["count"].as_u64(), body["servers"][0].as_str()), (Some(1), Some("web01")));
    }
    let mut events: Vec<String> =
        got.iter().map(|one| one.json()["event"].as_str().unwrap().to_owned()).collect();
    events.sort();
    assert_eq!(events, ["available", "failed"]);
    let shown = format!("{messages:?}{:?}", hub.get("/v1/openapi.json", &viewer).await.1);
    assert!(!shown.contains(SECRET) && !shown.contains(&collector.url));
});

on_both!(the_same_on_many_servers_is_one_message_that_counts, async |mut hub: Hub| {
    let collector = Collector::start().await;
    let slow = NOW.replace("window = \"0s\"", "window = \"1s\"");
    with(&mut hub, &format!("{slow}{}", webhook(&collector, "events = [\"applied\"]"))).await;
    let viewer = hub.token(Role::Viewer).await;
    let mut credentials = Vec::new();
    for n in 0..25 {
        let name = format!("web{n:02}");
        let credential = join(&hub, &name).await;
        report(&hub, &name, &credential, 1, "Scheduled").await;
        credentials.push((name, credential));
    }
    let all = credentials.iter().map(|(name, credential)| report(&hub, name, credential, 2, "Applied"));
    futures_util::future::join_all(all).await;
    let mut counted = 0;
    for _ in 0..100 {
        counted = told(&hub, &viewer, 1).await.iter().map(|one| one["count"].as_u64().unwrap()).sum();
        if counted == 25 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(counted, 25);
    // On a machine that is busy the second server may report after the window; never one message for each.
    assert!(collector.got().len() < 25, "{}", collector.got().len());
    assert_eq!(rows(&hub, "SELECT COUNT(*) FROM notes").await, 0);
    let first = collector.got()[0].json();
    assert!(first["servers"].as_array().unwrap().len() <= 20);
});

on_both!(a_receiver_that_is_down_is_told_later_and_two_hubs_never_tell_twice, async |mut hub: Hub| {
    let collector = Collector::start().await;
    collector.fail(3);
    with(&mut hub, &format!("{NOW}{}", webhook(&collector, "events = [\"applied\", \"removed\"]"))).await;
    let other = hub.other().await;
    let viewer = hub.token(Role::Viewer).await;
    let credential = join(&hub, "web01").await;
    report(&hub, "web01", &credential, 1, "Scheduled").await;
    for round in 0..10 {
        report(&hub, "web01", &credential, 2 + 2 * round, "Applied").await;
        report(&hub, "web01", &credential, 3 + 2 * round, "Scheduled").await;
        told(&hub, &viewer, 1).await;
    }
    let messages = told(&hub, &viewer, 2).await;
    let got = collector.got();
    let ids: std::collections::BTreeSet<String> =
        got.iter().map(|one| one.header("stopgap-delivery").to_owned()).collect();
    assert_eq!(ids.len(), messages.len(), "each was told");
    assert_eq!(got.len(), messages.len() + 3, "once each, beside the three that were refused");
    let tries: u64 = messages.iter().map(|one| one["deliveries"][0]["tries"].as_u64().unwrap()).sum();
    assert_eq!(tries, messages.len() as u64 + 3);
    drop(other);
});

on_both!(what_cannot_be_delivered_is_given_up_and_said, async |mut hub: Hub| {
    let collector = Collector::start().await;
    collector.fail(usize::MAX);
    let soon = format!("{NOW}give_up = \"0s\"\n");
    with(&mut hub, &format!("{soon}{}", webhook(&collector, ""))).await;
    let administrator = hub.token(Role::Administrator).await;
    let (status, made) = hub.json("POST", "/v1/notifications/test", &administrator, json!({})).await;
    assert_eq!((status, made["event"].as_str()), (202, Some("test")), "{made}");
    let messages = told(&hub, &administrator, 1).await;
    let delivery = &messages[0]["deliveries"][0];
    assert_eq!(
        (delivery["state"].as_str(), delivery["receiver"].as_str()),
        (Some("given-up"), Some("webhook own"))
    );
    assert_eq!(delivery["error"], "the answer is 503 Service Unavailable: expected one of 200 to 299");
    let metrics = hub.ask("GET", "/metrics", &administrator).send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("stopgap_hub_deliveries{state=\"given-up\"} 1"), "{metrics}");
    let viewer = hub.token(Role::Viewer).await;
    assert_eq!(hub.json("POST", "/v1/notifications/test", &viewer, json!({})).await.0, 403);
    let (_, audit) = hub.get("/v1/audit?action=notification", &administrator).await;
    assert_eq!(audit["items"].as_array().unwrap().len(), 1, "{audit}");
});

on_both!(a_server_that_goes_quiet_is_told_and_told_again_when_it_is_back, async |mut hub: Hub| {
    let collector = Collector::start().await;
    let quiet = format!("{NOW}quiet_after = \"1s\"\n");
    with(&mut hub, &format!("{quiet}{}", webhook(&collector, "events = [\"quiet\", \"recovered\"]"))).await;
    let viewer = hub.token(Role::Viewer).await;
    let credential = join(&hub, "web01").await;
    report(&hub, "web01", &credential, 1, "Applied").await;
    let messages = told(&hub, &viewer, 1).await;
    let quiet = messages.last().unwrap();
    assert_eq!(
        (quiet["event"].as_str(), quiet["title"].as_str()),
        (Some("quiet"), Some("web01 is not heard of"))
    );
    let (_, troubles) = hub.get("/v1/troubles", &viewer).await;
    assert_eq!(troubles["items"][0]["kind"], "quiet", "{troubles}");
    let mut sequence = 2;
    let back = loop {
        report(&hub, "web01", &credential, sequence, "Applied").await;
        sequence += 1;
        let messages = told(&hub, &viewer, 1).await;
        if let Some(back) = messages.iter().find(|one| one["event"] == "recovered") {
            break back.clone();
        }
        assert!(sequence < 300, "{messages:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!(back["title"], "web01 is well again");
});

on_both!(the_digest_has_the_audit_logs_head_and_the_report_its_table, async |mut hub: Hub| {
    let Some(smtp) = Smtp::start("the_digest_has_the_audit_logs_head_and_the_report_its_table") else {
        return;
    };
    let mut change = hub.state.db.begin().await.unwrap();
    let sql = "INSERT INTO meta (name, value) VALUES ('digest_on', $1) \
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    sqlx::query(sql).bind("2026-01-01").execute(change.on()).await.unwrap();
    let said = stopgap_hub::audit::Said { user: "ada".into(), action: "x".into(), ..Default::default() };
    let head = change.audit(Timestamp::now(), &said).await.unwrap().hash;
    change.commit().await.unwrap();
    let server = hub.server("=web01", &[]).await;
    hub.reports(&server, "example:M1", "Applied", true).await;
    with(&mut hub, &format!("{NOW}report = \"daily\"\n{}", smtp.table())).await;
    let viewer = hub.token(Role::Viewer).await;
    let messages = told(&hub, &viewer, 2).await;
    assert_eq!(messages.len(), 2, "{messages:?}");
    let mails = smtp.mails();
    assert_eq!(mails.len(), 2, "{mails:?}");
    let digest = mails.iter().find(|mail| mail.contains("digest: 1 servers")).unwrap();
    assert!(digest.contains(&head) && digest.contains("example:M1: Applied on 1"), "{digest}");
    let report = mails.iter().find(|mail| mail.contains("text/csv")).unwrap();
    assert!(report.contains("'=web01,example:M1,Applied,true"), "{report}");
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_is_sent_over_tls_with_a_password_and_refused_where_the_server_is_another() {
    let test = "mail_is_sent_over_tls_with_a_password_and_refused_where_the_server_is_another";
    let mut hub = Hub::start(Store::Sqlite, test).await.unwrap();
    let Some(smtp) = Smtp::start(test) else { return };
    with(&mut hub, &format!("{NOW}digest = \"off\"\n{}", smtp.table())).await;
    let administrator = hub.token(Role::Administrator).await;
    hub.json("POST", "/v1/notifications/test", &administrator, json!({})).await;
    let messages = told(&hub, &administrator, 1).await;
    assert_eq!(messages[0]["deliveries"][0]["state"], "sent", "{messages:?}");
    let mails = smtp.mails();
    assert_eq!(mails.len(), 1);
    for expected in [
        "X-Test-Session: tls=True user=stopgap",
        "Subject: [Stopgap hub.example] a test: messages arrive here",
        "Auto-Submitted: auto-generated",
        "To: ops@example.org, Duty <duty@example.org>",
        "Message-ID: <",
    ] {
        assert!(mails[0].contains(expected), "{expected}\n{}", mails[0]);
    }
    // Another authority: nothing is sent, and why is told without the password.
    let other = smtp.table().replace("ca_file", "# ");
    with(&mut hub, &format!("{NOW}digest = \"off\"\ngive_up = \"0s\"\n{other}")).await;
    hub.json("POST", "/v1/notifications/test", &administrator, json!({})).await;
    let messages = told(&hub, &administrator, 2).await;
    let delivery = &messages[0]["deliveries"][0];
    assert_eq!(delivery["state"], "given-up");
    let error = delivery["error"].as_str().unwrap();
    assert!(error.to_lowercase().contains("certificate") && !error.contains(smtp::PASSWORD), "{error}");
    // A wrong password is refused by the server, and is not told either.
    std::fs::write(hub.data().join("wrong"), "another password\n").unwrap();
    let wrong = smtp.table().replace(&smtp.password_file(), "wrong");
    with(&mut hub, &format!("{NOW}digest = \"off\"\ngive_up = \"0s\"\n{wrong}")).await;
    hub.json("POST", "/v1/notifications/test", &administrator, json!({})).await;
    let messages = told(&hub, &administrator, 3).await;
    let error = messages[0]["deliveries"][0]["error"].as_str().unwrap();
    assert!(error.contains("535") && !error.contains("another password"), "{error}");
    assert_eq!(smtp.mails().len(), 1);
}

#[tokio::test]
async fn a_mistake_in_hub_toml_is_told_at_the_start() {
    let mut hub = Hub::start(Store::Sqlite, "a_mistake_in_hub_toml_is_told_at_the_start").await.unwrap();
    hub.end().await;
    std::fs::write(hub.data().join("hub.toml"), "[[webhook]]\nname = \"a\"\nurl = \"http://example.org/\"\n")
        .unwrap();
    let settings = stopgap_hub::Settings {
        data: hub.data(),
        listen: "127.0.0.1:0".parse().unwrap(),
        database: None,
        tls: None,
        names: Vec::new(),
        bounds: stopgap_hub::Bounds::default(),
    };
    let Err(error) = stopgap_hub::Hub::bind(settings).await else { panic!("it started") };
    let error = error.to_string();
    assert!(error.contains("hub.toml") && error.contains("[[webhook]] a: url: expected https"), "{error}");
}
