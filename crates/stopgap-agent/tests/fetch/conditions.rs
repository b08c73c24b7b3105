//! Conditional requests: who is told what, and what "not modified" may mean.

use std::sync::Arc;

use stopgap_agent::config::FeedConfig;

use crate::server::{Asked, Handler, Server, always, ok, status};
use crate::world::{Agent, fault, fetcher, followed, limits, network, now, release, result};

const DATE: &str = "Sun, 22 Nov 2026 03:00:00 GMT";

/// As a web server does it: the document, or 304 to who has it.
fn conditional(octets: Vec<u8>, headers: &'static str) -> Handler {
    Arc::new(move |asked: &Asked, out| {
        let has = |name: &str, value: &str| asked.headers.get(name).is_some_and(|sent| sent == value);
        if has("if-none-match", "\"a\"") || has("if-modified-since", DATE) {
            return status(out, "304 Not Modified", "");
        }
        ok(out, headers, &octets)
    })
}

#[tokio::test]
async fn what_is_here_is_not_sent_again() {
    for headers in ["ETag: \"a\"\r\n", "Last-Modified: Sun, 22 Nov 2026 03:00:00 GMT\r\n"] {
        let server = Server::start("127.0.0.1", None, conditional(release(1), headers));
        let (agent, fetcher) = (Agent::new(""), fetcher(&network(), limits()));
        let feed = followed(format!("http://{}/feed.xml", server.address));
        let first = agent.fetch(&fetcher, &feed).await;
        assert_eq!(result(&agent.judge(first)), Ok(1));
        let second = agent.fetch(&fetcher, &feed).await;
        assert_eq!(fault(&second), "unchanged", "{headers}");
        assert_eq!(result(&agent.judge(second)), Ok(1));
        let asked = server.take_asked();
        let conditions = |asked: &Asked| {
            ["if-none-match", "if-modified-since"]
                .iter()
                .filter(|name| asked.headers.contains_key(**name))
                .count()
        };
        assert_eq!(asked.iter().map(conditions).collect::<Vec<_>>(), [0, 1], "{headers}");
    }
}

#[tokio::test]
async fn a_mirror_is_not_told_what_another_said() {
    let first = Server::start("127.0.0.1", None, conditional(release(1), "ETag: \"a\"\r\n"));
    // The same tag for another document: by itself it would be taken for the one that is here.
    let second = Server::start("127.0.0.1", None, conditional(release(2), "ETag: \"a\"\r\n"));
    let (agent, fetcher) = (Agent::new(""), fetcher(&network(), limits()));
    let address = |server: &Server| format!("http://{}/feed.xml", server.address);
    let feed = FeedConfig { mirrors: vec![address(&second)], ..followed(address(&first)) };
    let delivery = agent.fetch(&fetcher, &feed).await;
    assert_eq!(result(&agent.judge(delivery)), Ok(1));
    first.answer(Arc::new(|_, out| status(out, "404 Not Found", "")));
    let delivery = agent.fetch(&fetcher, &feed).await;
    assert_eq!(result(&agent.judge(delivery)), Ok(2));
}

#[tokio::test]
async fn not_modified_though_nothing_is_here() {
    let server = Server::start("127.0.0.1", None, always(release(1)));
    let (agent, fetcher) = (Agent::new(""), fetcher(&network(), limits()));
    let feed = followed(format!("http://{}/feed.xml", server.address));
    let delivery = agent.fetch(&fetcher, &feed).await;
    assert_eq!(result(&agent.judge(delivery)), Ok(1));
    server.answer(Arc::new(|_, out| status(out, "304 Not Modified", "")));
    let delivery = Agent::new("").fetch(&fetcher, &feed).await;
    assert_eq!(fault(&delivery), "unchanged-of-nothing");
    // Nor is it an answer to an agent that has a document, and said nothing of it.
    let delivery = agent.fetch(&fetcher, &feed).await;
    assert_eq!(fault(&delivery), "unchanged-of-nothing");
}

#[tokio::test]
async fn not_modified_of_a_document_that_was_lost_or_changed_on_disk() {
    let server = Server::start("127.0.0.1", None, conditional(release(1), "ETag: \"a\"\r\n"));
    let (agent, fetcher) = (Agent::new(""), fetcher(&network(), limits()));
    let feed = followed(format!("http://{}/feed.xml", server.address));
    let delivery = agent.fetch(&fetcher, &feed).await;
    assert_eq!(result(&agent.judge(delivery)), Ok(1));
    agent.host.put("/data/feeds/example.xml", "<EOCS/>");
    let delivery = agent.fetch(&fetcher, &feed).await;
    assert_eq!(fault(&delivery), "a document", "it is asked for whole");
    assert_eq!(result(&agent.judge(delivery)), Ok(1));
}

#[tokio::test]
async fn not_modified_of_a_document_that_has_expired() {
    let server = Server::start("127.0.0.1", None, conditional(release(1), "ETag: \"a\"\r\n"));
    let newer = Server::start("127.0.0.1", None, always(release(2)));
    let (agent, fetcher) = (Agent::new(""), fetcher(&network(), limits()));
    let address = |server: &Server| format!("http://{}/feed.xml", server.address);
    let alone = followed(address(&server));
    let delivery = agent.fetch(&fetcher, &alone).await;
    assert_eq!(result(&agent.judge(delivery)), Ok(1));
    let later = now().checked_add(jiff::SignedDuration::from_hours(24 * 30)).unwrap();
    let delivery = agent.fetch_at(&fetcher, &alone, later).await;
    assert_eq!(result(&agent.judge_at(delivery, later)), Err("expired".to_owned()));
    // The next address is asked all the same; its document is as old here, and says so.
    let both = FeedConfig { mirrors: vec![address(&newer)], ..alone };
    let delivery = agent.fetch_at(&fetcher, &both, later).await;
    assert_eq!(newer.take_asked().len(), 1);
    assert!(delivery.notes[0].contains("expired"), "{:?}", delivery.notes);
}
