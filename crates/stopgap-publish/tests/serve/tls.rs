//! TLS, and certificates that are renewed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use stopgap_publish::serve::{Server, Settings, TlsFiles};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::client::{HANG, Running, feed};

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
