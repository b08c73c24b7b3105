//! Probes: what this server's own listeners answer to the requests of a mitigation.
//!
//! Asking is here, and how long an answer may take to become right. What a pair of answers shows is
//! judged in `stopgap_core::proof`. Probes are GET or HEAD without a body, and carry
//! `Stopgap-Probe: <id> <nonce>`, so that logs, fail2ban and monitoring can tell them.

mod answer;
mod head;
mod prove;

use std::time::Duration;

use stopgap_core::observed::Listener;
use stopgap_core::proof::Answer;
use stopgap_feed::Key;
use stopgap_feed::document::{Expect, Probe};

use crate::host::{Bounds, Host};

pub use prove::{Patience, Question, Shown, harms, prove, questions};

/// The whole exchange: connecting, TLS, the head of the answer. 64 KiB is above what any server
/// sends as one head by default.
pub const BOUNDS: Bounds = Bounds { octets: 64 << 10, time: Duration::from_secs(5) };

/// Sends one probe to one listener. `nonce` tells the rounds of one proof apart in the server's log.
pub fn ask(host: &dyn Host, listener: &Listener, probe: &Probe, id: &Key, nonce: u64) -> Answer {
    let request = match head::request(&probe.head, &listener.host, id, nonce) {
        Ok(request) => request,
        Err(why) => return Answer::None(why.to_owned()),
    };
    let header = match &probe.expect {
        Expect::Header { name, .. } => Some(name.as_str()),
        _ => None,
    };
    match host.exchange(listener, &request, BOUNDS, answer::is_complete) {
        Ok(octets) => answer::read(&octets, header),
        Err(e) => Answer::None(e.to_string()),
    }
}
