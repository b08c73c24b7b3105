//! The proof of a change, against listeners that are scripted and against real sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests fail as tests do"
)]

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use stopgap_core::observed::{Hook, Listener, Live, Observed, Site};
use stopgap_core::plan::{ActionRef, Placement, Wanted};
use stopgap_core::proof::{Answer, Judgement, RefusalForm};
use stopgap_drivers::host::Machine;
use stopgap_drivers::probe::{self, Patience, Question, Shown};
use stopgap_feed::document::{Action, ActionKind, Expect, Probe, Scope};
use stopgap_testkit::host::FakeHost;

const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n";
const BROKEN: &[u8] = b"HTTP/1.1 502 Bad Gateway\r\n\r\n";

fn listener(tls: bool, address: SocketAddr) -> Listener {
    Listener { tls, address, host: "mail.example.org".into() }
}

fn probe(target: &str, expect: Expect) -> Probe {
    Probe { head: format!("GET {target} HTTP/1.1\r\n\r\n"), expect }
}

fn question(expect: Expect, before: Answer) -> Question {
    Question {
        key: "example:M1".parse().unwrap(),
        actions: vec![("M1.1".parse().unwrap(), RefusalForm::Close)],
        site: "mail".into(),
        listener: listener(false, "127.0.0.1:80".parse().unwrap()),
        probe: probe("/x", expect),
        before,
    }
}

fn answer(status: u16, media_type: &str) -> Answer {
    Answer::Response { status, media_type: media_type.into(), header: vec![] }
}

/// Asks a machine whose n-th answer is `answers[n]`, and every later one the last; returns what was
/// shown and how long it took.
fn proven(expect: Expect, before: Answer, answers: &'static [&'static [u8]]) -> (Shown, Duration) {
    let next = AtomicUsize::new(0);
    let host = FakeHost::new().on_exchange(move |_, _, _| {
        let n = next.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
        Ok(answers[n].to_vec())
    });
    let shown = probe::prove(&host, vec![question(expect, before)], Patience::default(), 1);
    use stopgap_drivers::Host;
    (shown.into_iter().next().unwrap(), host.monotonic())
}

#[test]
fn a_refusal_that_comes_with_the_new_workers_is_waited_for() {
    let (shown, took) = proven(Expect::Blocked, answer(200, "text/html"), &[OK, OK, b""]);
    assert_eq!(shown.judgement, Judgement::Proven);
    assert_eq!(took, Patience::default().pause * 2);
}

#[test]
fn an_attack_that_keeps_passing_is_ineffective_after_the_handover() {
    let (shown, took) = proven(Expect::Blocked, answer(200, "text/html"), &[OK]);
    assert!(matches!(shown.judgement, Judgement::Ineffective(_)));
    assert_eq!(took, Patience::default().handover);
}

#[test]
fn an_application_has_two_minutes_to_restart() {
    let (shown, took) = proven(Expect::Allowed, answer(200, "text/html"), &[BROKEN]);
    assert!(matches!(shown.judgement, Judgement::Harm(_)));
    assert_eq!(took, Patience::default().restart);
    assert_eq!(probe::harms(&[shown]).count(), 1);
    let (shown, _) = proven(Expect::Allowed, answer(200, "text/html"), &[BROKEN, BROKEN, OK]);
    assert_eq!(shown.judgement, Judgement::Proven);
}

#[test]
fn a_legitimate_request_that_our_rule_refuses_is_not_waited_for_that_long() {
    let (shown, took) = proven(Expect::Allowed, answer(200, "text/html"), &[b""]);
    assert!(matches!(shown.judgement, Judgement::Harm(_)));
    assert_eq!(took, Patience::default().handover);
}

#[test]
fn what_proved_nothing_before_is_not_asked_again() {
    let (shown, took) = proven(Expect::Allowed, Answer::None("refused".into()), &[OK]);
    assert!(matches!(shown.judgement, Judgement::Unproven(_)));
    assert_eq!(took, Duration::ZERO);
}

#[test]
fn a_header_is_proven_by_an_ecmascript_pattern() {
    let expect = |pattern: &str| Expect::Header { name: "X-A".into(), pattern: pattern.into() };
    let with: &[&[u8]] = &[b"HTTP/1.1 200 OK\r\nX-A: script-src 'none'\r\n\r\n"];
    assert_eq!(proven(expect("(?=.*NONE)script"), answer(200, ""), with).0.judgement, Judgement::Proven);
    for pattern in ["^none", "((("] {
        assert!(matches!(
            proven(expect(pattern), answer(200, ""), with).0.judgement,
            Judgement::Ineffective(_)
        ));
    }
}

