//! What is wrong with a server as a whole: quiet, cut off, given an old feed, or wrong in its clock. Pure.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use stopgap_tell::Kind;

use crate::db::troubles::{FeedOf, Judged};

/// A clock that is wrong by more is told of: what a feed says of its own time is judged by it.
const CLOCK: SignedDuration = SignedDuration::from_mins(2);
/// Agents report once an hour in any case, and a tenth early or late.
const REPORTS: SignedDuration = SignedDuration::from_mins(70);

/// What servers are judged by.
#[derive(Debug, Clone, Copy)]
pub(super) struct By<'a> {
    /// How long a server may say nothing.
    pub(super) quiet_after: SignedDuration,
    /// Since when a hub listens without a gap: what was not heard before that is nobody's fault.
    pub(super) listening_since: Timestamp,
    /// The newest serial of each feed, and since when it is known.
    pub(super) serials: &'a BTreeMap<String, (i64, Timestamp)>,
    pub(super) now: Timestamp,
}

/// What is wrong, with words. Of a server that says nothing, nothing else is known.
pub(super) fn judge(server: &Judged, by: By<'_>) -> Vec<(Kind, String)> {
    let silent = by.now.duration_since(server.heard_at.max(by.listening_since));
    if silent >= by.quiet_after {
        return vec![(Kind::Quiet, format!("last heard of at {:.0}", server.heard_at))];
    }
    let mut found = Vec::new();
    let offset = SignedDuration::from_millis(server.clock_offset_ms);
    if offset.abs() > CLOCK {
        let which = if offset.is_negative() { "behind" } else { "ahead" };
        found.push((Kind::WrongClock, format!("its clock is {:#} {which}", seconds(offset.abs()))));
    }
    let feeds = |kind: Kind, words: Vec<String>| (!words.is_empty()).then(|| (kind, words.join("; ")));
    let cut: Vec<String> = server.feeds.iter().filter_map(|feed| cut_off(feed, offset, by)).collect();
    let frozen: Vec<String> = server.feeds.iter().filter_map(|feed| frozen(feed, server, by)).collect();
    found.extend(feeds(Kind::CutOff, cut));
    found.extend(feeds(Kind::Frozen, frozen));
    found
}

/// It does not reach a feed, for longer than it may.
fn cut_off(feed: &FeedOf, offset: SignedDuration, by: By<'_>) -> Option<String> {
    feed.error.as_ref().filter(|error| *error == "unreachable")?;
    let Some(trusted) = feed.trusted_at else {
        return Some(format!("feed {} was never reached", feed.name));
    };
    // Its own clock wrote that time.
    let trusted = trusted.checked_sub(offset).unwrap_or(trusted);
    let long = by.now.duration_since(trusted) >= by.quiet_after;
    long.then(|| format!("feed {} is not reached since {trusted:.0}", feed.name))
}

/// It reports, it reaches its feed, and has an older serial than is known for longer than it may.
fn frozen(feed: &FeedOf, server: &Judged, by: By<'_>) -> Option<String> {
    if feed.error.as_deref() == Some("unreachable") {
        return None;
    }
    let (newest, since) = *by.serials.get(&feed.name)?;
    let serial = feed.serial.unwrap_or(0);
    let long = by.now.duration_since(since) >= by.quiet_after;
    let heard_after = server.heard_at.duration_since(since) >= REPORTS.min(by.quiet_after);
    (serial < newest && long && heard_after)
        .then(|| format!("feed {} has serial {serial} there; {newest} is out since {since:.0}", feed.name))
}

/// The newest serial of each feed: what this hub verified itself, and where it mirrors none, the highest that two
/// servers tell; one alone may be made up, unless it is the only one.
pub(super) fn newest(servers: &[Judged], mirrored: &BTreeMap<String, i64>) -> BTreeMap<String, i64> {
    let mut told: BTreeMap<&str, Vec<i64>> = BTreeMap::new();
    for feed in servers.iter().flat_map(|server| &server.feeds) {
        told.entry(&feed.name).or_default().extend(feed.serial);
    }
    let second = |serials: &mut Vec<i64>| {
        serials.sort_unstable_by(|one, other| other.cmp(one));
        serials.get(1).or(serials.first()).copied()
    };
    let mut newest: BTreeMap<String, i64> = told
        .into_iter()
        .filter_map(|(feed, mut serials)| Some((feed.to_owned(), second(&mut serials)?)))
        .collect();
    newest.extend(mirrored.iter().map(|(feed, serial)| (feed.clone(), *serial)));
    newest
}

