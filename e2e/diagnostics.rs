//! Diagnostics, from an agent that may send them to the publisher's count; one that may not sends nothing.

use std::net::SocketAddr;
use std::process::Command;

use serde_json::json;

use crate::world::{
    Gateway, Hub, Origin, Process, Publisher, STOPGAP, Seen, VULNERABLE, World, ask, free_port, stopgap,
    text, wait_until,
};

/// What the agent's logs say, all of them.
fn log(world: &World) -> String {
    let files = std::fs::read_dir(world.path("logs")).unwrap();
    files.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap()).collect()
}

/// `feed serve`, and where.
fn serve(publisher: &Publisher) -> (SocketAddr, Process) {
    let feed = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let mut command = Command::new(STOPGAP);
    command.args(["feed", "serve", text(&publisher.folder), "--listen", &feed.to_string()]);
    let serving = Process::start(command.stderr(std::process::Stdio::null()));
    wait_until("the feed is served", || ask(feed, "/feed.xml") == Seen::Status(200));
    (feed, serving)
}

/// A vulnerable server that follows the feed there; `keys` come first in its configuration.
fn server(keys: &str, publisher: &Publisher, feed: SocketAddr) -> (World, Gateway, Process) {
    let world = World::new();
    let gateway = world.gateway(Origin::start().address);
    let table = publisher.table_at(&format!("http://{feed}/feed.xml"));
    world.config(&format!("soak = \"0s\"\n{keys}{table}{}", gateway.target()));
    world.exchange(VULNERABLE);
    let agent = world.agent();
    world.await_status("M1", "Applied");
    (world, gateway, agent)
}

#[test]
fn what_is_shown_is_what_is_sent_and_counted_and_without_leave_nothing_is() {
    let world = World::new();
    let publisher = world.publisher();
    publisher.add("PING1");
    publisher.add("M1");
    publisher.publish();
    let (feed, serving) = serve(&publisher);

    // The silent one is first: when the other was counted, it has had its time.
    let (silent, _gateway, _agent) = server("", &publisher, feed);
    let (telling, _other_gateway, _other_agent) =
        server("data_collection_enabled = true\n", &publisher, feed);
    wait_until("the log says what was sent", || log(&telling).contains("diagnostics sent to 127.0.0.1: "));
    // What it counted is on the disk when it has ended.
    serving.terminate();

    let adoption = stopgap(&["feed", "adoption", text(&publisher.folder), "--json"]).json();
    let days = adoption["days"].as_object().unwrap();
    assert_eq!(days.len(), 1, "{adoption:#}");
    let day = days.values().next().unwrap();
    assert_eq!(day["servers"], 1, "{adoption:#}");
    for id in ["PING1", "M1"] {
        let one = &day["mitigations"][id];
        assert_eq!(
            (one["in_force"].as_u64(), one["statuses"]["Applied"].as_u64()),
            (Some(1), Some(1)),
            "{day:#}"
        );
    }
    let table = stopgap(&["feed", "adoption", text(&publisher.folder), "--id", "M1"]);
    assert!(table.stdout.lines().any(|line| line.contains("M1") && line.contains("Applied 1")), "{table:#?}");

    let shown = telling.json(0, &["diagnostics", "show"]);
    assert_eq!(shown["data_collection_enabled"], true);
    assert_eq!(shown["diagnostics"][0]["to"], format!("http://{feed}/diagnostics"));
    let document = &shown["diagnostics"][0]["document"];
    let log_of = log(&telling);
    let (_, sent) = log_of.split_once("diagnostics sent to 127.0.0.1: ").unwrap();
    let sent: serde_json::Value = serde_json::from_str(sent.lines().next().unwrap()).unwrap();
    assert_eq!(sent, *document, "what is shown is what is sent");

    let silent_shows = silent.json(0, &["diagnostics", "show"]);
    assert_eq!(silent_shows["data_collection_enabled"], false);
    assert_eq!(silent_shows["diagnostics"][0]["document"], *document, "what it would send");
    assert!(!log(&silent).contains("diagnostics sent"), "{}", log(&silent));
}

#[test]
fn the_organizations_word_counts_alone() {
    let world = World::new();
    let publisher = world.publisher();
    publisher.add("M1");
    publisher.publish();
    let (feed, serving) = serve(&publisher);
    let hub = Hub::start(&world);
    let server = World::new();
    let gateway = server.gateway(Origin::start().address);
    let table = publisher.table_at(&format!("http://{feed}/feed.xml"));
    let own = "soak = \"0s\"\ndata_collection_enabled = true\n";
    server.config(&format!("{own}{table}{}", gateway.target()));
    server.exchange(VULNERABLE);
    hub.enroll(&server);
    let _agent = server.agent();
    server.await_status("M1", "Applied");
    assert_eq!(server.json(0, &["diagnostics", "show"])["data_collection_enabled"], false);
    // The cycle that hears this is not the first: one that would send has sent by then.
    let settings = || server.json(0, &["status"])["hub"]["settings"].clone();
    let before = settings();
    hub.say(&json!({ "mitigations_blocked": [{ "id": "X1" }] }));
    wait_until("the organization is heard", || settings() != before);
    assert!(!log(&server).contains("diagnostics sent"), "{}", log(&server));
    hub.say(&json!({ "data_collection_enabled": true }));
    wait_until("what the organization lets it send is sent", || {
        log(&server).contains("diagnostics sent to 127.0.0.1: ")
    });
    serving.terminate();
    let adoption = stopgap(&["feed", "adoption", text(&publisher.folder), "--id", "M1"]);
    assert!(adoption.stdout.contains("Applied 1"), "{adoption:#?}");
}
