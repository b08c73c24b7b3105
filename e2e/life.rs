//! The service as it lives on a server: what starts its cycles, what it logs, and what stays when it
//! ends.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use crate::world::{
    FIXED, Gateway, Origin, Process, Publisher, STOPGAP, Seen, VULNERABLE, World, ask, free_port, run, text,
    wait_until,
};

const ATTACK: &str = "/autodiscover/autodiscover.json?@evil.example/PowerShell/";

/// A server whose agent runs and follows a feed over HTTP, with PING1 in it.
struct Life {
    world: World,
    publisher: Publisher,
    gateway: Gateway,
    feed: SocketAddr,
    served: Option<Process>,
    agent: Process,
}

/// `feed serve`, until it answers.
fn serve(publisher: &Publisher, address: SocketAddr) -> Process {
    let mut command = Command::new(STOPGAP);
    command.args(["feed", "serve", text(&publisher.folder), "--listen", &address.to_string()]);
    let process = Process::start(command.stderr(std::process::Stdio::null()));
    wait_until("the feed is served", || ask(address, "/feed.xml") == Seen::Status(200));
    process
}

fn life() -> Life {
    let world = World::new();
    let publisher = world.publisher();
    publisher.add("PING1");
    publisher.publish();
    let feed = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let served = serve(&publisher, feed);
    let gateway = world.gateway(Origin::start().address);
    let table = publisher.table_at(&format!("http://{feed}/feed.xml"));
    world.config(&format!("soak = \"0s\"\n{table}{}", gateway.target()));
    world.exchange(VULNERABLE);
    let agent = world.agent();
    world.await_status("PING1", "Applied");
    Life { world, publisher, gateway, feed, served: Some(served), agent }
}

impl Life {
    fn becomes(&self, seen: Seen) {
        wait_until(&format!("the attack is {seen:?}"), || ask(self.gateway.address, ATTACK) == seen);
    }

    fn publish_m1(&self) {
        self.publisher.add("M1");
        self.publisher.publish();
        self.becomes(Seen::Closed);
        self.world.await_status("M1", "Applied");
    }

    fn live(&self) -> std::path::PathBuf {
        self.world.data().join("gateway/live")
    }

    /// Everything in the log, which must be one file: that of today.
    fn log(&self) -> String {
        let files: Vec<_> =
            fs::read_dir(self.world.path("logs")).unwrap().map(|e| e.unwrap().path()).collect();
        assert!(!files.is_empty() && files.len() <= 2, "one, or two around midnight: {files:?}");
        for file in &files {
            let name = file.file_name().unwrap().to_str().unwrap();
            assert!(name.starts_with("stopgap.20") && name.ends_with(".log"), "{name}");
        }
        files.iter().map(|file| fs::read_to_string(file).unwrap()).collect()
    }

    fn logged(&self, event: u16, words: &str) {
        let is_it = |line: &str| line.contains(&format!("event={event}")) && line.contains(words);
        wait_until(&format!("event {event} with `{words}` is logged"), || self.log().lines().any(is_it));
    }
}

// The interval is an hour, so that whatever happens within these tests was not the poll.

#[test]
fn what_is_published_withdrawn_or_fixed_is_followed_at_once() {
    let life = life();
    assert_eq!(ask(life.gateway.address, ATTACK), Seen::Status(200));
    life.publish_m1();
    life.logged(1005, "example:M1 is in force");

    life.world.exchange(FIXED);
    life.becomes(Seen::Status(200));
    life.logged(1006, "example:M1 was taken off");
    life.world.await_status("M1", "NotApplicable");
    life.world.exchange(VULNERABLE);
    life.becomes(Seen::Closed);

    life.publisher.withdraw("M1", "superseded by the hotfix");
    life.publisher.publish();
    life.becomes(Seen::Status(200));
    life.logged(1006, "superseded by the hotfix");
}

