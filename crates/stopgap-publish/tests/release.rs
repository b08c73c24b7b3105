//! A publisher's day: start a feed, release it, find out what is wrong before anybody else does.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may panic, and says what it skips"
)]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use common::now;
use stopgap_feed::document::Document;
use stopgap_feed::limits::Limits;
use stopgap_feed::{Id, LastSeen, Revocation, Trust, TrustFile, VerifiedFeed};
use stopgap_publish::key::nobody_to_ask;
use stopgap_publish::lint::{self, Level, is_wanting, lint};
use stopgap_publish::prove::{Expected, Judgement, ProofReport, Samples, prove};
use stopgap_publish::release::{self, ReleaseError};
use stopgap_publish::withdraw::withdraw;
use stopgap_publish::{builtin, folder, requests};
use tempfile::TempDir;

/// A feed with these of the project's own mitigations.
fn feed_with(ids: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    folder::init(dir.path(), &"example".parse().unwrap(), None, None, now()).unwrap();
    for id in ids {
        folder::add(dir.path(), builtin::find(id).unwrap()).unwrap();
    }
    dir
}

/// As a subscriber does it: the trust file and the root certificate that `init` wrote.
fn verify(dir: &Path, last_seen: Option<&LastSeen>) -> VerifiedFeed {
    let file: TrustFile = toml::from_str(&fs::read_to_string(dir.join("trust.toml")).unwrap()).unwrap();
    let trust: Trust =
        file.load_with(|name| fs::read(dir.join(name))).unwrap().for_feed("example".parse().unwrap());
    let signed = fs::read(dir.join("public/feed.xml")).unwrap();
    stopgap_feed::verify(&trust, &signed, last_seen, &Revocation::off(), now()).unwrap()
}

#[test]
fn everything_here_is_released_and_verifies_with_the_trust_file_of_init() {
    let dir = feed_with(&["PING1", "DRILL1", "M1", "PL1"]);
    let published = release::publish(dir.path(), now()).unwrap();
    assert_eq!((published.serial, published.findings.len()), (1, 0), "{:?}", published.findings);
    assert_eq!(published.expires.to_string(), "2026-12-09T12:00:00Z");
    let verified = verify(dir.path(), None);
    let ids: Vec<&str> = verified.document().mitigations.iter().map(|m| m.id.as_str()).collect();
    assert_eq!(ids, ["DRILL1", "M1", "PING1", "PL1"]);
    assert!(verified.document().mitigations.iter().all(|m| m.unsupported.is_empty()));
    assert!(verified.document().warnings.is_empty());
    assert!(verified.signer().starts_with("CN=example Stopgap Feed Signing"), "{}", verified.signer());
}

#[test]
fn each_release_has_the_next_serial_also_when_the_feed_was_lost() {
    let dir = feed_with(&["PING1"]);
    release::publish(dir.path(), now()).unwrap();
    let first = verify(dir.path(), None).last_seen().unwrap();
    fs::remove_file(dir.path().join("public/feed.xml")).unwrap();
    assert_eq!(release::publish(dir.path(), now()).unwrap().serial, 2);
    assert_eq!(verify(dir.path(), Some(&first)).document().serial, Some(2));
    fs::write(dir.path().join("serial"), "two\n").unwrap();
    assert_eq!(release::publish(dir.path(), now()).unwrap_err().code(), "bad-serial");
}

#[test]
fn a_serial_that_agents_have_seen_is_not_given_out_again() {
    let dir = feed_with(&["PING1"]);
    for _ in 0..3 {
        release::publish(dir.path(), now()).unwrap();
    }
    let served = fs::read(dir.path().join("public/feed.xml")).unwrap();
    // The folder is lost but for what is served, or comes back from a backup.
    for serial in [None, Some("1\n")] {
        fs::remove_file(dir.path().join("serial")).unwrap_or_default();
        serial.iter().for_each(|serial| fs::write(dir.path().join("serial"), serial).unwrap());
        let refused = release::publish(dir.path(), now()).unwrap_err();
        assert_eq!(refused.code(), "serial-behind");
        assert!(refused.to_string().contains("has serial 3"), "{refused}");
        assert_eq!(fs::read(dir.path().join("public/feed.xml")).unwrap(), served);
    }
    fs::write(dir.path().join("serial"), "7\n").unwrap();
    assert_eq!(release::publish(dir.path(), now()).unwrap().serial, 8);
}

