//! Attacks on the way from a publisher to a server: each one, by name, with the code that refuses it.
//!
//! [`ALL`] is data: a test for each attack runs it, and docs/security/update-channel.md is written
//! from it. What happens before there is a document (endless and slow data, redirects, TLS) is
//! the fetching crate's.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)] // tests, and helpers of tests

/// A list of attacks and a test for each.
macro_rules! attacks {
    ($($name:ident: $what:literal, $defense:literal, $code:literal, $run:expr;)*) => {
        pub const ATTACKS: &[crate::Attack] = &[$(crate::Attack {
            name: stringify!($name),
            what: $what,
            defense: $defense,
            code: $code,
            run: $run,
        }),*];
        $(#[test]
        fn $name() {
            crate::check(ATTACKS, stringify!($name));
        })*
    };
}

#[path = "../common/mod.rs"]
mod common;

mod certificates;
mod cosigning;
mod harmless;
mod octets;
mod page;
mod replay;
mod signatures;
mod timestamps;
mod wrapping;

use common::simulator::Simulator;

/// One attack.
pub struct Attack {
    /// The test's name.
    pub name: &'static str,
    /// What the attacker does.
    pub what: &'static str,
    /// What stops it.
    pub defense: &'static str,
    /// The refusal's code, then, after a space, that of a part of it.
    pub code: &'static str,
    /// Readies the simulator for the attack and returns the octets that the reader is given. Before, the
    /// simulator's own document is trusted.
    pub run: fn(&mut Simulator) -> Vec<u8>,
}

/// Groups of attacks, each with its heading.
pub const ALL: &[(&str, &[Attack])] = &[
    ("Signature wrapping", wrapping::ATTACKS),
    ("The signature's form and algorithms", signatures::ATTACKS),
    ("Octets and XML", octets::ATTACKS),
    ("Certificates and revocation", certificates::ATTACKS),
    ("Timestamps", timestamps::ATTACKS),
    ("Replay, freeze and time", replay::ATTACKS),
    ("Co-signatures", cosigning::ATTACKS),
];

/// Runs an attack; returns the refusal's code and text.
pub fn refusal(attack: &Attack) -> (String, String) {
    let mut simulator = Simulator::new();
    let good = simulator.sign();
    if let Err(refusal) = simulator.judge(good.as_bytes()) {
        panic!("{}: the untouched document is refused: {refusal}", attack.name);
    }
    let octets = (attack.run)(&mut simulator);
    match simulator.judge(&octets) {
        Ok(feed) => panic!("{}: trusted, signer {}", attack.name, feed.signer()),
        Err(refusal) => {
            let part = match &refusal {
                stopgap_feed::Refusal::TooFewSignatures { errors, .. } => {
                    errors.first().map(|error| format!(" {}", error.code())).unwrap_or_default()
                }
                stopgap_feed::Refusal::Chain { timestamp: Some(error), .. } => format!(" {}", error.code()),
                _ => String::new(),
            };
            (refusal.code().to_owned() + &part, refusal.to_string())
        }
    }
}

fn check(attacks: &[Attack], name: &str) {
    let attack = attacks.iter().find(|attack| attack.name == name).unwrap();
    let (code, text) = refusal(attack);
    assert_eq!(code, attack.code, "{name}: {text}");
}
