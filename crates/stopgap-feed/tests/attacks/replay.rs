//! Documents that were good, or will be, or are somebody else's.

use stopgap_feed::LastSeen;

use crate::common::simulator::Simulator;

/// The reader has accepted the document with this serial in place of 42.
fn seen(simulator: &mut Simulator, serial: u64) {
    let newer = simulator.document.replace("serial=\"42\"", &format!("serial=\"{serial}\""));
    let signed = simulator.sign_as(&newer, &simulator.leaf);
    simulator.last_seen = simulator.judge(signed.as_bytes()).unwrap().last_seen();
}

fn document(simulator: &mut Simulator, from: &str, to: &str) -> Vec<u8> {
    assert!(simulator.document.contains(from), "the change must hit: {from}");
    simulator.document = simulator.document.replacen(from, to, 1);
    simulator.sign().into_bytes()
}

const FRESHNESS: &str =
    " feed=\"example\" serial=\"42\" issued=\"2026-11-22T03:00:00Z\" expires=\"2026-12-06T03:00:00Z\"";

attacks! {
    rollback:
        "An older release is served, which lacks a mitigation",
        "Serials grow", "rollback",
        |s| { seen(s, 43); s.sign().into_bytes() };
    equal_serial_with_other_content:
        "Two releases of one serial, so that servers see different ones",
        "A serial has one content", "serial-reused",
        |s| { seen(s, 42); document(s, "Heartbeat", "Other") };
    freeze:
        "The last release is served for ever, and newer ones are held back",
        "A release ends", "expired",
        |s| { s.now = "2026-12-06T03:00:00Z".parse().unwrap(); s.sign().into_bytes() };
    fast_forward:
        "The highest serial is signed by a stolen key, so that no later one is higher; then the publisher goes on",
        "Serials grow. Nothing undoes it by itself: the operator removes the feed and adds it again", "rollback",
        |s| { seen(s, u64::MAX); s.sign().into_bytes() };
    mix_and_match:
        "Parts of two releases are put together",
        "A release is one document with one digest", "digest-mismatch",
        |s| {
            let newer = s.document.replace("serial=\"42\"", "serial=\"43\"").replace("Heartbeat", "Newer");
            let newer = s.sign_as(&newer, &s.leaf);
            newer.replace("Newer", "Heartbeat").into_bytes()
        };
    another_feeds_document:
        "A document of another feed, by the same signer",
        "A trust entry is for one feed", "wrong-feed",
        |s| document(s, "feed=\"example\"", "feed=\"another\"");
    a_release_of_the_future:
        "A release that is not issued yet",
        "Issued by now, but for five minutes", "not-yet-issued",
        |s| document(s, "issued=\"2026-11-22T03:00:00Z\"", "issued=\"2026-11-22T07:00:00Z\"");
    freshness_stripped:
        "A document without feed, serial, issue and end",
        "`freshness = \"required\"`", "freshness-missing",
        |s| document(s, FRESHNESS, "");
    freshness_stripped_by_an_older_grammar:
        "The first grammar, which knows no freshness, of a feed that had it",
        "A feed that had serials does not go back", "freshness-missing",
        |s| {
            s.trusting("freshness = \"absent\"");
            seen(s, 41);
            s.document = s.document.replace("version=\"2.0\"", "version=\"1.0\"");
            document(s, FRESHNESS, "")
        };
    an_end_before_the_issue:
        "A release that ends before it begins",
        "The end is later than the issue", "malformed-document",
        |s| document(s, "2026-12-06T03:00:00Z", "2026-11-21T03:00:00Z");
    an_end_in_no_calendar:
        "An end in the year 99999, which some readers wrap",
        "Dates of RFC 3339", "malformed-document",
        |s| document(s, "2026-12-06T03:00:00Z", "99999-12-06T03:00:00Z");
    a_clock_that_was_never_set:
        "The server wakes in 1970, when everything is of the future",
        "Its own answer, which names the clock", "clock-not-set",
        |s| { s.now = "1970-01-01T00:00:10Z".parse().unwrap(); s.sign().into_bytes() };
    a_clock_that_was_set_back:
        "The clock is set back, so that an expired release is good again",
        "No time before the last accepted release was issued", "clock-set-back",
        |s| {
            s.last_seen = s.judge(s.sign().as_bytes()).unwrap().last_seen();
            s.now = "2026-11-01T00:00:00Z".parse().unwrap();
            s.sign().into_bytes()
        };
    a_memory_of_another_version:
        "The memory lacks the time of issue, as an older version wrote it; an older release is served",
        "The serial alone suffices", "rollback",
        |s| {
            s.last_seen = Some(LastSeen { serial: 43, sha256: "00".repeat(32), issued: None });
            s.sign().into_bytes()
        };
}