#[test]
fn the_baseline_is_one_request_for_each_probe_and_listener_of_the_sites_that_have_the_rule() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = asked.clone();
    let host = FakeHost::new().on_exchange(move |_, listener, request| {
        let line = String::from_utf8_lossy(request).lines().next().unwrap_or_default().to_owned();
        log.lock().unwrap().push(format!("{listener} {line}"));
        Ok(OK.to_vec())
    });
    let (key, id): (stopgap_feed::Key, stopgap_feed::Id) =
        ("example:M1".parse().unwrap(), "M1.1".parse().unwrap());
    let wanted = Wanted {
        observe: false,
        key: key.clone(),
        digest: String::new(),
        action: Action {
            id: id.clone(),
            description: String::new(),
            scope: Scope::Site,
            target: None,
            platform: None,
            kind: ActionKind::DoNothing,
        },
        probes: vec![probe("/attack", Expect::Blocked), probe("/benign", Expect::Allowed)],
        sites: None,
    };
    let site = |name: &str, ports: &[u16]| Site {
        name: name.into(),
        hook: Hook::Present,
        listeners: ports
            .iter()
            .map(|p| listener(*p == 443, SocketAddr::from(([127, 0, 0, 1], *p))))
            .collect(),
    };
    let observed = Observed {
        target: "nginx".into(),
        live: Live::default(),
        sites: vec![site("mail", &[80, 443]), site("other", &[8080])],
        warnings: vec![],
        lacks: Default::default(),
        files: Default::default(),
    };
    let place = |action: &str, form| Placement {
        what: ActionRef { key: key.clone(), action: action.parse().unwrap() },
        site: "mail".into(),
        form,
    };
    let placements = [place("M1.1", RefusalForm::Close), place("M1.2", RefusalForm::Status(403))];
    let questions = probe::questions(&host, &[wanted], &placements, &observed, 7);
    assert_eq!(
        *asked.lock().unwrap(),
        [
            "http://127.0.0.1:80 GET /attack HTTP/1.1",
            "http://127.0.0.1:80 GET /benign HTTP/1.1",
            "https://127.0.0.1:443 GET /attack HTTP/1.1",
            "https://127.0.0.1:443 GET /benign HTTP/1.1",
        ]
    );
    // Either action's form of refusal proves the mitigation.
    for refusal in [Answer::Closed, answer(403, "")] {
        assert_eq!(questions[0].judge(&refusal), Judgement::Proven);
    }
}

/// A listener that hands each accepted connection to `serve`, on a free port.
fn serve(serve: impl Fn(std::net::TcpStream) + Send + 'static) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            serve(stream.unwrap());
        }
    });
    address
}

fn ask(tls: bool, address: SocketAddr) -> Answer {
    let id = "example:M1".parse().unwrap();
    probe::ask(&Machine, &listener(tls, address), &probe("/x", Expect::Allowed), &id, 1)
}

fn read_head(stream: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap_or(0) == 1 {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).into_owned()
}

#[test]
fn a_real_listener_answers_closes_or_is_not_there() {
    let answering = serve(|mut stream| {
        let head = read_head(&mut stream);
        assert!(
            head.contains("\r\nHost: mail.example.org\r\n") && head.contains("Stopgap-Probe: example:M1 "),
            "{head}"
        );
        // Kept open: the head must suffice.
        stream.write_all(OK).unwrap();
        thread::spawn(move || drop(io::copy(&mut stream, &mut io::sink())));
    });
    assert_eq!(ask(false, answering), answer(200, "text/html"));
    assert_eq!(ask(false, serve(|mut stream| drop(read_head(&mut stream)))), Answer::Closed);
    // Closed with octets unread, which resets the connection.
    assert_eq!(ask(false, serve(|mut stream| drop(stream.read(&mut [0])))), Answer::Closed);
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    assert!(matches!(ask(false, free), Answer::None(_)));
    assert!(
        matches!(ask(true, serve(drop)), Answer::None(_)),
        "closed before TLS is no refusal of a request"
    );
}

#[test]
fn a_tls_listener_is_asked_with_its_name_whatever_its_certificate() {
    let made = rcgen::generate_simple_self_signed(["another.example".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::Pkcs8(made.signing_key.serialize_der().into());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    for close in [false, true] {
        let config = config.clone();
        let address = serve(move |tcp| {
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut stream = rustls::StreamOwned::new(connection, tcp);
            read_head(&mut stream);
            assert_eq!(stream.conn.server_name(), Some("mail.example.org"));
            if !close {
                stream.write_all(OK).unwrap();
            }
        });
        assert_eq!(ask(true, address), if close { Answer::Closed } else { answer(200, "text/html") });
    }
}
