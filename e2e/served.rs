//! An agent and the real `feed serve`, over HTTP: co-signatures and revocation lists from beside the release,
//! and a root that changes under an agent that knows the old one alone.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::world::{
    ATTACK, Gateway, Origin, Process, Publisher, STOPGAP, Seen, VULNERABLE, World, ask, stopgap, text,
    wait_until,
};

/// A publisher with M1 whose feed is served, and the server of it.
struct Served {
    publisher: Publisher,
    address: SocketAddr,
    _server: Process,
}

impl Served {
    fn new(world: &World) -> Served {
        // The address stands in the certificates, so that it is chosen before the server is there.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let folder = world.path("example");
        let url = format!("http://{address}/feed.xml");
        feed(&["init", text(&folder), "--name", "example", "--url", &url]);
        let publisher = Publisher { folder, name: "example".to_owned() };
        publisher.write_m1(3);
        publisher.publish();
        let mut serve = Command::new(STOPGAP);
        serve.args(["feed", "serve", text(&publisher.folder), "--listen", &address.to_string()]);
        let server = Process::start(&mut serve);
        wait_until("the feed is served", || TcpStream::connect(address).is_ok());
        Served { publisher, address, _server: server }
    }

    /// A vulnerable server that follows it by this trust file.
    fn followed_by(&self, world: &World, trust: &Path) -> Gateway {
        let gateway = world.gateway(Origin::start().address);
        let table = format!(
            "[[feed]]\nname = \"example\"\nurl = \"http://{}/feed.xml\"\ntrust = {:?}\n",
            self.address,
            text(trust)
        );
        world.config(&(table + &gateway.target()));
        world.exchange(VULNERABLE);
        gateway
    }

    fn signs(&self) -> [String; 4] {
        signs(&self.publisher)
    }

    /// The feed's serial and code, after a cycle with what is in the publisher's folder now: the server sees it
    /// a moment later.
    fn cycle(&self, world: &World) -> (Value, Value) {
        let public = self.publisher.folder.join("public");
        let mut names: Vec<String> = ["feed.xml", "feed.xml.cosignature-1.xml"].map(str::to_owned).to_vec();
        let lists = fs::read_dir(public.join("crl")).unwrap();
        names.extend(lists.map(|list| format!("crl/{}", list.unwrap().file_name().to_str().unwrap())));
        for name in names {
            let there = fs::read(public.join(&name)).ok();
            wait_until(&format!("{name} is served"), || self.get(&name) == there);
        }
        let done = world.stopgap(&["apply", "--json"]).json();
        let feed = &done["feeds"][0];
        (feed["serial"].clone(), feed["error"].clone())
    }

