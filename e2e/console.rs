//! The console in a real browser, with a hub, an agent and a gateway: what an operator does there happens on the server.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::Stdio;

use serde_json::json;

use crate::node::script;
use crate::world::{Hub, Origin, Seen, VULNERABLE, World, ask, wait_until};

const ATTACK: &str = "/autodiscover/autodiscover.json?@evil.example/PowerShell/";

#[test]
fn an_operator_takes_a_mitigation_off_a_live_server_and_lets_it_come_back() {
    let test = "an_operator_takes_a_mitigation_off_a_live_server_and_lets_it_come_back";
    let world = World::new();
    let hub = Hub::start(&world);
    let Some(mut script) = script("live.mjs", &hub.url(), Path::new(env!("CARGO_TARGET_TMPDIR")), test)
    else {
        return;
    };
    let publisher = world.publisher();
    publisher.add("M1");
    publisher.publish();
    let gateway = world.gateway(Origin::start().address);
    world.config(&format!("soak = \"0s\"\n{}{}", publisher.table(), gateway.target()));
    world.exchange(VULNERABLE);
    for (name, role) in [("olga", "operator"), ("arno", "administrator")] {
        let user = json!({ "name": name, "role": role, "password": "correct horse battery" });
        assert_eq!(hub.api("POST", "/v1/users", "", Some(&user)).status, 201);
    }
    hub.enroll(&world);
    let _agent = world.agent();
    wait_until("the hub knows of M1", || hub.knows("Server1", "M1")["in_force"] == true);
    assert_eq!(ask(gateway.address, ATTACK), Seen::Closed);

    let mut browser = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = browser.stdin.take().unwrap();
    let mut told = String::new();
    for line in BufReader::new(browser.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        match line.as_str() {
            "off" => {
                assert_eq!(ask(gateway.address, ATTACK), Seen::Status(200), "taken off, says the console")
            }
            "on" => assert_eq!(ask(gateway.address, ATTACK), Seen::Closed, "in force, says the console"),
            _ => {
                told.push_str(&line);
                told.push('\n');
                continue;
            }
        }
        writeln!(input, "seen").unwrap();
    }
    assert!(browser.wait().unwrap().success(), "{told}");
}
