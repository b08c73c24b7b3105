//! A real hub and three real agents, of which two may have a pool stopped.

use std::fs;

use serde_json::json;

use crate::iis::write_files;
use crate::world::{Hub, VULNERABLE, World, wait_until};

const STOPS: &str = r#"<Config id="P1" desc="takes the pool out">
  <ActionList><Action id="P1.1" type="AppPool" scope="Server" desc="ecp"><Value>MSExchangeECPAppPool</Value></Action></ActionList>
</Config>
"#;

#[test]
fn of_three_servers_two_stop_a_pool_and_the_third_when_one_comes_back() {
    let worlds: Vec<World> = (0..3).map(|_| World::new()).collect();
    let publisher = worlds[0].publisher();
    let trust = fs::read_to_string(publisher.trust()).unwrap();
    fs::write(publisher.trust(), trust.replace("\"UrlRewrite\"]", "\"UrlRewrite\", \"AppPool\"]")).unwrap();
    publisher.add("M1");
    publisher.write("P1", STOPS, &["/ecp/attack"], &["/owa/"]);
    publisher.publish();
    let mut hub = Hub::start(&worlds[0]);
    hub.say(&json!({ "max_stopped": 2 }));
    let mut agents = Vec::new();
    for (n, world) in worlds.iter().enumerate() {
        write_files(world);
        let target = format!(
            "[[target]]\nkind = \"iis\"\nroot = {:?}\nsites = {{ \"Default Web Site\" = [\"Default Web Site\"] }}\n",
            world.path("c")
        );
        world.config_of(&format!("mail{}", n + 1), &format!("soak = \"0s\"\n{}{target}", publisher.table()));
        world.exchange(VULNERABLE);
        hub.enroll(world);
        agents.push(world.agent());
        // One after another: who is the third is the test's choice.
        if n < 2 {
            let name = format!("mail{}", n + 1);
            wait_until("the pool is stopped, and the hub knows", || {
                hub.knows(&name, "P1")["in_force"] == true
            });
        }
    }
    let why = "cap of the organization: 2 of 2 servers have something stopped (mail1, mail2)";
    let third = &worlds[2];
    let waits = third.await_status("P1", "Scheduled");
    assert_eq!((&waits["reason"], &waits["in_force"]), (&why.into(), &false.into()), "{waits:#}");
    wait_until("the rule is in force", || third.mitigation("M1")["in_force"] == true);
    wait_until("the hub knows why", || hub.knows("mail3", "P1")["reason"] == why);
    let explained = third.ok(&["explain", "P1"]).stdout;
    assert!(explained.contains(why), "{explained}");

    // A hub that is away grants nothing, and what somebody does on the server itself asks nobody.
    hub.kill();
    third.exchange(VULNERABLE);
    wait_until("it waits for an answer", || {
        third.mitigation("P1")["reason"].as_str().is_some_and(|why| why.contains("does not answer"))
    });
    hub.run();
    wait_until("the hub answers again", || third.mitigation("P1")["reason"] == why);

    // One comes back, and the third is woken.
    worlds[0].ok(&["revert", "P1", "--reason", "drill"]);
    wait_until("the third has its place", || third.mitigation("P1")["in_force"] == true);
    wait_until("the hub knows", || hub.knows("mail3", "P1")["in_force"] == true);
    // And the first waits now, though nobody blocks it.
    worlds[0].ok(&["unblock", "P1"]);
    let why = "cap of the organization: 2 of 2 servers have something stopped (mail2, mail3)";
    wait_until("the first waits", || worlds[0].mitigation("P1")["reason"] == why);
    worlds[0].ok(&["apply", "--now", "P1"]);
    assert_eq!(worlds[0].mitigation("P1")["in_force"], true, "the operator's own word asks nobody");
}