    /// A file as it is served.
    fn get(&self, name: &str) -> Option<Vec<u8>> {
        let mut stream = TcpStream::connect(self.address).unwrap();
        write!(stream, "GET /{name} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let head = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        answer.starts_with(b"HTTP/1.1 200").then(|| answer.split_off(head + 4))
    }
}

fn signs(who: &Publisher) -> [String; 4] {
    let file = |name: &str| text(&who.folder.join(name)).to_owned();
    ["--key".to_owned(), file("signing.key.pem"), "--chain".to_owned(), file("chain.pem")]
}

fn feed(arguments: &[&str]) {
    let ran = stopgap(&[&["feed"], arguments].concat());
    assert_eq!(ran.code, 0, "{arguments:?}: {ran:#?}");
}

fn cosign(publisher: &Publisher, by: &Publisher) {
    let (released, trust, by) = (publisher.feed(), publisher.trust(), signs(by));
    let by: Vec<&str> = by.iter().map(String::as_str).collect();
    feed(&[&["cosign", text(&released), "--trust", text(&trust)], &by[..]].concat());
}

/// Lets the kept lists grow old, as two hours would.
fn two_hours_pass(world: &World) {
    let index = world.data().join("crls/example.json");
    let mut entries: Value = serde_json::from_slice(&fs::read(&index).unwrap()).unwrap();
    for entry in entries.as_array_mut().unwrap() {
        let at: jiff::Timestamp = entry["fetched_at"].as_str().unwrap().parse().unwrap();
        entry["fetched_at"] = json!(at.checked_sub(jiff::SignedDuration::from_hours(2)).unwrap().to_string());
    }
    fs::write(&index, entries.to_string()).unwrap();
}

#[test]
fn a_stolen_key_signs_nothing_more_once_its_owner_revoked_it() {
    for mode in ["prefer", "require"] {
        let world = World::new();
        let served = Served::new(&world);
        let (publisher, second) = (&served.publisher, world.publisher_named("second"));
        let trust = publisher.folder.join("both.toml");
        let one = fs::read_to_string(publisher.trust()).unwrap();
        assert!(one.contains("revocation = \"prefer\""), "{one}");
        let both = one.replace("revocation = \"prefer\"", &format!("revocation = \"{mode}\""))
            + "signatures = 2\ncosigners = [\"../second/trust.toml\"]\n";
        fs::write(&trust, both).unwrap();
        let gateway = served.followed_by(&world, &trust);

        assert_eq!(served.cycle(&world), (Value::Null, json!("too-few-signatures")), "{mode}");
        assert_eq!(ask(gateway.address, ATTACK), Seen::Status(200));
        cosign(publisher, &second);
        assert_eq!(served.cycle(&world), (json!(1), Value::Null), "{mode}");
        assert_eq!(ask(gateway.address, ATTACK), Seen::Closed);
        let lists = fs::read_to_string(world.data().join("crls/example.json")).unwrap();
        assert_eq!(lists.matches(&format!("\"http://{}/crl/", served.address)).count(), 2, "{lists}");
        feed(&["renew", text(&publisher.folder)]);
        assert_eq!(served.cycle(&world), (json!(1), json!("too-few-signatures")), "{mode}");
        cosign(publisher, &second);
        assert_eq!(served.cycle(&world), (json!(2), Value::Null), "{mode}");

        // The thief recalls M1, and makes the second person sign that, too.
        feed(&["revoke", text(&publisher.folder), text(&publisher.folder.join("chain.pem"))]);
        let document = fs::read_to_string(publisher.feed()).unwrap();
        let quoted = |name: &str| {
            let (_, rest) = document.split_once(&format!(" {name}=\"")).unwrap();
            rest.split('"').next().unwrap().to_owned()
        };
        let recall = format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<EOCS version=\"2.0\" feed=\"example\" serial=\"3\" issued=\"{}\" \
             expires=\"{}\"><Withdrawn id=\"M1\" reason=\"none\"/></EOCS>\n",
            quoted("issued"),
            quoted("expires")
        );
        world.write("recall.xml", &recall);
        let (recall, by) = (world.path("recall.xml"), served.signs());
        let by: Vec<&str> = by.iter().map(String::as_str).collect();
        feed(&[&["sign", text(&recall)], &by[..], &["--out", text(&publisher.feed())]].concat());
        let cosignature = stopgap_feed::cosignature::beside(text(&publisher.feed()), 1);
        let _ = fs::remove_file(cosignature);
        cosign(publisher, &second);
        two_hours_pass(&world);
        assert_eq!(served.cycle(&world), (json!(2), json!("revoked-certificate")), "{mode}");
        assert_eq!(ask(gateway.address, ATTACK), Seen::Closed, "what is applied stays");

        // The owner puts back what was there, and goes on with another key.
        fs::write(publisher.feed(), &document).unwrap();
        feed(&["rotate", text(&publisher.folder), "--leaf"]);
        feed(&["renew", text(&publisher.folder)]);
        cosign(publisher, &second);
        assert_eq!(served.cycle(&world), (json!(3), Value::Null), "{mode}");
        assert_eq!(ask(gateway.address, ATTACK), Seen::Closed);
    }
}

#[test]
fn an_agent_with_the_old_root_alone_follows_over_releases_and_a_restart() {
    let world = World::new();
    let served = Served::new(&world);
    let publisher = &served.publisher;
    let dir = text(&publisher.folder);
    let root = fs::read_to_string(publisher.folder.join("root.pem")).unwrap();
    let trust = fs::read_to_string(publisher.trust()).unwrap();
    let inline = trust.replace("\"root.pem\"", &format!("{root:?}"));
    assert_ne!(inline, trust);
    world.write("before.toml", &inline);
    let gateway = served.followed_by(&world, &world.path("before.toml"));
    let follows = |serial: u64| {
        wait_until(&format!("serial {serial} is trusted"), || {
            let ran = world.stopgap(&["status", "--json"]);
            ran.code == 0 && ran.json()["feeds"][0]["serial"] == json!(serial)
        });
        let feed = world.json(0, &["status"])["feeds"][0].clone();
        assert_eq!(feed["error"], Value::Null, "{feed:#}");
        assert_eq!(ask(gateway.address, ATTACK), Seen::Closed);
    };
    let agent = world.agent();
    // A release is trusted before what it says is in force; from then on nothing gets through.
    wait_until("the attack is refused", || ask(gateway.address, ATTACK) == Seen::Closed);
    follows(1);
    feed(&["rotate", dir, "--root"]);
    assert_ne!(fs::read_to_string(publisher.folder.join("root.pem")).unwrap(), root);
    feed(&["renew", dir]);
    follows(2);
    feed(&["rotate", dir, "--leaf"]);
    publisher.publish();
    follows(3);
    assert!(agent.terminate().success());
    feed(&["renew", dir]);
    let _agent = world.agent();
    follows(4);
    feed(&["rotate", dir, "--intermediate"]);
    feed(&["renew", dir]);
    follows(5);
    // Nobody changed what it believes.
    assert_eq!(fs::read_to_string(world.path("before.toml")).unwrap(), inline);
}
