//! A hub that was away, and all its servers in one moment: how many it takes, what the others are told, and that
//! each gets in.

use std::collections::{BTreeMap, VecDeque};

use crate::agents::heard;
use crate::common::Hub;
use futures_util::future::join_all;
use serde_json::json;
use stopgap_hub::Bounds;
use stopgap_hub::people::Role;

const SERVERS: usize = 300;
/// Of 60 connections 54 may be streams: less than a fifth of the servers.
const CONNECTIONS: usize = 60;
const PLACES: usize = 54;

/// A stream, or the seconds after which to come back.
async fn come(hub: &Hub, credential: &str) -> Result<reqwest::Response, u64> {
    let request = hub.ask("GET", "/v1/agent/events", credential).header("connection", "close");
    let answer = request.send().await.unwrap();
    match answer.status().as_u16() {
        200 => Ok(answer),
        503 => Err(answer.headers()["retry-after"].to_str().unwrap().parse().unwrap()),
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_an_outage_all_come_at_once_and_are_let_in_a_share_at_a_time() {
    let mut hub = Hub::bounded(Bounds { connections: CONNECTIONS, ..Bounds::default() }).await;
    let mut servers = Vec::new();
    for number in 0..SERVERS {
        let id = hub.server(&format!("Server{number}"), &[]).await;
        servers.push(format!("sga_{id}"));
    }
    let administrator = hub.token(Role::Administrator).await;
    hub.restart().await;

    // The worst that can be: nobody waits for a random time first.
    let told = join_all(servers.iter().map(|credential| come(&hub, credential))).await;
    let mut open: VecDeque<reqwest::Response> = VecDeque::new();
    // Who comes in which second from now on.
    let mut due: BTreeMap<u64, Vec<&String>> = BTreeMap::new();
    for (credential, told) in servers.iter().zip(told) {
        match told {
            Ok(stream) => open.push_back(stream),
            Err(seconds) => due.entry(seconds).or_default().push(credential),
        }
    }
    assert_eq!(open.len(), PLACES, "as many as there are places, and no fewer");
    let fullest = due.values().map(Vec::len).max().unwrap();
    // Of 246 each second of 5 to 60 has four or five.
    assert!(due.keys().all(|seconds| (5..=60).contains(seconds)) && fullest <= 20, "{fullest} in one second");
    // Nobody is kept out by them: people get in, and who listens hears what they say.
    let (status, said) =
        hub.set("/v1/organization/settings", &administrator, json!({"max_parallel": 2})).await;
    assert_eq!(status, 200, "{said}");
    for stream in &mut open {
        heard(stream, "settings").await;
    }

    // Second by second. Streams end as well, the oldest first, and no other waits longer than it was told to.
    let (mut let_in, mut refused) = (open.len(), 0);
    while let Some((second, arrived)) = due.pop_first() {
        while open.len() + arrived.len() > PLACES {
            open.pop_front();
        }
        for (credential, told) in
            join_all(arrived.into_iter().map(async |one| (one, come(&hub, one).await))).await
        {
            match told {
                Ok(stream) => {
                    let_in += 1;
                    open.push_back(stream);
                }
                // The hub had not yet seen that a stream had ended.
                Err(seconds) => {
                    refused += 1;
                    due.entry(second + seconds).or_default().push(credential);
                }
            }
        }
        assert!(open.len() <= PLACES, "{} streams", open.len());
        assert!(refused < SERVERS, "{let_in} of {SERVERS} are in");
    }
    assert_eq!(let_in, SERVERS);
}
