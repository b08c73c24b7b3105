//! What the tests against real servers share: an origin behind them, and the project's own M1.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use stopgap_core::plan::Wanted;
use stopgap_core::proof::Answer;
use stopgap_feed::document::Mitigation;

/// Answers every request with 200 and notes its target; to `/slow` only when two octets of a body have come.
pub fn serve_origin(seen: Arc<Mutex<Vec<String>>>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let (stream, seen) = (stream.unwrap(), seen.clone());
            thread::spawn(move || answer(stream, &seen));
        }
    });
    address
}

fn answer(mut stream: TcpStream, seen: &Mutex<Vec<String>>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
    let is_slow = target == "/slow";
    seen.lock().unwrap().push(target);
    if is_slow {
        let _ = stream.read_exact(&mut [0; 2]);
    }
    let answer =
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    let _ = stream.write_all(answer.as_bytes());
}

/// The project's own M1.
pub fn m1() -> Vec<Wanted> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../mitigations/M1/mitigation.xml");
    let octets = fs::read_to_string(path).unwrap();
    let mitigation = Mitigation::from_octets(octets.trim()).unwrap();
    let wanted = |action| Wanted {
        key: "example:M1".parse().unwrap(),
        digest: stopgap_core::plan::sha256_hex(mitigation.octets.as_bytes()),
        action,
        probes: mitigation.probes.clone(),
        sites: None,
    };
    mitigation.actions.iter().cloned().map(wanted).collect()
}

/// What the origin answers.
pub fn ok() -> Answer {
    Answer::Response { status: 200, media_type: "text/html".into(), header: vec![] }
}

/// Blocked by every revision of M1.
pub const ATTACK: &str = "/autodiscover/autodiscover.json?@evil.example/PowerShell/";

/// Waits for as long as the slowest machine needs.
pub fn until(is_so: impl Fn() -> bool) {
    let mut waits = (0..2_000).map(|_| thread::sleep(Duration::from_millis(5)));
    assert!(waits.any(|()| is_so()), "waited in vain");
}
