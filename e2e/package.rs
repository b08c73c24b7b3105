//! The Debian package on a clean Debian with a systemd of its own: installed, at work, restarted, removed; and
//! nothing of it is left.

mod debian;

use std::process::Command;

use serde_json::Value;
use stopgap_testkit::machine::{Machine, Root};

use crate::world::*;
use debian::{Files, debian, differing, files};

const GATEWAY: &str = "stopgap-gateway.service";

const TARGET: &str = "[[target]]\nkind = \"nginx\"\nsites = { \"Default Web Site\" = [\"_\"] }\n";

/// What may differ afterwards, and who keeps it. Nothing of it is ours.
const KEPT: [(&str, &str); 8] = [
    ("/var/lib/dpkg/status-old", "dpkg: its records as they were one step before"),
    ("/var/log/dpkg.log", "dpkg"),
    ("/var/lib/systemd/", "systemd: timers, the random seed"),
    ("/var/log/journal", "systemd"),
    ("/var/log/wtmp", "systemd: restarts"),
    ("/var/tmp/systemd-private-", "systemd: private folders of its services"),
    ("/var/log/nginx/", "nginx: its logs"),
    ("/var/lib/nginx/", "nginx: folders for bodies, made when it starts"),
];

/// The package of the binary under test, as fast as it can be made.
fn package(world: &World) -> std::path::PathBuf {
    let out = world.path("package");
    let mut xtask = Command::new(env!("CARGO"));
    xtask.current_dir(ROOT).args(["run", "--quiet", "--package", "xtask"]);
    if !cfg!(debug_assertions) {
        // As `cargo xtask test` built it already.
        xtask.arg("--release");
    }
    xtask.args(["--", "dist", "--draft", "--binary", STOPGAP, "--out"]).arg(&out);
    let ran = run(xtask);
    assert_eq!(ran.code, 0, "{ran:#?}");
    ran.stdout.lines().last().unwrap().into()
}

/// What a client of nginx on the machine gets: the status line, or nothing where the connection is closed.
fn ask(machine: &Machine, target: &str) -> String {
    let script = "exec 3<>/dev/tcp/127.0.0.1/80; printf 'GET %s HTTP/1.1\\r\\nHost: mail.example.org\\r\\n\
                  Connection: close\\r\\n\\r\\n' \"$0\" >&3; head -n 1 <&3";
    machine.ok(&["bash", "-c", script, target]).trim().to_owned()
}

/// What `status --json` says of M1; null before anything is known of it.
fn m1(machine: &Machine) -> Value {
    let said = machine.run(&["stopgap", "status", "--json"]);
    let report: Value = serde_json::from_slice(&said.stdout).unwrap_or_default();
    let mut all = report["mitigations"].as_array().into_iter().flatten();
    all.find(|mitigation| mitigation["id"] == "M1").cloned().unwrap_or_default()
}

fn show(machine: &Machine, property: &str) -> String {
    machine.ok(&["systemctl", "show", "stopgap.service", "-P", property]).trim().to_owned()
}

/// Whatever systemd knows of it.
fn gateway_runs(machine: &Machine) -> bool {
    // Not what the search itself is started with.
    machine.run(&["sh", "-c", "grep -q 'gatewa[y]' /proc/[0-9]*/cmdline"]).status.success()
}

/// What an administrator does: the hook, the target, and the feed of a publisher as a file.
fn configure(machine: &Machine, publisher: &Publisher) {
    for file in ["root.pem", "trust.toml"] {
        machine.copy(&publisher.folder.join(file), &format!("/etc/stopgap/feeds.d/trust/{file}"));
    }
    machine.copy(&publisher.feed(), "/srv/feed.xml");
    machine.write("/etc/stopgap/facts.d/exchange.toml", format!("exchange = \"{VULNERABLE}\"\n"), 0o644);
    machine.write("/etc/stopgap/targets.d/nginx.toml", TARGET, 0o644);
    machine.ok(&["stopgap", "agent", "hook", "nginx", "--insert"]);
    let table =
        "[[feed]]\nname = \"example\"\nurl = \"file:///srv/feed.xml\"\ntrust = \"trust/trust.toml\"\n";
    machine.write("/etc/stopgap/feeds.d/example.toml", table, 0o644);
}