#[test]
fn a_recall_that_was_cut_off_is_ended_by_the_same_command() {
    let id: Id = "M1".parse().unwrap();
    let recalled = |dir: &Path| verify(dir, None).document().withdrawn.len();
    let again = |dir: &Path| withdraw(dir, &id, "Fixed.", &mut nobody_to_ask, now());
    for moved in [false, true] {
        let dir = feed_with(&["PING1", "M1"]);
        release::publish(dir.path(), now()).unwrap();
        // The settings say it; the folder is still there, or gone, and nothing was released.
        let settings = dir.path().join("feed.toml");
        let entry = "\n[[withdrawn]]\nid = \"M1\"\nreason = \"Fixed.\"\n";
        fs::write(&settings, fs::read_to_string(&settings).unwrap() + entry).unwrap();
        if moved {
            fs::remove_dir_all(dir.path().join("mitigations/M1")).unwrap();
        }
        // A renewal goes on meanwhile, and says what was said.
        release::renew(dir.path(), &mut nobody_to_ask, now()).unwrap();
        assert_eq!(recalled(dir.path()), 0);
        again(dir.path()).unwrap();
        assert_eq!(recalled(dir.path()), 1);
        assert_eq!(again(dir.path()).unwrap_err().code(), "already-withdrawn");
    }
}

#[test]
fn a_release_that_waited_for_a_recall_says_what_was_recalled() {
    let dir = feed_with(&["PING1", "M1"]);
    release::publish(dir.path(), now()).unwrap();
    let key = dir.path().join("signing.key.pem");
    // The recall comes while the passphrase of the other release is being typed.
    let protected = stopgap_publish::key::Passphrase::new(b"correct horse battery".to_vec()).unwrap();
    let clear = fs::read_to_string(&key).unwrap();
    fs::write(&key, stopgap_publish::key::protect(&clear, &protected).unwrap()).unwrap();
    let mut ask = |_: &Path| {
        let mut know = |_: &Path| Ok(protected.clone());
        withdraw(dir.path(), &"M1".parse().unwrap(), "Fixed.", &mut know, now()).unwrap();
        Ok(protected.clone())
    };
    release::publish_asking(dir.path(), &mut ask, now()).unwrap();
    assert_eq!(verify(dir.path(), None).document().serial, Some(3));
    assert_eq!(verify(dir.path(), None).document().withdrawn.len(), 1);
}

#[test]
fn what_is_withdrawn_is_recalled_and_cannot_be_released_at_once() {
    let dir = feed_with(&["PING1", "M1"]);
    let settings = dir.path().join("feed.toml");
    let text = fs::read_to_string(&settings).unwrap() + "\n[[withdrawn]]\nid = \"M1\"\nreason = \"Fixed.\"\n";
    fs::write(&settings, text).unwrap();
    assert_eq!(release::publish(dir.path(), now()).unwrap_err().code(), "id-twice");
    fs::remove_dir_all(dir.path().join("mitigations/M1")).unwrap();
    release::publish(dir.path(), now()).unwrap();
    let verified = verify(dir.path(), None);
    assert_eq!(verified.document().withdrawn[0].id.as_str(), "M1");
    assert_eq!(verified.document().withdrawn[0].reason, "Fixed.");
}

#[test]
fn a_new_mitigation_is_ready_to_be_changed_and_proves_itself_until_then() {
    let dir = feed_with(&[]);
    folder::new(dir.path(), &"X1".parse().unwrap(), "An example").unwrap();
    let draft = release::draft(dir.path(), now()).unwrap();
    let codes: Vec<&str> = draft.findings.iter().map(|finding| finding.code).collect();
    assert_eq!(codes, ["placeholder"], "what is still to be written is named");
    assert!(draft.proof.is_proven(), "{:?}", draft.proof);
    assert_eq!(draft.proof.cases.len(), 4);
    assert!(!draft.unsigned.contains("<!--"), "comments stay with the author");
}

