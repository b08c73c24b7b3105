//! A fleet with a past, for tests that look at pages: fourteen servers in three groups, and five mitigations in every
//! state that there is. Times are relative to now, since pages are.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use stopgap_hub::audit::Said;
use stopgap_hub::db::{mirror, servers, time};
use stopgap_hub::people::{Role, accounts};
use stopgap_hub::secret;

use super::Hub;

/// Everybody's password.
pub const PASSWORD: &str = "correct horse battery";

/// A mitigation on a server: status, in force, hours since it came into force, hours since it left, why.
type On = (&'static str, &'static str, bool, Option<i64>, Option<i64>, &'static str);

const M1: &str = "example:M1";
const M2: &str = "example:M2";
const M3: &str = "example:M3";
const M4: &str = "example:M4";
const OWN: &str = "intern:M7.1";

fn described(mitigation: &str) -> (&'static str, &'static str) {
    match mitigation {
        M1 => ("UrlRewrite", "Refuses requests for autodiscover that name PowerShell"),
        M2 => ("UrlRewrite", "Refuses path traversal in the export handler"),
        M3 => ("UrlRewrite", "Refuses uploads with a second extension"),
        M4 => ("StopService", "Stops the print spooler where nobody prints"),
        _ => ("UrlRewrite", "Hides the status page from outside"),
    }
}

/// Servers with their label `role`, minutes since they were heard of, and their mitigations.
fn servers_of_the_fleet() -> Vec<(&'static str, &'static str, i64, Vec<On>)> {
    let applied = |id, hours| (id, "Applied", true, Some(hours), None, "");
    let fixed =
        |on, off| (M3, "NotApplicable", false, Some(on), Some(off), "Example Server 4.2.1 has the fix");
    let waits = (M2, "AwaitingApproval", false, None, None, "a person approves each revision here");
    let mail = |more: Vec<On>| more.into_iter().chain([fixed(300, 40)]).collect::<Vec<On>>();
    vec![
        ("mail01", "mail", 2, mail(vec![applied(M1, 120), applied(M4, 90)])),
        ("mail02", "mail", 4, mail(vec![applied(M1, 119), applied(M4, 90)])),
        ("mail03", "mail", 1, mail(vec![applied(M1, 118), applied(M4, 88)])),
        (
            "mail04",
            "mail",
            9,
            mail(vec![
                applied(M1, 96),
                (M4, "Blocked", true, Some(88), None, "blocked by the organization: the plotter needs it"),
            ]),
        ),
        (
            "mail05",
            "mail",
            3,
            mail(vec![applied(M1, 72), (M4, "Scheduled", false, None, None, "ring 2 begins in 3 h")]),
        ),
        (
            "mail06",
            "mail",
            5,
            mail(vec![
                (
                    M1,
                    "Ineffective",
                    true,
                    Some(71),
                    None,
                    "the probe M1.1 still passes on https://127.0.0.1:8443",
                ),
                applied(M4, 60),
            ]),
        ),
        ("web01", "web", 7, vec![applied(OWN, 30), waits]),
        (
            "web02",
            "web",
            8,
            vec![(OWN, "Unproven", true, Some(30), None, "no answer before and after"), waits],
        ),
        ("web03", "web", 6, vec![applied(OWN, 29), waits]),
        ("web04", "web", 600, vec![applied(OWN, 28), waits]),
        (
            "web05",
            "web",
            2,
            vec![
                (OWN, "Blocked", false, None, None, "blocked on this server: load test until Tuesday"),
                waits,
            ],
        ),
        ("edge01", "edge", 1, vec![applied(M1, 50), applied(OWN, 27)]),
        (
            "edge02",
            "edge",
            1,
            vec![
                applied(M1, 50),
                (
                    OWN,
                    "Failed",
                    false,
                    None,
                    None,
                    "nginx rejected the staged rules: unknown directive in line 4",
                ),
            ],
        ),
        (
            "build01",
            "build",
            3,
            vec![(M1, "NotApplicable", false, None, None, "Example Server is not installed")],
        ),
    ]
}

/// Puts the fleet into a hub, past the API, with one account for each role: `olga` (operator), `arno`
/// (administrator), `vera` (viewer), `udo` (auditor).
pub async fn fill(hub: &Hub) {
    let now = Timestamp::now();
    let ago = |hours: i64| now - SignedDuration::from_hours(hours);
    let mut change = hub.state.db.begin().await.unwrap();
    let kept = hub.state.passwords.hash(PASSWORD).await.unwrap();
    for (name, role) in [
        ("arno", Role::Administrator),
        ("olga", Role::Operator),
        ("vera", Role::Viewer),
        ("udo", Role::Auditor),
    ] {
        accounts::add(&mut change, "a test", name, role, &kept, ago(700)).await.unwrap();
    }
    for (position, name) in [(0_i64, "edge"), (1, "mail"), (2, "web")] {
        sqlx::query(
            "INSERT INTO server_groups (name, label_key, label_value, position) VALUES ($1, 'role', $2, $3)",
        )
        .bind(name)
        .bind(name)
        .bind(position)
        .execute(change.on())
        .await
        .unwrap();
    }
    for (name, role, heard, mitigations) in servers_of_the_fleet() {
        let id = secret::identity().unwrap();
        let warnings =
            if name == "mail02" { json!(["site \"owa\" has no hook: it is not covered"]) } else { json!([]) };
        let facts = json!({"nginx": "1.22.1", "example-server": "4.2.0"});
        let sql = "INSERT INTO servers (id, name, name_key, machine, credential_hash, labels, enrolled_at, \
                   last_contact, agent_version, system, sequence, reported_at, facts, warnings, event_seq) VALUES \
                   ($1, $2, $3, 'm', $4, '{}', $5, $6, '0.1.0', 'linux Debian GNU/Linux 12', 41, $7, $8, $9, 2)";
        let contact = now - SignedDuration::from_mins(heard);
        sqlx::query(sql)
            .bind(&id)
            .bind(name)
            .bind(name)
            .bind(secret::hash(&id))
            .bind(time(ago(650)))
            .bind(time(contact))
            .bind(time(contact))
            .bind(facts.to_string())
            .bind(warnings.to_string())
            .execute(change.on())
            .await
            .unwrap();
        let labels = [("role".to_owned(), role.to_owned())].into_iter().collect();
        servers::set_labels(&mut change, &id, &labels).await.unwrap();
        for on in mitigations {
            mitigation(&mut change, &id, on, now).await;
        }
        for (seq, hours, event, mitigation, text) in [
            (1_i64, 120, 1005_i64, Some(M1), "M1 was applied to 2 sites and proven"),
            (2, 40, 1006, Some(M3), "M3 was taken off: the fix is installed"),
        ] {
            let sql = "INSERT INTO events (server, seq, at, received_at, event, mitigation, text) \
                       VALUES ($1, $2, $3, $3, $4, $5, $6)";
            let query = sqlx::query(sql).bind(&id).bind(seq).bind(time(ago(hours))).bind(event);
            query.bind(mitigation).bind(text).execute(change.on()).await.unwrap();
        }
        for (feed, serial, error) in
            [("example", 42_i64, None), ("intern", 7, (name == "web04").then_some("unreachable"))]
        {
            let sql = "INSERT INTO server_feeds (server, name, serial, trusted_at, expires_at, error) \
                       VALUES ($1, $2, $3, $4, $5, $6)";
            let query =
                sqlx::query(sql).bind(&id).bind(feed).bind(serial).bind(time(ago(1))).bind(time(ago(-700)));
            query.bind(error).execute(change.on()).await.unwrap();
        }
    }
    for (name, hours) in [(M1, 121), (M2, 20), (M3, 306), (M4, 100), (OWN, 31)] {
        let (feed, id) = name.split_once(':').unwrap();
        let query = sqlx::query("INSERT INTO needs (feed, id, since_at) VALUES ($1, $2, $3)");
        query.bind(feed).bind(id).bind(time(ago(hours))).execute(change.on()).await.unwrap();
    }
    let said = Said {
        user: "arno".into(),
        action: "enrollment.create".into(),
        object: "enrollment 6f1c".into(),
        after: Some(json!({"uses": 20, "labels": {"role": "mail"}})),
        ..Said::default()
    };
    change.audit(ago(651), &said).await.unwrap();
    change.commit().await.unwrap();
}

/// Has the hub mirror the feed `example`, with M1 as the project ships it; it is started again for that.
pub async fn mirror(hub: &mut Hub) {
    let m1 = include_str!("../../../../../mitigations/M1/mitigation.xml");
    let octets = format!("<EOCS version=\"2.0\" feed=\"example\" serial=\"42\">{m1}</EOCS>").into_bytes();
    let document = mirror::Document {
        feed: "example".into(),
        serial: 42,
        hash: secret::hash(&String::from_utf8_lossy(&octets)),
        last_seen: None,
        octets,
    };
    let mut change = hub.state.db.begin().await.unwrap();
    mirror::put(&mut change, &document, &[], Timestamp::now()).await.unwrap();
    change.commit().await.unwrap();
    hub.restart().await;
}

async fn mitigation(change: &mut stopgap_hub::db::Change, server: &str, on: On, now: Timestamp) {
    let (name, status, in_force, from, until, why) = on;
    let at = |hours: i64| now - SignedDuration::from_hours(hours);
    let (feed, id) = name.split_once(':').unwrap();
    let (action_type, description) = described(name);
    let applied = from.map(|hours| time(at(hours)));
    let proven = (status == "Applied").then(|| time(at(1)));
    let reason = Some(why).filter(|why| !why.is_empty());
    let waits = ["AwaitingApproval", "Scheduled"].contains(&status);
    let step = |kind: &str, path: &str, detail: &str| json!({"target": "nginx", "kind": kind, "path": format!("/var/lib/stopgap/nginx/{path}"), "detail": detail});
    let plan = waits.then(|| {
        [
            step("write", "sets/6d1c/server.conf", "412 bytes"),
            step("check", "sets/6d1c", "the server's own test of these files"),
            step("swap", "live", &format!("to <6d1c> ({name})")),
        ]
    });
    let document: Value = json!({"feed": feed, "id": id, "type": action_type, "description": description,
        "digest": secret::hash(name), "verdict": "Applies", "reason": reason, "status": status, "in_force": in_force,
        "applied_at": applied, "proven_at": proven, "actions": [],
        "plan": plan.map_or_else(|| json!([]), |plan| json!(plan))});
    let sql = "INSERT INTO server_mitigations (server, feed, id, digest, verdict, status, reason, in_force, \
               applied_at, proven_at, document) VALUES ($1, $2, $3, $4, 'Applies', $5, $6, $7, $8, $9, $10)";
    sqlx::query(sql)
        .bind(server)
        .bind(feed)
        .bind(id)
        .bind(secret::hash(name))
        .bind(status)
        .bind(reason)
        .bind(i64::from(in_force))
        .bind(applied)
        .bind(proven)
        .bind(document.to_string())
        .execute(change.on())
        .await
        .unwrap();
    if let Some(from) = from {
        let sql = "INSERT INTO spans (server, feed, id, from_at, until_at) VALUES ($1, $2, $3, $4, $5)";
        let query = sqlx::query(sql).bind(server).bind(feed).bind(id).bind(time(at(from)));
        query.bind(until.map(|hours| time(at(hours)))).execute(change.on()).await.unwrap();
    }
}
