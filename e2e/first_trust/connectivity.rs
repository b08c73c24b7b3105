//! `test-connectivity` over real TLS: whose certificate is shown, and by whom the way is barred.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};

use super::{Scene, scene};
use crate::world::{free_port, text};

const NAME: &str = "localhost";

/// An authority for TLS certificates.
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Authority {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Authority { pem, issuer: Issuer::new(params, key) }
    }

    fn server(&self) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([NAME.to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, NAME);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        Arc::new(config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap())
    }
}

/// Accepts for as long as the process lives.
fn listen(serve: impl Fn(TcpStream) -> Option<()> + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// A request's head.
fn head(stream: &mut impl Read) -> Option<String> {
    let mut head = Vec::new();
    let mut octet = [0];
    while !head.ends_with(b"\r\n\r\n") {
        (stream.read(&mut octet).ok()? > 0).then_some(())?;
        head.extend(octet);
    }
    String::from_utf8(head).ok()
}

/// Answers every request over TLS.
fn serve_tls(authority: &Authority, status: &'static str, body: Vec<u8>) -> SocketAddr {
    let config = authority.server();
    listen(move |stream| {
        let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
        head(&mut stream)?;
        let length = body.len();
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n").ok()?;
        stream.write_all(&body).ok()?;
        stream.conn.send_close_notify();
        stream.flush().ok()
    })
}

/// A proxy that opens the way to `to`, whoever is asked for, or asks for credentials.
fn proxy(to: Option<SocketAddr>) -> SocketAddr {
    listen(move |mut client| {
        let asked = head(&mut client)?;
        let Some(to) = to.filter(|_| asked.starts_with("CONNECT localhost:")) else {
            let refusal = "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=\"x\"\r\n\
                           Content-Length: 0\r\nConnection: close\r\n\r\n";
            return client.write_all(refusal.as_bytes()).ok();
        };
        let mut server = TcpStream::connect(to).ok()?;
        client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").ok()?;
        let (mut from, mut into) = (client.try_clone().ok()?, server.try_clone().ok()?);
        thread::spawn(move || std::io::copy(&mut from, &mut into));
        std::io::copy(&mut server, &mut client).ok().map(drop)
    })
}

/// A server with the feed at this port, believing this authority.
fn following(scene: &Scene, port: u16, authority: &Authority, keys: &str) {
    scene.world.write("etc/roots.pem", &authority.pem);
    let table = scene.publisher.table_at(&format!("https://{NAME}:{port}/feed.xml"));
    scene.world.config(&format!("ca_bundle = \"roots.pem\"\n{keys}{table}{}", scene.gateway.target()));
}

/// Each check by name and outcome, and the details.
fn checks(tested: &Value) -> (Vec<(&str, bool)>, String) {
    let all = tested["feeds"][0]["checks"].as_array().unwrap();
    let details = all.iter().map(|check| check["detail"].as_str().unwrap()).collect::<Vec<_>>().join("\n");
    (
        all.iter().map(|check| (check["check"].as_str().unwrap(), check["ok"].as_bool().unwrap())).collect(),
        details,
    )
}

fn document(scene: &Scene) -> Vec<u8> {
    fs::read(scene.publisher.feed()).unwrap()
}

#[test]
fn the_documented_two_lines_and_every_check_behind_them() {
    let (scene, host) = (scene(), Authority::new("Feed Host CA"));
    following(&scene, serve_tls(&host, "200 OK", document(&scene)).port(), &host, "");
    let ran = scene.world.ok(&["test-connectivity"]);
    let lines: Vec<&str> = ran.stdout.lines().take(2).collect();
    let message = "Message: The Mitigation Service endpoint is accessible from this computer.";
    assert_eq!(lines, ["Result: Success.", message]);
    let tested = scene.world.json(0, &["test-connectivity"]);
    assert_eq!((&tested["result"], &tested["feeds"][0]["ok"]), (&json!("Success"), &json!(true)));
    let (found, details) = checks(&tested);
    let names = ["dns", "tcp", "proxy", "tls", "http", "size", "signature"];
    assert_eq!(found, names.map(|name| (name, true)), "{details}");
    for words in ["localhost is at", "issued by `CN=Feed Host CA`", "roots.pem", "Feed Signing", "serial 1"] {
        assert!(details.contains(words), "{words}: {details}");
    }
    assert!(tested["feeds"][0]["checks"][0]["ms"].is_number());
    assert!(!scene.world.data().join("feeds").exists(), "it only looks");
}

#[test]
fn a_proxy_that_inspects_tls_is_named() {
    let (scene, host) = (scene(), Authority::new("Feed Host CA"));
    let inspecting = Authority::new("Corp Inspection CA");
    following(&scene, serve_tls(&inspecting, "200 OK", document(&scene)).port(), &host, "");
    let ran = scene.world.stopgap(&["test-connectivity"]);
    assert_eq!(ran.code, 1, "{ran:#?}");
    let lines: Vec<&str> = ran.stdout.lines().take(2).collect();
    assert_eq!(lines[0], "Result: Failed.");
    assert!(lines[1].starts_with(
        "Message: Unable to connect to the Mitigation Service endpoint from this computer. To learn about \
         connectivity requirements, see "
    ));
    let tested = scene.world.json(1, &["test-connectivity"]);
    let (found, details) = checks(&tested);
    assert_eq!(found, [("dns", true), ("tcp", true), ("proxy", true), ("tls", false), ("http", false)]);
    assert!(
        details.contains("issued by `CN=Corp Inspection CA`") && details.contains("`ca_bundle`"),
        "{details}"
    );
    // Its root in the bundle makes it believed, and it is still named.
    following(&scene, serve_tls(&inspecting, "200 OK", document(&scene)).port(), &inspecting, "");
    let tested = scene.world.json(0, &["test-connectivity"]);
    let (_, details) = checks(&tested);
    assert!(details.contains("CN=Corp Inspection CA"), "{details}");
}

#[test]
fn a_proxy_on_the_way_and_one_that_bars_it() {
    let (scene, host) = (scene(), Authority::new("Feed Host CA"));
    let feed = serve_tls(&host, "200 OK", document(&scene));
    let keys = |proxy: SocketAddr| format!("internet_web_proxy = \"http://{proxy}\"\n");
    following(&scene, 443, &host, &keys(proxy(Some(feed))));
    let tested = scene.world.json(0, &["test-connectivity"]);
    let (_, details) = checks(&tested);
    assert!(details.contains("opens the way") && details.contains("CN=Feed Host CA"), "{details}");
    following(&scene, 443, &host, &keys(proxy(None)));
    let tested = scene.world.json(1, &["test-connectivity"]);
    let (found, details) = checks(&tested);
    assert_eq!(found, [("dns", true), ("tcp", true), ("proxy", false), ("http", false)]);
    assert!(details.contains("asks for credentials"), "{details}");
}

#[test]
fn what_answers_and_is_not_the_feed_is_told_apart() {
    let (scene, host) = (scene(), Authority::new("Feed Host CA"));
    let altered = String::from_utf8(document(&scene)).unwrap().replacen("revision 4", "revision 5", 1);
    for (status, body, failed, words) in [
        ("404 Not Found", Vec::new(), "http", "404"),
        ("200 OK", altered.into_bytes(), "signature", "digest-mismatch"),
        ("200 OK", b"<html>Please log in</html>".to_vec(), "signature", "Signature"),
    ] {
        following(&scene, serve_tls(&host, status, body).port(), &host, "");
        let tested = scene.world.json(1, &["test-connectivity"]);
        let (found, details) = checks(&tested);
        assert_eq!(found.last(), Some(&(failed, false)), "{details}");
        assert!(details.contains(words), "{words}: {details}");
        assert_eq!(found.iter().filter(|(_, ok)| !ok).count(), 1, "{details}");
    }
    following(&scene, free_port(), &host, "");
    let tested = scene.world.json(1, &["test-connectivity"]);
    assert_eq!(checks(&tested).0, [("dns", true), ("tcp", false), ("http", false)]);
    scene.world.config("");
    assert_eq!(scene.world.stopgap(&["test-connectivity"]).code, 1, "no feed is no access");
}

#[test]
fn a_feed_is_accessible_where_one_of_its_addresses_is() {
    let scene = scene();
    let missing = scene.world.path("missing.xml");
    let table = scene.publisher.table_at(&format!("file://{}", missing.display()));
    let mirror = format!("mirrors = [\"file://{}\"]\n", text(&scene.publisher.feed()));
    scene.world.config(&(table + &mirror));
    let tested = scene.world.json(0, &["test-connectivity"]);
    let oks: Vec<&Value> = tested["feeds"].as_array().unwrap().iter().map(|feed| &feed["ok"]).collect();
    assert_eq!(oks, [&json!(false), &json!(true)]);
}
