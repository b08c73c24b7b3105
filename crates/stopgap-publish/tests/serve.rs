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
use std::sync::Arc;
use std::time::Duration;

use stopgap_publish::serve::{Server, Settings, TlsFiles};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

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

    /// The same beside the feed.
    fn place(&self, name: &str, octets: &[u8]) {
        let staged = self.folder.path().join("staged");
        std::fs::write(&staged, octets).unwrap();
        std::fs::rename(&staged, self.folder.path().join(name)).unwrap();
    }

    async fn ask(&self, head: &str) -> String {
        String::from_utf8(self.octets(head).await).unwrap()
    }

    async fn octets(&self, head: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(format!("{head}\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(HANG, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
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

/// A co-signature of a release, in as many spellings as are asked for.
fn cosignature(serial: u64, spelling: usize) -> Vec<u8> {
    let (blank, digest) = (" ".repeat(spelling), "0".repeat(64));
    format!("<Cosignature feed=\"example\" serial=\"{serial}\" sha256=\"{digest}\">{blank}</Cosignature>\n")
        .into_bytes()
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

/// The feed's digest in an event.
fn digest(data: &str) -> String {
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

#[tokio::test]
async fn a_reader_that_takes_nothing_loses_its_place() {
    let running = Running::start(|settings| {
        settings.connections = 1;
        settings.write_timeout = Duration::from_millis(100);
    })
    .await;
    // More than the system's buffers of a connection hold.
    let filler = "x".repeat(8 << 20);
    let large =
        String::from_utf8(feed(1)).unwrap().replacen("<Signature", &format!("<!--{filler}--><Signature"), 1);
    running.publish(large.as_bytes());
    let begun = async {
        loop {
            let mut first = TcpStream::connect(running.address).await.unwrap();
            first.write_all(b"GET /feed.xml HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
            let mut head = [0; 12];
            first.read_exact(&mut head).await.unwrap();
            if &head == b"HTTP/1.1 200" {
                return first;
            }
        }
    };
    // The only place is taken once the answer begins.
    let mut first = tokio::time::timeout(HANG, begun).await.unwrap();
    // Without an end for the first reader the second would wait for ever.
    let second = running.ask("HEAD /feed.xml HTTP/1.1").await;
    assert!(second.starts_with("HTTP/1.1 200"), "{second}");
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(HANG, first.read_to_end(&mut rest)).await.unwrap();
    assert!(rest.len() < large.len(), "the first got all of it: {}", rest.len());
}

#[tokio::test]
async fn the_publisher_is_told_that_the_release_ends_and_that_it_was_renewed() {
    let folder = tempfile::tempdir().unwrap();
    let with_end = |serial, expires: &str| {
        let text = String::from_utf8(feed(serial)).unwrap();
        text.replace("version=", &format!("expires=\"{expires}\" version=")).into_bytes()
    };
    replace(folder.path(), &with_end(1, "2020-01-01T00:00:00Z"));
    let settings = Settings::new(folder.path().join("feed.xml"), "127.0.0.1:0".parse().unwrap());
    let server = Server::bind(settings).await.unwrap();
    let mut warnings = server.warnings();
    let said = warnings.borrow_and_update().clone();
    assert!(said.as_ref().unwrap().contains("ended at 2020-01-01"), "{said:?}");
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    replace(folder.path(), &with_end(2, "2999-01-01T00:00:00Z"));
    tokio::time::timeout(HANG, warnings.changed()).await.unwrap().unwrap();
    assert_eq!(*warnings.borrow(), None);
    stop.send(()).unwrap();
    server.await.unwrap();
}

#[tokio::test]
async fn the_publisher_is_told_that_a_revocation_list_ends() {
    let pki = stopgap_publish::pki::Pki::create("Example", "2020-01-01T12:00:00Z".parse().unwrap()).unwrap();
    let list = |from: &str, until: &str| {
        let (from, until) = (from.parse().unwrap(), until.parse().unwrap());
        stopgap_publish::pki::revocation_list(&pki.root.authority().unwrap(), 1, &[], from, until).unwrap()
    };
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("crl")).unwrap();
    let file = folder.path().join("crl/0123.crl");
    std::fs::write(&file, list("2020-01-01T00:00:00Z", "2020-03-01T00:00:00Z")).unwrap();
    replace(folder.path(), &feed(1));
    let settings = Settings::new(folder.path().join("feed.xml"), "127.0.0.1:0".parse().unwrap());
    let server = Server::bind(settings).await.unwrap();
    let mut warnings = server.warnings();
    let said = warnings.borrow_and_update().clone().unwrap();
    assert!(said.contains("/crl/0123.crl ended at 2020-03-01"), "{said}");
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(server.run(async {
        let _ = stopped.await;
    }));
    std::fs::write(&file, list("2020-01-01T00:00:00Z", "2999-01-01T00:00:00Z")).unwrap();
    tokio::time::timeout(HANG, warnings.changed()).await.unwrap().unwrap();
    assert_eq!(*warnings.borrow_and_update(), None, "there is time");
    // In its last quarter.
    let now = jiff::Timestamp::now();
    let in_days = |days: i64| (now + jiff::SignedDuration::from_hours(24 * days)).to_string();
    std::fs::write(&file, list(&in_days(-50), &in_days(10))).unwrap();
    tokio::time::timeout(HANG, warnings.changed()).await.unwrap().unwrap();
    let said = warnings.borrow_and_update().clone().unwrap();
    assert!(said.contains("/crl/0123.crl ends at"), "{said}");
    stop.send(()).unwrap();
    server.await.unwrap();
}

/// A certificate for `localhost`, written where the server looks for it, and what a client believes.
fn certificate(files: &TlsFiles) -> tokio_rustls::TlsConnector {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    #[cfg(unix)]
    std::fs::set_permissions(&files.key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::write(&files.certificates, made.cert.pem()).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).unwrap();
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}

async fn ask_tls(address: SocketAddr, connector: &tokio_rustls::TlsConnector) -> std::io::Result<String> {
    let stream = TcpStream::connect(address).await?;
    let mut stream = connector.connect("localhost".try_into().unwrap(), stream).await?;
    stream.write_all(b"GET /feed.xml HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn tls_is_served_and_a_new_certificate_taken_over() {
    let keys = tempfile::tempdir().unwrap();
    let files = TlsFiles { certificates: keys.path().join("tls.pem"), key: keys.path().join("tls.key.pem") };
    let connector = certificate(&files);
    let running = Running::start(|settings| settings.tls = Some(files.clone())).await;
    running.publish(&feed(1));
    let answer = loop {
        let answer = ask_tls(running.address, &connector).await.unwrap();
        if answer.starts_with("HTTP/1.1 200") {
            break answer;
        }
    };
    assert!(answer.as_bytes().ends_with(&feed(1)));
    let mut plain = TcpStream::connect(running.address).await.unwrap();
    plain.write_all(b"GET /feed.xml HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    let _ = tokio::time::timeout(HANG, plain.read_to_end(&mut said)).await.unwrap();
    assert!(!said.starts_with(b"HTTP"), "no plain HTTP on this port");

    // A renewal that leaves its key open to others is not taken over until that is mended, which changes no time.
    let renewed = certificate(&files);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        let mode = |mode| {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(&files.key, mode).unwrap();
        };
        mode(0o644);
        tokio::time::sleep(Duration::from_secs(5)).await;
        assert!(ask_tls(running.address, &renewed).await.is_err());
        mode(0o600);
    }
    let taken_over = async {
        while ask_tls(running.address, &renewed).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(HANG, taken_over).await.unwrap();
    assert!(ask_tls(running.address, &connector).await.is_err(), "the old one is gone");
}

#[cfg(unix)]
#[tokio::test]
async fn a_tls_key_that_others_can_read_is_refused() {
    let keys = tempfile::tempdir().unwrap();
    let files = TlsFiles { certificates: keys.path().join("tls.pem"), key: keys.path().join("tls.key.pem") };
    certificate(&files);
    std::fs::set_permissions(&files.key, std::os::unix::fs::PermissionsExt::from_mode(0o644)).unwrap();
    let settings = Settings::new(keys.path().join("feed.xml"), "127.0.0.1:0".parse().unwrap());
    let refused = Server::bind(Settings { tls: Some(files), ..settings }).await.err().unwrap();
    assert!(refused.to_string().contains("others can read"), "{refused}");
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