fn seconds(length: SignedDuration) -> SignedDuration {
    SignedDuration::from_secs(length.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-22T{text}:00Z").parse().unwrap()
    }

    fn server(heard: &str, offset: i64, feeds: &[(i64, &str, Option<&str>)]) -> Judged {
        let feed = |(serial, trusted, error): &(i64, &str, Option<&str>)| FeedOf {
            name: "example".into(),
            serial: Some(*serial),
            trusted_at: Some(at(trusted)),
            error: error.map(str::to_owned),
        };
        Judged {
            id: "1".into(),
            name: "web01".into(),
            heard_at: at(heard),
            clock_offset_ms: offset,
            feeds: feeds.iter().map(feed).collect(),
        }
    }

    fn kinds(server: &Judged, listening: &str, newest: Option<(i64, &str)>) -> Vec<Kind> {
        let serials =
            newest.map(|(serial, since)| ("example".to_owned(), (serial, at(since)))).into_iter().collect();
        let by = By {
            quiet_after: SignedDuration::from_hours(3),
            listening_since: at(listening),
            serials: &serials,
            now: at("12:00"),
        };
        judge(server, by).into_iter().map(|(kind, _)| kind).collect()
    }

    #[test]
    fn a_server_is_quiet_after_its_time_and_not_because_the_hub_was_away() {
        assert_eq!(kinds(&server("08:59", 0, &[]), "00:00", None), [Kind::Quiet]);
        assert_eq!(kinds(&server("09:01", 0, &[]), "00:00", None), []);
        assert_eq!(kinds(&server("02:00", 0, &[]), "10:00", None), [], "the hub listens since ten");
        assert_eq!(
            kinds(&server("02:00", 9_000_000, &[]), "00:00", None),
            [Kind::Quiet],
            "the rest is unknown"
        );
    }

    #[test]
    fn a_server_that_reports_and_reaches_no_feed_is_cut_off() {
        let away = Some("unreachable");
        assert_eq!(kinds(&server("12:00", 0, &[(7, "08:00", away)]), "00:00", None), [Kind::CutOff]);
        assert_eq!(kinds(&server("12:00", 0, &[(7, "11:00", away)]), "00:00", None), []);
        // Its clock is four hours ahead, and says eleven where it was seven.
        let ahead = server("12:00", 4 * 3_600_000, &[(7, "11:00", away)]);
        assert_eq!(kinds(&ahead, "00:00", None), [Kind::WrongClock, Kind::CutOff]);
        let mut never = server("12:00", 0, &[(7, "11:00", away)]);
        never.feeds[0].trusted_at = None;
        assert_eq!(kinds(&never, "00:00", None), [Kind::CutOff]);
    }

    #[test]
    fn a_server_that_is_given_an_old_feed_is_frozen_and_one_that_is_about_to_ask_is_not() {
        let old = server("12:00", 0, &[(7, "11:55", None)]);
        assert_eq!(kinds(&old, "00:00", Some((8, "08:00"))), [Kind::Frozen]);
        assert_eq!(kinds(&old, "00:00", Some((8, "10:00"))), [], "it is out for two hours");
        assert_eq!(kinds(&old, "00:00", Some((7, "08:00"))), []);
        let refused = server("12:00", 0, &[(7, "11:55", Some("rollback"))]);
        assert_eq!(kinds(&refused, "00:00", Some((8, "08:00"))), [Kind::Frozen]);
        let away = server("12:00", 0, &[(7, "08:00", Some("unreachable"))]);
        assert_eq!(kinds(&away, "00:00", Some((8, "08:00"))), [Kind::CutOff], "it is told once, and why");
    }

    #[test]
    fn a_clock_may_be_wrong_by_two_minutes() {
        let ahead = server("12:00", 121_000, &[]);
        assert_eq!(kinds(&ahead, "00:00", None), [Kind::WrongClock]);
        assert_eq!(kinds(&server("12:00", -119_000, &[]), "00:00", None), []);
    }

    #[test]
    fn one_server_alone_makes_no_serial_the_newest() {
        let of = |serials: &[i64], mirrored: Option<i64>| {
            let servers: Vec<Judged> =
                serials.iter().map(|serial| server("12:00", 0, &[(*serial, "11:00", None)])).collect();
            let mirrored = mirrored.map(|serial| ("example".to_owned(), serial)).into_iter().collect();
            newest(&servers, &mirrored).get("example").copied()
        };
        assert_eq!(of(&[7, 8, 8], None), Some(8));
        assert_eq!(of(&[7, 8, i64::MAX], None), Some(8));
        assert_eq!(of(&[7], None), Some(7));
        assert_eq!(of(&[7, 9, 9], Some(8)), Some(8), "what the hub verified itself counts");
        assert_eq!(of(&[], None), None);
    }
}
