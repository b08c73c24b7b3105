//! The two steps of a new set of rules: for every request from now on, and for all that is in progress.

use serde_json::Value;

use crate::harness::*;

const ACTIVATE: &str = r#"{"command":"activate"}"#;
const STATUS: &str = r#"{"command":"status"}"#;

fn older(answer: &Value) -> (bool, u64, u64, u64) {
    let number = |value: &Value| value.as_u64().unwrap();
    let older = &answer["older"];
    let settled = answer["settled"].as_bool().unwrap();
    (settled, number(&answer["older_connections"]), number(&older["requests"]), number(&older["tunnels"]))
}

/// A request whose answer goes on until the client ends it.
async fn unfinished(gateway: &Running) -> Client {
    let mut client = gateway.client().await;
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n").await;
    assert!(client.head().await.unwrap().starts_with("HTTP/1.1 200"));
    assert_eq!(client.chunk().await.unwrap(), b"abc");
    client
}

async fn until_settled(gateway: &Running) {
    patiently("the end of what is older", async {
        while older(&gateway.ask(STATUS).await) != (true, 0, 0, 0) {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_earlier_rules_let_in_is_counted_down() {
    let gateway = Running::start().await;
    let (mut first, mut second) = (unfinished(&gateway).await, unfinished(&gateway).await);
    let mut websocket = gateway.client().await;
    websocket.send("GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    assert!(websocket.head().await.unwrap().starts_with("HTTP/1.1 101"));
    // Idle between two requests: nothing that earlier rules serve.
    let mut idle = gateway.client().await;
    idle.send(request("GET", "/a")).await;
    assert_eq!(idle.response().await.unwrap().status, 200);
    assert_eq!(older(&gateway.ask(STATUS).await), (true, 0, 0, 0), "there is nothing earlier yet");

    let answer = gateway.activate(&answering("a", 410)).await;
    assert_eq!(older(&answer), (false, 3, 2, 1), "{answer}");
    assert_eq!(answer["sets"], 1, "what is in progress keeps no compiled rules: {answer}");
    idle.send(request("GET", "/a")).await;
    assert_eq!(idle.response().await.unwrap().status, 410);

    first.send("0\r\n\r\n").await;
    assert_eq!(first.chunk().await, None);
    second.send("3\r\nxyz\r\n").await;
    assert_eq!(second.chunk().await.unwrap(), b"xyz", "the other goes on");
    patiently("one of two", async {
        while older(&gateway.ask(STATUS).await) != (false, 2, 1, 1) {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // A later swap forgets nothing of an earlier one.
    assert_eq!(older(&gateway.activate("").await), (false, 2, 1, 1));
    drop(second);
    websocket.close_write().await;
    websocket.rest().await;
    until_settled(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_sent_half_before_and_half_after_meets_the_new_rules() {
    let gateway = Running::start().await;
    let (mut kept, mut new) = (gateway.client().await, gateway.client().await);
    kept.send(request("GET", "/a")).await;
    assert_eq!(kept.response().await.unwrap().status, 200);
    for client in [&mut kept, &mut new] {
        client.send("GET /a HTTP/1.1\r\nHo").await;
    }
    let answer = gateway.activate(&answering("a", 410)).await;
    assert_eq!(older(&answer), (true, 0, 0, 0), "half a request is not in progress: {answer}");
    for client in [&mut kept, &mut new] {
        client.send("st: a\r\n\r\n").await;
        assert_eq!(client.response().await.unwrap().status, 410);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pipelined_request_meets_the_rules_of_its_turn() {
    let gateway = Running::start().await;
    let mut client = gateway.client().await;
    let next = request("GET", "/a");
    client.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n").await;
    assert!(client.head().await.unwrap().starts_with("HTTP/1.1 200"));
    assert_eq!(client.chunk().await.unwrap(), b"x");
    let answer = gateway.activate(&answering("a", 410)).await;
    assert_eq!(older(&answer), (false, 1, 1, 0));
    client.send(format!("0\r\n\r\n{next}")).await;
    assert_eq!(client.chunk().await, None);
    assert_eq!(client.response().await.unwrap().status, 410);
    until_settled(&gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn activate_can_wait_for_the_second_step() {
    let gateway = Running::start().await;
    let mut client = unfinished(&gateway).await;
    std::fs::write(&gateway.rules, answering("a", 410)).unwrap();
    let (answer, ()) = tokio::join!(gateway.ask(r#"{"command":"activate","wait":25}"#), async {
        // The swap comes before the wait.
        patiently("the swap", async { while gateway.get("/a").await.unwrap().status != 410 {} }).await;
        client.send("0\r\n\r\n").await;
        assert_eq!(client.chunk().await, None);
    });
    assert_eq!(older(&answer), (true, 0, 0, 0), "{answer}");

    let _unfinished = unfinished(&gateway).await;
    std::fs::write(&gateway.rules, "").unwrap();
    let answer = gateway.ask(r#"{"command":"activate","wait":1}"#).await;
    assert_eq!(older(&answer), (false, 1, 1, 0), "the time is over: {answer}");
    let refused = gateway.ask(r#"{"command":"activate","weight":1}"#).await;
    assert!(refused["error"].is_string() && refused["active"].is_null(), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_swaps_leave_one_set_in_memory() {
    let gateway = Running::start().await;
    let mut kept = Vec::new();
    for swap in 0..300 {
        if swap % 100 == 0 {
            kept.push(unfinished(&gateway).await);
        }
        let answer = gateway.activate(&answering(&format!("a{swap}"), 410)).await;
        assert_eq!(answer["sets"], 1, "swap {swap}: {answer}");
    }
    assert_eq!(older(&gateway.ask(ACTIVATE).await), (false, 3, 3, 0));
    drop(kept);
    until_settled(&gateway).await;
}
