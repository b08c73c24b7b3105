//! The publisher's bench: start a feed, write a mitigation, check it, prove it, sign it, serve it.
//!
//! ```text
//! folder ── mitigations/<id>/ ──> assemble ──> lint ──> prove ──> sign ──> public/feed.xml ──> serve
//!   │                              one unsigned document                      (rename)           │
//!   └── pki: root, intermediate, signing key                              agents: GET, events <──┘
//! ```
//!
//! Signing lives in this crate alone; an agent needs none of it. Nothing here prints: functions take
//! plain arguments and return values, and the binary turns them into words and exit codes.

pub mod assemble;
pub mod builtin;
pub mod card;
pub mod cosign;
pub mod events;
pub mod folder;
pub mod forge;
pub mod handover;
pub mod key;
pub mod lint;
pub mod pki;
pub mod prove;
pub mod release;
pub mod requests;
pub mod responses;
pub mod revoke;
pub mod rotate;
pub mod serve;
pub mod sign;
mod watch;
pub mod withdraw;

/// Lower-case hexadecimal.
pub(crate) fn hex(octets: &[u8]) -> String {
    use std::fmt::Write as _;
    octets.iter().fold(String::with_capacity(octets.len() * 2), |mut text, octet| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{octet:02x}");
        text
    })
}

/// SHA-256 in lower-case hexadecimal.
pub(crate) fn sha256_hex(octets: &[u8]) -> String {
    hex(ring::digest::digest(&ring::digest::SHA256, octets).as_ref())
}
