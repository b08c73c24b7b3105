//! What the tests against real servers share: an origin behind them, and the project's own M1.

#![allow(dead_code, reason = "each test uses its own part")]

pub mod server;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use stopgap_core::observed::Observed;
use stopgap_core::plan::Wanted;
use stopgap_core::proof::Answer;
use stopgap_drivers::{Machine, probe};
use stopgap_feed::document::{Expect, Mitigation, Probe};

/// Answers every request with 200 and notes its target; to `/slow` only when the `2` of its body has come.
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
        while byte != *b"2" && stream.read(&mut byte).unwrap_or(0) == 1 {}
    }
    let answer =
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok";
    let _ = stream.write_all(answer.as_bytes());
}

/// The project's own M1.
pub fn m1() -> Vec<Wanted> {
    mitigation("M1")
}

/// The project's own LOG1, for every site.
pub fn log1() -> Vec<Wanted> {
    mitigation("LOG1")
}

/// The same, to be observed.
#[allow(dead_code, reason = "not every test observes")]
pub fn observing(wanted: Vec<Wanted>) -> Vec<Wanted> {
    wanted.into_iter().map(|wanted| Wanted { observe: true, ..wanted }).collect()
}

/// One of the project's own mitigations.
pub fn mitigation(id: &str) -> Vec<Wanted> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../mitigations/{id}/mitigation.xml"));
    let octets = fs::read_to_string(path).unwrap();
    let mitigation = Mitigation::from_octets(octets.trim()).unwrap();
    let wanted = |action| Wanted {
        observe: false,
        key: format!("example:{id}").parse().unwrap(),
        digest: stopgap_core::plan::sha256_hex(mitigation.octets.as_bytes()),
        action,
        probes: mitigation.probes.clone(),
        sites: None,
    };
    mitigation.actions.iter().cloned().map(wanted).collect()
}

/// What a client gets at every listener of a site for a request target.
pub fn ask(observed: &Observed, site: &str, target: &str) -> Vec<Answer> {
    let probe = Probe { head: format!("GET {target} HTTP/1.1\r\n\r\n"), expect: Expect::Allowed };
    let listeners = observed.sites.iter().filter(|s| s.name == site).flat_map(|s| &s.listeners);
    let id = "test:M1".parse().unwrap();
    listeners.map(|listener| probe::ask(&Machine, listener, &probe, &id, 1)).collect()
}

/// Every file and link below a folder, but for logs and numbers of processes.
pub fn files(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let link = path.is_symlink().then(|| fs::read_link(&path).unwrap());
            match link {
                Some(to) => drop(files.insert(path, to.into_os_string().into_encoded_bytes())),
                None if path.is_dir() => folders.push(path),
                None if path.is_file() => drop(files.insert(path.clone(), fs::read(&path).unwrap())),
                None => (),
            }
        }
    }
    files.retain(|path, _| !["log", "pid"].iter().any(|e| path.extension().is_some_and(|x| x == *e)));
    files
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
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
