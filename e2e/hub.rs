//! The organization's commands against a hub that runs: settings, the audit log, people, TLS, backup.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::world::{Origin, Process, Ran, STOPGAP, VULNERABLE, World, http, run, stopgap, text, wait_until};

/// A hub with its data folder.
struct Hub {
    folder: tempfile::TempDir,
    process: Option<Process>,
    url: String,
    tokens: std::cell::RefCell<std::collections::BTreeMap<&'static str, String>>,
}

impl Hub {
    fn start(more: &[&str]) -> Hub {
        let folder = tempfile::Builder::new().prefix("stopgap-hub-").tempdir().unwrap();
        let mut hub = Hub { folder, process: None, url: String::new(), tokens: Default::default() };
        hub.run(more);
        hub
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Starts the process, and reads where it listens.
    fn run(&mut self, more: &[&str]) {
        let mut child = Command::new(STOPGAP)
            .args(["hub", "run", "--listen", "127.0.0.1:0", "--data", text(&self.data())])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut said = Vec::new();
        let url = loop {
            let Some(Ok(line)) = lines.next() else { panic!("the hub did not start: {said:?}") };
            if let Some(url) = line.strip_prefix("the hub listens on ") {
                break url.to_owned();
            }
            said.push(line);
        };
        // Whatever it says later has to go somewhere.
        std::thread::spawn(move || lines.for_each(drop));
        self.url = url;
        self.process = Some(Process(child));
    }

    fn token(&self, role: &'static str) -> String {
        let made = || stopgap(&["hub", "token", "create", "--data", text(&self.data()), "--role", role]);
        self.tokens.borrow_mut().entry(role).or_insert_with(|| made().stdout.trim().to_owned()).clone()
    }

    /// A command of the organization, in the name of a token with this role.
    fn ask(&self, role: &'static str, args: &[&str]) -> Ran {
        run(self.command(role, args))
    }

    fn command(&self, role: &'static str, args: &[&str]) -> Command {
        let mut command = Command::new(STOPGAP);
        command.args(args).env("STOPGAP_HUB", &self.url).env("STOPGAP_TOKEN", self.token(role));
        command
    }

    fn ok(&self, role: &'static str, args: &[&str]) -> Ran {
        let ran = self.ask(role, args);
        assert_eq!(ran.code, 0, "{args:?}: {ran:#?}");
        ran
    }
}

fn without_hub(args: &[&str]) -> Ran {
    let mut command = Command::new(STOPGAP);
    command.args(args).env_remove("STOPGAP_HUB").env_remove("STOPGAP_TOKEN");
    run(command)
}

#[test]
fn without_a_hub_the_organizations_commands_are_refused_with_a_hint() {
    for args in [
        &["org", "get"][..],
        &["org", "set", "--mitigations-enabled", "false"],
        &["server", "list"],
        &["server", "get", "Server1"],
        &["server", "set", "Server1", "--mitigations-enabled", "false"],
        &["server", "remove", "Server1"],
        &["audit", "search"],
        &["audit", "verify"],
        &["org", "approvals"],
        &["org", "reject", "x"],
        &["org", "history", "--on", "2026-11-22"],
        &["approve", "M1", "--group", "mail"],
        &["unapprove", "M1", "--organization"],
    ] {
        let ran = without_hub(args);
        assert_eq!(ran.code, 2, "{args:?}: {ran:#?}");
        assert!(ran.stderr.contains("STOPGAP_HUB"), "{args:?}: {ran:#?}");
    }
    let mut far = Command::new(STOPGAP);
    far.args(["org", "get"]).env("STOPGAP_HUB", "http://192.0.2.1").env("STOPGAP_TOKEN", "sgt_x");
    let ran = run(far);
    assert!(ran.code == 2 && ran.stderr.contains("in the clear"), "{ran:#?}");
}

#[test]
fn the_organization_is_changed_logged_and_found_again_after_a_kill() {
    let mut hub = Hub::start(&[]);
    assert_eq!(
        hub.ok("viewer", &["org", "get", "--json"]).stdout.parse::<Value>().unwrap(),
        json!({"mitigations_enabled": true})
    );
    let refused = hub.ask("viewer", &["org", "set", "--mitigations-enabled", "false"]);
    assert!(refused.code == 1 && refused.stderr.contains("operator"), "{refused:#?}");
    let set = ["org", "set", "--mitigations-enabled", "false", "--reason", "maintenance"];
    assert!(hub.ok("operator", &set).stderr.contains("organization"));
    hub.ok("operator", &["org", "set", "--mitigations-blocked", "+M1,+example:M2"]);
    hub.process.take().unwrap().kill();
    hub.run(&[]);
    let got: Value = hub.ok("viewer", &["org", "get", "--json"]).stdout.parse().unwrap();
    assert_eq!(got["mitigations_enabled"], json!(false));
    let shown = hub.ok("viewer", &["org", "get"]).stdout;
    assert!(shown.contains("MitigationsBlocked           : {M1, example:M2}"), "{shown}");
    let log: Value =
        hub.ok("auditor", &["audit", "search", "--action", "settings", "--json"]).stdout.parse().unwrap();
    assert_eq!(log.as_array().unwrap().len(), 2);
    let first = &log[1];
    assert_eq!((&first["before"], &first["after"]), (&json!({}), &json!({"mitigations_enabled": false})));
    assert_eq!((&first["object"], &first["reason"]), (&json!("organization"), &json!("maintenance")));
    assert!(first["user"].as_str().unwrap().starts_with("token operator") && first["time"].is_string());
    let verified = hub.ok("auditor", &["audit", "verify"]).stdout;
    assert!(verified.contains("each follows the one before"), "{verified}");
    let none = hub.ok("auditor", &["audit", "search", "--since", "2999-01-01T00:00:00Z", "--json"]).stdout;
    assert_eq!(none.trim(), "[]");
    assert_eq!(hub.ask("viewer", &["audit", "search"]).code, 1);
    assert_eq!(hub.ask("viewer", &["server", "get", "Nobody"]).code, 1);
    assert_eq!(hub.ok("viewer", &["server", "list", "--json"]).stdout.trim(), "[]");
    let status = hub.process.take().unwrap().terminate();
    assert!(status.success(), "{status}");
}

#[test]
fn an_account_is_made_on_the_hubs_machine_and_signs_in() {
    let hub = Hub::start(&[]);
    let add = |name: &str, password: &str| {
        let mut command = Command::new(STOPGAP);
        command.args(["hub", "user", "add", name, "--data", text(&hub.data()), "--role", "operator"]);
        let mut child = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(password.as_bytes()).unwrap();
        child.wait_with_output().unwrap().status.code().unwrap()
    };
    assert_eq!(add("ada", "correct horse battery\n"), 0);
    assert_eq!(add("grace", "short\n"), 2);
    assert_eq!(add("Ada", "correct horse battery\n"), 1);
    let log: Value =
        hub.ok("auditor", &["audit", "search", "--action", "user", "--json"]).stdout.parse().unwrap();
    assert_eq!((log.as_array().unwrap().len(), &log[0]["object"]), (1, &json!("user ada")));
    let enroll = [
        "hub",
        "enrollment",
        "create",
        "--uses",
        "2",
        "--expires",
        "24h",
        "--label",
        "site=vienna",
        "--data",
    ];
    let token = stopgap(&[&enroll[..], &[text(&hub.data())]].concat());
    assert!(token.code == 0 && token.stdout.starts_with("sge_") && !token.stdout.contains('.'), "{token:#?}");
}

#[test]
fn with_an_authority_of_its_own_the_hub_is_reached_by_whoever_knows_it() {
    let mut hub = Hub::start(&["--name", "hub.test"]);
    assert!(hub.url.starts_with("https://127.0.0.1:"), "{}", hub.url);
    let ca = hub.data().join("ca/ca.pem");
    let ask = |ca: Option<&Path>| {
        let mut command = hub.command("viewer", &["org", "get"]);
        command.env_remove("STOPGAP_HUB_CA");
        if let Some(ca) = ca {
            command.env("STOPGAP_HUB_CA", ca);
        }
        run(command)
    };
    assert_eq!(ask(Some(&ca)).code, 0);
    let unknown = ask(None);
    assert!(unknown.code == 1 && unknown.stderr.contains("STOPGAP_HUB_CA"), "{unknown:#?}");
    // An enrollment token pins the authority, and a new certificate changes nothing of that.
    let data = hub.data();
    let pinned = || {
        let made = stopgap(&["hub", "enrollment", "create", "--data", text(&data)]).stdout;
        made.trim().split_once('.').map(|(_, pin)| pin.to_owned()).unwrap()
    };
    let pin = pinned();
    assert_eq!(pin.len(), 64);
    hub.process.take().unwrap().terminate();
    std::fs::remove_file(hub.data().join("ca/hub.json")).unwrap();
    hub.run(&["--name", "hub.test"]);
    assert_eq!(pinned(), pin);
    let mut command = hub.command("viewer", &["org", "get"]);
    command.env("STOPGAP_HUB_CA", &ca);
    assert_eq!(run(command).code, 0);
}

#[test]
fn a_backup_of_a_running_hub_is_restored_whole() {
    let mut hub = Hub::start(&["--name", "hub.test"]);
    let ca = hub.data().join("ca/ca.pem");
    let set = |hub: &Hub, enabled: &str| {
        let mut command = hub.command("operator", &["org", "set", "--mitigations-enabled", enabled]);
        command.env("STOPGAP_HUB_CA", hub.data().join("ca/ca.pem"));
        let ran = run(command);
        assert_eq!(ran.code, 0, "{ran:#?}");
    };
    set(&hub, "false");
    let kept = std::fs::read(&ca).unwrap();
    let backup = hub.folder.path().join("hub.backup");
    let made = stopgap(&["hub", "backup", text(&backup), "--data", text(&hub.data())]);
    assert_eq!(made.code, 0, "{made:#?}");
    set(&hub, "true");
    // Into a folder with a hub in it, nothing is restored.
    let over = stopgap(&["hub", "restore", text(&backup), "--data", text(&hub.data())]);
    assert_eq!(over.code, 1, "{over:#?}");
    hub.process.take().unwrap().terminate();
    std::fs::remove_dir_all(hub.data()).unwrap();
    let restored = stopgap(&["hub", "restore", text(&backup), "--data", text(&hub.data())]);
    assert_eq!(restored.code, 0, "{restored:#?}");
    hub.run(&["--name", "hub.test"]);
    assert_eq!(std::fs::read(&ca).unwrap(), kept, "agents know the restored hub");
    let mut command = hub.command("viewer", &["org", "get", "--json"]);
    command.env("STOPGAP_HUB_CA", &ca);
    let got: Value = run(command).stdout.parse().unwrap();
    assert_eq!(got["mitigations_enabled"], json!(false));
    wait_until("the hub ends", || hub.process.take().is_none_or(|process| process.terminate().success()));
}

#[test]
fn the_documented_truth_table_blocking_listing_and_the_log_with_a_real_agent() {
    let hub = Hub::start(&[]);
    let world = World::new();
    let publisher = world.publisher();
    publisher.add("PING1");
    publisher.add("M1");
    publisher.publish();
    let gateway = world.gateway(Origin::start().address);
    world.config(&format!("soak = \"0s\"\n{}{}", publisher.table(), gateway.target()));
    world.exchange(VULNERABLE);
    let token =
        stopgap(&["hub", "enrollment", "create", "--data", text(&hub.data()), "--label", "role=mail"]);
    world.write("token", token.stdout.trim());
    world.ok(&["agent", "enroll", "--hub", &hub.url, "--token-file", text(&world.path("token"))]);
    let _agent = world.agent();
    world.await_status("M1", "Applied");
    let set = |scope: &[&str], args: &[&str]| {
        hub.ok("operator", &[scope, args].concat());
    };
    let (org, server) = (&["org", "set"][..], &["server", "set", "server1"][..]);
    for (organization, own, status, reason) in [
        ("true", "true", "Applied", None),
        ("true", "false", "Disabled", Some("server")),
        ("false", "true", "Disabled", Some("organization")),
        ("false", "false", "Disabled", Some("organization")),
        ("true", "true", "Applied", None),
    ] {
        set(org, &["--mitigations-enabled", organization]);
        set(server, &["--mitigations-enabled", own]);
        wait_until(&format!("{organization} {own}: {status}, {reason:?}"), || {
            let found = world.mitigation("M1");
            let because = found["reason"].as_str().unwrap_or_default();
            found["status"] == status && reason.is_none_or(|word| because.contains(word))
        });
    }
    // Blocking does not take off; with --revert it does; unblocked, it comes back.
    set(server, &["--mitigations-blocked", "M1", "--reason", "printing"]);
    assert_eq!(world.await_status("M1", "Blocked")["in_force"], true);
    let listed = |enabled: &str, applied: &str, blocked: &str| {
        format!(
            "Name                : Server1\nMitigationsEnabled  : {enabled}\nMitigationsApplied  : {{{applied}}}\n\
             MitigationsBlocked  : {{{blocked}}}\n"
        )
    };
    let get = || hub.ok("viewer", &["server", "get", "SERVER1"]).stdout;
    wait_until("the hub lists it as blocked", || get() == listed("True", "M1, PING1", "M1"));
    set(server, &["--mitigations-blocked", "+M1", "--revert"]);
    wait_until("it is taken off", || get() == listed("True", "PING1", "M1"));
    set(server, &["--mitigations-blocked", "-M1"]);
    world.await_status("M1", "Applied");
    wait_until("it is applied again", || get() == listed("True", "M1, PING1", ""));
    let csv = world.path("all.csv");
    hub.ok("viewer", &["get-mitigations", "--export-csv", text(&csv)]);
    let csv = std::fs::read_to_string(csv).unwrap();
    assert!(csv.starts_with("Server,ID,Type,Description,Status\nServer1,M1,UrlRewrite,"), "{csv}");
    assert!(csv.lines().all(|line| line.ends_with(",Applied") || line.ends_with(",Status")), "{csv}");
    let found = hub.ok("viewer", &["server", "list", "--label", "role=mail", "--json"]).stdout;
    assert_eq!(found.parse::<Value>().unwrap()[0]["name"], "Server1");
    let log: Value = hub
        .ok("auditor", &["audit", "search", "--object", "server Server1", "--action", "settings", "--json"])
        .stdout
        .parse()
        .unwrap();
    let blocks = |entry: &Value| entry["after"]["mitigations_blocked"].as_array().map_or(0, Vec::len);
    let last: Vec<usize> = log.as_array().unwrap().iter().take(3).map(blocks).collect();
    assert_eq!(last, [0, 1, 1]);
    assert_eq!(log[2]["reason"], "printing");
    // Forgotten by the hub, the server goes on by itself.
    hub.ok("administrator", &["server", "remove", "Server1", "--reason", "sold"]);
    assert_eq!(hub.ask("viewer", &["server", "get", "Server1"]).code, 1);
    assert_eq!(world.mitigation("M1")["in_force"], true);
}

#[test]
fn what_one_person_asks_for_another_gives_and_the_server_applies() {
    let hub = Hub::start(&[]);
    let world = World::new();
    let publisher = world.publisher();
    publisher.add("PING1");
    publisher.add("M1");
    publisher.publish();
    let gateway = world.gateway(Origin::start().address);
    world.config(&format!("soak = \"0s\"\n{}{}", publisher.table(), gateway.target()));
    world.exchange(VULNERABLE);
    hub.ok("operator", &["org", "set", "--approval", "required"]);
    let token = stopgap(&["hub", "enrollment", "create", "--data", text(&hub.data())]);
    world.write("token", token.stdout.trim());
    world.ok(&["agent", "enroll", "--hub", &hub.url, "--token-file", text(&world.path("token"))]);
    let _agent = world.agent();
    world.await_status("M1", "AwaitingApproval");
    let json = |ran: Ran| ran.stdout.parse::<Value>().unwrap();
    let listed = |state: &str| json(hub.ok("viewer", &["org", "approvals", "--state", state, "--json"]));
    wait_until("the hub knows the mitigation", || {
        json(hub.ok("viewer", &["org", "approvals", "--json"])) == json!([])
            && hub.ok("viewer", &["get-mitigations"]).stdout.contains("AwaitingApproval")
    });

    // Whoever is asked sees what would be done there.
    let explained = world.ok(&["explain", "M1"]).stdout;
    assert!(explained.contains("Once it is let in\n  gateway write "), "{explained}");
    let address = hub.url.strip_prefix("http://").unwrap().parse().unwrap();
    let bearer = format!("Authorization: Bearer {}\r\n", hub.token("viewer"));
    let there = http(address, "GET", "/v1/mitigations/example/M1", &bearer, None).json;
    let plan = &there["items"][0]["plan"];
    assert!(plan.as_array().unwrap().len() >= 4 && plan[0]["kind"] == "write", "{there:#}");

    // The first word asks, and a second one of the same person does not give.
    let here = ["approve", "M1", "--server", "server1", "--reason", "CHG-4711"];
    let asked = hub.ok("operator", &here);
    assert!(
        asked.stderr.contains("asked for: example:M1 (revision ")
            && asked.stderr.contains("not approved yet")
    );
    let own = hub.ask("operator", &here);
    assert!(own.code == 1 && own.stderr.contains("you asked for it: somebody else approves it"), "{own:#?}");
    assert!(own.stderr.contains("stopgap approve example:M1 --server server1"), "{own:#?}");
    assert_eq!(hub.ask("viewer", &here).code, 1);
    let open = listed("requested");
    let one = &open[0];
    assert_eq!(
        (open.as_array().unwrap().len(), &one["level"], &one["name"]),
        (1, &json!("server"), &json!("Server1"))
    );
    let table = hub.ok("viewer", &["org", "approvals"]).stdout;
    assert!(table.contains("server Server1") && table.contains("CHG-4711"), "{table}");
    let csv = hub.ok("viewer", &["org", "approvals", "--csv"]).stdout;
    assert!(csv.starts_with("Request,Mitigation,Revision,For,State,") && csv.lines().count() == 2, "{csv}");

    // Refused, it is asked for once more, and given by somebody else.
    let id = one["id"].as_str().unwrap();
    let rejected = hub.ok("administrator", &["org", "reject", id, "--reason", "not on a Friday"]);
    assert!(rejected.stderr.contains("rejected: example:M1"), "{rejected:#?}");
    assert_eq!(hub.ask("administrator", &["org", "reject", id]).code, 1);
    assert_eq!(world.mitigation("M1")["status"], "AwaitingApproval");
    let digest = one["digest"].as_str().unwrap();
    let wrong = hub.ask("operator", &["approve", "M1", "--server", "Server1", "--revision", "00000000"]);
    assert!(wrong.code == 1 && wrong.stderr.contains(digest), "{wrong:#?}");
    hub.ok("operator", &["approve", "example:M1", "--server", "Server1", "--revision", &digest[..8]]);
    let given = hub.ok("administrator", &["approve", "M1", "--server", "Server1", "--json"]);
    assert!(given.stderr.contains("approved: example:M1"), "{given:#?}");
    assert_eq!(json(given)[0]["state"], "approved");
    world.await_status("M1", "Applied");
    let twice = hub.ask("operator", &["approve", "M1", "--server", "Server1"]);
    assert!(
        twice.code == 1 && twice.stderr.contains("is approved there by token administrator"),
        "{twice:#?}"
    );

    // The past knows it, too.
    let today = jiff::Timestamp::now().to_string()[..10].to_owned();
    let history = |more: &[&str]| hub.ok("viewer", &[&["org", "history", "--on", &today], more].concat());
    wait_until("the hub knows that it is in force", || {
        let past = json(history(&["--mitigation", "M1", "--server", "SERVER1", "--json"]));
        past[0]["server"] == "Server1" && past[0]["protected"] != "not"
    });
    let csv = history(&["--csv"]).stdout;
    assert!(csv.starts_with("Day,Mitigation,Server,Protected,Times\n"), "{csv}");
    assert!(csv.contains(&format!("{today},example:M1,Server1,")), "{csv}");
    assert!(history(&[]).stdout.contains("example:M1"));
    let to_come = hub.ask("viewer", &["org", "history", "--on", "2999-01-01"]);
    assert!(to_come.code == 2 && to_come.stderr.contains("has not begun"), "{to_come:#?}");

    // Taken back, what is in force stays.
    let back = hub.ok("operator", &["unapprove", "M1", "--server", "Server1", "--reason", "review"]);
    assert!(back.stderr.contains("what is in force stays"), "{back:#?}");
    assert_eq!(listed("approved"), json!([]));
    assert_eq!(hub.ask("operator", &["unapprove", "M1", "--server", "Server1"]).code, 1);
    assert_eq!(world.mitigation("M1")["in_force"], true);
}
