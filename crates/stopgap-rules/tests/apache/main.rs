//! One rule, two servers, the same verdict: what `translate::apache` writes, in a real Apache httpd, against the
//! engine, over generated requests.
//!
//! Here: how rules come to a site, and how an answer is compared.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
#[path = "../common/mod.rs"]
mod common;
#[path = "../common/apache.rs"]
mod server;

mod limits;
mod requests;
mod responses;
mod sites;
mod verdicts;

use common::{condition, judged};
use server::{Answer, Apache, Site};
use stopgap_rules::translate::apache::translate;
use stopgap_rules::{Engine, Outcome, RuleSet};

fn abort_where(input: &str, pattern: &str) -> RuleSet {
    condition("a rule", input, pattern)
}

/// Rule sets, each on a site of its own, which has `more` in it.
fn sites_with(sets: Vec<RuleSet>, more: &str) -> (Vec<Site>, Vec<Engine>) {
    let (names, engines, scoped) = common::sites(sets, |n| format!("site{n}.example"));
    let config = translate(&scoped).unwrap();
    let text = |name: &str| {
        config.sites.iter().find(|(site, _)| site == name).map(|(_, text)| text.clone()).unwrap_or_default()
    };
    (
        names.into_iter().map(|name| Site { inside: format!("{more}\n{}", text(&name)), name }).collect(),
        engines,
    )
}

/// What Apache must answer.
fn expected(engine: &Engine, head: &[u8]) -> Answer {
    let verdict = judged(engine, head);
    match verdict.action {
        Outcome::AbortRequest => Answer::REFUSED,
        Outcome::CustomResponse => Answer::of(verdict.status.unwrap()),
        _ => Answer::of(200),
    }
}

#[derive(Default, Debug)]
struct Tally {
    requests: usize,
    refused: usize,
    /// Apache's own 400, or 404 for a `%00` in the path: before any rule, and before any application.
    malformed: usize,
}

impl Tally {
    fn compare(&mut self, apache: &mut Apache, engine: &Engine, head: &[u8], told: &str) {
        let answer = apache.ask(head).expect("an answer");
        self.requests += 1;
        let null = || head.windows(3).any(|w| w == b"%00");
        if answer.status == 400 || (answer.status == 404 && null()) {
            self.malformed += 1;
            return;
        }
        let expected = expected(engine, head);
        self.refused += usize::from(expected == Answer::REFUSED);
        // Of other statuses Apache closes behind some, such as 503.
        let close = if [200, 403].contains(&expected.status) { expected.close } else { answer.close };
        assert_eq!(answer, Answer { close, ..expected }, "{told}\n{}", head.escape_ascii());
    }
}

#[test]
fn the_page_names_tests_that_exist() {
    let read =
        |path: &str| std::fs::read_to_string(format!("{}/{path}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    let parts = ["limits", "requests", "responses", "sites", "verdicts"];
    let tests: String = parts.map(|part| read(&format!("tests/apache/{part}.rs"))).concat();
    let tests = tests + &read("tests/apache_injection.rs");
    let page = read("../../docs/rules/translation-apache.md");
    let named = page.split('`').skip(1).step_by(2).filter(|word| word.matches('_').count() > 3);
    let mut count = 0;
    for name in named.filter(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')) {
        assert!(tests.contains(&format!("fn {name}()")), "{name}");
        count += 1;
    }
    assert!(count > 10, "{count}");
}