#[test]
fn a_failed_release_leaves_what_is_served_and_the_serial() {
    let dir = feed_with(&["M1"]);
    release::publish(dir.path(), now()).unwrap();
    let before = fs::read(dir.path().join("public/feed.xml")).unwrap();
    let config = dir.path().join("mitigations/M1/mitigation.xml");
    let broken = fs::read_to_string(&config).unwrap().replace("(?=.*powershell)", "(?=.*powershel1)");
    fs::write(&config, broken).unwrap();
    let refused = release::publish(dir.path(), now()).unwrap_err();
    assert!(matches!(refused, ReleaseError::Unproven { .. }), "{refused}");
    assert!(
        refused.to_string().contains("M1 Probes (request 1): blocked: failed: no rule of M1 refuses it"),
        "{refused}"
    );
    assert_eq!(fs::read(dir.path().join("public/feed.xml")).unwrap(), before);
    assert_eq!(fs::read_to_string(dir.path().join("serial")).unwrap(), "1\n");
}

#[test]
fn a_release_does_not_outlive_its_certificate() {
    let dir = feed_with(&["PING1"]);
    let late = "2027-11-20T00:00:00Z".parse().unwrap();
    assert_eq!(release::publish(dir.path(), late).unwrap_err().code(), "certificate-ends");
}

#[test]
fn a_horizon_shorter_than_the_on_call_gap_is_refused() {
    let dir = feed_with(&["PING1"]);
    let settings = dir.path().join("feed.toml");
    let text =
        fs::read_to_string(&settings).unwrap().replace("on_call_gap_days = 4", "on_call_gap_days = 21");
    fs::write(&settings, text).unwrap();
    let refused = release::publish(dir.path(), now()).unwrap_err();
    assert!(refused.to_string().contains("error[short-horizon]"), "{refused}");
}

