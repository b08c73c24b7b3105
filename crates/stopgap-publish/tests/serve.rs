//! The server as a client sees it: real sockets, real files, a real rename.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may panic, and says what it skips"
)]

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use stopgap_publish::serve::{Server, Settings};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Only so that a broken server fails a test instead of hanging it.
const HANG: Duration = Duration::from_secs(30);

struct Running {
    folder: TempDir,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Running {
    async fn start(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::new(folder.path().join("feed.xml"), "127.0.0.1:0".parse().unwrap());
        change(&mut settings);
        let server = Server::bind(settings).await.unwrap();
        let address = server.local_addr();
        let (stop, stopped) = oneshot::channel();
        let server = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Self { folder, address, stop, server }
    }

    /// What a publisher does: a whole file beside it, then a rename.
    fn publish(&self, octets: &[u8]) {
        replace(self.folder.path(), octets);
    }

    async fn ask(&self, head: &str) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(format!("{head}\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        tokio::time::timeout(HANG, stream.read_to_string(&mut answer)).await.unwrap().unwrap();
        answer
    }

    async fn follow(&self) -> Stream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream
            .write_all(b"GET /events HTTP/1.1\r\nHost: a\r\nLast-Event-ID: nonsense\r\n\r\n")
            .await
            .unwrap();
        Stream { stream, read: String::new() }
    }
}

fn replace(folder: &Path, octets: &[u8]) {
    std::fs::write(folder.join("feed.xml.tmp"), octets).unwrap();
    std::fs::rename(folder.join("feed.xml.tmp"), folder.join("feed.xml")).unwrap();
}

struct Stream {
    stream: TcpStream,
    read: String,
}

impl Stream {
    /// The next text up to and with `end`; `None` where the server ends the stream first.
    async fn until(&mut self, end: &str) -> Option<String> {
        // Around all of it: keep-alive comments would renew a limit on each read for ever.
        tokio::time::timeout(HANG, self.read_until(end)).await.unwrap()
    }

    async fn read_until(&mut self, end: &str) -> Option<String> {
        loop {
            if let Some(at) = self.read.find(end) {
                let rest = self.read.split_off(at + end.len());
                return Some(std::mem::replace(&mut self.read, rest));
            }
            let mut chunk = [0; 4096];
            let length = self.stream.read(&mut chunk).await.unwrap();
            if length == 0 {
                return None;
            }
            self.read.push_str(std::str::from_utf8(&chunk[..length]).unwrap());
        }
    }

    /// The next event's data.
    async fn data(&mut self) -> Option<String> {
        self.until("data: ").await?;
        self.until("\n").await
    }
}

fn feed(serial: u64) -> Vec<u8> {
    format!(
        "<EOCS version=\"2.0\" feed=\"example\" serial=\"{serial}\"><Signature xmlns=\"http://www.w3.org/2000/09/xmldsig#\"/></EOCS>\n"
    )
    .into_bytes()
}

fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next().unwrap();
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}

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
    events.data().await.unwrap();
    let half = feed(2);
    let unsigned = b"<EOCS version=\"2.0\" feed=\"example\" serial=\"3\"/>".as_slice();
    for unfit in [&half[..half.len() / 2], b"", b"hello", unsigned, b"<!DOCTYPE x><x/>"] {
        running.publish(unfit);
        // The next good one shows that the unfit one was looked at and passed over, or was never seen.
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

#[tokio::test]
async fn a_subscriber_too_many_is_turned_away_and_the_document_still_comes() {
    let running = Running::start(|settings| settings.subscribers = 1).await;
    running.publish(&feed(1));
    let mut first = running.follow().await;
    first.data().await.unwrap();
    let second = running.ask("GET /events HTTP/1.1").await;
    assert!(second.starts_with("HTTP/1.1 503"), "{second}");
    assert_eq!(header(&second, "retry-after"), Some("5"));
    assert!(running.ask("GET /feed.xml HTTP/1.1").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn other_paths_methods_and_endless_heads_are_refused() {
    let running = Running::start(|_| {}).await;
    running.publish(&feed(1));
    assert!(running.ask("GET / HTTP/1.1").await.starts_with("HTTP/1.1 404"));
    assert!(running.ask("GET /feed.xml/../../etc/passwd HTTP/1.1").await.starts_with("HTTP/1.1 404"));
    assert!(running.ask("POST /feed.xml HTTP/1.1").await.starts_with("HTTP/1.1 405"));
    let endless = format!("GET /feed.xml HTTP/1.1\r\nX: {}", "x".repeat(40_000));
    assert!(running.ask(&endless).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn a_shutdown_ends_the_streams_and_the_server() {
    let running = Running::start(|_| {}).await;
    running.publish(&feed(1));
    let mut events = running.follow().await;
    events.data().await.unwrap();
    running.stop.send(()).unwrap();
    assert_eq!(events.data().await, None);
    tokio::time::timeout(HANG, running.server).await.unwrap().unwrap();
    assert!(TcpStream::connect(running.address).await.is_err());
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let running = Running::start(|_| {}).await;
    let again = Server::bind(Settings::new(running.folder.path().join("feed.xml"), running.address)).await;
    assert_eq!(again.err().unwrap().to_string(), format!("cannot listen on {}", running.address));
}
