//! Servers for one test: plain or TLS, each answering as the test says, and a proxy.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::ServerConfig;

/// A request, as far as tests look at it.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub target: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
}

impl Asked {
    fn parse(head: &str) -> Asked {
        let mut lines = head.lines();
        let mut words = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Asked { method: words.next().unwrap_or_default(), target: words.next().unwrap_or_default(), headers }
    }
}

pub type Handler = Arc<dyn Fn(&Asked, &mut dyn Write) -> io::Result<()> + Send + Sync>;

/// Listens until it is dropped; one request for each connection.
pub struct Server {
    pub address: SocketAddr,
    handler: Arc<Mutex<Handler>>,
    asked: Arc<Mutex<Vec<Asked>>>,
    ended: Arc<AtomicBool>,
}

impl Server {
    pub fn start(at: &str, tls: Option<Arc<ServerConfig>>, handler: Handler) -> Server {
        let (handler, asked) = (Arc::new(Mutex::new(handler)), Arc::new(Mutex::new(Vec::new())));
        let (answering, noted) = (handler.clone(), asked.clone());
        let (address, ended) = listen(at, move |tcp| {
            let mut stream: Box<dyn Stream> = match &tls {
                None => Box::new(tcp),
                Some(config) => {
                    let connection = rustls::ServerConnection::new(config.clone()).unwrap();
                    Box::new(rustls::StreamOwned::new(connection, tcp))
                }
            };
            let Ok(head) = read_head(&mut stream) else { return };
            let request = Asked::parse(&head);
            noted.lock().unwrap().push(request.clone());
            let answer = answering.lock().unwrap().clone();
            // The client may go at any time: that is what it is tested for.
            let _ = answer(&request, &mut stream);
            let _ = stream.flush();
            stream.end();
        });
        Server { address, handler, asked, ended }
    }

    /// Answers otherwise from now on.
    pub fn answer(&self, handler: Handler) {
        *self.handler.lock().unwrap() = handler;
    }

    /// The requests since the last call.
    pub fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&self.ended, self.address);
    }
}

/// A proxy: CONNECT, and requests in absolute form. Every host is at `to`.
pub struct Proxy {
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    ended: Arc<AtomicBool>,
}

impl Proxy {
    /// `credentials`: as in `Proxy-Authorization`, where it asks for some; `status`: what it answers instead
    /// of connecting.
    pub fn start(to: SocketAddr, credentials: Option<&str>, status: Option<&str>) -> Proxy {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = asked.clone();
        let (credentials, status) = (credentials.map(str::to_owned), status.map(str::to_owned));
        let (address, ended) = listen("127.0.0.1", move |mut client| {
            let Ok(head) = read_head(&mut client) else { return };
            let request = Asked::parse(&head);
            noted.lock().unwrap().push(request.clone());
            let refuse = |client: &mut TcpStream, status: &str| {
                let _ = write!(client, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            };
            if credentials.is_some() && request.headers.get("proxy-authorization") != credentials.as_ref() {
                return refuse(&mut client, "407 Proxy Authentication Required\r\nProxy-Authenticate: Basic");
            }
            if let Some(status) = &status {
                return refuse(&mut client, status);
            }
            let mut server = TcpStream::connect(to).unwrap();
            if request.method == "CONNECT" {
                let _ = client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n");
            } else {
                let path = request.target.splitn(4, '/').nth(3).unwrap_or_default();
                let _ = write!(server, "GET /{path} HTTP/1.1\r\nHost: any\r\nConnection: close\r\n\r\n");
            }
            let (mut from, mut back) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let up = thread::spawn(move || {
                let _ = io::copy(&mut from, &mut back);
                let _ = back.shutdown(Shutdown::Write);
            });
            let _ = io::copy(&mut server, &mut client);
            let _ = client.shutdown(Shutdown::Both);
            let _ = up.join();
        });
        Proxy { address, asked, ended }
    }

    pub fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        end(&self.ended, self.address);
    }
}

trait Stream: Read + Write {
    fn end(&mut self);
}

impl Stream for TcpStream {
    fn end(&mut self) {
        let _ = self.shutdown(Shutdown::Write);
    }
}

impl Stream for rustls::StreamOwned<rustls::ServerConnection, TcpStream> {
    fn end(&mut self) {
        self.conn.send_close_notify();
        let _ = self.flush();
        let _ = self.sock.shutdown(Shutdown::Write);
    }
}

fn listen(at: &str, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> (SocketAddr, Arc<AtomicBool>) {
    let listener = TcpListener::bind((at.parse::<IpAddr>().unwrap(), 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let ended = Arc::new(AtomicBool::new(false));
    let (over, serve) = (ended.clone(), Arc::new(serve));
    thread::spawn(move || {
        for stream in listener.incoming() {
            if over.load(Ordering::SeqCst) {
                break;
            }
            let (Ok(stream), serve) = (stream, serve.clone()) else { continue };
            thread::spawn(move || serve(stream));
        }
    });
    (address, ended)
}

fn end(ended: &AtomicBool, address: SocketAddr) {
    ended.store(true, Ordering::SeqCst);
    let _ = TcpStream::connect(address);
}

fn read_head(stream: &mut (impl Read + ?Sized)) -> io::Result<String> {
    let mut head = Vec::new();
    let mut octet = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut octet)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        head.push(octet[0]);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// 200 with these octets.
pub fn ok(out: &mut dyn Write, headers: &str, octets: &[u8]) -> io::Result<()> {
    write!(out, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n", octets.len())?;
    out.write_all(octets)
}

/// Another status, without a body.
pub fn status(out: &mut dyn Write, status: &str, headers: &str) -> io::Result<()> {
    write!(out, "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n{headers}\r\n")
}

/// The same octets for whatever is asked.
pub fn always(octets: Vec<u8>) -> Handler {
    Arc::new(move |_, out| ok(out, "", &octets))
}

/// Sends whoever asks elsewhere.
pub fn redirect(to: &str) -> Handler {
    let header = format!("Location: {to}\r\n");
    Arc::new(move |_, out| status(out, "302 Found", &header))
}
