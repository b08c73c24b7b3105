//! Waves and rings: when it is this server's turn. Its place is a hash, so that canaries need no coordinator.
//!
//! In a publisher's waves the hash is of server and mitigation: the canaries are different ones each
//! time. In an organization's rings it is of the server alone: who chose them knows which go first.

use jiff::{SignedDuration, Timestamp};
use ring::digest;
use stopgap_feed::Key;
use stopgap_feed::document::Wave;

/// When this server's turn comes in a publisher's waves; `None`: at once (no waves).
pub(super) fn turn(waves: &[Wave], since: Timestamp, server_id: &str, key: &Key) -> Option<Timestamp> {
    turn_of(waves, since, &format!("{server_id}\n{key}"))
}

/// When this server's turn comes in its organization's rings; `None`: at once (no rings).
pub(super) fn ring(rings: &[Wave], since: Timestamp, server_id: &str) -> Option<Timestamp> {
    turn_of(rings, since, server_id)
}

/// A server beyond the last wave's percentage has its turn with the last one: a publisher who
/// leaves a remainder means "everybody in the end", and no server stays unprotected by arithmetic.
fn turn_of(waves: &[Wave], since: Timestamp, text: &str) -> Option<Timestamp> {
    let place = place(text);
    let wave = waves.iter().find(|wave| place < u64::from(wave.percent) * 100).or(waves.last())?;
    let after = SignedDuration::from_secs(i64::try_from(wave.after_seconds).unwrap_or(i64::MAX));
    since.checked_add(after).ok()
}

/// A place from 0 to 9,999.
fn place(text: &str) -> u64 {
    let hash = digest::digest(&digest::SHA256, text.as_bytes());
    let head = hash.as_ref().iter().take(8).fold(0u64, |number, byte| (number << 8) | u64::from(*byte));
    head % 10_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_percent_of_the_servers_go_first_and_the_rest_later() {
        let waves = [Wave { percent: 1, after_seconds: 0 }, Wave { percent: 100, after_seconds: 600 }];
        let issued: Timestamp = "2026-11-22T03:00:00Z".parse().unwrap();
        let key: Key = "example:M1".parse().unwrap();
        let first =
            (0..10_000).filter(|n| turn(&waves, issued, &format!("server{n}"), &key) == Some(issued)).count();
        assert!((60..140).contains(&first), "{first} of 10,000");
        let all_turned = (0..100).all(|n| {
            let turn = turn(&waves, issued, &format!("server{n}"), &key).unwrap();
            turn <= issued + SignedDuration::from_secs(600)
        });
        assert!(all_turned);
        assert_eq!(turn(&[], issued, "server1", &key), None);
    }

    #[test]
    fn a_server_is_in_the_same_ring_for_every_mitigation() {
        let rings = [Wave { percent: 10, after_seconds: 0 }, Wave { percent: 100, after_seconds: 3600 }];
        let since: Timestamp = "2026-11-22T03:00:00Z".parse().unwrap();
        let first = (0..1000).filter(|n| ring(&rings, since, &format!("server{n}")) == Some(since)).count();
        assert!((60..140).contains(&first), "{first} of 1,000");
        assert_eq!(ring(&[], since, "server1"), None);
    }

    #[test]
    fn a_remainder_goes_with_the_last_wave() {
        let waves = [Wave { percent: 0, after_seconds: 60 }];
        let issued: Timestamp = "2026-11-22T03:00:00Z".parse().unwrap();
        let key: Key = "example:M1".parse().unwrap();
        assert_eq!(turn(&waves, issued, "a", &key), Some(issued + SignedDuration::from_secs(60)));
    }
}
