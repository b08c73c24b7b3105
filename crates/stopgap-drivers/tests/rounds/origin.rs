//! The application behind a server: it keeps its connections and counts what reaches it.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long an ordinary answer takes. It paces the load, which asks again as soon as it is answered, and has requests
/// in flight at every moment of a change.
const ANSWER: Duration = Duration::from_millis(2);

/// What the target of an attack holds that was sent while the rules were in force.
pub const IN_FORCE: &str = "in-force";

/// What reached the origin.
#[derive(Debug, Default)]
pub struct Reached {
    /// Ordinary requests of the load on kept connections.
    pub kept: AtomicU64,
    /// Those of the load on new ones.
    pub new: AtomicU64,
    /// Attacks, while the rules were not in force.
    pub attacks: AtomicU64,
    /// When the last of them came.
    pub last: Mutex<Option<Instant>>,
    /// The targets of those that were sent while the rules were in force: there must be none.
    pub passed: Mutex<Vec<String>>,
}

/// Starts it. Its threads end with the process.
pub fn start() -> (SocketAddr, Arc<Reached>) {
    let reached = Arc::new(Reached::default());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let shared = reached.clone();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let reached = shared.clone();
            thread::spawn(move || answer(stream, &reached));
        }
    });
    (address, reached)
}

fn answer(stream: TcpStream, reached: &Reached) -> Option<()> {
    stream.set_nodelay(true).ok()?;
    let mut write = stream.try_clone().ok()?;
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    loop {
        let first = lines.next()?;
        lines.by_ref().find(|line| line.is_empty())?;
        note(first.split(' ').nth(1).unwrap_or_default(), reached);
        write.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nok").ok()?;
    }
}

fn note(target: &str, reached: &Reached) {
    let counted = match target {
        "/kept" => &reached.kept,
        "/new" => &reached.new,
        _ if target.contains(IN_FORCE) => {
            reached.passed.lock().unwrap().push(target.to_owned());
            return;
        }
        _ if target.starts_with(crate::common::ATTACK) => {
            *reached.last.lock().unwrap() = Some(Instant::now());
            &reached.attacks
        }
        // Probes, and looks whether it is up.
        _ => return,
    };
    counted.fetch_add(1, Ordering::Relaxed);
    thread::sleep(ANSWER);
}
