//! Bad feeds over real HTTP and from files: each is refused with its own code, within bounds, and the
//! last good state stays in force.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use crate::world::{Gateway, Origin, Publisher, Seen, VULNERABLE, World, ask};

const ATTACK: &str = "/autodiscover/autodiscover.json?@evil.example/PowerShell/";
const MEBIBYTE: usize = 1 << 20;

/// What the feed's address answers.
#[derive(Clone)]
enum Answer {
    /// A head and a body.
    Whole(&'static str, Arc<Vec<u8>>),
    /// `200 OK` and so many octets without a Content-Length.
    Endless(usize),
    /// A redirect to itself.
    Loop,
}

/// A server for one address, that answers as it is told.
struct Address {
    address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
}

impl Address {
    fn start() -> Address {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(Mutex::new(Answer::Whole("404 Not Found", Arc::default())));
        let shared = answer.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answer = shared.lock().unwrap().clone();
                thread::spawn(move || respond(stream, &answer));
            }
        });
        Address { address, answer }
    }

    fn answers(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    fn serves(&self, body: impl Into<Vec<u8>>) {
        self.answers(Answer::Whole("200 OK", Arc::new(body.into())));
    }

    fn url(&self) -> String {
        format!("http://{}/feed.xml", self.address)
    }
}

/// The client may hang up in the middle, which is what several of these tests are about.
fn respond(mut stream: TcpStream, answer: &Answer) -> Option<()> {
    let mut head = Vec::new();
    let mut buffer = [0; 4096];
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        let read = stream.read(&mut buffer).ok().filter(|read| *read > 0)?;
        head.extend_from_slice(&buffer[..read]);
    }
    let head = match answer {
        Answer::Whole(status, body) => {
            format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len())
        }
        Answer::Endless(_) => "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_owned(),
        Answer::Loop => {
            "HTTP/1.1 302 Found\r\nLocation: /feed.xml\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                .to_owned()
        }
    };
    stream.write_all(head.as_bytes()).ok()?;
    match answer {
        Answer::Whole(_, body) => stream.write_all(body).ok(),
        Answer::Endless(octets) => {
            let piece = vec![b' '; MEBIBYTE];
            for _ in 0..octets / MEBIBYTE {
                stream.write_all(&piece).ok()?;
            }
            Some(())
        }
        Answer::Loop => Some(()),
    }
}

/// A world with M1 published, and where its agent looks for it.
struct Scene {
    world: World,
    publisher: Publisher,
    address: Address,
    gateway: Gateway,
}

fn scene() -> Scene {
    let world = World::new();
    let publisher = world.publisher();
    publisher.add("M1");
    publisher.publish();
    let address = Address::start();
    let gateway = world.gateway(Origin::start().address);
    let scene = Scene { world, publisher, address, gateway };
    scene.follow(&scene.address.url());
    scene
}

impl Scene {
    fn follow(&self, url: &str) {
        self.world.config(&(self.publisher.table_at(url) + &self.gateway.target()));
        self.world.exchange(VULNERABLE);
    }

    fn good(&self) -> Vec<u8> {
        std::fs::read(self.publisher.feed()).unwrap()
    }

    /// What `apply` and then `status` say of the feed, which must be refused with this exit code.
    fn refused(&self, exit: i32) -> (String, String) {
        let report = self.world.json(exit, &["apply"]);
        let feed = |report: &Value| {
            let text = |name: &str| report["feeds"][0][name].as_str().unwrap_or_default().to_owned();
            (text("error"), text("message"))
        };
        let (code, message) = feed(&report);
        let status = self.world.json(0, &["status"]);
        assert_eq!(feed(&status).0, code, "status remembers it");
        (code, message)
    }
}

/// Documents that no verifier may take, each with its code.
fn bad_documents(good: &[u8]) -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let text = String::from_utf8(good.to_vec()).unwrap();
    let root = text.find("<EOCS").unwrap();
    let mut latin = good.to_vec();
    latin[root + 20] = 0xe9;
    vec![
        ("truncated", good[..good.len() / 2].to_vec(), "malformed-xml"),
        ("empty", Vec::new(), "empty"),
        ("deeply nested", "<a>".repeat(100_000).into_bytes(), "too-deep"),
        (
            "with a DTD",
            text.replacen("<EOCS", "<!DOCTYPE EOCS [<!ENTITY a \"b\">]><EOCS", 1).into(),
            "doctype",
        ),
        ("not UTF-8", latin, "not-utf8"),
        ("one changed word", text.replacen("Autodiscover", "autodiscover", 1).into(), "digest-mismatch"),
        ("compressed", b"\x1f\x8b\x08\0\0\0\0\0\0\x03\x03\0\0\0\0\0\0\0\0\0".to_vec(), "not-utf8"),
    ]
}

