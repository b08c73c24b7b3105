//! A new set of rules, while requests come in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};

use crate::harness::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_kept_alive_connection_sees_the_new_rules_on_its_next_request() {
    let gateway = Running::start().await;
    let mut client = gateway.client().await;
    client.send(request("GET", "/a")).await;
    assert_eq!(client.response().await.unwrap().status, 200);
    gateway.activate(&answering("a", 410)).await;
    client.send(request("GET", "/a")).await;
    assert_eq!(client.response().await.unwrap().status, 410);
    gateway.activate("").await;
    client.send(request("GET", "/a")).await;
    assert_eq!(client.response().await.unwrap().status, 200);
    gateway.activate(&m1("{REQUEST_URI}", "^/a")).await;
    client.send(request("GET", "/a")).await;
    assert_eq!(client.response().await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_swaps_under_load_lose_no_request() {
    let gateway = Arc::new(Running::start().await);
    let (done, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..8)
        .map(|_| {
            let (gateway, done, answered) = (gateway.clone(), done.clone(), answered.clone());
            tokio::spawn(async move {
                let mut client = gateway.client().await;
                while !done.load(SeqCst) {
                    client.send(request("GET", "/benign")).await;
                    let answer = client.response().await.expect("a benign request was lost");
                    assert_eq!((answer.status, answer.body.as_str()), (200, "ok"));
                    answered.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    for swap in 0..50 {
        let before = answered.load(SeqCst);
        let rules = if swap % 2 == 0 { m1("{REQUEST_URI}", &format!("evil{swap}")) } else { String::new() };
        assert_eq!(gateway.activate(&rules).await["error"], serde_json::Value::Null);
        let evil = gateway.get(&format!("/evil{swap}")).await;
        assert_eq!(evil.is_none(), swap % 2 == 0, "swap {swap}");
        // The load goes on between two swaps, so that each meets requests in progress.
        patiently("the load", async {
            while answered.load(SeqCst) < before + 8 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    done.store(true, SeqCst);
    for client in load {
        client.await.unwrap();
    }
    assert!(answered.load(SeqCst) >= 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_rules_file_keeps_the_old_rules() {
    let gateway = Running::start().await;
    let good = gateway.activate(&answering("a", 410)).await;
    for broken in [
        "<rewrite><rules><rule",
        "not xml",
        r#"<rewrite><rules><rule name="x"><match url="("/><action type="None"/></rule></rules></rewrite>"#,
        r#"<rewrite><rules><rule name="x"><match url=".*"/>
            <serverVariables><set name="HTTP_TRANSFER_ENCODING" value="chunked"/></serverVariables>
            <action type="None"/></rule></rules></rewrite>"#,
    ] {
        let answer = gateway.activate(broken).await;
        assert_eq!((&answer["active"], &answer["rules"]), (&good["active"], &good["rules"]), "{broken}");
        assert!(answer["error"].as_str().unwrap().contains("rules.xml"), "{answer}");
        assert_eq!(gateway.get("/a").await.unwrap().status, 410);
        assert_eq!(gateway.ask(r#"{"command":"status"}"#).await["error"], answer["error"]);
    }
    std::fs::write(&gateway.rules, [0xff, 0xfe]).unwrap();
    assert_eq!(gateway.ask(r#"{"command":"activate"}"#).await["active"], good["active"]);
    assert_eq!(gateway.activate(&answering("a", 410)).await, good);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rules_file_is_read_at_the_start() {
    let gateway = Running::with_rules(&answering("a", 410)).await;
    assert_eq!(gateway.get("/a").await.unwrap().status, 410);
    let gateway = Running::with_rules("broken").await;
    assert_eq!(gateway.get("/a").await.unwrap().status, 200);
    let status = gateway.ask(r#"{"command":"status"}"#).await;
    assert!(status["error"].is_string(), "{status}");
}
