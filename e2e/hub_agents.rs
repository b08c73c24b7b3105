//! A real hub and real agents: what an organization holds back, takes off and lets go on; a hub that is away, that
//! lies, that has a new certificate.

use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::world::{
    Authority, Gateway, Hub, Liar, Origin, Process, Publisher, Seen, VULNERABLE, World, ask, http, text,
    wait_until,
};

const ATTACK: &str = "/autodiscover/autodiscover.json?@evil.example/PowerShell/";

/// A server in an organization, with M1 in its feed.
struct Member {
    world: World,
    publisher: Publisher,
    gateway: Gateway,
    hub: Hub,
    agent: Process,
}

/// `keys`: further keys of `stopgap.toml`, before its tables.
fn member(keys: &str) -> Member {
    let world = World::new();
    let publisher = world.publisher();
    publisher.add("PING1");
    publisher.add("M1");
    publisher.publish();
    let gateway = world.gateway(Origin::start().address);
    world.config(&format!("soak = \"0s\"\n{keys}{}{}", publisher.table(), gateway.target()));
    world.exchange(VULNERABLE);
    let hub = Hub::start(&world);
    hub.enroll(&world);
    let agent = world.agent();
    world.await_status("M1", "Applied");
    Member { world, publisher, gateway, hub, agent }
}

impl Member {
    fn becomes(&self, seen: Seen) {
        wait_until(&format!("the attack is {seen:?}"), || ask(self.gateway.address, ATTACK) == seen);
    }

    fn hub_knows(&self, id: &str, status: &str) -> Value {
        let mut last = Value::Null;
        wait_until(&format!("the hub knows that {id} is {status}"), || {
            last = self.hub.knows("Server1", id);
            last["status"] == status
        });
        last
    }
}

fn block(take_off: bool) -> Value {
    json!({ "mitigations_blocked": [{ "id": "M1", "take_off": take_off, "reason": "printing" }] })
}

// The interval of feeds and polls is an hour: what happens within these tests was pushed.

#[test]
fn what_the_organization_blocks_takes_off_and_lets_go_is_done_at_once() {
    let member = member("");
    member.becomes(Seen::Closed);
    let known = member.hub_knows("M1", "Applied");
    assert_eq!(known["in_force"], true, "{known}");

    // Blocking does not take off.
    member.hub.say(&block(false));
    let blocked = member.world.await_status("M1", "Blocked");
    assert_eq!(blocked["reason"], "blocked by the organization: printing");
    assert_eq!(
        (blocked["in_force"].as_bool(), ask(member.gateway.address, ATTACK)),
        (Some(true), Seen::Closed)
    );
    member.hub_knows("M1", "Blocked");

    member.hub.say(&block(true));
    member.becomes(Seen::Status(200));
    wait_until("the hub knows that it is off", || member.hub.knows("Server1", "M1")["in_force"] == false);

    member.hub.say(&json!({ "mitigations_blocked": [] }));
    member.becomes(Seen::Closed);
    member.hub_knows("M1", "Applied");

    member.hub.say(&json!({ "mitigations_enabled": false }));
    let off = member.world.await_status("M1", "Disabled");
    assert_eq!(off["reason"], "MitigationsEnabled is off for the organization");
    member.hub.say(&json!({ "mitigations_enabled": true }));
    member.world.await_status("M1", "Applied");

    let frozen = json!({ "frozen_until": "2099-01-01T00:00:00Z" });
    member.hub.say(&frozen);
    wait_until("the server is frozen", || {
        member.world.json(0, &["status"])["paused"]["by"] == "the organization"
    });
    member.hub.say(&json!({ "frozen_until": null }));
    wait_until("it is so no longer", || member.world.json(0, &["status"])["paused"].is_null());
}

#[test]
fn a_hub_that_may_not_revert_holds_back_and_no_more() {
    let member = member("hub = { hub_may_revert = false }\n");
    member.hub.say(&block(true));
    member.world.await_status("M1", "Blocked");
    assert_eq!(ask(member.gateway.address, ATTACK), Seen::Closed);
}

