//! Ten thousand agents in one process, for `cargo xtask bench fleet`: they join, listen, and report as the real
//! ones do on the wire, and do nothing else.
//!
//! usage: fleet-agents enroll HUB CREDENTIALS COUNT TOKEN [CA.pem]
//!        fleet-agents listen HUB CREDENTIALS COUNT TOKEN [CA.pem]
//!        fleet-agents report HUB CREDENTIALS COUNT ROUNDS [CA.pem]
//!
//! HUB is `http://ADDRESS` or `https://ADDRESS`; CREDENTIALS a file, one a line. `enroll` has TOKEN for enrollment,
//! `listen` an administrator's. `listen` says `connected`, and for each line that it reads changes the
//! organization's settings and says how long after the request began the agents were told: p50, p99 and the last, in
//! milliseconds.

#![allow(clippy::print_stdout, reason = "its output is what it is for")]

mod wire;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::sync::mpsc;
use wire::{Hub, Stream};

/// Streams that are opened at a time: a fleet comes back over seconds.
const OPENING: usize = 64;
/// Requests at a time: servers do not wait for each other.
const ASKING: usize = 32;
/// Nothing takes longer where all is well.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [what, url, file, count, last, ca @ ..] = arguments.as_slice() else {
        bail!("usage: fleet-agents WHAT HUB CREDENTIALS COUNT TOKEN|ROUNDS [CA.pem]")
    };
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    let hub = Arc::new(Hub::new(url, ca.first().map(String::as_str))?);
    let count: usize = count.parse().context("COUNT")?;
    match what.as_str() {
        "enroll" => enroll(hub, file, count, last).await,
        "listen" => listen(hub, credentials(file, count)?, last).await,
        "report" => report(hub, credentials(file, count)?, last.parse().context("ROUNDS")?).await,
        other => bail!("{other:?}: expected enroll, listen or report"),
    }
}

fn credentials(file: &str, count: usize) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(file).with_context(|| file.to_owned())?;
    let all: Vec<String> = text.lines().take(count).map(str::to_owned).collect();
    if all.len() < count {
        bail!("{file} has {} credentials, expected {count}", all.len());
    }
    Ok(all)
}

/// Work for each number below `count`, so many at a time.
async fn spread<F, T>(count: usize, at_a_time: usize, work: impl Fn(usize) -> F) -> Result<Vec<T>>
where
    F: Future<Output = Result<T>> + Send + 'static,
    T: Send + 'static,
{
    let mut tasks = tokio::task::JoinSet::new();
    let mut done = Vec::with_capacity(count);
    for number in 0..count {
        if tasks.len() >= at_a_time
            && let Some(one) = tasks.join_next().await
        {
            done.push(one??);
        }
        tasks.spawn(work(number));
    }
    while let Some(one) = tasks.join_next().await {
        done.push(one??);
    }
    Ok(done)
}

fn machine(number: usize) -> String {
    format!("{number:064x}")
}

async fn enroll(hub: Arc<Hub>, file: &str, count: usize, token: &str) -> Result<()> {
    let token = token.to_owned();
    let began = Instant::now();
    let made = spread(count, ASKING, |number| {
        let (hub, token) = (Arc::clone(&hub), token.clone());
        async move {
            let body = serde_json::json!({ "token": token, "name": format!("server{number:05}"),
                "machine": machine(number), "agent_version": "0.1.0" });
            let mut stream = hub.connect(number).await?;
            let (status, answer) = stream.ask("POST", "/v1/agent/enroll", "", "", &body.to_string()).await?;
            let said: serde_json::Value = serde_json::from_str(&answer)?;
            let credential = said.get("credential").and_then(|one| one.as_str());
            let credential = credential.with_context(|| format!("{status}: {answer}"))?;
            Ok((number, credential.to_owned()))
        }
    });
    let mut made = made.await?;
    made.sort();
    let text: String = made.iter().map(|(_, credential)| format!("{credential}\n")).collect();
    std::fs::write(file, text)?;
    println!("{:.3}", began.elapsed().as_secs_f64());
    Ok(())
}

