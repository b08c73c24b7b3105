//! The application behind every server: it answers 200, and keeps of each token what arrived with it.
//!
//! What arrives is judged once more, by the same rules: a server may drop or change a part of a request, and
//! then what it forwards counts. Where the rules refuse that, an attack reached the application.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use stopgap_rules::{Connection, Request};

use crate::books::Book;
use crate::case::TOKEN;

/// What of a token is known here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrived {
    Not,
    /// And the rules let it pass.
    Harmless,
    /// The rules refuse what arrived, as it arrived.
    Attack,
}

/// Tokens of one run; more would be a mistake in the run.
const TOKENS: usize = 1 << 24;
const STRAYS: usize = 20;
/// Heads of attacks that are kept to be shown.
const ATTACKS: usize = 10_000;

pub struct Origin {
    pub address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    books: Arc<Vec<Book>>,
    arrived: Vec<AtomicU8>,
    strays: Mutex<Vec<String>>,
    /// What of the attacks arrived, for the report.
    attacks: Mutex<Vec<(usize, String)>>,
}

impl Origin {
    /// Starts it on a free loopback port. Its threads end with the process.
    pub fn start(books: Arc<Vec<Book>>) -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let arrived = std::iter::repeat_with(|| AtomicU8::new(0)).take(TOKENS).collect();
        let shared = Arc::new(Shared { books, arrived, strays: Mutex::default(), attacks: Mutex::default() });
        let served = shared.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = served.clone();
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Origin { address, shared }
    }

    /// What arrived with a token.
    pub fn arrived(&self, token: usize) -> Arrived {
        match self.shared.arrived[token].load(Ordering::SeqCst) {
            0 => Arrived::Not,
            1 => Arrived::Harmless,
            _ => Arrived::Attack,
        }
    }

    /// The head of an attack that arrived.
    pub fn attack(&self, token: usize) -> String {
        let attacks = self.shared.attacks.lock().unwrap();
        attacks.iter().find(|(of, _)| *of == token).map(|(_, head)| head.clone()).unwrap_or_default()
    }

    /// Requests that nobody sent: a part of another that was taken for one.
    pub fn strays(&self) -> Vec<String> {
        self.shared.strays.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, shared: &Shared) {
    let _ = stream.set_nodelay(true);
    let mut held = Vec::new();
    let mut buffer = [0; 32 << 10];
    let mut searched = 0;
    let mut continued = false;
    loop {
        while let Some(end) = find(&held, b"\r\n\r\n", searched) {
            let head_end = end + 4;
            let head = &held[..head_end];
            let lower = head.to_ascii_lowercase();
            let Some(body) = body(&lower, &held[head_end..]) else {
                // Who expects it sends no body before it; one is enough for each request.
                if !continued && find(&lower, b"\r\nexpect: 100-continue", 0).is_some() {
                    continued = true;
                    let _ = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n");
                }
                break;
            };
            continued = false;
            note(head, shared);
            let headless = head.starts_with(b"HEAD ");
            let close = find(&lower, b"\r\nconnection: close", 0).is_some()
                || (find(&lower, b" http/1.0\r\n", 0).is_some()
                    && find(&lower, b"\r\nconnection: keep-alive", 0).is_none());
            let answer = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{}\r\n{}",
                if close { "Connection: close\r\n" } else { "" },
                if headless { "" } else { "ok" }
            );
            if stream.write_all(answer.as_bytes()).is_err() || close {
                return;
            }
            held.drain(..head_end + body);
            searched = 0;
        }
        searched = held.len().saturating_sub(3);
        match stream.read(&mut buffer) {
            Ok(length) if length > 0 => held.extend_from_slice(&buffer[..length]),
            _ => return,
        }
        // A body that was incomplete is looked at again from the head.
        if find(&held, b"\r\n\r\n", 0).is_some_and(|end| end < searched) {
            searched = 0;
        }
    }
}

/// The length of the body that a head announces, where it is there; `lower`: the head in lowercase.
fn body(lower: &[u8], rest: &[u8]) -> Option<usize> {
    if find(lower, b"\r\ntransfer-encoding:", 0).is_some() {
        let mut at = 0;
        loop {
            let line = find(rest, b"\r\n", at)?;
            let size = std::str::from_utf8(&rest[at..line]).ok()?;
            let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
            at = line + 2 + size + 2;
            if rest.len() < at {
                return None;
            }
            if size == 0 {
                return Some(at);
            }
        }
    }
    let Some(at) = find(lower, b"\r\ncontent-length:", 0) else { return Some(0) };
    let value = lower[at + 17..].split(|octet| *octet == b'\r').next()?;
    let length = std::str::from_utf8(value).ok()?.trim().parse().ok()?;
    (rest.len() >= length).then_some(length)
}

/// Remembers a head by its token, and judges it.
fn note(head: &[u8], shared: &Shared) {
    let Some((book, token)) = token(head) else {
        let mut strays = shared.strays.lock().unwrap();
        if strays.len() < STRAYS {
            strays.push(head.escape_ascii().to_string());
        }
        return;
    };
    let book = &shared.books[book];
    let refused = book.judged_at_origin
        && Request::parse_head(head, &Connection::default())
            .is_ok_and(|request| book.engine.evaluate(&request).is_refusal());
    let state = if refused { 2 } else { 1 };
    if shared.arrived[token].fetch_max(state, Ordering::SeqCst) < 2 && refused {
        let mut attacks = shared.attacks.lock().unwrap();
        if attacks.len() < ATTACKS {
            attacks.push((token, head.escape_ascii().to_string()));
        }
    }
}

/// Book and token of a head.
fn token(head: &[u8]) -> Option<(usize, usize)> {
    let line = head.split(|octet| *octet == b'\n').find(|line| {
        line.len() > TOKEN.len() && line[..TOKEN.len()].eq_ignore_ascii_case(TOKEN.as_bytes())
    })?;
    let text = std::str::from_utf8(line).ok()?.split_once(':')?.1;
    let (book, token) = text.trim().split_once('-')?;
    Some((book.parse().ok()?, token.parse().ok()?))
}

pub fn find(text: &[u8], what: &[u8], from: usize) -> Option<usize> {
    text.get(from..)?.windows(what.len()).position(|window| window == what).map(|at| from + at)
}
