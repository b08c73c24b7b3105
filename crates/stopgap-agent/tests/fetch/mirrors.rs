//! Several addresses: which one is believed, and that a bad one hides nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use stopgap_agent::config::FeedConfig;
use stopgap_agent::fetch::{Fetched, Fetcher, Limits};
use stopgap_testkit::feeds::{PING, feed, signed};

use crate::server::{Handler, Server, always, ok, status};
use crate::world::{
    Agent, PUBLISHER, STRANGER, fault, fetcher, followed, limits, network, now, outcome, release, result,
};

fn agent() -> Fetcher {
    fetcher(&network(), limits())
}

/// A feed and its mirrors, in order.
fn feed_of(servers: &[&Server]) -> FeedConfig {
    let mut addresses = servers.iter().map(|server| format!("http://{}/feed.xml", server.address));
    FeedConfig { url: addresses.next().unwrap(), mirrors: addresses.collect(), ..followed("") }
}

/// An agent that has trusted this release from the first of two mirrors.
struct Two {
    agent: Agent,
    first: Server,
    second: Server,
}

impl Two {
    async fn trusting(serial: u64) -> Two {
        let start = || Server::start("127.0.0.1", None, always(release(serial)));
        let two = Two { agent: Agent::new(""), first: start(), second: start() };
        assert_eq!(two.cycle().await, (Ok(serial), String::new()), "the untouched answer");
        two.first.take_asked();
        assert!(two.second.take_asked().is_empty(), "the first is enough");
        two
    }

    /// What a cycle comes to, and what it says.
    async fn cycle(&self) -> (Result<u64, String>, String) {
        let delivery = self.agent.fetch(&agent(), &feed_of(&[&self.first, &self.second])).await;
        let feed = self.agent.judge(delivery);
        (result(&feed), feed.report.message.unwrap_or_default())
    }
}

fn expired(serial: u64) -> Vec<u8> {
    signed(&feed("example", serial, "2026-01-01T00:00:00Z".parse().unwrap(), PING), &PUBLISHER)
}

#[tokio::test]
async fn a_mirror_with_an_older_document_hides_no_newer_one() {
    let two = Two::trusting(5).await;
    two.first.answer(always(release(4)));
    two.second.answer(always(release(6)));
    assert_eq!(two.cycle().await.0, Ok(6));
    // Where no other has a better one, it is refused.
    two.second.answer(always(release(3)));
    let (result, message) = two.cycle().await;
    assert_eq!(result, Err("rollback".to_owned()));
    assert!(
        message.contains("found 4") && message.contains("also asked") && message.contains("found 3"),
        "{message}"
    );
}

#[tokio::test]
async fn a_mirror_with_an_expired_document_hides_no_newer_one() {
    let two = Two::trusting(5).await;
    two.first.answer(always(expired(6)));
    two.second.answer(always(release(7)));
    assert_eq!(two.cycle().await.0, Ok(7));
    two.first.answer(always(expired(8)));
    two.second.answer(Arc::new(|_, out| status(out, "404 Not Found", "")));
    let (result, message) = two.cycle().await;
    assert_eq!(result, Err("expired".to_owned()));
    assert!(message.contains("404 Not Found"), "{message}");
}

#[tokio::test]
async fn a_mirror_with_a_foreign_document() {
    let two = Two::trusting(5).await;
    let of_another_feed = signed(&feed("another", 6, now(), PING), &PUBLISHER);
    let by_a_stranger = signed(&feed("example", 6, now(), PING), &STRANGER);
    for (foreign, code) in [
        (of_another_feed, "wrong-feed"),
        (by_a_stranger, "unknown-root"),
        (b"<html/>".to_vec(), "not-signed"),
    ] {
        two.first.answer(always(foreign.clone()));
        two.second.answer(always(release(5)));
        assert_eq!(two.cycle().await.0, Ok(5), "{code}");
        two.second.answer(always(foreign));
        assert_eq!(two.cycle().await.0, Err(code.to_owned()));
    }
}

