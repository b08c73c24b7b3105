//! Timestamps that would move the time at which a certificate is judged. A certificate that has
//! expired is trusted with a good timestamp from before, and with no other.

use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};

use crate::common::simulator::{Holder, Simulator, between};

const BEFORE: &str = "2026-05-01T00:00:00Z";

/// A signer whose certificate ended on 1 June; with a good timestamp its document is trusted.
fn expired(simulator: &mut Simulator) {
    simulator.reissue_leaf(|params| {
        (params.not_before, params.not_after) = (date_time_ymd(2026, 1, 1), date_time_ymd(2026, 6, 1));
    });
    let stamped = simulator.sign_stamped(BEFORE);
    let feed =
        simulator.judge(stamped.as_bytes()).unwrap_or_else(|refusal| panic!("a good timestamp: {refusal}"));
    assert_eq!(feed.judged_at().to_string(), BEFORE);
}

attacks! {
    no_timestamp:
        "The timestamp of an old document is taken off",
        "Without one, certificates are judged now", "expired-certificate",
        |s| { expired(s); s.sign().into_bytes() };
    a_forged_timestamp:
        "A timestamp by the attacker's authority, of the trusted one's name",
        "A timestamp's path ends in a configured timestamp root", "expired-certificate timestamp-untrusted",
        |s| {
            expired(s);
            let other = Simulator::new();
            (s.tsa_root, s.tsa) = (other.tsa_root, other.tsa);
            s.sign_stamped(BEFORE).into_bytes()
        };
    a_changed_timestamp:
        "The time in a token is changed",
        "The token's digest and signature", "expired-certificate timestamp-changed",
        |s| {
            use base64::Engine as _;
            use base64::engine::general_purpose::STANDARD as BASE64;
            expired(s);
            let signed = s.sign_stamped("2026-07-01T00:00:00Z");
            let mark = "timestamp/2003\">";
            let old = between(&signed, mark, "</CounterSignature>");
            let mut token = BASE64.decode(old).unwrap();
            let at = token.windows(15).position(|octets| octets == b"20260701000000Z").unwrap();
            token[at..at + 15].copy_from_slice(b"20260501000000Z");
            signed.replace(old, &BASE64.encode(token)).into_bytes()
        };
    a_foreign_timestamp:
        "The timestamp of another document",
        "A token is of one signature value", "expired-certificate timestamp-wrong-imprint",
        |s| {
            expired(s);
            // Each signature has a value of its own.
            let other = s.sign();
            let value = between(&other, "<SignatureValue>", "</SignatureValue>").to_owned();
            let signed = s.sign();
            s.stamp(&signed, &value, BEFORE).into_bytes()
        };
    a_timestamp_older_than_the_certificate:
        "A timestamp from before the certificate was issued",
        "Validity at the timestamp's time", "not-yet-valid-certificate",
        |s| { s.tsa = s.tsa.reissued(&s.tsa_root, |p| p.not_before = date_time_ymd(2024, 1, 1)); s.sign_stamped("2025-12-31T00:00:00Z").into_bytes() };
    a_timestamp_after_the_certificate:
        "A certificate's stolen key signs after its end, with a true timestamp",
        "Validity at the timestamp's time", "expired-certificate",
        |s| { expired(s); s.sign_stamped("2026-07-01T00:00:00Z").into_bytes() };
    a_timestamp_of_the_future:
        "A timestamp of tomorrow",
        "A token's time has come", "expired-certificate timestamp-of-the-future",
        |s| { expired(s); s.sign_stamped("2026-11-23T06:00:00Z").into_bytes() };
    a_timestamp_by_another_usage:
        "A timestamp by a certificate that may do something else too",
        "The usage timeStamping alone", "expired-certificate timestamp-wrong-eku",
        |s| {
            expired(s);
            s.tsa = s.tsa.reissued(&s.tsa_root, |p| p.extended_key_usages.push(ExtendedKeyUsagePurpose::CodeSigning));
            s.sign_stamped(BEFORE).into_bytes()
        };
    a_timestamp_by_the_publisher:
        "The publisher's own chain gives the time",
        "Timestamp roots are roots of timestamps alone", "expired-certificate timestamp-untrusted",
        |s| {
            expired(s);
            let params = s.tsa.params.clone();
            s.tsa = Holder::new(params, Some(&s.root));
            s.sign_stamped(BEFORE).into_bytes()
        };
    a_timestamp_where_none_is_trusted:
        "A timestamp, though the operator trusts no authority of them",
        "Timestamps count where roots are configured", "expired-certificate timestamp-no-roots",
        |s| { expired(s); s.trust.timestamp_roots.clear(); s.sign_stamped(BEFORE).into_bytes() };
    a_huge_timestamp:
        "A token that takes many times its size in memory",
        "A token has at most 256 KiB", "expired-certificate timestamp-too-large",
        |s| {
            use base64::Engine as _;
            expired(s);
            let signed = s.sign_stamped(BEFORE);
            let old = between(&signed, "timestamp/2003\">", "</CounterSignature>");
            // An endless set of empty values.
            let huge = [0x31, 0x00].repeat(stopgap_feed::timestamp::MAX_TOKEN_BYTES / 2 + 1);
            signed.replace(old, &base64::engine::general_purpose::STANDARD.encode(huge)).into_bytes()
        };
    octets_that_are_no_timestamp:
        "A token that is no CMS message",
        "What cannot be read gives no time", "expired-certificate timestamp-malformed",
        |s| {
            expired(s);
            let signed = s.sign_stamped(BEFORE);
            let old = between(&signed, "timestamp/2003\">", "</CounterSignature>");
            signed.replace(old, "AAAA").into_bytes()
        };
}
