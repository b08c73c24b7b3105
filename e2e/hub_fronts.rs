//! A server that fronts a group, with a real hub and real agents: what the group's members have decides what is in
//! force in front of them.

use serde_json::{Value, json};

use crate::world::{FIXED, Hub, Origin, Seen, VULNERABLE, World, ask, wait_until};

const ATTACK: &str = "/autodiscover/autodiscover.json?@evil.example/PowerShell/";

fn label(hub: &Hub, server: &str, labels: &Value) {
    let path = format!("/v1/servers/{server}");
    let said = hub.api("PATCH", &path, "", Some(&json!({ "labels": labels })));
    assert_eq!(said.status, 200, "{said:#?}");
}

// The interval of feeds and polls is an hour: what happens here was pushed.
#[test]
fn one_old_member_of_a_group_is_protected_by_its_front_until_all_are_fixed() {
    let front = World::new();
    let publisher = front.publisher();
    publisher.add("M1");
    publisher.publish();
    let hub = Hub::start(&front);
    let group = json!({ "label_key": "role", "label_value": "mail", "position": 1 });
    assert!(hub.api("PUT", "/v1/groups/web", "", Some(&group)).status < 300);
    let members = ["mail1", "mail3"].map(|name| {
        let world = World::new();
        world.config_of(name, &publisher.table());
        world.exchange(FIXED);
        hub.enroll(&world);
        label(&hub, name, &json!({ "role": "mail" }));
        let agent = world.agent();
        (world, agent)
    });
    let gateway = front.gateway(Origin::start().address);
    let target = format!("{}protects = \"web\"\n", gateway.target());
    front.config_of("front", &format!("soak = \"0s\"\n{}{target}", publisher.table()));
    let group_line = || {
        let checks = front.stopgap(&["agent", "check", "--json"]).json()["checks"].clone();
        let all = checks.as_array().unwrap().clone();
        all.into_iter().find(|one| one["what"] == "target gateway, group web").unwrap()
    };
    let line = group_line();
    assert_eq!(line["level"], "warning", "{line}");
    assert!(line["detail"].as_str().unwrap().contains("stopgap agent enroll"), "{line}");

    // In an organization, but an administrator has not yet said that it is told of the group.
    hub.enroll(&front);
    let _agent = front.agent();
    let reason = |world: &World| world.mitigation("M1")["reason"].as_str().unwrap_or_default().to_owned();
    wait_until("it knows what it lacks", || {
        let ran = front.stopgap(&["status", "--json"]);
        ran.code == 0 && ran.stdout.contains("label protects=web")
    });
    assert_eq!(ask(gateway.address, ATTACK), Seen::Status(200));

    label(&hub, "front", &json!({ "protects": "web" }));
    wait_until("every member is fixed", || reason(&front).contains("none of the affected ranges"));
    let fixed = format!("exchange {FIXED} (group web: mail1)");
    assert!(reason(&front).contains(&fixed), "{}", reason(&front));
    assert_eq!(group_line()["level"], "ok");

    // One goes back to an old build.
    members[1].0.exchange(VULNERABLE);
    wait_until("the attack is refused", || ask(gateway.address, ATTACK) == Seen::Closed);
    front.await_status("M1", "Applied");
    let found = format!("exchange {VULNERABLE} (group web: mail3)");
    let explained = front.ok(&["explain", "M1"]).stdout;
    assert!(explained.contains(&found), "{explained}");

    members[1].0.exchange(FIXED);
    wait_until("the attack passes, to servers that are fixed", || {
        ask(gateway.address, ATTACK) == Seen::Status(200)
    });
    wait_until("the reason is told", || reason(&front).contains(&fixed));
}
