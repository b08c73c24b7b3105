//! The application behind the server: it answers everything with 200, and logs what reached it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

/// An origin on a free loopback port. Its threads end with the test process.
pub struct Origin {
    pub address: SocketAddr,
    seen: Arc<Seen>,
}

#[derive(Default)]
struct Seen {
    log: Mutex<Vec<String>>,
    hits: AtomicU64,
}

/// Load tests need the counter alone.
const LOGGED: usize = 100_000;

const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 2\r\n\r\nok";

impl Origin {
    /// Starts it.
    pub fn start() -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let shared = seen.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = shared.clone();
                thread::spawn(move || serve(stream, &seen));
            }
        });
        Origin { address, seen }
    }

    /// Every request head's target that reached it, in order.
    pub fn log(&self) -> Vec<String> {
        self.seen.log.lock().unwrap().clone()
    }

    /// How many requests reached it since [`Origin::clear`].
    pub fn hits(&self) -> u64 {
        self.seen.hits.load(Ordering::SeqCst)
    }

    /// Forgets log and hits.
    pub fn clear(&self) {
        self.seen.log.lock().unwrap().clear();
        self.seen.hits.store(0, Ordering::SeqCst);
    }
}

fn serve(mut stream: TcpStream, seen: &Seen) {
    let _ = stream.set_nodelay(true);
    let mut held = Vec::new();
    let mut buffer = [0; 16 << 10];
    loop {
        while let Some(end) = held.windows(4).position(|w| w == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&held[..end]).into_owned();
            held.drain(..end + 4);
            seen.hits.fetch_add(1, Ordering::SeqCst);
            let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
            let mut log = seen.log.lock().unwrap();
            if log.len() < LOGGED {
                log.push(target);
            }
            drop(log);
            if stream.write_all(ANSWER.as_bytes()).is_err() {
                return;
            }
            // HTTP/1.0 is what nginx speaks to an upstream unless told otherwise: it waits for the end.
            if head.to_ascii_lowercase().contains("connection: close") {
                return;
            }
        }
        match stream.read(&mut buffer) {
            Ok(length) if length > 0 => held.extend_from_slice(&buffer[..length]),
            _ => return,
        }
    }
}
