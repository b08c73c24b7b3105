//! As much of HTTP/1.1 as an agent needs, in as little memory: what is measured is the hub, on the same machine.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Connections from one address of loopback: a port is another's for a while after its connection ended.
const PER_ADDRESS: usize = 4000;
/// No answer and no event is larger.
const MAX: usize = 1 << 20;

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Where the hub is.
pub struct Hub {
    address: SocketAddr,
    tls: Option<TlsConnector>,
}

/// A connection.
pub struct Stream {
    duplex: Box<dyn Duplex>,
    buffer: Vec<u8>,
    head: String,
}

impl Hub {
    pub fn new(url: &str, ca: Option<&str>) -> Result<Hub> {
        let (scheme, address) = url.split_once("://").context("no scheme")?;
        let tls = match (scheme, ca) {
            ("https", Some(ca)) => Some(connector(ca)?),
            ("http", None) => None,
            _ => bail!("https:// needs a CA, and http:// has none"),
        };
        Ok(Hub { address: address.trim_end_matches('/').parse().context("the hub's address")?, tls })
    }

    /// Connects from an address of the agent's own, as far as loopback goes.
    pub async fn connect(&self, agent: usize) -> Result<Stream> {
        let socket = TcpSocket::new_v4()?;
        let last = u8::try_from(2 + agent / PER_ADDRESS % 250)?;
        socket.bind(SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, last), 0)))?;
        let stream = socket.connect(self.address).await.context("connect")?;
        stream.set_nodelay(true)?;
        let duplex: Box<dyn Duplex> = match &self.tls {
            Some(tls) => {
                let name = ServerName::try_from(self.address.ip().to_string())?;
                Box::new(tls.connect(name, stream).await.context("TLS")?)
            }
            None => Box::new(stream),
        };
        Ok(Stream { duplex, buffer: Vec::new(), head: String::new() })
    }
}

fn connector(ca: &str) -> Result<TlsConnector> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(ca)? {
        roots.add(certificate?)?;
    }
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    Ok(TlsConnector::from(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
}

impl Stream {
    /// Asks, and reads the answer whole: its status and its body.
    pub async fn ask(
        &mut self,
        method: &str,
        path: &str,
        bearer: &str,
        headers: &str,
        body: &str,
    ) -> Result<(u16, String)> {
        let bearer =
            if bearer.is_empty() { String::new() } else { format!("Authorization: Bearer {bearer}\r\n") };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: hub\r\n{bearer}{headers}{kind}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        self.duplex.write_all(request.as_bytes()).await?;
        let status = self.read_head().await?;
        let length = self.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0_usize);
        while self.buffer.len() < length {
            self.fill().await?;
        }
        let body: Vec<u8> = self.buffer.drain(..length).collect();
        Ok((status, String::from_utf8(body)?))
    }

    /// Opens the event stream.
    pub async fn subscribe(&mut self, credential: &str) -> Result<()> {
        let request = format!(
            "GET /v1/agent/events HTTP/1.1\r\nHost: hub\r\nAccept: text/event-stream\r\n\
             Authorization: Bearer {credential}\r\n\r\n"
        );
        self.duplex.write_all(request.as_bytes()).await?;
        let status = self.read_head().await?;
        if status != 200 {
            bail!("{status}");
        }
        Ok(())
    }

    /// Waits for an event; what is in it is known.
    pub async fn event(&mut self) -> Result<()> {
        loop {
            if let Some(at) = find(&self.buffer, b"\n\n") {
                let event: Vec<u8> = self.buffer.drain(..at + 2).collect();
                if find(&event, b"event: settings").is_some() {
                    // Ten thousand buffers of one event each are the client's own memory, and nothing else.
                    self.buffer.shrink_to(256);
                    return Ok(());
                }
                continue;
            }
            self.fill().await?;
        }
    }

    /// A header of the last answer.
    pub fn header(&self, name: &str) -> Option<String> {
        let line = |line: &str| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
        };
        self.head.lines().find_map(line)
    }

    async fn read_head(&mut self) -> Result<u16> {
        let end = loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
            self.fill().await?;
        };
        self.head = String::from_utf8(self.buffer.drain(..end).collect())?;
        self.head.get(9..12).and_then(|status| status.parse().ok()).context("no status")
    }

    async fn fill(&mut self) -> Result<()> {
        let mut chunk = [0; 2048];
        let read = self.duplex.read(&mut chunk).await?;
        if read == 0 || self.buffer.len() > MAX {
            bail!("the hub ended the connection");
        }
        self.buffer.extend_from_slice(chunk.get(..read).unwrap_or_default());
        Ok(())
    }
}

fn find(octets: &[u8], what: &[u8]) -> Option<usize> {
    octets.windows(what.len()).position(|window| window == what)
}