#[test]
fn a_package_protects_survives_a_restart_and_leaves_nothing() {
    let test = "a_package_protects_survives_a_restart_and_leaves_nothing";
    let world = World::new();
    let Some(root) = debian(test, &world) else { return };
    let Some(mut machine) = Machine::for_test(test, Root::Folder(root)) else { return };
    // What a first start makes is not ours.
    machine.reboot();
    machine.ok(&["systemctl", "is-active", "nginx.service"]);
    assert!(ask(&machine, ATTACK).contains(" 404 "));
    let before = files(&machine);

    // Installed: it runs, and says what is missing.
    machine.copy(&package(&world), "/root/stopgap.deb");
    machine.ok(&["dpkg", "--install", "/root/stopgap.deb"]);
    assert_eq!(machine.ok(&["systemctl", "is-active", "stopgap.service"]), "active\n");
    assert_eq!(machine.ok(&["systemctl", "is-enabled", "stopgap.service"]), "enabled\n");
    // The gateway waits for somebody to say what it stands in front of.
    let gateway = |machine: &Machine| {
        let asked = ["is-enabled", "is-active"].map(|what| machine.run(&["systemctl", what, GATEWAY]).stdout);
        String::from_utf8(asked.concat()).unwrap().replace('\n', " ")
    };
    assert_eq!(gateway(&machine), "disabled inactive ");
    let check = machine.run(&["stopgap", "agent", "check"]);
    let said = String::from_utf8(check.stdout).unwrap();
    assert_eq!(check.status.code(), Some(6), "{said}");
    assert!(
        said.contains("no [[feed]] is configured") && said.contains("no [[target]] is configured"),
        "{said}"
    );
    machine.ok(&["dpkg", "--verify", "stopgap"]);

    // Configured: the service applies by itself, with what its unit leaves it.
    let publisher = world.publisher();
    publisher.write_m1(0);
    publisher.publish();
    configure(&machine, &publisher);
    wait_until("M1 is in force", || m1(&machine)["status"] == "Applied");
    assert_eq!(ask(&machine, ATTACK), "");
    assert!(ask(&machine, BENIGN).contains(" 404 "));
    machine.ok(&["stopgap", "agent", "check"]);
    assert!(
        show(&machine, "StatusText").starts_with("1 in force; last cycle "),
        "{}",
        show(&machine, "StatusText")
    );
    let event = machine.ok(&["journalctl", "-t", "stopgap", "STOPGAP_EVENT=1005", "-o", "cat"]);
    assert!(event.starts_with("example:M1 is in force"), "{event}");
    // In a namespace of its own for the test, and not by the way round that a system without them takes.
    let staged = machine.ok(&["journalctl", "-t", "stopgap", "-o", "cat"]);
    assert!(!staged.contains("not permitted") && !staged.contains("no private mount namespace"), "{staged}");

    // Restarted: still in force, and the service looks after it.
    machine.reboot();
    assert_eq!(ask(&machine, ATTACK), "");
    wait_until("the service knows", || m1(&machine)["in_force"] == true);
    assert_eq!(show(&machine, "NRestarts"), "0");

    // A newer package takes the place of this one: a gateway that runs, runs by its program then.
    let options = "STOPGAP_GATEWAY=--listen 127.0.0.1:8080 --upstream http://127.0.0.1:80\n";
    machine.write("/etc/stopgap/gateway.env", options, 0o644);
    machine.ok(&["systemctl", "enable", "--quiet", "--now", GATEWAY]);
    let process = || machine.ok(&["systemctl", "show", GATEWAY, "-P", "MainPID"]);
    let first = process();
    machine.ok(&["dpkg", "--install", "--force-confold", "/root/stopgap.deb"]);
    assert_eq!(gateway(&machine), "enabled active ");
    assert_ne!(process(), first);
    // One that somebody has stopped stays so.
    machine.ok(&["systemctl", "stop", GATEWAY]);
    machine.ok(&["dpkg", "--install", "--force-confold", "/root/stopgap.deb"]);
    assert_eq!(gateway(&machine), "enabled inactive ");
    machine.ok(&["systemctl", "start", GATEWAY]);
    assert!(gateway_runs(&machine));

    // Purged while a server reads the rules: they stay, and that is said.
    let purged = machine.run(&["dpkg", "--purge", "stopgap"]);
    let said = String::from_utf8(purged.stdout).unwrap() + &String::from_utf8(purged.stderr).unwrap();
    assert!(said.contains("remains  example:M1: in force, and nobody looks after it"), "{said}");
    assert!(said.contains("/var/lib/stopgap/nginx/live is still read by a server and stays"), "{said}");
    machine.ok(&["systemctl", "restart", "nginx.service"]);
    assert_eq!(ask(&machine, ATTACK), "");
    assert!(!gateway_runs(&machine), "nothing of it runs any more");

    // Removed in order: taken off first, hooks cut out, and then all of it is gone.
    machine.ok(&["dpkg", "--install", "/root/stopgap.deb"]);
    configure(&machine, &publisher);
    wait_until("M1 is known", || m1(&machine)["status"] == "Applied");
    let remains = machine.ok(&["stopgap", "agent", "uninstall", "--revert"]);
    assert!(remains.contains("remains  the hook of nginx: "), "{remains}");
    assert!(ask(&machine, ATTACK).contains(" 404 "));
    machine.ok(&["stopgap", "agent", "hook", "nginx", "--remove"]);
    machine.ok(&["systemctl", "reload", "nginx.service"]);
    machine.ok(&["dpkg", "--purge", "stopgap"]);
    machine.ok(&["rm", "/srv/feed.xml", "/root/stopgap.deb"]);
    assert_eq!(ours(&before, &machine), [""; 0]);

    // Without the package, twice, and away again.
    machine.copy(std::path::Path::new(STOPGAP), "/root/stopgap");
    let first = machine.ok(&["/root/stopgap", "agent", "install"]);
    assert!(first.contains("written    /usr/local/bin/stopgap"), "{first}");
    assert_eq!(machine.ok(&["systemctl", "is-active", "stopgap.service"]), "active\n");
    let second = machine.ok(&["/root/stopgap", "agent", "install"]);
    assert!(!second.contains("written"), "{second}");
    let gone = machine.ok(&["stopgap", "agent", "uninstall", "--keep"]);
    assert!(gone.contains("removed  /usr/local/bin/stopgap"), "{gone}");
    assert!(!machine.run(&["systemctl", "is-active", "stopgap.service"]).status.success());
    machine.ok(&["rm", "-r", "/root/stopgap", "/etc/stopgap", "/var/lib/stopgap", "/var/log/stopgap"]);
    assert_eq!(ours(&before, &machine), [""; 0]);
}

/// What differs from before and is nobody else's.
fn ours(before: &Files, machine: &Machine) -> Vec<String> {
    let mut differ = differing(before, &files(machine));
    // The first character says how it differs.
    differ.retain(|line| !KEPT.iter().any(|(kept, _)| line[1..].starts_with(kept)));
    differ
}
