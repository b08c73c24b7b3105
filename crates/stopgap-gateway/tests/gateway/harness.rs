//! An origin that records what reaches it, a client that sees every octet, and a gateway between them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use stopgap_gateway::{Gateway, Limits, Settings};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Longer than anything here takes; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub async fn patiently<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.unwrap_or_else(|_| panic!("{what}: nothing happened"))
}

pub struct Running {
    pub address: SocketAddr,
    pub control: PathBuf,
    pub rules: PathBuf,
    pub origin: Origin,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
    _folder: TempDir,
}

impl Running {
    pub async fn start() -> Running {
        Running::with(Limits::default()).await
    }

    pub async fn with(limits: Limits) -> Running {
        let origin = Origin::start().await;
        let upstream = origin.address;
        Running::before(origin, upstream, limits, None).await
    }

    pub async fn with_rules(rules: &str) -> Running {
        let origin = Origin::start().await;
        let upstream = origin.address;
        Running::before(origin, upstream, Limits::default(), Some(rules)).await
    }

    pub async fn before(origin: Origin, upstream: SocketAddr, limits: Limits, text: Option<&str>) -> Running {
        let folder = tempfile::tempdir().unwrap();
        let (rules, control) = (folder.path().join("rules.xml"), folder.path().join("control.sock"));
        if let Some(text) = text {
            std::fs::write(&rules, text).unwrap();
        }
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        let upstream = format!("http://{upstream}").parse().unwrap();
        let mut settings = Settings::new(listen, upstream, rules.clone(), control.clone());
        settings.limits = limits;
        let gateway = Gateway::bind(settings).await.unwrap();
        let address = gateway.local_addrs()[0];
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(gateway.run(async move { drop(stopped.await) }));
        Running { address, control, rules, origin, stop: Some(stop), task, _folder: folder }
    }

    pub async fn client(&self) -> Client {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Client { stream: BufReader::new(stream) }
    }

    /// One request on a connection of its own.
    pub async fn get(&self, target: &str) -> Option<Received> {
        let mut client = self.client().await;
        client.send(&request("GET", target)).await;
        client.response().await
    }

    /// One line to the control socket, one back.
    pub async fn ask(&self, line: &str) -> serde_json::Value {
        let mut stream = BufReader::new(UnixStream::connect(&self.control).await.unwrap());
        stream.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        patiently(line, stream.read_line(&mut answer)).await.unwrap();
        serde_json::from_str(&answer).unwrap()
    }

