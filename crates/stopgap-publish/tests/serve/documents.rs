//! The document: its headers, its tag, and the event that a new one is.

use crate::beside::{cosignature, digest};
use crate::client::{Running, feed, header};

#[tokio::test]
async fn a_file_that_is_not_there_yet_is_404_until_it_appears() {
    let running = Running::start(|_| {}).await;
    let before = running.ask("GET /feed.xml HTTP/1.1").await;
    assert!(before.starts_with("HTTP/1.1 404"), "{before}");
    let mut events = running.follow().await;
    running.publish(&feed(1));
    assert!(events.data().await.unwrap().contains("\"serial\":1"));
    let after = running.ask("GET /feed.xml HTTP/1.1").await;
    assert!(after.starts_with("HTTP/1.1 200"), "{after}");
}

#[tokio::test]
async fn the_document_comes_as_it_is_with_its_headers() {
    let running = Running::start(|_| {}).await;
    let mut events = running.follow().await;
    running.publish(&feed(7));
    events.data().await.unwrap();
    let answer = running.ask("GET /feed.xml HTTP/1.1").await;
    assert_eq!(header(&answer, "content-type"), Some("application/xml; charset=utf-8"));
    assert_eq!(header(&answer, "cache-control"), Some("no-cache"));
    assert_eq!(header(&answer, "link"), Some("</events>; rel=\"monitor\"; type=\"text/event-stream\""));
    let etag = header(&answer, "etag").unwrap();
    assert!(etag.len() == 66 && etag.starts_with('"') && etag.ends_with('"'), "{etag}");
    assert!(answer.as_bytes().ends_with(&feed(7)));

    let head = running.ask("HEAD /feed.xml HTTP/1.1").await;
    assert_eq!(header(&head, "etag"), Some(etag));
    assert_eq!(header(&head, "content-length"), Some(feed(7).len().to_string().as_str()));
    assert!(head.ends_with("\r\n\r\n"), "no body: {head}");
}

#[tokio::test]
async fn a_known_etag_is_answered_304_without_the_document() {
    let running = Running::start(|_| {}).await;
    let mut events = running.follow().await;
    running.publish(&feed(7));
    events.data().await.unwrap();
    let answer = running.ask("GET /feed.xml HTTP/1.1").await;
    let etag = header(&answer, "etag").unwrap();
    for known in [etag.to_owned(), format!("W/{etag}"), format!("\"other\", {etag}"), "*".to_owned()] {
        let answer = running.ask(&format!("GET /feed.xml HTTP/1.1\r\nIf-None-Match: {known}")).await;
        assert!(answer.starts_with("HTTP/1.1 304"), "{known}: {answer}");
        assert_eq!(header(&answer, "etag"), Some(etag));
        assert!(answer.ends_with("\r\n\r\n"), "no body: {answer}");
    }
    for other in ["\"other\"".to_owned(), etag.trim_matches('"').to_owned()] {
        let answer = running.ask(&format!("GET /feed.xml HTTP/1.1\r\nIf-None-Match: {other}")).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{other}: {answer}");
    }
}

#[tokio::test]
async fn a_rename_is_told_to_every_subscriber_and_the_etag_changes() {
    let running = Running::start(|_| {}).await;
    running.publish(&feed(1));
    let mut events = [running.follow().await, running.follow().await];
    for stream in &mut events {
        let head = stream.until("\r\n\r\n").await.unwrap();
        assert_eq!(header(&head, "content-type"), Some("text/event-stream"));
        assert!(stream.data().await.unwrap().contains("\"serial\":1"));
    }
    let before = running.ask("HEAD /feed.xml HTTP/1.1").await;
    running.publish(&feed(2));
    let mut digests = Vec::new();
    for stream in &mut events {
        let data = stream.data().await.unwrap();
        assert!(data.starts_with("{\"feed\":\"example\",\"serial\":2,\"sha256\":\""), "{data}");
        digests.push(data);
    }
    assert_eq!(digests[0], digests[1]);
    let after = running.ask("GET /feed.xml HTTP/1.1").await;
    assert_ne!(header(&before, "etag"), header(&after, "etag"));
    assert!(digests[0].contains(header(&after, "etag").unwrap().trim_matches('"')));
    assert!(after.as_bytes().ends_with(&feed(2)));
}

#[tokio::test]
async fn a_half_written_or_foreign_file_leaves_the_one_before() {
    let running = Running::start(|_| {}).await;
    let mut events = running.follow().await;
    running.publish(&feed(1));
    let first = digest(&events.data().await.unwrap());
    let half = feed(2);
    let unsigned = b"<EOCS version=\"2.0\" feed=\"example\" serial=\"3\"/>".as_slice();
    let mut spelling = 0;
    for unfit in [&half[..half.len() / 2], b"", b"hello", unsigned, b"<!DOCTYPE x><x/>"] {
        running.publish(unfit);
        // A look takes the feed first and then what is beside it. The second co-signature was found by a look that
        // began after the first one's was over, and so after the unfit file was there: it has been looked at.
        for _ in 0..2 {
            spelling += 1;
            running.place("feed.xml.cosignature-1.xml", &cosignature(1, spelling));
            assert_eq!(digest(&events.data().await.unwrap()), first);
        }
        let answer = running.ask("GET /feed.xml HTTP/1.1").await;
        assert!(answer.as_bytes().ends_with(&feed(1)), "{answer}");
    }
    // In place, in two writes, as a careless copy does it.
    let path = running.folder.path().join("feed.xml");
    std::fs::write(&path, &half[..40]).unwrap();
    std::fs::write(&path, &half).unwrap();
    assert!(events.data().await.unwrap().contains("\"serial\":2"));
    std::fs::remove_file(&path).unwrap();
    running.publish(&feed(3));
    assert!(events.data().await.unwrap().contains("\"serial\":3"));
}
