//! Who answers at an address: the way there, and the certificate that is shown. Nothing is asked and nothing
//! is believed; the connection ends after the handshake.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, Error, SignatureScheme};
use stopgap_feed::certificate::Facts;

/// For each step on the way; a server that is slower than this is none that an agent could use.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);
/// Octets of a proxy's answer before the way is open.
const MAX_HEAD: usize = 16 << 10;

/// The certificate that was shown.
pub(super) struct Shown {
    pub subject: String,
    pub issuer: String,
    pub version: String,
}

/// A way to an address, as far as it was gone.
pub(super) struct Way {
    stream: TcpStream,
    patience: Duration,
}

impl Way {
    /// Connects to the first of these that answers.
    pub(super) fn connect(addresses: &[SocketAddr]) -> io::Result<Way> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in addresses {
            match TcpStream::connect_timeout(address, PATIENCE) {
                Ok(stream) => return Ok(Way { stream, patience: PATIENCE }),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Asks the proxy that was connected to, to open the way to a host. RFC 9110, section 9.3.6.
    pub(super) fn through(self, to: &str, credentials: Option<&Path>) -> io::Result<Way> {
        let mut request = format!("CONNECT {to} HTTP/1.1\r\nHost: {to}\r\n");
        if let Some(file) = credentials {
            let line = std::fs::read_to_string(file)?;
            request.push_str(&format!("Proxy-Authorization: Basic {}\r\n", STANDARD.encode(line.trim())));
        }
        request.push_str("\r\n");
        let mut asked = Until::from_now(&self);
        asked.write_all(request.as_bytes())?;
        let mut head = Vec::new();
        let mut octet = [0];
        // One by one: what follows the head belongs to the other side.
        while !head.ends_with(b"\r\n\r\n") {
            if head.len() >= MAX_HEAD || asked.read(&mut octet)? == 0 {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the proxy gives no answer in HTTP"));
            }
            head.extend(octet);
        }
        let head = String::from_utf8_lossy(&head);
        let status = head.split(' ').nth(1).unwrap_or_default();
        if status.starts_with('2') {
            return Ok(self);
        }
        let line: String = head.lines().next().unwrap_or_default().chars().take(80).collect();
        let what = if status == "407" { "the proxy asks for credentials" } else { "the proxy refuses" };
        Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{what}: {}", line.escape_debug())))
    }

    /// Shakes hands, and says who is there.
    pub(super) fn certificate(self, host: &str) -> io::Result<Shown> {
        let provider = Arc::new(ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Onlooker(provider)))
            .with_no_client_auth();
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare).map_err(io::Error::other)?;
        let mut connection = ClientConnection::new(Arc::new(config), name).map_err(io::Error::other)?;
        let mut until = Until::from_now(&self);
        while connection.is_handshaking() {
            connection.complete_io(&mut until)?;
        }
        let leaf = connection.peer_certificates().and_then(<[_]>::first);
        let facts = leaf.and_then(Facts::read);
        let unreadable = || "a certificate that cannot be read".to_owned();
        Ok(Shown {
            subject: facts.as_ref().map_or_else(unreadable, |facts| facts.subject.clone()),
            issuer: facts.map_or_else(unreadable, |facts| facts.issuer),
            version: connection.protocol_version().map_or(String::new(), |version| format!("{version:?}")),
        })
    }
}

/// A step that ends in time, also where an octet comes now and then.
struct Until<'a> {
    way: &'a Way,
    end: Instant,
}

impl Until<'_> {
    fn from_now(way: &Way) -> Until<'_> {
        Until { way, end: Instant::now() + way.patience }
    }

    /// What is left; a timeout of nothing would be none at all.
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(self.too_late()) } else { Ok(Some(left)) }
    }

    fn too_late(&self) -> io::Error {
        let message = format!("no complete answer within {} s", self.way.patience.as_secs_f64());
        io::Error::new(io::ErrorKind::TimedOut, message)
    }

    /// Of a time that ran out one system says that one should try again, another that it ran out.
    fn in_words(&self, error: io::Error) -> io::Error {
        let ran_out = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
        if ran_out { self.too_late() } else { error }
    }
}

impl Read for Until<'_> {
    fn read(&mut self, octets: &mut [u8]) -> io::Result<usize> {
        self.way.stream.set_read_timeout(self.left()?)?;
        (&self.way.stream).read(octets).map_err(|error| self.in_words(error))
    }
}

impl Write for Until<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.way.stream.set_write_timeout(self.left()?)?;
        (&self.way.stream).write(octets).map_err(|error| self.in_words(error))
    }

    fn flush(&mut self) -> io::Result<()> {
        (&self.way.stream).flush()
    }
}

/// Takes any certificate, to be able to say whose it is. No octet of a request follows.
#[derive(Debug)]
struct Onlooker(Arc<CryptoProvider>);

impl ServerCertVerifier for Onlooker {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connects to somebody who sends an octet now and then, for ever.
    fn dripping() -> Way {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_nodelay(true).unwrap();
            while stream.write_all(b"\x16").is_ok() {
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        Way { stream, patience: Duration::from_millis(200) }
    }

    #[test]
    fn who_sends_an_octet_now_and_then_is_not_waited_for() {
        let proxy = dripping().through("feed.example.org:443", None).err().unwrap();
        assert_eq!(proxy.kind(), io::ErrorKind::TimedOut, "{proxy}");
        let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(silent.local_addr().unwrap()).unwrap();
        let way = Way { stream, patience: Duration::from_millis(50) };
        let nobody = way.certificate("feed.example.org").err().unwrap();
        assert_eq!(nobody.to_string(), "no complete answer within 0.05 s");
    }
}
