//! A server whose clock is wrong by hours: the hub raises it, what protects stays, and what is refused for it is
//! refused by name.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::world::{
    Gateway, Hub, Liar, Origin, Process, Publisher, Seen, VULNERABLE, World, ask, config, probe, run,
    wait_until,
};

const ATTACK: &str = "/autodiscover/autodiscover.json?@evil.example/PowerShell/";
const HOUR: i64 = 3_600_000;
/// The library that tells a program another time; the loader puts the system's own folder in the place of `$LIB`.
const FAKETIME: &str = "/usr/$LIB/faketime/libfaketimeMT.so.1";

/// A member of an organization, whose clock the test sets.
struct Member {
    world: World,
    publisher: Publisher,
    gateway: Gateway,
    hub: Hub,
}

/// `None`: there is no second clock here.
fn member(test: &str) -> Option<Member> {
    if !Path::new("/usr/bin/faketime").exists() {
        assert!(
            std::env::var("CI").as_deref() != Ok("true"),
            "faketime is missing: Debian's package faketime"
        );
        println!("skipped (no faketime): {test}");
        return None;
    }
    let world = World::new();
    let publisher = world.publisher();
    publisher.add("PING1");
    publisher.publish();
    let gateway = world.gateway(Origin::start().address);
    world.config(&format!("soak = \"0s\"\n{}{}", publisher.table(), gateway.target()));
    world.exchange(VULNERABLE);
    // Somebody takes what the hub tells; what was told stays listed there. The hub judges every ten seconds.
    let taker = Liar::start(|_, _| Some(("text/plain", Vec::new())));
    world.write("hub/secret", "a secret of at least sixteen letters\n");
    let hook = format!("name = \"own\"\nurl = \"http://{}/\"\nsecret_file = \"secret\"\n", taker.address);
    let notify = "window = \"0s\"\nrepeat = \"0s\"\nquiet_after = \"10s\"\ndigest = \"off\"\n";
    world.write("hub/hub.toml", &format!("[notify]\n{notify}[[webhook]]\n{hook}"));
    let hub = Hub::start(&world);
    hub.enroll(&world);
    Some(Member { world, publisher, gateway, hub })
}

impl Member {
    /// The service with this clock: `+0`, or so many hours beside the right one.
    fn agent(&self, clock: &str) -> Process {
        let mut command = self.world.command(&["agent", "run"]);
        Process::start(by_the_clock(&mut command, clock))
    }

    /// Waits until the hub sees the clock so many hours ahead, and until it has judged and told so.
    fn raised(&self, ahead: i64, words: &str) {
        wait_until("the hub knows the clock", || (self.offset() - ahead * HOUR).abs() < HOUR / 4);
        let mut looks = 0;
        wait_until("the hub raises it", || {
            // A server that says nothing for long is quiet, and nothing else is judged then.
            looks += 1;
            if looks % 20 == 0 {
                self.hub
                    .say(&json!({ "mitigations_blocked": [{ "id": "X1", "reason": looks.to_string() }] }));
            }
            let listed =
                |path: &str| self.hub.api("GET", path, "", None).json["items"].as_array().unwrap().clone();
            let said =
                |one: &Value| one["kind"] == "wrong-clock" && one["text"].as_str().unwrap().contains(words);
            listed("/v1/troubles").iter().any(said)
                && listed("/v1/notifications").iter().any(|one| one["event"] == "wrong-clock")
        });
    }

    /// Milliseconds that the hub sees it ahead.
    fn offset(&self) -> i64 {
        self.hub.api("GET", "/v1/servers/Server1", "", None).json["clock_offset_ms"].as_i64().unwrap()
    }

    /// Releases a mitigation that refuses requests for `/seven`.
    fn publish_m7(&self) {
        let rule = r#"<match url="^seven"/><action type="AbortRequest"/>"#;
        let probes = format!("{}{}", probe("blocked", "/seven"), probe("allowed", "/"));
        self.publisher.write("M7", &config("M7", "Refuses seven", rule, &probes), &["/seven"], &["/"]);
        self.publisher.publish();
    }

    /// Asks the feeds now, by this clock: from files they are asked once an hour.
    fn look(&self, clock: &str) {
        let mut command = self.world.command(&["apply"]);
        by_the_clock(&mut command, clock);
        run(command);
    }

    fn feed_error(&self) -> Value {
        self.world.json(0, &["status"])["feeds"][0]["error"].clone()
    }
}

/// Times that only grow, and those of files, stay true.
fn by_the_clock<'a>(command: &'a mut Command, clock: &str) -> &'a mut Command {
    command.env("LD_PRELOAD", FAKETIME).env("FAKETIME", clock);
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1").env("NO_FAKE_STAT", "1")
}

#[test]
fn a_clock_that_is_behind_is_raised_keeps_what_protects_and_takes_nothing_new() {
    let Some(member) = member("a_clock_that_is_behind_is_raised") else { return };
    let world = &member.world;
    member.publisher.add("M1");
    member.publisher.publish();
    let right = member.agent("+0");
    world.await_status("M1", "Applied");
    right.kill();

    let behind = member.agent("-5h");
    wait_until("the feed is refused", || member.feed_error() == "clock-set-back");
    member.raised(-5, "behind");
    member.publish_m7();
    member.look("-5h");
    assert_eq!(member.feed_error(), "clock-set-back");
    let attacks = || [ATTACK, "/seven"].map(|target| ask(member.gateway.address, target));
    assert_eq!(attacks(), [Seen::Closed, Seen::Status(200)]);
    // The organization's word counts by whatever clock.
    member.hub.say(&json!({ "mitigations_blocked": [{ "id": "M1", "take_off": true, "reason": "drill" }] }));
    wait_until("M1 is off", || attacks()[0] == Seen::Status(200));
    member.hub.say(&json!({ "mitigations_blocked": [] }));
    behind.kill();

    let _right = member.agent("+0");
    wait_until("all is in force", || attacks() == [Seen::Closed, Seen::Closed]);
    wait_until("the hub sees the right time", || member.offset() == 0);
}

#[test]
fn a_clock_that_is_ahead_takes_what_is_good_by_it_and_keeps_what_protects_where_nothing_is() {
    let Some(member) = member("a_clock_that_is_ahead") else { return };
    let world = &member.world;
    member.publisher.add("M1");
    member.publisher.publish();
    let hours = member.agent("+5h");
    world.await_status("M1", "Applied");
    member.raised(5, "ahead");
    member.publish_m7();
    member.look("+5h");
    world.await_status("M7", "Applied");
    hours.kill();

    // By this clock the release has ended: nobody may say anything new with it, and nothing leaves for it.
    // A hundred days and some minutes: a header's date is a second coarse.
    let _days = member.agent("+144010m");
    wait_until("the feed is refused", || member.feed_error() == "expired");
    member.raised(100 * 24, "2400h");
    for target in [ATTACK, "/seven"] {
        assert_eq!(ask(member.gateway.address, target), Seen::Closed, "{target}");
    }
}

#[test]
fn a_server_that_begins_with_a_clock_that_is_behind_says_what_is_wrong_with_it() {
    let Some(member) = member("a_server_that_begins_with_a_clock_that_is_behind") else { return };
    let behind = member.agent("-5h");
    wait_until("the feed is refused", || member.feed_error() == "not-yet-issued");
    member.raised(-5, "behind");
    assert!(member.world.json(0, &["status"])["mitigations"].as_array().unwrap().is_empty());
    behind.kill();
    let _right = member.agent("+0");
    member.world.await_status("PING1", "Applied");
}
