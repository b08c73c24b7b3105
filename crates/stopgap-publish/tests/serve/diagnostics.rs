//! What servers tell of the feed: counted by day, kept over a restart, and refused where it is something else.

use stopgap_publish::serve::read_adoption;

use crate::client::{Running, feed};

fn post(body: &str) -> String {
    format!("POST /diagnostics HTTP/1.1\r\nContent-Length: {}\r\nContent-Type: application/json", body.len())
}

async fn told(running: &Running, body: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(running.address).await.unwrap();
    let request = format!("{}\r\nHost: a\r\nConnection: close\r\n\r\n{body}", post(body));
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer).await;
    answer
}

const TOLD: &str = r#"{"version":1,"feed":"example","serial":7,"agent":"0.1.0","system":"linux",
    "mitigations":[{"id":"M1","status":"Applied","in_force":true}]}"#;

#[tokio::test]
async fn documents_are_counted_and_kept_when_the_server_ends() {
    let kept = tempfile::tempdir().unwrap();
    let file = kept.path().join("adoption.json");
    for round in 1..=2 {
        let running = Running::start(|settings| settings.adoption = Some(file.clone())).await;
        let mut events = running.follow().await;
        running.publish(&feed(7));
        events.data().await.unwrap();
        for _ in 0..3 {
            let answer = told(&running, TOLD).await;
            assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
        }
        for wrong in ["{}", "no JSON", &TOLD.replace("example", "other"), &TOLD.replace(":1,", ":2,")] {
            let answer = told(&running, wrong).await;
            assert!(answer.starts_with("HTTP/1.1 422"), "{wrong}: {answer}");
        }
        let large = format!("{}{}", TOLD, " ".repeat(200 * 1024));
        let answer = told(&running, &large).await;
        assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
        running.stop.send(()).unwrap();
        running.server.await.unwrap();
        // The test may run over midnight.
        let adoption = read_adoption(&file).unwrap();
        let servers: u64 = adoption.days.values().map(|day| day.servers).sum();
        let in_force: u64 = adoption.days.values().map(|day| day.mitigations["M1"].in_force).sum();
        assert_eq!((servers, in_force), (3 * round, 3 * round));
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains("127.0.0.1"), "nothing of who sent it is kept: {text}");
    }
}

#[tokio::test]
async fn where_nothing_is_counted_nothing_is_taken() {
    let running = Running::start(|_| {}).await;
    running.publish(&feed(7));
    let answer = told(&running, TOLD).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
}
