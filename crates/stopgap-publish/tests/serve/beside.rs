//! What is offered beside the document: co-signatures and revocation lists.

use crate::client::{Running, feed, header};

/// A co-signature of a release, in as many spellings as are asked for.
pub fn cosignature(serial: u64, spelling: usize) -> Vec<u8> {
    let (blank, digest) = (" ".repeat(spelling), "0".repeat(64));
    format!("<Cosignature feed=\"example\" serial=\"{serial}\" sha256=\"{digest}\">{blank}</Cosignature>\n")
        .into_bytes()
}

/// The feed's digest in an event.
pub fn digest(data: &str) -> String {
    data.split("\"sha256\":\"").nth(1).unwrap()[..64].to_owned()
}

#[tokio::test]
async fn a_co_signature_is_offered_told_and_never_with_another_release() {
    let running = Running::start(|_| {}).await;
    let mut events = running.follow().await;
    running.publish(&feed(1));
    let alone = events.data().await.unwrap();
    assert!(!alone.contains("beside"), "{alone}");
    let path = "/feed.xml.cosignature-1.xml";
    assert!(running.ask(&format!("GET {path} HTTP/1.1")).await.starts_with("HTTP/1.1 404"));

    running.place("feed.xml.cosignature-1.xml", &cosignature(1, 0));
    let told = events.data().await.unwrap();
    assert!(told.contains("\"serial\":1") && told.contains("\"beside\":[\""), "{told}");
    let answer = running.ask(&format!("GET {path} HTTP/1.1")).await;
    assert!(answer.as_bytes().ends_with(&cosignature(1, 0)), "{answer}");
    assert_eq!(header(&answer, "content-type"), Some("application/xml; charset=utf-8"));
    let known = format!("GET {path} HTTP/1.1\r\nIf-None-Match: {}", header(&answer, "etag").unwrap());
    assert!(running.ask(&known).await.starts_with("HTTP/1.1 304"));

    // The next release comes, and the old co-signature was not taken away.
    running.publish(&feed(2));
    let told = events.data().await.unwrap();
    assert!(told.contains("\"serial\":2") && !told.contains("beside"), "{told}");
    assert!(running.ask(&format!("GET {path} HTTP/1.1")).await.starts_with("HTTP/1.1 404"));
    // One that came ahead of its release is offered with it.
    running.place("feed.xml.cosignature-2.xml", &cosignature(3, 0));
    running.publish(&feed(3));
    while !events.data().await.unwrap().contains("beside") {}
    assert!(running.ask("GET /feed.xml.cosignature-2.xml HTTP/1.1").await.starts_with("HTTP/1.1 200"));
    // Nothing else in the folder is.
    running.place("feed.xml.secret", b"secret");
    for other in ["/feed.xml.secret", "/feed.xml.cosignature-17.xml", "/feed.xml.cosignature-1.xml/"] {
        assert!(running.ask(&format!("GET {other} HTTP/1.1")).await.starts_with("HTTP/1.1 404"), "{other}");
    }
}

#[tokio::test]
async fn revocation_lists_are_offered_and_told() {
    let running = Running::start(|_| {}).await;
    let mut events = running.follow().await;
    running.publish(&feed(1));
    events.data().await.unwrap();
    std::fs::create_dir(running.folder.path().join("crl")).unwrap();
    let list = [0x30, 0x03, 0x02, 0x01, 0x05];
    running.place("crl/0123.crl", &list);
    // No file event tells of that folder; the look that comes in any case does.
    assert!(events.data().await.unwrap().contains("beside"));
    let answer = running.octets("GET /crl/0123.crl HTTP/1.1").await;
    assert!(answer.ends_with(&list));
    assert!(String::from_utf8_lossy(&answer).contains("content-type: application/pkix-crl"));
    assert!(running.ask("GET /crl/../feed.xml HTTP/1.1").await.starts_with("HTTP/1.1 404"));
}
