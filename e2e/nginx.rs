//! A real nginx in front of an origin: what a mitigation does to requests, to its configuration, and
//! to its speed; and that nothing of it is left.

use std::fs;
use std::net::SocketAddr;

use serde_json::Value;

use crate::world::*;

const SITE: &str = "mail.example.org";

/// What is the agent's own record, and not a server's configuration.
const RECORDS: [&str; 6] = ["lock", "ledger.json", "journal.jsonl", "operator.json", "feeds", "wake.txt"];

/// One vulnerable server: nginx with one hooked site in front of an origin, and a feed.
struct Stage {
    world: World,
    publisher: Publisher,
    origin: Origin,
    nginx: Nginx,
}

/// What of nginx's tree and of the data folder must be as it was.
fn tree(stage: &Stage) -> (Snapshot, Snapshot) {
    (snapshot(&stage.nginx.folder, &["run"]), snapshot(&stage.world.data(), &RECORDS))
}

impl Stage {
    /// `None`, said aloud, where there is no nginx.
    fn set(test: &str) -> Option<Stage> {
        if !nginx_is_here(test) {
            return None;
        }
        let (world, origin) = (World::new(), Origin::start());
        let nginx = Nginx::start(&world, &[SITE], origin.address);
        let publisher = world.publisher();
        let stage = Stage { world, publisher, origin, nginx };
        stage.configure(&[SITE]);
        stage.world.exchange(VULNERABLE);
        stage.world.ok(&["agent", "hook", "nginx", "--insert"]);
        Some(stage)
    }

    /// The configuration, with these sites as the Default Web Site.
    fn configure(&self, sites: &[&str]) {
        self.world.config(&format!("{}{}", self.publisher.table(), self.nginx.target(sites)));
    }

    fn address(&self) -> SocketAddr {
        self.nginx.address(SITE)
    }

    /// Releases M1 as a revision (from 0) had it.
    fn release(&self, revision: usize) {
        self.publisher.write_m1(revision);
        self.publisher.publish();
    }

    /// What a client gets for a request, and whether it reached the origin.
    fn ask(&self, target: &str) -> (Seen, bool) {
        self.origin.clear();
        let seen = ask(self.address(), target);
        (seen, self.origin.hits() > 0)
    }
}

const PASSES: (Seen, bool) = (Seen::Status(200), true);
const REFUSED: (Seen, bool) = (Seen::Closed, false);

fn places(mitigation: &Value) -> Vec<(&str, bool, &str)> {
    let targets =
        mitigation["actions"].as_array().unwrap().iter().flat_map(|a| a["targets"].as_array().unwrap());
    targets
        .map(|t| {
            (t["site"].as_str().unwrap(), t["in_force"].as_bool().unwrap(), t["proof"].as_str().unwrap())
        })
        .collect()
}

/// Before: every request reaches the origin. In force: the table. After the operator's revert:
/// before, to the byte.
fn a_revision_gives_its_column(revision: usize) {
    let Some(stage) = Stage::set("a revision of M1 gives its column of the table") else { return };
    stage.release(revision);
    let before = tree(&stage);
    for (target, _) in REQUESTS {
        assert_eq!(stage.ask(target), PASSES, "before: {target}");
    }

    stage.world.ok(&["apply"]);
    for (target, since) in REQUESTS {
        let expected = if refuses(revision, since) { REFUSED } else { PASSES };
        assert_eq!(stage.ask(target), expected, "revision {}: {target}", revision + 1);
    }
    stage.origin.clear();
    for head in [
        format!("POST {ATTACK} HTTP/1.1\r\nHost: {SITE}\r\nContent-Length: 2\r\n\r\nok"),
        format!("GET {ATTACK} HTTP/1.0\r\n\r\n"),
    ] {
        assert_eq!(send(stage.address(), &head), Seen::Closed, "whatever the method and version: {head}");
    }
    assert_eq!(stage.origin.log(), [""; 0]);
    let m1 = stage.world.mitigation("M1");
    assert_eq!(m1["status"], "Applied", "{m1:#}");
    assert_eq!(m1["in_force"], true);
    assert_eq!(places(&m1), [(SITE, true, "proven")]);
    assert!(!differences(&before.1, &tree(&stage).1).is_empty(), "the rules are in the data folder");
    assert_eq!(tree(&stage).0, before.0, "nginx's own tree is not touched");

    let report = stage.world.json(0, &["revert", "M1"]);
    assert_eq!(mitigation(&report, "M1")["status"], "Blocked");
    assert_eq!(mitigation(&report, "M1")["in_force"], false);
    for (target, _) in REQUESTS {
        assert_eq!(stage.ask(target), PASSES, "reverted: {target}");
    }
    assert_eq!(tree(&stage), before, "nothing of it is left");
}