#[test]
fn a_hub_that_is_away_changes_nothing_and_is_told_when_it_is_back() {
    let mut member = member("");
    member.hub.say(&json!({ "mitigations_blocked": [{ "id": "PING1", "reason": "noise" }] }));
    member.world.await_status("PING1", "Blocked");
    member.hub_knows("PING1", "Blocked");
    member.hub.kill();
    wait_until("the silence is noticed", || {
        !member.world.json(0, &["status"])["hub"]["silent_since"].is_null()
    });
    assert_eq!(member.world.mitigation("PING1")["status"], "Blocked");
    assert_eq!(ask(member.gateway.address, ATTACK), Seen::Closed);
    let check = member.world.json(0, &["agent", "check"]).to_string();
    assert!(check.contains("silent since"), "{check}");

    // What happens meanwhile is told later.
    member.world.ok(&["revert", "M1", "--reason", "drill"]);
    member.becomes(Seen::Status(200));
    // A service that starts while the hub is away goes by what it said.
    let Member { world, gateway, mut hub, agent, .. } = member;
    agent.kill();
    let _agent = world.agent();
    world.await_status("PING1", "Blocked");
    hub.run();
    wait_until("the hub knows what happened", || hub.knows("Server1", "M1")["in_force"] == false);
    wait_until("it is heard again", || world.json(0, &["status"])["hub"]["silent_since"].is_null());
    assert_eq!(ask(gateway.address, ATTACK), Seen::Status(200));
}

#[test]
fn leaving_keeps_what_is_in_force_and_forgets_what_was_said() {
    let member = member("");
    let again =
        member.world.stopgap(&["agent", "enroll", "--hub", &member.hub.url(), "--token-file", "/dev/null"]);
    assert_eq!(again.code, 2, "{again:#?}");
    let token = member.hub.enrollment(&member.world);
    let again =
        member.world.stopgap(&["agent", "enroll", "--hub", &member.hub.url(), "--token-file", text(&token)]);
    assert!(again.code == 1 && again.stderr.contains("agent leave"), "{again:#?}");
    member.hub.say(&json!({ "mitigations_blocked": [{ "id": "PING1" }] }));
    member.world.await_status("PING1", "Blocked");
    member.world.ok(&["agent", "leave"]);
    member.world.await_status("PING1", "Applied");
    assert_eq!(ask(member.gateway.address, ATTACK), Seen::Closed);
    assert!(member.world.json(0, &["status"])["hub"].is_null());
    assert!(!member.world.data().join("hub").exists());
    // It may come back, and is the same server.
    let known = member.hub.api("GET", "/v1/servers/Server1", "", None).json["id"].clone();
    member.world.ok(&["agent", "enroll", "--hub", &member.hub.url(), "--token-file", text(&token)]);
    assert_eq!(member.hub.api("GET", "/v1/servers/Server1", "", None).json["id"], known);
    assert_eq!(member.publisher.name, "example");
}

#[test]
fn the_credential_is_this_servers_own_and_nobody_elses_to_read() {
    use std::os::unix::fs::PermissionsExt as _;
    let member = member("");
    let file = member.world.data().join("hub/enrollment.json");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let kept: Value = serde_json::from_str(&fs::read_to_string(&file).unwrap()).unwrap();
    let credential = kept["credential"].as_str().unwrap();
    let bearer = format!("Authorization: Bearer {credential}\r\n");
    for path in
        ["/v1/servers", "/v1/servers/Server1", "/v1/organization/settings", "/v1/audit", "/v1/mitigations"]
    {
        assert_eq!(http(member.hub.address, "GET", path, &bearer, None).status, 401, "{path}");
    }
    let off = json!({ "mitigations_enabled": false });
    let headers = format!("{bearer}If-Match: \"0\"\r\n");
    let change = http(member.hub.address, "PATCH", "/v1/servers/Server1/settings", &headers, Some(&off));
    assert_eq!(change.status, 401);
    for folder in [member.world.path("logs"), member.world.data(), member.hub.data.clone()] {
        assert!(!holds(&folder, credential, &file), "{}", folder.display());
    }
    drop(member.agent);
}

/// Whether any file but this one holds the words.
fn holds(folder: &std::path::Path, words: &str, but: &std::path::Path) -> bool {
    fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_dir() && !path.is_symlink() {
            return holds(&path, words, but);
        }
        let found = fs::read(&path).unwrap_or_default();
        path != but && found.windows(words.len()).any(|window| window == words.as_bytes())
    })
}

