//! Feeds for tests: signed from any text, or made from a line.
#![allow(clippy::expect_used, reason = "a fixture that cannot be made is a broken test")]

use jiff::{SignedDuration, Timestamp};
use stopgap_feed::c14n::Canonicalization;
use stopgap_publish::key::FileKey;
use stopgap_publish::sign::{self, Chain};

use crate::pki::TestPki;

/// `xml`, signed. It need not be a feed, nor one that an agent would take: that is what tests are for.
/// Panics where it is no XML.
pub fn signed(xml: &str, pki: &TestPki) -> Vec<u8> {
    signed_with(xml, pki, Canonicalization::Exclusive)
}

/// The same in a given canonical form.
pub fn signed_with(xml: &str, pki: &TestPki, form: Canonicalization) -> Vec<u8> {
    let key = FileKey::from_pem(pki.key_pem.as_bytes()).expect("a key");
    let chain = Chain::from_pem(pki.chain_pem.as_bytes()).expect("a chain");
    sign::enveloped(xml.as_bytes(), &key, &chain, form).expect("a document that can be signed")
}

/// An unsigned feed of grammar 2.0 around `content` (`Config` and `Withdrawn` elements), issued at
/// `issued` and valid for 14 days.
pub fn feed(name: &str, serial: u64, issued: Timestamp, content: &str) -> String {
    let expires = issued.checked_add(SignedDuration::from_hours(14 * 24)).expect("a date");
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
         <EOCS version=\"2.0\" feed=\"{name}\" serial=\"{serial}\" issued=\"{issued}\" expires=\"{expires}\">\n\
         {content}\n</EOCS>\n"
    )
}

/// A heartbeat.
pub const PING: &str = "<Config id=\"PING1\" desc=\"Heartbeat\"><ActionList><Action id=\"PING1\" type=\"DoNothing\" \
                        scope=\"Server\" desc=\"Heartbeat\"><Value>DoNothing</Value></Action></ActionList></Config>";

/// A mitigation with one rule that refuses requests whose raw address matches `pattern` (without
/// characters that XML escapes), for every site; `path` is a path that it blocks.
pub fn rule(id: &str, pattern: &str, path: &str) -> String {
    format!(
        "<Config id=\"{id}\" desc=\"Refuse {path}\"><ActionList><Action id=\"{id}.1\" type=\"UrlRewrite\" scope=\"Site\" desc=\"Refuse\">\
         <rewrite><rules><rule name=\"Refuse\" stopProcessing=\"true\"><match url=\".*\"/>\
         <conditions><add input=\"{{REQUEST_URI}}\" pattern=\"{pattern}\"/></conditions>\
         <action type=\"AbortRequest\"/></rule></rules></rewrite></Action></ActionList>\
         <Probes><Request expect=\"blocked\">GET {path} HTTP/1.1</Request>\
         <Request expect=\"allowed\">GET / HTTP/1.1</Request></Probes></Config>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pki::Options;
    use stopgap_feed::{Revocation, verify};

    fn now() -> Timestamp {
        "2026-11-22T03:00:00Z".parse().unwrap()
    }

    fn code(xml: &[u8], pki: &TestPki) -> Result<usize, &'static str> {
        verify(&pki.trust(), xml, None, &Revocation::off(), now())
            .map(|feed| feed.document().mitigations.len())
            .map_err(|refusal| refusal.code())
    }

    #[test]
    fn a_signed_feed_is_trusted_and_each_wish_for_a_fault_is_granted() {
        let content = format!("{PING}{}", rule("M1", "^/evil", "/evil"));
        let text = feed("example", 1, now(), &content);
        let good = TestPki::default();
        assert_eq!(code(&signed(&text, &good), &good), Ok(2));
        assert_eq!(code(&signed_with(&text, &good, Canonicalization::Inclusive), &good), Ok(2));

        let expired = TestPki::new(Options::default().expired());
        assert_eq!(code(&signed(&text, &expired), &expired), Err("expired-certificate"));
        let purpose = TestPki::new(Options::default().code_signing_only());
        assert_eq!(code(&signed(&text, &purpose), &purpose), Err("wrong-eku"));
        let other = TestPki::new(Options { root: "Other Root".into(), ..Options::default() });
        assert_eq!(code(&signed(&text, &other), &good), Err("unknown-root"));
        assert_eq!(code(text.as_bytes(), &good), Err("not-signed"));
    }
}
