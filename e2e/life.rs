//! The service as it lives on a server: what starts its cycles, what it logs, and what stays when it
//! ends.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use crate::world::{
    Entry, FIXED, Gateway, Origin, PATIENCE, Process, Publisher, STOPGAP, Seen, VULNERABLE, World, ask,
    differences, free_port, run, snapshot, text, wait_until,
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

/// A hook that writes down what it is told.
fn hook(world: &World, name: &str, ends: u8) -> String {
    use std::os::unix::fs::PermissionsExt as _;
    let told = world.path("told");
    let text = format!(
        "#!/bin/sh\necho \"$STOPGAP_WHEN $STOPGAP_TARGET +$STOPGAP_PUTS_ON -$STOPGAP_TAKES_OFF\" >> {}\nexit {ends}\n",
        told.display()
    );
    world.write(name, &text);
    fs::set_permissions(world.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    world.path(name).display().to_string()
}

/// What changed below the gateway's folder, and whether the steps said so.
fn as_planned(world: &World, steps: &serde_json::Value, act: impl FnOnce()) {
    let except = ["control.sock"];
    let before = snapshot(&world.data().join("gateway"), &except);
    act();
    let after = snapshot(&world.data().join("gateway"), &except);
    let steps = steps.as_array().unwrap();
    for path in differences(&before, &after) {
        if matches!(before.get(&path).or(after.get(&path)), Some(Entry::Folder(_))) {
            continue;
        }
        let path = world.data().join("gateway").join(path);
        let said = steps.iter().any(|step| {
            let changes = ["write", "swap", "remove"].contains(&step["kind"].as_str().unwrap());
            changes && path.starts_with(step["path"].as_str().unwrap())
        });
        assert!(said, "nobody said that {} changes: {steps:#?}", path.display());
    }
}

#[test]
fn an_operators_word_is_asked_for_given_paused_and_kept_with_a_name() {
    let world = World::new();
    let publisher = world.publisher();
    publisher.add("M1");
    publisher.publish();
    let gateway = world.gateway(Origin::start().address);
    let (drain, undrain) = (hook(&world, "hooks/drain", 0), hook(&world, "hooks/undrain", 0));
    let hooks = format!("[hooks]\nbefore = [{drain:?}]\nafter = [{undrain:?}]\n");
    let tables = format!("{}{}", publisher.table(), gateway.target());
    world.config(&format!("soak = \"0s\"\napproval = \"required\"\n{hooks}{tables}"));
    world.exchange(VULNERABLE);

    // Nobody approved it: nothing is pending, and nothing happens.
    world.ok(&["apply"]);
    let waits = world.mitigation("M1");
    assert_eq!((&waits["verdict"], &waits["status"]), (&"AwaitingApproval".into(), &waits["verdict"]));
    assert_eq!(world.stopgap(&["plan", "--check"]).code, 0);
    assert_eq!(world.stopgap(&["approve", "M1", "--revision", "00000000"]).code, 1);
    assert!(!world.path("told").exists());

    let revision = world.json(0, &["explain", "M1"])["revision"].as_str().unwrap().to_owned();
    let mut approve = world.command(&["approve", "M1", "--revision", &revision[..8], "--reason", "CHG-4711"]);
    let approved = run({
        approve.env("SUDO_USER", "alice");
        approve
    });
    assert_eq!(approved.code, 0, "{approved:#?}");
    assert_eq!(ask(gateway.address, ATTACK), Seen::Closed);
    let told = fs::read_to_string(world.path("told")).unwrap();
    assert_eq!(told, "before gateway +example:M1.1 -\nafter gateway +example:M1.1 -\n");
    let history = world.json(0, &["history"]);
    let said: Vec<_> = history.as_array().unwrap().iter().filter(|line| line["event"] == "word").collect();
    assert_eq!((said.len(), &said[0]["by"]), (1, &"alice".into()), "{history:#}");
    assert!(said[0]["said"].as_str().unwrap().ends_with(": CHG-4711"), "{history:#}");

    // Paused, nothing changes, whatever the feed or the fix say; and it is no pending change either.
    world.ok(&["pause", "--for", "2h", "--reason", "moving"]);
    world.exchange(FIXED);
    world.ok(&["apply"]);
    assert_eq!(ask(gateway.address, ATTACK), Seen::Closed);
    let status = world.json(0, &["status"]);
    assert_eq!(status["paused"]["reason"], "moving");
    assert!(world.ok(&["status"]).stdout.starts_with("Paused until "));
    assert_eq!(world.stopgap(&["plan", "--check"]).code, 0);
    assert_eq!(world.stopgap(&["pause", "--for=-2h"]).code, 2);
    fs::remove_file(world.data().join("gateway/live")).unwrap();
    world.ok(&["apply"]);
    assert!(!world.data().join("gateway/live").exists(), "what somebody takes away stays away");
    world.exchange(VULNERABLE);
    world.ok(&["resume"]);
    assert_eq!(ask(gateway.address, ATTACK), Seen::Closed);
    assert!(world.json(0, &["status"])["paused"].is_null());

    // What the plan prints is what happens, hooks included.
    world.exchange(FIXED);
    let plan = world.json(3, &["plan", "--check"]);
    let kinds: Vec<&str> =
        plan["steps"].as_array().unwrap().iter().map(|step| step["kind"].as_str().unwrap()).collect();
    assert_eq!((kinds.first(), kinds.last()), (Some(&"run"), Some(&"run")), "{plan:#}");
    as_planned(&world, &plan["steps"], || {
        world.ok(&["apply"]);
    });
    assert_eq!(ask(gateway.address, ATTACK), Seen::Status(200));

    // A hook that fails stops the change, and nothing was done.
    hook(&world, "hooks/drain", 7);
    world.exchange(VULNERABLE);
    let before = snapshot(&world.data().join("gateway"), &["control.sock"]);
    let failed = world.stopgap(&["apply"]);
    assert_eq!(failed.code, 1, "{failed:#?}");
    assert!(
        failed.stderr.contains("nothing was changed") && failed.stderr.contains("ended with 7"),
        "{failed:#?}"
    );
    assert_eq!(ask(gateway.address, ATTACK), Seen::Status(200));
    let after = snapshot(&world.data().join("gateway"), &["control.sock"]);
    assert_eq!(differences(&before, &after), Vec::<std::path::PathBuf>::new());
}

#[test]
fn another_interval_counts_at_once() {
    let world = World::new();
    let publisher = world.publisher();
    publisher.add("PING1");
    publisher.publish();
    let gateway = world.gateway(Origin::start().address);
    // A file announces nothing, and is not watched.
    let tables = format!("{}{}", publisher.table(), gateway.target());
    world.config(&format!("interval = \"24h\"\n{tables}"));
    world.exchange(VULNERABLE);
    let _agent = world.agent();
    world.await_status("PING1", "Applied");
    publisher.add("M1");
    publisher.publish();
    world.config(&format!("interval = \"1s\"\n{tables}"));
    world.await_status("M1", "Applied");
}

#[test]
fn a_service_that_is_asked_to_stop_in_a_hook_asks_for_the_time_that_hooks_have() {
    use std::os::unix::net::UnixDatagram;
    let world = World::new();
    let publisher = world.publisher();
    publisher.add("M1");
    publisher.publish();
    let gateway = world.gateway(Origin::start().address);
    let (drain, undrain) = (hook(&world, "hooks/drain", 0), hook(&world, "hooks/undrain", 0));
    // It lasts until it is told that it may end.
    let script = fs::read_to_string(&drain).unwrap();
    let (may_end, runs) = (world.path("may-end"), world.path("runs"));
    let lasts =
        format!("touch {}\nwhile [ ! -e {} ]; do sleep 0.05; done\n", runs.display(), may_end.display());
    fs::write(&drain, script.replace("exit 0", &lasts)).unwrap();
    let hooks = format!("[hooks]\nbefore = [{drain:?}]\nafter = [{undrain:?}]\ntimeout = \"14m\"\n");
    world.config(&format!("{hooks}{}{}", publisher.table(), gateway.target()));
    world.exchange(VULNERABLE);

    let socket = UnixDatagram::bind(world.path("notify")).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = world.command(&["agent", "run"]);
    let command = command.env("NOTIFY_SOCKET", world.path("notify")).stderr(std::process::Stdio::null());
    let agent = Process::start(command);
    let mut said = String::new();
    let mut hear = |words: &str| {
        let mut message = [0; 4096];
        while !said.contains(words) {
            let length = socket.recv(&mut message).unwrap_or_else(|error| panic!("{words}: {error}: {said}"));
            said = String::from_utf8_lossy(&message[..length]).into_owned();
        }
    };
    hear("READY=1");
    wait_until("the hook runs", || runs.exists());
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(agent.id()).unwrap()),
        nix::sys::signal::Signal::SIGTERM,
    )
    .unwrap();
    // 130 s, and fourteen minutes for each of two.
    hear("EXTEND_TIMEOUT_USEC=1810000000");
    fs::write(&may_end, "").unwrap();
    hear("STOPPING=1");
    assert!(agent.terminate().success());
    assert_eq!(ask(gateway.address, ATTACK), Seen::Closed, "the change was carried to its end");
    assert!(fs::read_to_string(world.path("told")).unwrap().contains("after gateway"));
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