#[test]
fn a_server_without_a_way_to_its_publisher_has_its_feed_from_the_hub() {
    let world = World::new();
    let publisher = world.publisher();
    publisher.add("PING1");
    publisher.publish();
    let gateway = world.gateway(Origin::start().address);
    // Nobody listens there.
    let table = publisher.table_at("http://127.0.0.1:9/feed.xml");
    world.config(&format!("soak = \"0s\"\n{table}{}", gateway.target()));
    world.exchange(VULNERABLE);
    world.write("hub/hub.toml", &format!("mirror_interval = \"1s\"\n{}", publisher.table()));
    let hub = Hub::start(&world);
    hub.enroll(&world);
    let _agent = world.agent();
    world.await_status("PING1", "Applied");
    publisher.add("M1");
    publisher.publish();
    wait_until("the attack is refused", || ask(gateway.address, ATTACK) == Seen::Closed);
    // What is damaged on its way is not served.
    let genuine = fs::read_to_string(publisher.feed()).unwrap();
    let altered = genuine.replace("PING1", "PING7");
    assert_ne!(genuine, altered);
    fs::write(publisher.feed(), altered).unwrap();
    wait_until("the hub says so", || {
        fs::read_to_string(hub.data.join("stderr")).unwrap().contains("the mirror:")
    });
    world.ok(&["apply"]);
    assert_eq!(ask(gateway.address, ATTACK), Seen::Closed);
}

#[test]
fn a_renewed_certificate_strands_nobody_and_another_authority_is_refused() {
    let world = World::new();
    world.config("");
    let authority = Authority::new();
    let (chain, key) = (world.path("chain.pem"), world.path("key.pem"));
    authority.issue(&chain, &key);
    // The token is made before there is TLS, so that it names no authority yet.
    let mut hub = Hub::start(&world);
    let secret = fs::read_to_string(hub.enrollment(&world)).unwrap();
    hub.kill();
    hub.tls = Some((chain.clone(), key.clone()));
    hub.run();
    let token = |pin: &str| {
        world.write("token", &format!("{}.{pin}\n", secret.trim()));
        world.path("token")
    };
    let url = hub.url();
    let enroll =
        |file: PathBuf| world.stopgap(&["agent", "enroll", "--hub", &url, "--token-file", text(&file)]);
    let refused = enroll(token(&Authority::new().pin()));
    assert!(refused.code == 1 && refused.stderr.contains("another hub"), "{refused:#?}");
    assert!(!world.data().join("hub").exists());
    let joined = enroll(token(&authority.pin()));
    assert_eq!(joined.code, 0, "{joined:#?}");
    let hub_line = || world.stopgap(&["agent", "check", "--json"]).json();
    let level = |checks: Value| {
        let all = checks["checks"].as_array().unwrap().clone();
        all.into_iter().find(|one| one["what"] == "hub").unwrap()
    };
    assert_eq!(level(hub_line())["level"], "ok");
    authority.issue(&chain, &key);
    hub.kill();
    hub.run();
    assert_eq!(level(hub_line())["level"], "ok");
    Authority::new().issue(&chain, &key);
    hub.kill();
    hub.run();
    assert_eq!(level(hub_line())["level"], "warning", "somebody else's authority");
}