#[test]
fn revision_1_gives_its_column() {
    a_revision_gives_its_column(0);
}

#[test]
fn revision_2_gives_its_column() {
    a_revision_gives_its_column(1);
}

#[test]
fn revision_3_gives_its_column() {
    a_revision_gives_its_column(2);
}

#[test]
fn revision_4_gives_its_column() {
    a_revision_gives_its_column(3);
}

#[test]
fn a_revision_replaces_the_one_before_it_with_one_reload() {
    let Some(stage) = Stage::set("a_revision_replaces_the_one_before_it_with_one_reload") else { return };
    for revision in 0..REVISIONS.len() {
        stage.release(revision);
        let reloads = stage.nginx.reloads();
        stage.world.ok(&["apply"]);
        assert_eq!(stage.nginx.reloads(), reloads + 1);
        for (target, since) in REQUESTS {
            let expected = if refuses(revision, since) { REFUSED } else { PASSES };
            assert_eq!(stage.ask(target), expected, "revision {}: {target}", revision + 1);
        }
        stage.world.ok(&["apply"]);
        assert_eq!(stage.nginx.reloads(), reloads + 1, "nothing to do, no reload");
    }
}

#[test]
fn a_withdrawn_mitigation_leaves_nothing() {
    let Some(stage) = Stage::set("a_withdrawn_mitigation_leaves_nothing") else { return };
    let before = tree(&stage);
    stage.publisher.add("PING1");
    stage.release(3);
    stage.world.ok(&["apply"]);
    assert_eq!(stage.ask(ATTACK), REFUSED);

    stage.publisher.withdraw("M1", "a better one is on its way");
    stage.publisher.publish();
    stage.world.ok(&["apply"]);
    assert_eq!(stage.ask(ATTACK), PASSES);
    assert_eq!(tree(&stage), before);
}

#[test]
fn a_fixed_build_leaves_nothing() {
    let Some(stage) = Stage::set("a_fixed_build_leaves_nothing") else { return };
    let tables = format!("soak = \"0s\"\n{}{}", stage.publisher.table(), stage.nginx.target(&[SITE]));
    stage.world.config(&tables);
    let before = tree(&stage);
    stage.release(3);
    stage.world.ok(&["apply"]);
    assert_eq!(stage.ask(ATTACK), REFUSED);

    stage.world.exchange(FIXED);
    stage.world.ok(&["apply"]);
    assert_eq!(stage.ask(ATTACK), PASSES);
    assert_eq!(stage.world.mitigation("M1")["status"], "NotApplicable");
    assert_eq!(tree(&stage), before);
}