/// M1 with another revision's condition, and the requests of the project's own folder.
fn m1_revision(input: &str, pattern: &str) -> ProofReport {
    let dir = feed_with(&["M1"]);
    let config = dir.path().join("mitigations/M1/mitigation.xml");
    let fourth = r#"<add input="{UrlDecode:{REQUEST_URI}}" pattern="(?=.*autodiscover)(?=.*powershell)"/>"#;
    let text = fs::read_to_string(&config).unwrap();
    assert!(text.contains(fourth));
    fs::write(&config, text.replace(fourth, &format!(r#"<add input="{input}" pattern="{pattern}"/>"#)))
        .unwrap();
    release::draft(dir.path(), now()).unwrap().proof
}

/// The names of the attacks that pass.
fn passing(report: &ProofReport) -> Vec<&str> {
    report.failed().filter(|case| case.source == "attack.http").map(|case| case.name.as_str()).collect()
}

#[test]
fn each_revision_of_m1_fails_on_the_requests_that_got_past_it() {
    const AT: &str = "without the at sign: passed the first revision";
    const PERCENT: &str = "one letter as its percent form: passed the second";
    const ORDER: &str = "the words in the other order: passed the third";
    const ALL_PERCENT: &str = "every letter of both words as its percent form";

    let first = m1_revision("{REQUEST_URI}", r".*autodiscover\.json.*\@.*Powershell.*");
    assert_eq!(passing(&first), [AT, PERCENT, ORDER, ALL_PERCENT]);
    let second = m1_revision("{REQUEST_URI}", r".*autodiscover\.json.*Powershell.*");
    assert_eq!(passing(&second), [PERCENT, ORDER, ALL_PERCENT]);
    let third = m1_revision("{UrlDecode:{REQUEST_URI}}", r".*autodiscover\.json.*Powershell.*");
    assert_eq!(passing(&third), [ORDER, ALL_PERCENT]);
    for report in [&first, &second, &third] {
        assert!(!report.is_proven());
        assert!(
            report
                .cases
                .iter()
                .all(|case| case.expected != Expected::Allowed || case.judgement == Judgement::Proven)
        );
    }
    let fourth = m1_revision("{UrlDecode:{REQUEST_URI}}", "(?=.*autodiscover)(?=.*powershell)");
    assert!(fourth.is_proven(), "{:?}", fourth.failed().collect::<Vec<_>>());
}

/// A document with one rewrite action.
fn document(rules: &str, probes: &str) -> String {
    format!(
        "<EOCS version=\"2.0\" feed=\"example\" serial=\"1\" issued=\"2026-11-25T00:00:00Z\" expires=\"2026-12-06T03:00:00Z\">\
         <Config id=\"X1\" desc=\"x\"><ActionList><Action id=\"X1.1\" type=\"UrlRewrite\" scope=\"Site\" desc=\"\">\
         <rewrite><rules>{rules}</rules></rewrite></Action></ActionList><Probes>{probes}</Probes><Rollback>by hand</Rollback></Config></EOCS>"
    )
}

fn rule(name: &str, pattern: &str) -> String {
    format!(
        "<rule name=\"{name}\" stopProcessing=\"true\"><match url=\".*\"/><conditions><add input=\"{{REQUEST_URI}}\" pattern=\"{pattern}\"/></conditions><action type=\"AbortRequest\"/></rule>"
    )
}

const PROBES: &str = "<Request expect=\"blocked\">GET /evil HTTP/1.1</Request><Request expect=\"allowed\">GET / HTTP/1.1</Request>";

fn codes(text: &str) -> Vec<(Level, &'static str)> {
    let settings = lint::Settings { now: now(), horizon_days: 4 };
    lint(text.as_bytes(), &settings).iter().map(|finding| (finding.level, finding.code)).collect()
}

fn detecting(document: &str, pattern: &str, below: &str) -> String {
    let product = format!(
        "<Applicability><Product name=\"a\" versions=\"dotted\"><Detect kind=\"file\" path=\"/opt/a\" \
         pattern=\"{pattern}\"/><Range below=\"{below}\"/></Product></Applicability><ActionList>"
    );
    assert!(document.contains("<ActionList>"));
    document.replacen("<ActionList>", &product, 1)
}

#[test]
fn the_linter_names_each_fault() {
    use Level::{Error, Invalid, Note, Warning};
    let good = document(&rule("a", "^/evil"), PROBES);
    assert_eq!(codes(&good), []);
    let table: Vec<(String, (Level, &str))> = vec![
        ("<EOCS".into(), (Invalid, "malformed-xml")),
        (good.replace("version=\"2.0\"", "version=\"3.0\""), (Invalid, "unsupported-version")),
        (good.replace("2026-12-06", "2026-11-25"), (Error, "expired")),
        (good.replace("2026-12-06", "2026-11-28"), (Error, "short-horizon")),
        (good.replace("issued=\"2026-11-25", "issued=\"2026-11-26"), (Warning, "issued-later")),
        (good.replace("type=\"UrlRewrite\"", "type=\"Reboot\""), (Error, "unsupported")),
        (good.replace("expect=\"blocked\"", "expect=\"allowed\""), (Error, "no-blocked-probe")),
        (good.replace("expect=\"allowed\"", "expect=\"blocked\""), (Error, "no-allowed-probe")),
        (good.replace("GET /evil", "POST /evil"), (Error, "unsupported")),
        (good.replace("id=\"X1.1\"", "id=\"Y1.1\""), (Error, "unsupported")),
        (
            good.replace("</Config>", "</Config><Withdrawn id=\"X1\" reason=\"r\"/>"),
            (Invalid, "duplicate-id"),
        ),
        (good.replace("by hand", ""), (Warning, "no-rollback")),
        (good.replace("AbortRequest", "Explode"), (Error, "bad-rules")),
        (document(&rule("a", "(evil"), PROBES), (Error, "bad-pattern")),
        (document("", PROBES), (Error, "no-rules")),
        (document(&rule("a", ".*"), PROBES), (Error, "refuses-everything")),
        (document(&rule("a", "(a|b)/evil"), PROBES), (Note, "not-on-nginx")),
        (document(&rule(" a", "^/evil"), PROBES), (Warning, "rule-name")),
        (detecting(&good, "^version=(.*", "1.0"), (Error, "bad-detect")),
        (detecting(&good, "version=(.*)", "1.0"), (Warning, "loose-detect")),
        (detecting(&good, "^version=(.*)", "one"), (Error, "bad-version")),
    ];
    assert_eq!(codes(&detecting(&good, "^version=(.*)", "1.0")), []);
    for (text, expected) in table {
        assert!(codes(&text).contains(&expected), "{expected:?}: {:?}", codes(&text));
    }
}

#[test]
fn microsoft_s_grammar_has_no_freshness_and_may_not_be_released() {
    let text = "<EOCS version=\"1.0.4\"><Config id=\"PING1\" desc=\"x\"><ActionList><Action type=\"DoNothing\" scope=\"Server\" desc=\"\"><Value>DoNothing</Value></Action></ActionList></Config></EOCS>";
    assert_eq!(codes(text), [(Level::Error, "no-freshness"), (Level::Error, "no-expiry")]);
    assert!(is_wanting(&lint(text.as_bytes(), &lint::Settings { now: now(), horizon_days: 4 })));
}

fn proof(text: &str, benign: &str) -> ProofReport {
    let document = Document::from_unsigned(text.as_bytes(), &Limits::default()).unwrap();
    let samples = Samples { benign: requests::parse(benign).unwrap(), ..Samples::default() };
    prove(&document, &BTreeMap::from([("X1".parse().unwrap(), samples)]))
}

#[test]
fn a_benign_request_that_is_refused_names_the_rule() {
    let report = proof(&document(&rule("too wide", "evil|good"), PROBES), "### mine\nGET /good HTTP/1.1\n");
    let failed: Vec<String> = report.failed().map(ToString::to_string).collect();
    assert_eq!(failed, ["X1 benign.http (mine): allowed: failed: refused by rule \"too wide\" of X1.1"]);
}

#[test]
fn another_mitigation_s_rule_does_not_prove_this_one_but_can_harm_it() {
    let one = document(&rule("a", "^/evil"), PROBES);
    let second = one.split_once("<Config").unwrap().1.split_once("</EOCS>").unwrap().0;
    let second = format!("<Config{second}").replace("X1", "X2").replace("^/evil", "^/other");
    let both = one.replace("</EOCS>", &format!("{second}</EOCS>"));
    let failed: Vec<String> =
        proof(&both, "### mine\nGET /other HTTP/1.1\n").failed().map(ToString::to_string).collect();
    assert_eq!(
        failed,
        [
            "X1 benign.http (mine): allowed: failed: refused by rule \"a\" of X2.1",
            "X2 Probes (request 1): blocked: failed: no rule of X2 refuses it",
        ]
    );
}

#[test]
fn rules_that_the_engine_does_not_take_are_broken_and_not_proven() {
    let report = proof(&document(&rule("a", "(evil"), PROBES), "");
    assert!(!report.is_proven());
    assert_eq!(report.broken[0].action.as_str(), "X1.1");
}

#[test]
fn what_needs_a_server_is_not_judged() {
    let header = "<Request expect=\"header\" name=\"X\" pattern=\"y\">GET / HTTP/1.1</Request>";
    let report = proof(&document(&rule("a", "^/evil"), &format!("{PROBES}{header}")), "");
    assert!(report.is_proven());
    assert!(matches!(report.cases[2].judgement, Judgement::NotJudged(_)));
}

#[test]
fn a_renewal_says_again_what_was_released_and_not_what_is_being_written() {
    let dir = feed_with(&["PING1", "M1"]);
    let nothing = release::renew(dir.path(), &mut nobody_to_ask, now()).unwrap_err();
    assert_eq!(nothing.code(), "nothing-released");
    release::publish(dir.path(), now()).unwrap();
    let first = verify(dir.path(), None);
    // Work in progress, which would not be released as it is.
    fs::write(dir.path().join("mitigations/M1/mitigation.xml"), "<Config id=\"M1\">").unwrap();
    let renewed = release::renew(dir.path(), &mut nobody_to_ask, common::days(7)).unwrap();
    assert_eq!((renewed.serial, renewed.expires), (2, common::days(21)));
    let signed = fs::read(dir.path().join("public/feed.xml")).unwrap();
    let trust = common::subscriber(dir.path());
    let last_seen = first.last_seen();
    let again =
        stopgap_feed::verify(&trust, &signed, last_seen.as_ref(), &Revocation::off(), common::days(20))
            .unwrap();
    assert_eq!(again.document().mitigations, first.document().mitigations);
    // Long after it ended, too: whoever comes back from a holiday renews, and need not prove anything.
    assert_eq!(release::renew(dir.path(), &mut nobody_to_ask, common::days(200)).unwrap().serial, 3);
}

#[test]
fn a_renewal_that_would_end_unattended_is_refused() {
    let dir = feed_with(&["PING1"]);
    release::publish(dir.path(), now()).unwrap();
    let settings = dir.path().join("feed.toml");
    let text = fs::read_to_string(&settings).unwrap().replace("horizon_days = 14", "horizon_days = 3");
    fs::write(&settings, text).unwrap();
    let refused = release::renew(dir.path(), &mut nobody_to_ask, now()).unwrap_err();
    assert!(refused.to_string().contains("error[short-horizon]"), "{refused}");
}

#[test]
fn a_recall_is_released_or_does_not_happen() {
    let dir = feed_with(&["PING1", "M1"]);
    release::publish(dir.path(), now()).unwrap();
    let settings = fs::read_to_string(dir.path().join("feed.toml")).unwrap();
    let id: Id = "M01".parse().unwrap();
    let recall = |id: &Id, reason: &str| withdraw(dir.path(), id, reason, &mut nobody_to_ask, now());
    assert_eq!(recall(&id, " ").unwrap_err().code(), "no-reason");
    assert_eq!(recall(&"M7".parse().unwrap(), "x").unwrap_err().code(), "unknown-mitigation");
    // Something else in the folder cannot be released: nothing is recalled either.
    let ping = dir.path().join("mitigations/PING1/mitigation.xml");
    let good = fs::read(&ping).unwrap();
    fs::write(&ping, "<Config").unwrap();
    recall(&id, "Fixed.").unwrap_err();
    assert_eq!(fs::read_to_string(dir.path().join("feed.toml")).unwrap(), settings);
    assert!(dir.path().join("mitigations/M1/attack.http").exists());

    fs::write(&ping, good).unwrap();
    let published = recall(&id, "Superseded by the \"hotfix\".").unwrap();
    assert_eq!(published.serial, 2);
    let verified = verify(dir.path(), None);
    assert_eq!(verified.document().withdrawn[0].id.as_str(), "M01");
    assert_eq!(verified.document().withdrawn[0].reason, "Superseded by the \"hotfix\".");
    assert!(verified.document().mitigations.iter().all(|m| m.id.as_str() != "M1"));
    assert_eq!(recall(&id, "Again.").unwrap_err().code(), "already-withdrawn");
    assert_eq!(fs::read_dir(dir.path().join("retired/mitigations")).unwrap().count(), 1);
}

#[test]
fn a_release_that_the_feeds_own_trust_file_would_refuse_stays_here() {
    let dir = feed_with(&["PING1"]);
    let trust = dir.path().join("trust.toml");
    let text = fs::read_to_string(&trust).unwrap();
    fs::write(&trust, text.replace("Stopgap Feed Signing", "Somebody Else")).unwrap();
    assert_eq!(release::publish(dir.path(), now()).unwrap_err().code(), "wrong-signer");
    assert!(!dir.path().join("public/feed.xml").exists() && !dir.path().join("serial").exists());
    // Nor does one that begins before its certificates do.
    fs::write(&trust, text).unwrap();
    let early = "2026-11-20T00:00:00Z".parse().unwrap();
    assert_eq!(release::publish(dir.path(), early).unwrap_err().code(), "certificate-ends");
}