#[tokio::test]
async fn a_mirror_answers_where_the_first_address_does_not() {
    let two = Two::trusting(5).await;
    two.first.answer(Arc::new(|_, out| status(out, "503 Service Unavailable", "")));
    two.second.answer(always(release(6)));
    assert_eq!(two.cycle().await.0, Ok(6));
    two.second.answer(Arc::new(|_, out| status(out, "404 Not Found", "")));
    let (result, message) = two.cycle().await;
    assert_eq!(result, Err("http-status".to_owned()));
    assert!(message.contains("503") && message.contains("404"), "{message}");
    // Whoever asks later, and asks nobody, is told the same.
    let later = two.agent.judge(Fetched::Skipped);
    assert_eq!(later.report.error.as_deref(), Some("http-status"));
    assert!(later.report.message.unwrap().contains("since") && later.verified.is_some());
}

/// Fails as often as said, and then answers.
fn failing(times: usize, line: &'static str) -> (Handler, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let handler: Handler = Arc::new(move |_, out| {
        if counted.fetch_add(1, Ordering::SeqCst) < times {
            status(out, line, "")
        } else {
            ok(out, "", &release(1))
        }
    });
    (handler, asked)
}

#[tokio::test]
async fn what_may_pass_is_asked_again_and_what_cannot_is_not() {
    let patient = fetcher(&network(), Limits { attempts: 3, ..limits() });
    for (times, line, expected, requests) in [
        (2, "503 Service Unavailable", Ok(1), 3),
        (3, "503 Service Unavailable", Err("http-status".to_owned()), 3),
        (1, "429 Too Many Requests", Ok(1), 2),
        (1, "404 Not Found", Err("http-status".to_owned()), 1),
    ] {
        let (handler, asked) = failing(times, line);
        let server = Server::start("127.0.0.1", None, handler);
        assert_eq!(outcome(&patient, &feed_of(&[&server])).await, expected, "{line}");
        assert_eq!(asked.load(Ordering::SeqCst), requests, "{line}");
    }
}

#[tokio::test]
async fn all_addresses_together_have_one_limit() {
    let hanging = || -> Server {
        Server::start(
            "127.0.0.1",
            None,
            Arc::new(|_, _| {
                std::thread::sleep(std::time::Duration::from_secs(3));
                Ok(())
            }),
        )
    };
    let (first, second) = (hanging(), hanging());
    let limits = Limits { feed: std::time::Duration::from_millis(500), attempts: 3, ..limits() };
    let delivery = Agent::new("").fetch(&fetcher(&network(), limits), &feed_of(&[&first, &second])).await;
    assert_eq!(fault(&delivery), "too-slow");
    let Fetched::Failed(failure) = delivery.fetched else { panic!() };
    assert!(failure.message.contains("all addresses together have 0.5 s"), "{}", failure.message);
}

#[tokio::test]
async fn an_agent_whose_trust_state_is_damaged_trusts_nothing_new_and_says_so() {
    let two = Two::trusting(5).await;
    for file in
        ["/data/feeds/example.json", "/data/crls/example.json", "/data/feeds/example.cosignatures.json"]
    {
        let before = two.agent.host.peek(file);
        two.agent.host.put(file, "{ this is not what was written");
        let feed = two.agent.judge(Fetched::Document { bytes: release(6), validators: Default::default() });
        assert_eq!(feed.report.error.as_deref(), Some("trust-state"), "{file}");
        assert!(feed.report.message.unwrap().contains(file), "{file}");
        assert!(feed.verified.is_none() && feed.news.is_none(), "{file}");
        match before {
            Some(octets) => two.agent.host.put(file, octets),
            None => two.agent.host.take(file),
        }
    }
    two.first.answer(always(release(6)));
    assert_eq!(two.cycle().await.0, Ok(6));
}

#[tokio::test]
async fn a_clock_of_1970_and_one_that_was_set_back_have_their_own_code() {
    let two = Two::trusting(5).await;
    let feed = feed_of(&[&two.first, &two.second]);
    for (at, code) in [("1970-01-01T00:05:00Z", "clock-not-set"), ("2026-11-20T00:00:00Z", "clock-set-back")]
    {
        let at = at.parse().unwrap();
        let delivery = two.agent.fetch_at(&agent(), &feed, at).await;
        let judged = two.agent.judge_at(delivery, at);
        assert_eq!(result(&judged), Err(code.to_owned()));
        assert!(judged.verified.is_none() && judged.news.is_none());
    }
    assert_eq!(two.cycle().await.0, Ok(5), "nothing was forgotten");
}