#[test]
fn a_site_without_the_hook_makes_it_partial_until_it_is_inserted() {
    let name = "a_site_without_the_hook_makes_it_partial_until_it_is_inserted";
    let Some(mut stage) = Stage::set(name) else { return };
    const SECOND: &str = "owa.example.org";
    stage.nginx.add_site(SECOND);
    stage.configure(&[SITE, SECOND]);
    let unhooked = fs::read(stage.nginx.site_file(SECOND)).unwrap();
    let before = tree(&stage);
    stage.release(3);

    stage.world.ok(&["apply"]);
    let m1 = stage.world.mitigation("M1");
    assert_eq!(m1["status"], "Partial", "{m1:#}");
    assert_eq!(places(&m1), [(SITE, true, "proven"), (SECOND, false, "unproven")]);
    let said = stage.world.ok(&["status"]);
    assert!(format!("{}{}", said.stdout, said.stderr).contains(SECOND), "it is named: {said:#?}");
    assert_eq!(stage.ask(ATTACK), REFUSED);
    assert_eq!(get(stage.nginx.address(SECOND), SECOND, ATTACK), Seen::Status(200));

    stage.world.ok(&["agent", "hook", "nginx", "--insert"]);
    assert_ne!(fs::read(stage.nginx.site_file(SECOND)).unwrap(), unhooked);
    assert_eq!(stage.world.mitigation("M1")["status"], "Partial", "nginx was not told yet");
    stage.world.ok(&["apply"]);
    assert_eq!(get(stage.nginx.address(SECOND), SECOND, ATTACK), Seen::Closed);
    assert_eq!(get(stage.nginx.address(SECOND), SECOND, BENIGN), Seen::Status(200));
    let m1 = stage.world.mitigation("M1");
    assert_eq!(m1["status"], "Applied", "{m1:#}");
    assert_eq!(places(&m1), [(SITE, true, "proven"), (SECOND, true, "proven")]);

    stage.world.ok(&["revert", "M1"]);
    let second = stage.nginx.site_file(SECOND);
    assert_ne!(fs::read(&second).unwrap(), unhooked, "a revert leaves the hook");
    assert_eq!(tree(&stage).1, before.1);
}

#[test]
fn an_agent_that_runs_sees_an_inserted_hook() {
    let Some(mut stage) = Stage::set("an_agent_that_runs_sees_an_inserted_hook") else { return };
    const SECOND: &str = "owa.example.org";
    stage.nginx.add_site(SECOND);
    stage.configure(&[SITE, SECOND]);
    stage.release(3);
    let _agent = stage.world.agent();
    stage.world.await_status("M1", "Partial");
    stage.world.ok(&["agent", "hook", "nginx", "--insert"]);
    // The feed is asked every hour, and nothing else of this world changes.
    wait_until("the second site is protected", || {
        get(stage.nginx.address(SECOND), SECOND, ATTACK) == Seen::Closed
    });
}

#[test]
fn the_hook_is_cut_out_again_to_the_byte() {
    let Some(stage) = Stage::set("the_hook_is_cut_out_again_to_the_byte") else { return };
    let hooked = tree(&stage).0;
    stage.world.ok(&["agent", "hook", "nginx", "--remove"]);
    let bare = tree(&stage).0;
    let changed = differences(&bare, &hooked);
    assert_eq!(
        changed,
        ["conf.d/stopgap.conf", "sites/mail.example.org.conf"].map(Into::<std::path::PathBuf>::into)
    );
    let Entry::File(_, bytes) = &bare[&changed[1]] else { panic!("a site's file is a file") };
    assert_eq!(
        String::from_utf8_lossy(bytes),
        format!(
            "server {{\n    listen {};\n    server_name {SITE};\n    location / {{ proxy_pass http://{}; }}\n}}\n",
            stage.address(),
            stage.origin.address
        )
    );
    stage.world.ok(&["agent", "hook", "nginx", "--insert"]);
    assert_eq!(tree(&stage).0, hooked);
    stage.world.ok(&["agent", "hook", "nginx", "--insert"]);
    assert_eq!(tree(&stage).0, hooked, "twice is once");
}

const BROKEN: &str = "this_is_no_directive on;\n";