#[test]
fn the_operators_file_and_a_deleted_rule_are_seen_at_once() {
    let life = life();
    life.publish_m1();
    fs::remove_file(life.live()).unwrap();
    wait_until("the rules are back", || life.live().exists());
    life.logged(1012, "our rules are gone");
    life.becomes(Seen::Closed);

    // As the hub or configuration management would write it: a whole file, renamed into place.
    let block = r#"{"blocks":[{"id":"M1","level":"server","take_off":true}]}"#;
    let (new, file) = (life.world.path("operator.new"), life.world.data().join("operator.json"));
    fs::write(&new, block).unwrap();
    fs::rename(&new, &file).unwrap();
    life.becomes(Seen::Status(200));
    life.world.ok(&["unblock", "M1"]);
    life.becomes(Seen::Closed);
}

#[test]
fn three_reversals_by_hand_end_the_repairs_until_an_operator_says_otherwise() {
    let life = life();
    life.publish_m1();
    let repaired = || {
        let history = life.world.json(0, &["history"]);
        history.as_array().unwrap().iter().filter(|line| line["event"] == "done").count()
    };
    for _ in 0..2 {
        let before = repaired();
        fs::remove_file(life.live()).unwrap();
        // Booked, too: what is undone before that is the same reversal.
        wait_until("the repair is journaled", || repaired() > before);
        life.world.await_status("M1", "Applied");
    }
    fs::remove_file(life.live()).unwrap();
    let contested = life.world.await_status("M1", "Contested");
    assert!(contested["reason"].as_str().unwrap().contains("no longer repaired"), "{contested}");
    life.logged(1008, "contested");
    assert!(!life.live().exists());
    life.world.ok(&["retry", "gateway"]);
    life.becomes(Seen::Closed);
    life.world.await_status("M1", "Applied");
}

#[test]
fn what_is_in_force_outlives_the_agent_and_the_agent_its_feed() {
    let mut life = life();
    life.publish_m1();

    // The feed's server goes away and comes back at the same address: the agent finds it again.
    life.served.take().unwrap().kill();
    assert_eq!(life.world.stopgap(&["apply"]).code, 1);
    life.logged(1008, "unreachable");
    assert_eq!(ask(life.gateway.address, ATTACK), Seen::Closed);
    life.publisher.withdraw("M1", "while nobody was listening");
    life.publisher.publish();
    life.served = Some(serve(&life.publisher, life.feed));
    life.becomes(Seen::Status(200));
    life.publisher.add("PL1");
    life.publisher.publish();
    life.world.await_status("PL1", "Applied");

    let Life { world, gateway, agent, .. } = life;
    assert!(agent.terminate().success(), "SIGTERM ends it in good order");
    let passed = send_cookie(gateway.address);
    assert_eq!(passed, Seen::Closed, "what is in force stays");
    let logs =
        fs::read_dir(world.path("logs")).unwrap().map(|e| fs::read_to_string(e.unwrap().path()).unwrap());
    assert!(logs.collect::<String>().contains("stopgap stopped; what is in force stays in force"));
}

fn send_cookie(address: SocketAddr) -> Seen {
    let cookie = "X-AnonResource=true; X-AnonResource-Backend=localhost/ecp/default.flt?~3";
    let head =
        format!("GET /owa/auth/x.js HTTP/1.1\r\nHost: a\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n");
    crate::world::send(address, &head)
}

#[test]
fn the_demonstration_does_what_it_says() {
    let mut command = Command::new(STOPGAP);
    command.args(["demo", "--once", "--json"]);
    let ran = run(command);
    assert_eq!(ran.code, 0, "{ran:#?}");
    let summary = ran.json();
    assert_eq!(summary["ok"], true, "{summary:#}");
    let steps = summary["steps"].as_array().unwrap();
    assert!(steps.len() > 8 && steps.iter().all(|step| step["ok"] == true), "{summary:#}");
    println!("publish to in force: {} ms", summary["publish_to_in_force_ms"].as_u64().unwrap());
}
