//! A server of the test's own, and what a client of it does.

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
pub const HANG: Duration = Duration::from_secs(30);

pub struct Running {
    pub folder: TempDir,
    pub address: SocketAddr,
    pub stop: oneshot::Sender<()>,
    pub server: JoinHandle<()>,
}

impl Running {
    pub async fn start(change: impl FnOnce(&mut Settings)) -> Self {
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
    pub fn publish(&self, octets: &[u8]) {
        replace(self.folder.path(), octets);
    }

    /// The same beside the feed.
    pub fn place(&self, name: &str, octets: &[u8]) {
        let staged = self.folder.path().join("staged");
        std::fs::write(&staged, octets).unwrap();
        std::fs::rename(&staged, self.folder.path().join(name)).unwrap();
    }

    pub async fn ask(&self, head: &str) -> String {
        String::from_utf8(self.octets(head).await).unwrap()
    }

    pub async fn octets(&self, head: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(format!("{head}\r\nHost: a\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        tokio::time::timeout(HANG, stream.read_to_end(&mut answer)).await.unwrap().unwrap();
        answer
    }

    pub async fn follow(&self) -> Stream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream
            .write_all(b"GET /events HTTP/1.1\r\nHost: a\r\nLast-Event-ID: nonsense\r\n\r\n")
            .await
            .unwrap();
        Stream { stream, read: String::new() }
    }
}

pub fn replace(folder: &Path, octets: &[u8]) {
    std::fs::write(folder.join("feed.xml.tmp"), octets).unwrap();
    std::fs::rename(folder.join("feed.xml.tmp"), folder.join("feed.xml")).unwrap();
}

pub struct Stream {
    pub stream: TcpStream,
    read: String,
}

impl Stream {
    /// The next text up to and with `end`; `None` where the server ends the stream first.
    pub async fn until(&mut self, end: &str) -> Option<String> {
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
    pub async fn data(&mut self) -> Option<String> {
        self.until("data: ").await?;
        self.until("\n").await
    }
}

pub fn feed(serial: u64) -> Vec<u8> {
    format!(
        "<EOCS version=\"2.0\" feed=\"example\" serial=\"{serial}\"><Signature xmlns=\"http://www.w3.org/2000/09/xmldsig#\"/></EOCS>\n"
    )
    .into_bytes()
}

pub fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next().unwrap();
    head.lines().find_map(|line| {
        let (key, value) = line.split_once(": ")?;
        key.eq_ignore_ascii_case(name).then_some(value)
    })
}