#[test]
fn somebody_elses_broken_configuration_is_reported_and_nothing_changes() {
    let name = "somebody_elses_broken_configuration_is_reported_and_nothing_changes";
    let Some(stage) = Stage::set(name) else { return };
    let broken = stage.nginx.folder.join("conf.d/broken.conf");

    // Before anything of ours is there.
    stage.release(0);
    fs::write(&broken, BROKEN).unwrap();
    let before = tree(&stage);
    let ran = stage.world.stopgap(&["apply"]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    assert!(ran.stderr.contains("unknown directive \"this_is_no_directive\""), "{ran:#?}");
    assert!(ran.stderr.contains("broken.conf:1"), "nginx's own place: {ran:#?}");
    assert_eq!(tree(&stage), before);
    assert_eq!(stage.ask(ATTACK), PASSES);

    // With a revision in force, and the next one out: the old one stays whole.
    fs::remove_file(&broken).unwrap();
    stage.world.ok(&["apply"]);
    stage.release(3);
    fs::write(&broken, BROKEN).unwrap();
    let before = tree(&stage);
    let ran = stage.world.stopgap(&["apply"]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    assert_eq!(tree(&stage), before);
    assert_eq!(stage.ask(ATTACK), REFUSED);

    // Repaired: the next cycle goes on.
    fs::remove_file(&broken).unwrap();
    stage.world.ok(&["apply"]);
    assert_eq!(stage.ask(REQUESTS[3].0), REFUSED);
}

/// nginx cannot be told, and goes on with the rule: the status does not say otherwise, the operator
/// learns what to do by hand, and the rule leaves as soon as it can.
#[test]
fn a_revert_with_a_broken_configuration_says_how_and_waits() {
    let Some(stage) = Stage::set("a_revert_with_a_broken_configuration_says_how_and_waits") else { return };
    let before = tree(&stage);
    stage.release(3);
    stage.world.ok(&["apply"]);
    let broken = stage.nginx.folder.join("conf.d/broken.conf");
    fs::write(&broken, BROKEN).unwrap();

    let ran = stage.world.stopgap(&["revert", "M1"]);
    assert_eq!(ran.code, 1, "nginx still refuses: {ran:#?}");
    assert!(ran.stderr.contains("this_is_no_directive"), "{ran:#?}");
    let live = stage.world.data().join("nginx/live");
    let by_hand = format!("remove {}", live.display());
    assert!(!live.exists() || ran.stderr.contains(&by_hand), "gone, or said how: {ran:#?}");
    let m1 = stage.world.mitigation("M1");
    assert_eq!((ask(stage.address(), ATTACK), &m1["in_force"]), (Seen::Closed, &true.into()), "{m1:#}");

    fs::remove_file(&broken).unwrap();
    stage.world.ok(&["apply"]);
    assert_eq!(stage.ask(ATTACK), PASSES);
    assert_eq!(tree(&stage), before);
}

#[test]
fn a_rule_that_nginx_cannot_express_fails_alone() {
    let Some(stage) = Stage::set("a_rule_that_nginx_cannot_express_fails_alone") else { return };
    let abort = |condition: &str| {
        format!("<match url=\".*\"/><conditions>{condition}</conditions><action type=\"AbortRequest\"/>")
    };
    // A back-reference has no linear form, and PCRE's turns are bounded by the answer "no match".
    let rule = abort(r#"<add input="{REQUEST_URI}" pattern="/twice/(\w+)/\1"/>"#);
    let probes = probe("blocked", "/twice/a/a") + &probe("allowed", BENIGN);
    stage.publisher.write(
        "X1",
        &config("X1", "a back-reference", &rule, &probes),
        &["/twice/a/a"],
        &[BENIGN],
    );
    stage.release(3);

    let ran = stage.world.stopgap(&["apply", "--json"]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    let report = ran.json();
    let (m1, x1) = (mitigation(&report, "M1"), mitigation(&report, "X1"));
    assert_eq!(
        (m1["status"].as_str(), m1["in_force"].as_bool()),
        (Some("Applied"), Some(true)),
        "{report:#}"
    );
    assert_eq!(
        (x1["status"].as_str(), x1["in_force"].as_bool()),
        (Some("Failed"), Some(false)),
        "{report:#}"
    );
    assert!(x1.to_string().contains("cannot be expressed for nginx"), "{x1:#}");
    assert_eq!(stage.ask(ATTACK), REFUSED);
    assert_eq!(stage.ask("/twice/a/a"), PASSES);
}

/// 8 KB addresses: plain, full of one of the words, full of percent signs, and full of the word as
/// percent forms. None is refused, so that every pattern is tried to its end.
fn long_addresses() -> [(&'static str, String); 5] {
    const LENGTH: usize = 8_000;
    let long = |unit: &str| format!("/owa/?{}", unit.repeat(LENGTH / unit.len()));
    [
        ("plain", long("q=0123456789abcdef&")),
        ("words", long("autodiscover")),
        ("files", long("autodiscover.json@")),
        ("percent signs", long("%25")),
        ("percent forms", long("%61utodiscover.j%73on")),
    ]
}

/// The bound is on CPU time of the worker, which a busy machine does not stretch.
#[test]
fn an_8_kb_address_costs_under_5_ms_of_cpu_with_any_revision() {
    let name = "an_8_kb_address_costs_under_5_ms_of_cpu_with_any_revision";
    let Some(stage) = Stage::set(name) else { return };
    measure(&stage, "without rules", &long_addresses(), 200);
    for revision in 0..REVISIONS.len() {
        stage.release(revision);
        stage.world.ok(&["apply"]);
        for (what, cost) in measure(&stage, &format!("revision {}", revision + 1), &long_addresses(), 200) {
            assert!(cost < 5.0, "revision {}, {what}: {cost:.2} ms of CPU a request", revision + 1);
        }
    }
}

/// The measure sees what the bound is about: the last revision's pattern as it stands, unanchored.
#[test]
fn the_pattern_as_it_stands_would_cost_more_than_5_ms() {
    let Some(stage) = Stage::set("the_pattern_as_it_stands_would_cost_more_than_5_ms") else { return };
    let naive = format!("map $request_uri $naive {{ default 0; \"~*{}\" 1; }}\n", REVISIONS[3].1);
    fs::write(stage.nginx.folder.join("conf.d/naive.conf"), naive).unwrap();
    let site = fs::read_to_string(stage.nginx.site_file(SITE)).unwrap();
    let site = site.replace("    location", "    if ($naive) { return 444; }\n    location");
    fs::write(stage.nginx.site_file(SITE), site).unwrap();
    stage.nginx.reload();
    wait_until("the naive rule is in force", || ask(stage.address(), ATTACK) == Seen::Closed);
    wait_until("one worker serves", || stage.nginx.workers().len() == 1);
    for (what, cost) in measure(&stage, "as it stands", &long_addresses()[..1], 2) {
        assert!(cost > 5.0, "{what}: {cost:.2} ms of CPU a request");
    }
}

/// Milliseconds of the worker's CPU time a request, by address.
fn measure(
    stage: &Stage,
    rules: &str,
    addresses: &[(&'static str, String)],
    count: u32,
) -> Vec<(&'static str, f64)> {
    let mut costs = Vec::new();
    for (what, address) in addresses {
        let workers = stage.nginx.workers();
        let [worker] = workers.as_slice() else { panic!("one worker serves: {workers:?}") };
        let mut client = KeepAlive::new(stage.address());
        assert_eq!(client.get(address), Some(200));
        let before = cpu_ms(*worker);
        for _ in 0..count {
            assert_eq!(client.get(address), Some(200));
        }
        let cost = (cpu_ms(*worker) - before) / f64::from(count);
        println!("{rules}, {what}: {cost:.2} ms of the worker's CPU a request");
        costs.push((*what, cost));
    }
    costs
}

/// User and system time of a process (proc(5), fields 14 and 15, in ticks of 10 ms).
fn cpu_ms(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Its name, in parentheses, may hold blanks.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks = |field: usize| fields[field - 3].parse::<f64>().unwrap();
    (ticks(14) + ticks(15)) * 10.0
}