async fn listen(hub: Arc<Hub>, credentials: Vec<String>, token: &str) -> Result<()> {
    let count = credentials.len();
    let (heard, mut told) = mpsc::unbounded_channel();
    let listening = Arc::new(AtomicUsize::new(0));
    let all = Arc::new(credentials);
    let streams = spread(count, OPENING, |number| {
        let (hub, all, heard) = (Arc::clone(&hub), Arc::clone(&all), heard.clone());
        let listening = Arc::clone(&listening);
        async move {
            let mut stream = hub.connect(number).await?;
            let credential = all.get(number).context("a credential")?;
            stream.subscribe(credential).await?;
            // What counts now is told first.
            stream.event().await?;
            listening.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(follow(stream, heard));
            Ok(())
        }
    });
    streams.await?;
    println!("connected {}", listening.load(Ordering::Relaxed));
    let (say, mut said) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        std::io::stdin().lines().map_while(Result::ok).try_for_each(|line| say.send(line))
    });
    let mut round = 0_usize;
    while said.recv().await.is_some() {
        round += 1;
        let began = publish(&hub, token, round).await?;
        let mut after = Vec::with_capacity(count);
        while after.len() < count {
            let at = tokio::time::timeout(PATIENCE, told.recv()).await;
            let Ok(Some(at)) = at else { bail!("{} of {count} were told", after.len()) };
            after.push(at.saturating_duration_since(began));
        }
        after.sort();
        let at = |part: usize| after.get((count * part / 100).min(count - 1)).copied().unwrap_or_default();
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        println!("{:.1} {:.1} {:.1}", ms(at(50)), ms(at(99)), ms(at(100)));
    }
    Ok(())
}

async fn follow(mut stream: Stream, heard: mpsc::UnboundedSender<Instant>) {
    while stream.event().await.is_ok() {
        if heard.send(Instant::now()).is_err() {
            return;
        }
    }
}

/// Changes what every server is told; when that was begun.
async fn publish(hub: &Hub, token: &str, round: usize) -> Result<Instant> {
    let path = "/v1/organization/settings";
    let mut stream = hub.connect(0).await?;
    let (status, _) = stream.ask("GET", path, token, "", "").await?;
    let tag = stream.header("etag").with_context(|| format!("no ETag: {status}"))?;
    let body =
        serde_json::json!({ "mitigations_blocked": [{ "id": format!("M{round}"), "reason": "a round" }] });
    let began = Instant::now();
    let matching = format!("If-Match: {tag}\r\n");
    let (status, answer) = stream.ask("PATCH", path, token, &matching, &body.to_string()).await?;
    if status != 200 {
        bail!("{status}: {answer}");
    }
    Ok(began)
}

/// Reports as an agent makes them: each agent `rounds` of them, over a connection that is kept.
async fn report(hub: Arc<Hub>, credentials: Vec<String>, rounds: usize) -> Result<()> {
    let count = credentials.len();
    let all = Arc::new(credentials);
    let began = Instant::now();
    let done = spread(ASKING, ASKING, |lane| {
        let (hub, all) = (Arc::clone(&hub), Arc::clone(&all));
        async move {
            let mut stream = hub.connect(lane).await?;
            for round in 1..=rounds {
                for number in (lane..count).step_by(ASKING) {
                    let credential = all.get(number).context("a credential")?;
                    let body = one_report(number, round);
                    let (status, answer) =
                        stream.ask("POST", "/v1/agent/reports", credential, "", &body).await?;
                    if status != 200 {
                        bail!("{status}: {answer}");
                    }
                }
            }
            Ok(())
        }
    });
    done.await?;
    println!("{:.3}", began.elapsed().as_secs_f64());
    Ok(())
}

/// Twenty mitigations, two of which are another way each time, and two events.
fn one_report(number: usize, round: usize) -> String {
    let at = format!("2026-11-22T03:{:02}:{:02}Z", round / 60 % 60, round % 60);
    let mitigations: Vec<serde_json::Value> = (1..=20)
        .map(|id| {
            let changed = id <= 2 && round.is_multiple_of(2);
            serde_json::json!({ "feed": "example", "id": format!("M{id}"), "type": "UrlRewrite", "description":
                "Refuses requests that name a shell", "digest": format!("{id:064x}"), "verdict": "Applies",
                "status": if changed { "Blocked" } else { "Applied" }, "in_force": !changed,
                "applied_at": "2026-11-22T02:00:00Z", "proven_at": "2026-11-22T02:00:01Z" })
        })
        .collect();
    let event = |event: u16, id: u16| serde_json::json!({ "at": at, "event": event, "mitigation": format!("example:M{id}"), "text": "as it was said" });
    serde_json::json!({ "machine": machine(number), "reports": [{ "sequence": round, "at": at,
        "agent_version": "0.1.0", "system": "linux Debian GNU/Linux 12", "mitigations_enabled": true,
        "facts": { "nginx": "1.22.1" }, "mitigations": mitigations,
        "feeds": [{ "name": "example", "serial": 7, "trusted_at": at }],
        "events": [event(1005, 1), event(1006, 2)] }] })
    .to_string()
}
