//! The control socket.

use std::os::unix::fs::PermissionsExt;

use stopgap_gateway::{Gateway, Settings};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

use crate::harness::*;

const NOTHING: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

#[tokio::test(flavor = "multi_thread")]
async fn it_says_what_is_in_force_and_what_was_refused() {
    let gateway = Running::start().await;
    let status = gateway.ask(r#"{"command":"status"}"#).await;
    assert_eq!(
        status,
        serde_json::json!({
            "active": NOTHING, "rules": 0, "observes": true, "error": null, "requests": 0, "probes": 0, "malformed": 0,
            "refused": 0, "over_limit": 0, "changed": 0, "by_rule": {}, "observed": 0, "observed_by_rule": {}, "settled": true, "older_connections": 0,
            "older": {"requests": 0, "tunnels": 0}, "sets": 1,
        })
    );
    let rules = m1("{REQUEST_URI}", "evil");
    let active = gateway.activate(&rules).await;
    let printed = std::process::Command::new("sha256sum").arg(&gateway.rules).output().unwrap().stdout;
    let expected = String::from_utf8(printed).unwrap()[..64].to_owned();
    assert_eq!(
        active,
        serde_json::json!({
            "active": expected, "rules": 1, "observes": true, "error": null, "settled": true, "older_connections": 0,
            "older": {"requests": 0, "tunnels": 0}, "sets": 1,
        })
    );

    gateway.get("/good").await.unwrap();
    assert_eq!(gateway.get("/evil").await, None);
    assert_eq!(gateway.get("/evil").await, None);
    let mut probe = gateway.client().await;
    probe.send("GET /evil HTTP/1.1\r\nHost: a\r\nStopgap-Probe: M1 0123\r\n\r\n").await;
    assert_eq!(probe.rest().await, b"");
    let mut malformed = gateway.client().await;
    malformed.send("GET / HTTP/1.1\r\n\r\n").await;
    assert_eq!(malformed.response().await.unwrap().status, 400);
    assert_eq!(
        gateway.ask(r#"{"command":"status"}"#).await,
        serde_json::json!({
            "active": expected, "rules": 1, "observes": true, "error": null, "requests": 4, "probes": 1, "malformed": 1,
            "refused": 2, "over_limit": 0, "changed": 0, "by_rule": {"PowerShell - inbound": 2}, "observed": 0, "observed_by_rule": {}, "settled": true,
            "older_connections": 0, "older": {"requests": 0, "tunnels": 0}, "sets": 1,
        })
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_observes_is_asked_whatever_a_rule_in_force_lets_pass() {
    let gateway = Running::start().await;
    let rule = |name: &str, action: &str| {
        format!(
            "<rule name=\"{name}\" stopProcessing=\"true\"><match url=\".*\"/><conditions>\
             <add input=\"{{REQUEST_URI}}\" pattern=\"evil\"/></conditions><action type=\"{action}\"/></rule>"
        )
    };
    let exempts = rule("Stopgap example M1.1 Exempt", "None");
    let observes = rule("Stopgap (observes) example M2.1 Refuse", "AbortRequest");
    gateway.activate(&format!("<rewrite><rules>{exempts}{observes}</rules></rewrite>")).await;
    assert_eq!(gateway.get("/evil").await.unwrap().status, 200);
    let status = gateway.ask(r#"{"command":"status"}"#).await;
    assert_eq!((&status["observed"], &status["refused"]), (&1.into(), &0.into()), "{status:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_its_owner_s_alone_and_goes_with_the_gateway() {
    let gateway = Running::start().await;
    let mode = std::fs::metadata(&gateway.control).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let path = gateway.control.clone();
    gateway.stopped().await;
    assert!(!path.exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_carries_several_requests_and_nonsense_is_answered() {
    let gateway = Running::start().await;
    let mut stream = BufReader::new(UnixStream::connect(&gateway.control).await.unwrap());
    let lines = "{\"command\":\"status\"}\nnonsense\n{\"command\":\"reboot\"}\n{\"command\":\"status\"}\n";
    stream.write_all(lines.as_bytes()).await.unwrap();
    let mut answers = stream.lines();
    for has_error in [false, true, true, false] {
        let line = patiently("an answer", answers.next_line()).await.unwrap().unwrap();
        let answer: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(answer["error"].is_string(), has_error, "{answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_line_without_end_is_cut() {
    let gateway = Running::start().await;
    let mut stream = BufReader::new(UnixStream::connect(&gateway.control).await.unwrap());
    let _ = stream.write_all(&vec![b'x'; 100_000]).await;
    let mut answer = String::new();
    patiently("an answer", stream.read_line(&mut answer)).await.unwrap();
    assert!(answer.contains("4096"), "{answer}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_socket_is_replaced_a_living_one_and_a_file_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("control.sock");
    let settings = || {
        let listen = vec!["127.0.0.1:0".parse().unwrap()];
        Settings::new(
            listen,
            "http://127.0.0.1:9".parse().unwrap(),
            folder.path().join("rules"),
            path.clone(),
        )
    };
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let first = Gateway::bind(settings()).await.unwrap();
    assert_eq!(Gateway::bind(settings()).await.err().unwrap().code(), "control-taken");
    drop(first);
    std::fs::write(&path, "precious").unwrap();
    assert_eq!(Gateway::bind(settings()).await.err().unwrap().code(), "control-not-a-socket");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "precious");
}
