//! Attacks on new connections, all the time: each says whether the rules were in force when it was sent.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::Duration;

use crate::common::{ATTACK, until};
use crate::origin::IN_FORCE;

const ATTACKERS: usize = 2;

/// Between two attacks of one attacker: they are many, and not all that the machine does.
const PAUSE: Duration = Duration::from_millis(1);

/// The attackers and what they count.
#[derive(Debug, Default)]
pub struct Attacks {
    /// Whether the rules are in force. An attacker holds it from before it connects until it has its answer, so that
    /// what it says of its attack stays true until then.
    in_force: RwLock<bool>,
    stop: AtomicBool,
    /// Sent and not answered with 200 while the rules were in force.
    pub refused: AtomicU64,
    /// Answered with 200 while they were not.
    pub passed: AtomicU64,
}

impl Attacks {
    /// Has them sent while `work` is done.
    pub fn during(address: SocketAddr, work: impl FnOnce(&Attacks)) -> Arc<Attacks> {
        let attacks = Arc::new(Attacks::default());
        let attackers: Vec<_> = (0..ATTACKERS)
            .map(|_| {
                let attacks = attacks.clone();
                thread::spawn(move || attacks.go_on(address))
            })
            .collect();
        // A panic in here must not keep them going.
        let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&attacks)));
        attacks.stop.store(true, Ordering::Relaxed);
        let ends: Vec<_> = attackers.into_iter().map(thread::JoinHandle::join).collect();
        done.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        assert!(ends.iter().all(Result::is_ok), "an attacker failed");
        attacks
    }

    fn go_on(&self, address: SocketAddr) {
        while !self.stop.load(Ordering::Relaxed) {
            let in_force = self.in_force.read().unwrap();
            let mark = if *in_force { IN_FORCE } else { "before" };
            let answer = ask(address, &format!("{ATTACK}&{mark}"));
            match (*in_force, answer) {
                (true, Some(200)) => panic!("an attack was answered while the rules were in force"),
                (true, _) => drop(self.refused.fetch_add(1, Ordering::Relaxed)),
                (false, Some(200)) => drop(self.passed.fetch_add(1, Ordering::Relaxed)),
                // A change is under way.
                (false, _) => (),
            }
            drop(in_force);
            thread::sleep(PAUSE);
        }
    }

    /// From now on none may pass; returns when some have been refused.
    pub fn in_force(&self) {
        *self.in_force.write().unwrap() = true;
        self.more(&self.refused);
    }

    /// From now on they may pass; an attack that was under way has ended.
    pub fn not_in_force(&self) {
        *self.in_force.write().unwrap() = false;
    }

    /// Returns when some more have passed.
    pub fn pass(&self) {
        self.more(&self.passed);
    }

    fn more(&self, counter: &AtomicU64) {
        let before = counter.load(Ordering::Relaxed);
        until(|| counter.load(Ordering::Relaxed) > before + 5);
    }
}

/// The status of the answer, if there is one.
fn ask(address: SocketAddr, target: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).ok()?;
    // One that gets no answer must not hold up the change that it waits for.
    stream.set_read_timeout(Some(Duration::from_secs(20))).ok()?;
    let head = format!("GET {target} HTTP/1.1\r\nHost: one.example\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).ok()?;
    std::str::from_utf8(&answer).ok()?.split(' ').nth(1)?.parse().ok()
}
