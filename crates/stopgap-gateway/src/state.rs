//! What the parts of one client connection tell each other: the guard (octets), the service
//! (requests) and the watchdog (waits). They run within one task; the atomics are there because a
//! task may move between threads, and cost nothing.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::era::Pass;
use crate::framing::Refusal;
use crate::tunnel::Tunnel;

#[derive(Debug, Default)]
pub(crate) struct ConnectionState {
    activity: AtomicU32,
    requests: AtomicU64,
    flight: AtomicU8,
    owed: AtomicU8,
    write_blocked: AtomicBool,
    origin_expired: AtomicBool,
    aborted: AtomicBool,
    refused: OnceLock<(u64, Refusal)>,
    tunnel: Mutex<Option<Tunnel>>,
    pub(crate) upgrade: Upgrade,
}

/// What the client has begun to send and not finished.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Owed {
    Nothing = 0,
    Head = 1,
    Body = 2,
}

/// Whom the connection waits for, and so which limit holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waiting {
    /// The client: the rest of a head, or the first octet of a new connection.
    Head,
    /// The client: its next request.
    KeepAlive,
    /// The client: octets of a body, or its taking those of a response.
    Client,
    /// The origin: a response head.
    OriginHead,
    /// The origin: octets of a response.
    OriginBody,
}

const NO_REQUEST: u8 = 0;
const AWAITS_HEAD: u8 = 1;
const RELAYS_BODY: u8 = 2;

impl ConnectionState {
    // The guard's side.

    /// Octets moved.
    pub(crate) fn touch(&self) {
        self.activity.store(self.activity.load(Relaxed).wrapping_add(1), Relaxed);
    }

    pub(crate) fn wrote(&self, taken: bool) {
        if taken {
            self.touch();
        }
        self.write_blocked.store(!taken, Relaxed);
    }

    pub(crate) fn owes(&self, owed: Owed) {
        self.owed.store(owed as u8, Relaxed);
    }

    /// The request behind `heads` good ones is our stand-in for one that was refused.
    pub(crate) fn refuse(&self, heads: u64, refusal: Refusal) {
        // Set once: nothing is read after a refusal.
        let _ = self.refused.set((heads, refusal));
    }

    pub(crate) fn is_aborted(&self) -> bool {
        self.aborted.load(Relaxed)
    }

    // The service's side.

    /// A request begins. The refusal that it stands in for, if it does.
    pub(crate) fn begin(self: &Arc<Self>) -> (Flight, Option<Refusal>) {
        let number = self.requests.load(Relaxed);
        self.requests.store(number + 1, Relaxed);
        self.flight.store(AWAITS_HEAD, Relaxed);
        // That the origin was silent is said of the request before.
        self.origin_expired.store(false, Relaxed);
        let refusal = self.refused.get().filter(|(at, _)| *at == number).map(|(_, refusal)| *refusal);
        (Flight { state: self.clone(), pass: None }, refusal)
    }

    /// Ends the connection without an answer, once the earlier answers are written.
    pub(crate) fn abort(&self) {
        self.aborted.store(true, Relaxed);
    }

    pub(crate) fn set_tunnel(&self, tunnel: Tunnel) {
        *self.tunnel.lock().unwrap_or_else(PoisonError::into_inner) = Some(tunnel);
    }

    // The watchdog's side.

    pub(crate) fn take_tunnel(&self) -> Option<Tunnel> {
        self.tunnel.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    pub(crate) fn waiting(&self) -> Waiting {
        if self.write_blocked.load(Relaxed) || self.owed.load(Relaxed) == Owed::Body as u8 {
            return Waiting::Client;
        }
        match self.flight.load(Relaxed) {
            AWAITS_HEAD => Waiting::OriginHead,
            RELAYS_BODY => Waiting::OriginBody,
            _ if self.requests() == 0 || self.owed.load(Relaxed) == Owed::Head as u8 => Waiting::Head,
            _ => Waiting::KeepAlive,
        }
    }

    pub(crate) fn activity(&self) -> u32 {
        self.activity.load(Relaxed)
    }

    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    pub(crate) fn expire_origin(&self) {
        self.origin_expired.store(true, Relaxed);
    }

    pub(crate) fn is_origin_expired(&self) -> bool {
        self.origin_expired.load(Relaxed)
    }
}

/// A request in progress, from its head to the last octet of its answer. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Flight {
    state: Arc<ConnectionState>,
    /// From the book that judged it.
    pass: Option<Pass>,
}

impl Flight {
    /// A book has judged the request.
    pub(crate) fn judged(&mut self, pass: Pass) {
        self.pass = Some(pass);
    }

    /// The request is answered, and the connection goes on as a tunnel.
    pub(crate) fn into_tunnel(mut self) -> Option<Pass> {
        self.pass.take().map(Pass::into_tunnel)
    }

    /// The head of the answer is known.
    pub(crate) fn relays(&self) {
        self.state.flight.store(RELAYS_BODY, Relaxed);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.state.flight.store(NO_REQUEST, Relaxed);
    }
}

/// Whether the one upgrade that a connection can have outstanding was accepted.
#[derive(Debug, Default)]
pub(crate) struct Upgrade(Mutex<(Option<bool>, Option<Waker>)>);

impl Upgrade {
    /// Takes the decision, or waits for it.
    pub(crate) fn poll_decision(&self, cx: &mut Context<'_>) -> Poll<bool> {
        let mut cell = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match cell.0.take() {
            Some(accepted) => Poll::Ready(accepted),
            None => {
                cell.1 = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    pub(crate) fn decide(&self, accepted: bool) {
        let mut cell = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cell.0 = Some(accepted);
        if let Some(waker) = cell.1.take() {
            waker.wake();
        }
    }
}