#[test]
fn a_hub_that_lies_puts_nothing_on_this_server() {
    let world = World::new();
    let publisher = world.publisher();
    publisher.add("PING1");
    publisher.publish();
    let old = fs::read(publisher.feed()).unwrap();
    publisher.add("M1");
    publisher.publish();
    let genuine = fs::read(publisher.feed()).unwrap();
    // M1 refuses every request: what somebody would sign who could.
    let altered = String::from_utf8(genuine.clone()).unwrap().replace("autodiscover", ".");
    assert_ne!(altered.as_bytes(), genuine);
    let served = Arc::new(Mutex::new(altered.into_bytes()));
    let (feed, said) = (Arc::clone(&served), Arc::new(Mutex::new(wild("1"))));
    let words = Arc::clone(&said);
    let liar = Liar::start(move |method, path| {
        let json = |value: Value| Some(("application/json", value.to_string().into_bytes()));
        match (method, path) {
            ("POST", "/v1/agent/enroll") => json(json!({ "server": "../../etc", "credential": "sga_lie" })),
            ("GET", "/v1/agent/settings") => json(words.lock().unwrap().clone()),
            ("POST", "/v1/agent/reports") => json(json!({ "through": u64::MAX, "settings": "x" })),
            ("GET", "/v1/agent/feeds/example") => Some(("application/xml", feed.lock().unwrap().clone())),
            ("GET", "/v1/agent/events") => {
                let event = "event: feed\ndata: {\"feed\":\"example\",\"serial\":999999}\n\n";
                Some(("text/event-stream", event.as_bytes().to_vec()))
            }
            _ => None,
        }
    });
    let gateway = world.gateway(Origin::start().address);
    // The publisher itself cannot be reached: all comes from the hub.
    let table = publisher.table_at("http://127.0.0.1:9/feed.xml");
    world.config(&format!("soak = \"0s\"\n{table}{}", gateway.target()));
    world.exchange(VULNERABLE);
    world.write("token", "sge_anything");
    let url = format!("http://{}", liar.address);
    world.ok(&["agent", "enroll", "--hub", &url, "--token-file", text(&world.path("token"))]);
    let _agent = world.agent();
    wait_until("the altered document is refused", || {
        world.json(0, &["status"])["feeds"][0]["error"] == "digest-mismatch"
    });
    assert!(world.json(0, &["status"])["mitigations"].as_array().unwrap().is_empty());
    assert_eq!(ask(gateway.address, "/"), Seen::Status(200));

    // It may pass on what the publisher signed, and hold it back; what was signed before, it may not bring back.
    *served.lock().unwrap() = genuine;
    world.await_status("M1", "Applied");
    *served.lock().unwrap() = old;
    *said.lock().unwrap() = wild("2");
    world.stopgap(&["apply"]);
    assert_eq!(world.mitigation("M1")["status"], "Applied");
    assert_eq!(ask(gateway.address, ATTACK), Seen::Closed);
    assert_eq!(ask(gateway.address, "/"), Seen::Status(200));
}

#[test]
fn a_server_waits_for_its_turn_and_not_for_a_hub_that_has_no_answer() {
    let world = World::new();
    let publisher = world.publisher();
    publisher.add("PING1");
    publisher.add("M1");
    publisher.publish();
    let turn = Arc::new(Mutex::new(Some(json!({ "granted": false, "reason": "Server0 is changing" }))));
    let answer = Arc::clone(&turn);
    let hub = Liar::start(move |method, path| {
        let json = |value: Value| Some(("application/json", value.to_string().into_bytes()));
        match (method, path) {
            ("POST", "/v1/agent/enroll") => json(json!({ "server": "1", "credential": "sga_x" })),
            ("GET", "/v1/agent/settings") => {
                json(json!({ "version": "1", "organization_enabled": true, "takes_turns": true }))
            }
            ("POST", "/v1/agent/turn") => answer.lock().unwrap().clone().and_then(json),
            _ => None,
        }
    });
    let gateway = world.gateway(Origin::start().address);
    world.config(&format!("soak = \"0s\"\n{}{}", publisher.table(), gateway.target()));
    world.exchange(VULNERABLE);
    world.write("token", "sge_anything");
    let url = format!("http://{}", hub.address);
    world.ok(&["agent", "enroll", "--hub", &url, "--token-file", text(&world.path("token"))]);
    let agent = world.agent();
    world.await_status("M1", "Frozen");
    let paused = world.json(0, &["status"])["paused"].clone();
    assert_eq!(paused["reason"], "Server0 is changing");
    assert_eq!(ask(gateway.address, ATTACK), Seen::Status(200));
    // A change of facts is a reason to ask again.
    *turn.lock().unwrap() = Some(json!({ "granted": true }));
    world.exchange(VULNERABLE);
    world.await_status("M1", "Applied");
    world.ok(&["revert", "M1"]);
    drop(agent);
    *turn.lock().unwrap() = None;
    let _agent = world.agent();
    world.ok(&["unblock", "M1"]);
    wait_until("the attack is refused", || ask(gateway.address, ATTACK) == Seen::Closed);
}

/// Settings that nobody means well.
fn wild(version: &str) -> Value {
    let blocks: Vec<Value> = (0..2000)
        .map(|n| json!({ "id": format!("X{n}"), "level": "server", "take_off": true, "reason": "\u{1b}[2J" }))
        .collect();
    json!({
        "version": version, "organization_enabled": true, "server_enabled": true, "blocks": blocks,
        "approval": "automatic", "frozen_until": "1970-01-01T00:00:00Z", "feeds": ["example", "another"],
        "rings": [{ "percent": 100, "after_seconds": 0 }], "internet_web_proxy": "ftp://nowhere",
        "mitigations": [{ "feed": "example", "id": "M666", "octets": "<Mitigation/>" }],
        "run": "rm -rf /", "protected_facts": { "exchange": "0" },
    })
}