    pub async fn activate(&self, rules: &str) -> serde_json::Value {
        std::fs::write(&self.rules, rules).unwrap();
        self.ask(r#"{"command":"activate"}"#).await
    }

    /// Asks the gateway to end, and does not wait for it.
    pub fn begin_stop(&mut self) {
        drop(self.stop.take());
    }

    pub async fn stopped(mut self) {
        self.begin_stop();
        patiently("the gateway's end", &mut self.task).await.unwrap();
    }
}

pub fn request(method: &str, target: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: origin.test\r\n\r\n")
}

pub struct Client {
    stream: BufReader<TcpStream>,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Received {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Client {
    pub fn of(stream: TcpStream) -> Client {
        Client { stream: BufReader::new(stream) }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // A refused connection may be closed while we are still writing.
        let _ = self.stream.write_all(bytes.as_ref()).await;
    }

    /// The next response, or nothing where the connection ended without an octet of one.
    pub async fn response(&mut self) -> Option<Received> {
        let head = self.head().await?;
        let body = patiently("a body", self.body(&head)).await;
        let status = head[9..12].parse().unwrap();
        Some(Received { status, head, body: String::from_utf8(body).unwrap() })
    }

    pub async fn head(&mut self) -> Option<String> {
        patiently("a response head", read_head(&mut self.stream)).await
    }

    async fn body(&mut self, head: &str) -> Vec<u8> {
        let mut body = Vec::new();
        if let Some(len) = field(head, "content-length") {
            body.resize(len.parse().unwrap(), 0);
            self.stream.read_exact(&mut body).await.unwrap();
        } else if field(head, "transfer-encoding").is_some() {
            while let Some(chunk) = read_chunk(&mut self.stream).await {
                body.extend(chunk);
            }
        }
        body
    }

    pub async fn chunk(&mut self) -> Option<Vec<u8>> {
        patiently("a chunk", read_chunk(&mut self.stream)).await
    }

    pub async fn exactly(&mut self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        patiently("octets", self.stream.read_exact(&mut bytes)).await.unwrap();
        bytes
    }

    /// All that still comes, until the connection is closed or reset.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = patiently("the end of the connection", self.stream.read_to_end(&mut bytes)).await;
        bytes
    }

    pub async fn close_write(&mut self) {
        self.stream.get_mut().shutdown().await.unwrap();
    }
}

pub fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find_map(|(n, value)| if n.eq_ignore_ascii_case(name) { Some(value.trim_end()) } else { None })
}

async fn read_head<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> Option<String> {
    let mut head = String::new();
    loop {
        let before = head.len();
        if stream.read_line(&mut head).await.unwrap_or(0) == 0 {
            assert!(head.is_empty(), "half a head: {head:?}");
            return None;
        }
        if &head[before..] == "\r\n" {
            return Some(head);
        }
    }
}

async fn read_chunk<S: AsyncRead + Unpin>(stream: &mut BufReader<S>) -> Option<Vec<u8>> {
    let mut line = String::new();
    stream.read_line(&mut line).await.ok()?;
    let len = usize::from_str_radix(line.trim_end(), 16).ok()?;
    if len == 0 {
        while line != "\r\n" {
            line.clear();
            stream.read_line(&mut line).await.ok()?;
        }
        return None;
    }
    let mut chunk = vec![0; len + 2];
    stream.read_exact(&mut chunk).await.ok()?;
    chunk.truncate(len);
    Some(chunk)
}

/// A server that does what the path says, and remembers each request head.
#[derive(Clone)]
pub struct Origin {
    pub address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    connections: Arc<Mutex<usize>>,
    released: tokio::sync::watch::Sender<bool>,
}

impl Origin {
    pub async fn start() -> Origin {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let released = tokio::sync::watch::Sender::new(false);
        let origin = Origin { address, heads: Arc::default(), connections: Arc::default(), released };
        let accepting = origin.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                *accepting.connections.lock().unwrap() += 1;
                stream.set_nodelay(true).unwrap();
                let origin = accepting.clone();
                tokio::spawn(async move { origin.serve(BufReader::new(stream)).await });
            }
        });
        origin
    }

    /// The request lines seen so far, without the version.
    pub fn log(&self) -> Vec<String> {
        let heads = self.heads.lock().unwrap();
        heads
            .iter()
            .map(|head| head.lines().next().unwrap().trim_end_matches(" HTTP/1.1").to_owned())
            .collect()
    }

    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }

    /// Answers those who asked for `/later`, now and from now on.
    pub fn release(&self) {
        self.released.send_replace(true);
    }

    async fn serve(self, mut stream: BufReader<TcpStream>) -> Option<()> {
        while let Some(head) = read_head(&mut stream).await {
            self.heads.lock().unwrap().push(head.clone());
            let path = head.split(' ').nth(1)?.split('?').next()?.to_owned();
            let ok =
                |body: &str| format!("HTTP/1.1 200 Fine\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let answer = match path.as_str() {
                "/head" => ok(&head),
                "/hints" => format!("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n{}", ok("final")),
                // An answer that nobody has asked for, behind the one that was.
                "/surplus" => format!("{}{}", ok("asked"), ok("surplus")),
                "/drip" => {
                    for octet in ok("dripped").as_bytes() {
                        stream.write_all(&[*octet]).await.ok()?;
                        tokio::task::yield_now().await;
                    }
                    continue;
                }
                "/later" => {
                    self.released.subscribe().wait_for(|released| *released).await.ok()?;
                    ok("later")
                }
                _ if field(&head, "x-answer").is_some() => {
                    let fields = field(&head, "x-answer")?.replace('|', "\r\n");
                    format!("HTTP/1.1 {fields}\r\nContent-Length: 6\r\n\r\nanswer")
                }
                "/silent" => return std::future::pending().await,
                "/hangup" => return None,
                // Answers once, and then closes without having said so.
                "/last" => {
                    stream.write_all(ok("last").as_bytes()).await.ok()?;
                    return None;
                }
                "/half" => {
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").await.ok()?;
                    return None;
                }
                "/none" => "HTTP/1.1 204 No Content\r\n\r\n".to_owned(),
                "/unchanged" => "HTTP/1.1 304 Not Modified\r\nETag: \"1\"\r\n\r\n".to_owned(),
                "/until-close" => {
                    stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nuntil close").await.ok()?;
                    return None;
                }
                "/gzip" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n".to_owned(),
                "/hop" => "HTTP/1.1 200 OK\r\nConnection: x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
                    Content-Length: 0\r\n\r\n"
                    .to_owned(),
                "/trailers" => "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                    3\r\nabc\r\n0\r\nX-Sum: 7\r\n\r\n"
                    .to_owned(),
                "/echo" => {
                    self.echo(&head, &mut stream).await?;
                    continue;
                }
                "/ws" => return self.websocket(&head, stream).await,
                _ if head.starts_with("HEAD") => "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n".to_owned(),
                _ => {
                    if let Some(len) = field(&head, "content-length") {
                        stream.read_exact(&mut vec![0; len.parse().unwrap()]).await.ok()?;
                    }
                    ok("ok")
                }
            };
            stream.write_all(answer.as_bytes()).await.ok()?;
        }
        None
    }

    /// Sends each piece of the body back as soon as it is here.
    async fn echo(&self, head: &str, stream: &mut BufReader<TcpStream>) -> Option<()> {
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await.ok()?;
        if field(head, "transfer-encoding").is_some() {
            while let Some(chunk) = read_chunk(stream).await {
                let chunk = format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8(chunk).unwrap());
                stream.write_all(chunk.as_bytes()).await.ok()?;
            }
        } else {
            let mut left: usize = field(head, "content-length").map_or(0, |len| len.parse().unwrap());
            let mut buffer = vec![0; 16 * 1024];
            while left > 0 {
                let read = stream.read(&mut buffer).await.ok()?;
                if read == 0 {
                    return None;
                }
                left -= read;
                stream.write_all(format!("{read:x}\r\n").as_bytes()).await.ok()?;
                stream.write_all(&buffer[..read]).await.ok()?;
                stream.write_all(b"\r\n").await.ok()?;
            }
        }
        stream.write_all(b"0\r\n\r\n").await.ok()
    }

    /// Echoes in capitals until the other side has ended, then says good-bye.
    async fn websocket(&self, head: &str, mut stream: BufReader<TcpStream>) -> Option<()> {
        if field(head, "upgrade").is_none() {
            stream.write_all(b"HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n").await.ok()?;
            return None;
        }
        if head.contains("?refuse") {
            stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").await.ok()?;
            return None;
        }
        stream
            .write_all(b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello")
            .await
            .ok()?;
        let mut buffer = [0; 1024];
        loop {
            match stream.read(&mut buffer).await.ok()? {
                0 => break,
                len => stream.write_all(&buffer[..len].to_ascii_uppercase()).await.ok()?,
            }
        }
        stream.write_all(b"bye").await.ok()
    }
}

/// The rule of M1, with the given input and pattern.
pub fn m1(input: &str, pattern: &str) -> String {
    format!(
        r#"<rewrite><rules><rule name="PowerShell - inbound" stopProcessing="true">
            <match url=".*"/>
            <conditions><add input="{input}" pattern="{pattern}"/></conditions>
            <action type="AbortRequest"/>
        </rule></rules></rewrite>"#
    )
}

/// A rule that answers requests for a path by itself.
pub fn answering(path: &str, status: u16) -> String {
    format!(
        r#"<rewrite><rules><rule name="answering" stopProcessing="true">
            <match url="^{path}$"/>
            <action type="CustomResponse" statusCode="{status}" statusReason="By Rule" statusDescription="so it is"/>
        </rule></rules></rewrite>"#
    )
}
