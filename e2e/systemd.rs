//! A feed that takes a service out of service, on a machine with a systemd of its own: what the plan says, what
//! is done, a restart, and the way back.

use jiff::Timestamp;
use serde_json::Value;
use stopgap_testkit::feeds;
use stopgap_testkit::machine::{Machine, Root};
use stopgap_testkit::pki::{Options, TestPki};

use crate::world::{STOPGAP, mitigation};

const CONFIG: &str = "data = \"/var/lib/stopgap\"\nlogs = \"/var/log/stopgap\"\nsoak = \"0s\"\n\
     [[feed]]\nname = \"example\"\nurl = \"file:///srv/feed.xml\"\ntrust = \"trust.toml\"\n\
     [[target]]\nkind = \"systemd\"\nnever_touch = [\"precious\"]\n";

const RUNS: &str = "[Service]\nType=exec\nExecStart=sleep infinity\n[Install]\nWantedBy=multi-user.target\n";

/// A mitigation that takes the first of each action's names out of service.
fn stops(id: &str, actions: &[&[&str]]) -> String {
    let actions: String = actions
        .iter()
        .zip(1..)
        .map(|(names, n)| {
            let values: String = names.iter().map(|name| format!("<Value>{name}</Value>")).collect();
            format!("<Action id=\"{id}.{n}\" type=\"Service\" scope=\"Server\" desc=\"stops it\">{values}</Action>")
        })
        .collect();
    format!("<Config id=\"{id}\" desc=\"Out of service\"><ActionList>{actions}</ActionList></Config>")
}

struct Server {
    machine: Machine,
    pki: TestPki,
}

impl Server {
    fn release(&self, serial: u64, content: &str) {
        let feed = feeds::feed("example", serial, Timestamp::now(), content);
        self.machine.write("/srv/feed.xml", feeds::signed(&feed, &self.pki), 0o644);
    }

    fn stopgap(&self, words: &[&str]) -> (i32, String) {
        let output = self.machine.run(&[&["/usr/local/bin/stopgap"], words].concat());
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code().unwrap_or(-1), said)
    }

    fn status(&self, id: &str) -> Value {
        let json = self.machine.run(&["/usr/local/bin/stopgap", "status", "--json"]).stdout;
        mitigation(&serde_json::from_slice(&json).unwrap(), id)
    }

    fn states(&self) -> String {
        let units = ["printd.service", "printd.socket", "watchd.service", "browsed.service"];
        let shown = self.machine.ok(&[
            &["systemctl", "show", "-P", "UnitFileState", "-P", "ActiveState"],
            &units[..],
        ]
        .concat());
        shown.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

#[test]
fn a_feed_takes_a_service_out_of_service_over_a_restart_until_it_is_withdrawn() {
    let test = "a_feed_takes_a_service_out_of_service_over_a_restart_until_it_is_withdrawn";
    let Some(machine) = Machine::for_test(test, Root::Overlay) else { return };
    let mut server = Server { machine, pki: TestPki::new(Options::default()) };
    let machine = &server.machine;
    machine.copy(STOPGAP.as_ref(), "/usr/local/bin/stopgap");
    machine.write("/etc/stopgap/stopgap.toml", CONFIG, 0o644);
    machine.write("/etc/stopgap/trust.toml", server.pki.trust_toml(), 0o644);
    for (name, text) in [
        ("printd.service", RUNS.to_owned()),
        (
            "printd.socket",
            "[Socket]\nListenStream=/run/printd\n[Install]\nWantedBy=sockets.target\n".to_owned(),
        ),
        ("watchd.service", RUNS.to_owned()),
        ("browsed.service", format!("[Unit]\nBindsTo=printd.service\nAfter=printd.service\n{RUNS}")),
        ("precious.service", RUNS.to_owned()),
    ] {
        machine.write(&format!("/usr/lib/systemd/system/{name}"), text, 0o644);
    }
    machine.ok(&["systemctl", "daemon-reload"]);
    machine.ok(&["systemctl", "enable", "--quiet", "printd.socket", "watchd", "browsed"]);
    machine.ok(&["systemctl", "start", "printd.socket", "printd", "watchd", "browsed", "precious"]);
    let before = server.states();
    let content = stops("S1", &[&["watchd"], &["cupsd", "printd"]]) + &stops("S2", &[&["precious"]]);
    server.release(1, &content);

    let (_, plan) = server.stopgap(&["plan"]);
    assert!(plan.contains("this also stops browsed.service"), "{plan}");
    assert_eq!(server.states(), before, "a plan changes nothing");

    let (_, applied) = server.stopgap(&["apply"]);
    let off = "inactive masked inactive masked inactive masked inactive enabled";
    assert_eq!(server.states(), off, "{applied}");
    let status = server.status("S1");
    assert_eq!((&status["status"], &status["in_force"]), (&"Applied".into(), &true.into()), "{status:#}");
    let refused = server.status("S2");
    assert_eq!(refused["status"], "Failed", "{refused:#}");
    assert!(refused["reason"].as_str().unwrap().contains("never_touch"), "{refused:#}");
    assert!(!server.machine.run(&["systemctl", "start", "printd"]).status.success());

    server.machine.reboot();
    assert_eq!(server.states(), off);
    assert_eq!(server.status("S1")["status"], "Applied");

    // Somebody takes it back into service: seen, and undone by the next cycle.
    server.machine.ok(&["systemctl", "unmask", "--quiet", "printd"]);
    server.machine.ok(&["systemctl", "start", "printd"]);
    assert_eq!(server.status("S1")["in_force"], false);
    server.stopgap(&["apply"]);
    assert_eq!(server.states(), off);

    server.release(2, "<Withdrawn id=\"S1\" reason=\"test\"/>");
    let (_, taken_off) = server.stopgap(&["apply"]);
    assert_eq!(server.states(), before, "{taken_off}");
    assert!(server.machine.read("/var/lib/stopgap/systemd/live/record.json").is_none());
}
