//! Two real hubs on one PostgreSQL, one address in front of them, and real agents.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};

use serde_json::{Value, json};

use crate::postgres::Cluster;
use crate::world::{Hub, Origin, Seen, VULNERABLE, World, ask, wait_until};

const ATTACK: &str = "/autodiscover/autodiscover.json?@evil.example/PowerShell/";

/// One address for two hubs, as a load balancer is: each connection goes to the first that takes it.
fn front(hubs: [SocketAddr; 2]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let Some(hub) = hubs.iter().find_map(|hub| TcpStream::connect(hub).ok()) else { continue };
            for (from, to) in [(&client, &hub), (&hub, &client)] {
                let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                std::thread::spawn(move || pass(from, to));
            }
        }
    });
    address
}

fn pass(mut from: TcpStream, mut to: TcpStream) {
    let mut chunk = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut chunk) {
        if to.write_all(&chunk[..read]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
    let _ = from.shutdown(Shutdown::Both);
}

/// Servers without settings of their own: all have the same version of what the organization says.
struct Fleet<'a> {
    worlds: &'a [World],
    /// Versions that counted before.
    past: Vec<Value>,
}

impl Fleet<'_> {
    /// Says one thing after another at one hub, each when every server has the one before, and all within the
    /// patience for one: it was pushed. Servers poll once an hour, and hubs that hear nothing look every 30 seconds.
    fn hears(&mut self, hub: &Hub, what: &str) {
        const ROW: usize = 4;
        let say = |n: usize| {
            hub.say(&json!({ "mitigations_blocked": [{ "id": "PING1", "reason": format!("{what}, {n}") }] }));
        };
        let mut said = 1;
        say(said);
        wait_until(&format!("every server hears what was {what}"), || {
            let version = |world: &World| world.json(0, &["status"])["hub"]["settings"].clone();
            let all: Vec<Value> = self.worlds.iter().map(version).collect();
            if !all.iter().all(|one| one.is_string() && *one == all[0] && !self.past.contains(one)) {
                return false;
            }
            self.past.extend(all.into_iter().take(1));
            if said == ROW {
                return true;
            }
            said += 1;
            say(said);
            false
        });
    }
}

#[test]
fn of_two_hubs_on_one_database_one_is_killed_and_its_servers_go_to_the_other() {
    let test = "of_two_hubs_on_one_database_one_is_killed_and_its_servers_go_to_the_other";
    let Some(cluster) = Cluster::private(test) else { return };
    let worlds: Vec<World> = (0..3).map(|_| World::new()).collect();
    let protected = &worlds[0];
    let mut first = Hub::start_on(protected, "first", Some(cluster.database()));
    let second = first.replica(protected, "second");
    let url = format!("http://{}", front([first.address, second.address]));
    let publisher = protected.publisher();
    publisher.add("PING1");
    publisher.add("M1");
    publisher.publish();
    let gateway = protected.gateway(Origin::start().address);
    protected.exchange(VULNERABLE);
    let mut agents = Vec::new();
    for (n, world) in worlds.iter().enumerate() {
        let name = format!("Server{n}");
        let tables = if n == 0 { gateway.target() } else { String::new() };
        world.config_of(&name, &format!("soak = \"0s\"\n{}{tables}", publisher.table()));
        second.enroll_at(world, &url);
        agents.push(world.agent());
    }
    protected.await_status("M1", "Applied");

    // All streams are at the first: the second wakes nobody of its own.
    let mut fleet = Fleet { worlds: &worlds, past: vec![Value::Null] };
    fleet.hears(&first, "said where they listen");
    fleet.hears(&second, "said at the other hub");
    first.kill();
    fleet.hears(&second, "said after the first was killed");
    assert_eq!(ask(gateway.address, ATTACK), Seen::Closed);
    // It comes back and nobody listens there: they stay where they are.
    first.run();
    fleet.hears(&first, "said at the one that is back");
    fleet.hears(&second, "said when all was calm");

    // What a server has to say after that is known at both.
    protected.ok(&["revert", "M1", "--reason", "drill"]);
    for hub in [&second, &first] {
        wait_until("the hub knows that M1 is off", || hub.knows("Server0", "M1")["in_force"] == false);
    }
    let verified = first.api("GET", "/v1/audit/verify", "", None).json;
    assert_eq!(verified["ok"], true, "{verified}");
}