#[test]
fn a_bad_document_is_refused_by_name_and_the_last_good_state_stays() {
    let scene = scene();
    let good = scene.good();
    for (what, document, expected) in bad_documents(&good) {
        scene.address.serves(document);
        let (code, message) = scene.refused(4);
        assert_eq!(code, expected, "{what}: {message}");
        assert_eq!(ask(scene.gateway.address, ATTACK), Seen::Status(200), "{what}: nothing is in force yet");
    }
    scene.address.serves(good.clone());
    scene.world.ok(&["apply"]);
    assert_eq!(ask(scene.gateway.address, ATTACK), Seen::Closed);
    for (what, document, expected) in bad_documents(&good) {
        scene.address.serves(document);
        assert_eq!(scene.refused(1).0, expected, "{what}");
        assert_eq!(ask(scene.gateway.address, ATTACK), Seen::Closed, "{what}");
    }
    scene.address.serves(good);
    assert_eq!(scene.world.json(0, &["apply"])["feeds"][0]["error"], Value::Null);
}

#[test]
fn an_answer_that_is_no_document_has_its_code_and_the_last_good_state_stays() {
    let scene = scene();
    scene.address.serves(scene.good());
    scene.world.ok(&["apply"]);
    let status = |status| Answer::Whole(status, Arc::new(b"sorry".to_vec()));
    for (answer, of, expected) in [
        (status("404 Not Found"), "http-status", "404"),
        (status("500 Internal Server Error"), "http-status", "500"),
        (status("304 Not Modified"), "unchanged-of-nothing", "304"),
        (Answer::Loop, "redirect-loop", "at most 5 times"),
    ] {
        scene.address.answers(answer);
        let (code, message) = scene.refused(1);
        assert_eq!(code, of);
        assert!(message.contains(expected), "{message}");
        assert_eq!(ask(scene.gateway.address, ATTACK), Seen::Closed, "{expected}");
    }
}

#[test]
fn a_document_of_100_mb_costs_little_memory_however_it_comes() {
    let scene = scene();
    scene.address.serves(scene.good());
    scene.world.ok(&["apply"]);
    let huge = 100 * MEBIBYTE;
    let file = scene.world.path("huge.xml");
    std::fs::File::create(&file).unwrap().set_len(huge as u64).unwrap();
    let from_file = format!("file://{}", file.display());
    for (how, url, answer) in [
        ("announced", scene.address.url(), Answer::Whole("200 OK", Arc::new(vec![b' '; huge]))),
        ("without a length", scene.address.url(), Answer::Endless(huge)),
        ("from a file", from_file, Answer::Loop),
    ] {
        scene.address.answers(answer);
        scene.follow(&url);
        let (report, peak) = measured(&scene.world);
        println!("a document of 100 MiB {how}: the agent's peak memory is {} MiB", peak / MEBIBYTE);
        assert!(peak < 200_000_000, "{how}: {peak} octets");
        let message = report["feeds"][0]["message"].as_str().unwrap();
        assert!(message.contains("larger than"), "{how}: {message}");
        assert_eq!(ask(scene.gateway.address, ATTACK), Seen::Closed, "{how}");
    }
}

#[test]
fn a_bad_file_is_refused_as_over_the_network() {
    let scene = scene();
    let file = scene.world.path("feed.xml");
    scene.follow(&format!("file://{}", file.display()));
    let (code, message) = scene.refused(4);
    assert_eq!(code, "file");
    assert!(message.contains("No such file"), "{message}");
    for (what, document, expected) in bad_documents(&scene.good()) {
        std::fs::write(&file, document).unwrap();
        assert_eq!(scene.refused(4).0, expected, "{what}");
    }
}

/// `apply --json` and its peak memory in octets, as `/proc` tells it until the process is gone.
fn measured(world: &World) -> (Value, usize) {
    let mut command = world.command(&["apply", "--json"]);
    let child = command
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let peak = Arc::new(Mutex::new(0));
    let watched = peak.clone();
    let watcher = thread::spawn(move || {
        while let Ok(text) = std::fs::read_to_string(&status) {
            let Some(line) = text.lines().find_map(|line| line.strip_prefix("VmHWM:")) else { break };
            let kibibytes: usize = line.trim().trim_end_matches(" kB").parse().unwrap();
            let mut peak = watched.lock().unwrap();
            *peak = (*peak).max(kibibytes << 10);
            drop(peak);
            thread::sleep(std::time::Duration::from_millis(2));
        }
    });
    let output = child.wait_with_output().unwrap();
    watcher.join().unwrap();
    let peak = *peak.lock().unwrap();
    assert!(peak > 0);
    (serde_json::from_slice(&output.stdout).unwrap(), peak)
}
