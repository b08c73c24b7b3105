//! Telling people from a server that belongs to no hub: `[mail]` and `[[webhook]]` in stopgap.toml, with the words that a
//! hub would use (`stopgap-tell`).
//!
//! A cycle writes what is worth telling into `notifications.json`, under its lock, beside what the next cycle compares
//! with. The service sends it: a task lives while something waits, and clients while something is sent. A server that
//! belongs to a hub leaves telling to the hub. What is wrong with these tables never keeps the agent from its work.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use stopgap_core::plan::sha256_hex;
use stopgap_core::wire::{Happened, Mitigation};
use stopgap_drivers::{Host, Machine};
use stopgap_tell::happening::{Before, Was, changes};
use stopgap_tell::{Message, Proxy, Receivers, SettingsError, again_after};
use url::Url;

use crate::config::Config;
use crate::cycle::{Done, words};
use crate::events::Event;
use crate::fetch::proxy_credentials;
use crate::home::{Home, HomeError};
use crate::hub::{Enrollment, books};

const FILE: &str = "notifications.json";
/// Deliveries that wait; of more the newest count.
const MAX_WAITING: usize = 200;

/// What the next cycle compares with, and what waits.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
struct Outbox {
    /// When the last cycle was.
    at: Option<Timestamp>,
    /// What it found, by `feed:id`.
    known: BTreeMap<String, Was>,
    /// Oldest first.
    waiting: Vec<Waiting>,
    /// Messages so far: their numbers.
    #[serde(default)]
    made: u64,
}

/// One message to one receiver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Waiting {
    id: String,
    receiver: String,
    message: Message,
    made_at: Timestamp,
    next_try: Timestamp,
    #[serde(default)]
    tries: u32,
}

impl Outbox {
    fn load(home: &Home, host: &dyn Host) -> Result<Outbox, HomeError> {
        match home.load(host, FILE) {
            // What is damaged begins anew: nothing is told twice, and nothing is silent for good.
            Err(HomeError::Damaged { .. }) => Ok(Outbox::default()),
            kept => Ok(kept?.unwrap_or_default()),
        }
    }

    /// Takes what a cycle found.
    fn take(
        &mut self,
        receivers: &Receivers,
        server: &str,
        found: &[Mitigation],
        events: &[Happened],
        now: Timestamp,
    ) {
        let before = self.at.map(|at| Before { at, mitigations: &self.known });
        let happenings = changes(before, now, found, events);
        for happening in happenings {
            self.made += 1;
            let said = [(server.to_owned(), happening.text)];
            let number = self.made.to_string();
            let message = Message::about(number, happening.kind, &happening.object, (now, now), &said, 0);
            for receiver in receivers.all().filter(|receiver| receiver.wants(happening.kind)) {
                let receiver = receiver.name();
                // The same for the same message at each attempt, and nobody else's.
                let id = sha256_hex(format!("{server} {now} {} {receiver}", self.made).as_bytes());
                self.waiting.push(Waiting {
                    id: id.chars().take(32).collect(),
                    receiver,
                    message: message.clone(),
                    made_at: now,
                    next_try: now,
                    tries: 0,
                });
            }
        }
        let over = self.waiting.len().saturating_sub(MAX_WAITING);
        self.waiting.drain(..over);
        self.at = Some(now);
        self.known = found.iter().map(|one| (format!("{}:{}", one.feed, one.id), Was::from(one))).collect();
    }

    /// The wait until something is due; `None`: nothing waits.
    fn wait(&self, now: Timestamp) -> Option<Duration> {
        let next = self.waiting.iter().map(|one| one.next_try).min()?;
        Some(Duration::try_from(next.duration_since(now)).unwrap_or_default())
    }
}

/// What the tables name, read. Webhooks are reached the way that feeds are: through `internet_web_proxy`.
pub fn receivers(config: &Config) -> Result<Receivers, SettingsError> {
    let folder = config.path.parent().unwrap_or(std::path::Path::new("/"));
    let name = config.tell.notify.name.clone().unwrap_or_else(|| config.server.clone());
    let receivers = Receivers::read(&config.tell, folder, &name)?;
    if config.network.proxy.is_none() || config.tell.webhook.is_empty() {
        return Ok(receivers);
    }
    let credentials = proxy_credentials(&config.network).map_err(|error| SettingsError {
        place: "internet_web_proxy_credentials".into(),
        problem: words(&error),
    })?;
    let proxy = |url: &Url| Some(Proxy::new(config.network.proxy_for(url)?.clone(), credentials.clone()));
    Ok(receivers.through(proxy))
}

/// Whether anybody is told from here.
fn is_on(config: &Config, home: &Home) -> bool {
    (config.tell.mail.is_some() || !config.tell.webhook.is_empty()) && !Enrollment::is_there(home, &Machine)
}

/// Keeps what a cycle found. The caller holds the lock.
pub(crate) fn note(
    home: &Home,
    host: &dyn Host,
    config: &Config,
    done: &Done,
    now: Timestamp,
) -> Result<(), HomeError> {
    if !is_on(config, home) {
        return Ok(());
    }
    // The service said what is wrong with them.
    let Ok(receivers) = receivers(config) else { return Ok(()) };
    let ledger = home.ledger(host)?;
    let found: Vec<Mitigation> =
        done.report.mitigations.iter().map(|one| books::mitigation(one, done, &ledger)).collect();
    let events: Vec<Happened> = done.events.iter().map(|event| books::happened(event, now)).collect();
    let before = Outbox::load(home, host)?;
    let mut outbox = before.clone();
    outbox.take(&receivers, &config.server, &found, &events, now);
    // An hour without news is no reason to write, but for what ends soon.
    if (&outbox.known, &outbox.waiting) == (&before.known, &before.waiting)
        && before.at.is_some_and(|at| now.duration_since(at) < SignedDuration::from_hours(1))
    {
        return Ok(());
    }
    outbox.save(home, host)
}

impl Outbox {
    fn save(&self, home: &Home, host: &dyn Host) -> Result<(), HomeError> {
        home.save(host, FILE, self)
    }
}

/// Sends while something waits. It is dropped with the service.
#[derive(Debug, Default)]
pub(crate) struct Teller {
    task: Option<tokio::task::JoinHandle<()>>,
    complained: String,
}

impl Teller {
    /// After each cycle.
    pub(crate) fn nudge(&mut self, config: &Config) {
        let home = Home::at(&config.data);
        if !is_on(config, &home) {
            return;
        }
        if let Err(error) = receivers(config) {
            let error = error.to_string();
            if error != self.complained {
                Event::Failed { detail: format!("nobody is told: {error}") }.log();
                self.complained = error;
            }
            return;
        }
        self.complained.clear();
        let waits = Outbox::load(&home, &Machine).is_ok_and(|outbox| !outbox.waiting.is_empty());
        if waits && self.task.as_ref().is_none_or(|task| task.is_finished()) {
            self.task = Some(tokio::spawn(send_all(config.clone())));
        }
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

/// Sends until nothing waits.
async fn send_all(config: Config) {
    loop {
        match round(&config).await {
            Ok(Some(wait)) => tokio::time::sleep(wait.max(Duration::from_millis(10))).await,
            Ok(None) => return,
            Err(error) => {
                tracing::warn!("notifications: {}", words(&error));
                return;
            }
        }
    }
}

/// Sends what is due, once each: for a command beside the service.
pub(crate) async fn once(config: &Config) {
    if is_on(config, &Home::at(&config.data))
        && let Err(error) = round(config).await
    {
        tracing::warn!("notifications: {}", words(&error));
    }
}

/// Sends what is due; how long the rest waits.
async fn round(config: &Config) -> Result<Option<Duration>, HomeError> {
    let home = Home::at(&config.data);
    let Ok(receivers) = receivers(config) else { return Ok(None) };
    let due: Vec<Waiting> = Outbox::load(&home, &Machine)?
        .waiting
        .into_iter()
        .filter(|one| one.next_try <= Timestamp::now())
        .collect();
    for one in due {
        // It is claimed before it is sent: whoever else looks meanwhile finds it later.
        let lease = stopgap_tell::ATTEMPT * 2;
        if !change(&home, &one.id, Some(one.next_try), move |waiting| later(waiting, lease)).await? {
            continue;
        }
        let sent = match receivers.named(&one.receiver) {
            Some(receiver) => receiver.send(&one.message, &one.id, Timestamp::now()).await,
            None => Err(stopgap_tell::SendError("stopgap.toml names no such receiver".into())),
        };
        let title = &one.message.title;
        let age = Timestamp::now().duration_since(one.made_at);
        match sent {
            Ok(()) => {
                tracing::info!("told {}: {title}", one.receiver);
                change(&home, &one.id, None, |_| false).await?;
            }
            Err(error) if age >= receivers.notify.give_up => {
                let detail =
                    format!("{} was not told, and is not tried again: {title}: {error}", one.receiver);
                Event::Failed { detail }.log();
                change(&home, &one.id, None, |_| false).await?;
            }
            Err(error) => {
                tracing::warn!("{} is not told yet: {title}: {error}", one.receiver);
                let first = receivers.notify.retry_first();
                let wait = again_after(first, one.tries.saturating_add(1), fastrand::f64());
                change(&home, &one.id, None, move |waiting| {
                    waiting.tries = waiting.tries.saturating_add(1);
                    later(waiting, wait)
                })
                .await?;
            }
        }
    }
    Ok(Outbox::load(&home, &Machine)?.wait(Timestamp::now()))
}

fn later(waiting: &mut Waiting, wait: Duration) -> bool {
    let wait = SignedDuration::try_from(wait).unwrap_or(SignedDuration::from_hours(1));
    waiting.next_try = Timestamp::now().checked_add(wait).unwrap_or(Timestamp::MAX);
    true
}

/// Changes one that waits, under the lock, where it is still as it was; `change` says whether it stays. Whether
/// there was one.
async fn change(
    home: &Home,
    id: &str,
    as_of: Option<Timestamp>,
    change: impl FnOnce(&mut Waiting) -> bool + Send + 'static,
) -> Result<bool, HomeError> {
    let (home, id) = (home.clone(), id.to_owned());
    let work = move || {
        let _lock = home.lock()?;
        let mut outbox = Outbox::load(&home, &Machine)?;
        let is = |one: &Waiting| one.id == id && as_of.is_none_or(|at| one.next_try == at);
        let Some(at) = outbox.waiting.iter().position(is) else { return Ok(false) };
        if !outbox.waiting.get_mut(at).is_some_and(change) {
            outbox.waiting.remove(at);
        }
        outbox.save(&home, &Machine)?;
        Ok(true)
    };
    // A panic in there is a bug that the next attempt meets again.
    tokio::task::spawn_blocking(work).await.unwrap_or(Ok(false))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receivers() -> Receivers {
        let file = "[mail]\nserver = \"127.0.0.1\"\nsecurity = \"none\"\nfrom = \"s@example.org\"\n\
                    to = [\"o@example.org\"]\nevents = [\"applied\", \"removed\", \"failed\"]\n";
        Receivers::read(&toml::from_str(file).unwrap(), std::path::Path::new("/"), "web01").unwrap()
    }

    fn found(status: &str) -> Mitigation {
        serde_json::from_value(serde_json::json!({"feed": "example", "id": "M1", "type": "UrlRewrite",
            "verdict": "Applies", "status": status, "in_force": status == "Applied"}))
        .unwrap()
    }

    /// A receiver that answers one request after another with these statuses, and returns what it was sent.
    async fn receiver(listener: tokio::net::TcpListener, statuses: &[&str]) -> Vec<String> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut got = Vec::new();
        for status in statuses {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut request, mut part) = (Vec::new(), [0_u8; 4096]);
            // The body is one object, and the last octet of the request.
            while !request.ends_with(b"}") {
                let length = stream.read(&mut part).await.unwrap();
                assert!(length > 0, "the request ended early");
                request.extend_from_slice(&part[..length]);
            }
            let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.unwrap();
            got.push(String::from_utf8(request).unwrap());
        }
        got
    }

    #[tokio::test]
    async fn what_waits_is_sent_until_it_is_taken_and_no_longer() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("stopgap.toml");
        std::fs::write(folder.path().join("secret"), "sixteen letters or more").unwrap();
        let text = format!(
            "data = \"data\"\n[notify]\nretry = \"10ms\"\n[[webhook]]\nname = \"own\"\nurl = \"http://{}/x\"\n\
             secret_file = \"secret\"\n",
            listener.local_addr().unwrap()
        );
        std::fs::write(&file, text).unwrap();
        let config = Config::load(&file, "web01").unwrap();
        let home = Home::open(&Machine, &config.data).unwrap();
        let receivers = super::receivers(&config).unwrap();
        let mut outbox = Outbox::default();
        let now = Timestamp::now();
        outbox.take(&receivers, "web01", &[found("Scheduled")], &[], now);
        outbox.take(&receivers, "web01", &[found("Applied")], &[], now);
        outbox.save(&home, &Machine).unwrap();
        let served = tokio::spawn(receiver(listener, &["503 Away", "503 Away", "204 Taken"]));
        send_all(config.clone()).await;
        let got = served.await.unwrap();
        let delivery = |request: &String| {
            let line = request.lines().find(|line| line.starts_with("stopgap-delivery: "));
            line.unwrap().to_owned()
        };
        assert_eq!(delivery(&got[0]), delivery(&got[2]), "the same, again");
        assert!(got[2].contains("example:M1 is in force on web01"), "{}", got[2]);
        assert!(got[2].contains("stopgap-signature: t="), "{}", got[2]);
        assert_eq!(Outbox::load(&home, &Machine).unwrap().waiting, []);
        assert_eq!(round(&config).await.unwrap(), None, "nothing waits");
    }

    /// A proxy that opens no way, and returns the heads of what it was asked until a client says nothing.
    async fn proxy(listener: tokio::net::TcpListener, times: usize) -> Vec<String> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut heads = Vec::new();
        for _ in 0..times {
            let (mut stream, _) = listener.accept().await.unwrap();
            let (mut head, mut part) = (Vec::new(), [0_u8; 4096]);
            while !head.ends_with(b"\r\n\r\n") {
                let length = stream.read(&mut part).await.unwrap();
                assert!(length > 0, "the request ended early");
                head.extend_from_slice(&part[..length]);
            }
            let _ = stream.write_all(b"HTTP/1.1 502 No\r\ncontent-length: 0\r\n\r\n").await;
            heads.push(String::from_utf8(head).unwrap().to_lowercase());
        }
        heads
    }

    #[tokio::test]
    async fn webhooks_are_reached_the_way_that_feeds_are() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let own = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = own.local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            }
        };
        write("way", "clerk:open sesame\n");
        let hook = |name: &str, url: &str| {
            format!("[[webhook]]\nname = \"{name}\"\nform = \"slack\"\nurl = \"{url}\"\n")
        };
        write(
            "stopgap.toml",
            &format!(
                "data = \"data\"\ninternet_web_proxy = \"http://{address}\"\n\
                 internet_web_proxy_bypass = [\"*.invalid\"]\ninternet_web_proxy_credentials = \"way\"\n{}{}{}{}",
                hook("away", "https://tickets.example.org/hook"),
                hook("bypassed", "https://chat.invalid/hook"),
                hook("here", &format!("http://{here}/hook")),
                format_args!(
                    "{}proxy = \"http://127.0.0.1:9\"\n",
                    hook("other", "https://b.example.org/hook")
                ),
            ),
        );
        let config = Config::load(&folder.path().join("stopgap.toml"), "web01").unwrap();
        let receivers = super::receivers(&config).unwrap();
        let asked = tokio::spawn(proxy(listener, 1));
        let taken = tokio::spawn(receiver(own, &["204 Taken"]));
        let message = Message::about(
            "1".into(),
            stopgap_tell::Kind::Test,
            "",
            (Timestamp::now(), Timestamp::now()),
            &[],
            0,
        );
        for (name, arrives) in [("bypassed", false), ("other", false), ("here", true), ("away", false)] {
            let receiver = receivers.named(&format!("webhook {name}")).unwrap();
            let sent = receiver.send(&message, "1", Timestamp::now()).await;
            assert_eq!(sent.is_ok(), arrives, "{name}: {sent:?}");
        }
        assert_eq!(taken.await.unwrap().len(), 1);
        let asked = asked.await.unwrap();
        assert!(asked[0].starts_with("connect tickets.example.org:443 "), "the only one: {}", asked[0]);
        assert!(asked[0].contains("proxy-authorization: basic y2xlcms6b3blbibzzxnhbwu="), "{}", asked[0]);
    }

    #[test]
    fn what_changed_between_two_cycles_waits_once() {
        let at = |minute: u8| format!("2026-11-22T12:{minute:02}:00Z").parse::<Timestamp>().unwrap();
        let mut outbox = Outbox::default();
        let mut titles = |minute: u8, status: &str| {
            outbox.take(&receivers(), "web01", &[found(status)], &[], at(minute));
            let text = serde_json::to_string(&outbox).unwrap();
            assert_eq!(serde_json::from_str::<Outbox>(&text).unwrap(), outbox, "it is kept as it is");
            outbox.waiting.iter().map(|one| one.message.title.clone()).collect::<Vec<_>>()
        };
        assert_eq!(titles(0, "Applied"), Vec::<String>::new(), "the first cycle knows of nothing before");
        assert_eq!(titles(1, "Applied"), Vec::<String>::new());
        assert_eq!(titles(2, "Blocked"), ["example:M1 was taken off on web01"]);
        assert_eq!(titles(3, "Applied").len(), 2);
        assert_eq!(titles(4, "Scheduled").len(), 3);
        let ids: std::collections::BTreeSet<&str> =
            outbox.waiting.iter().map(|one| one.id.as_str()).collect();
        assert_eq!(ids.len(), 3);
        assert_eq!(outbox.wait(at(4)), Some(Duration::ZERO));
        for minute in 0..500_u64 {
            let status = if minute % 2 == 0 { "Applied" } else { "Scheduled" };
            outbox.take(&receivers(), "web01", &[found(status)], &[], at(5));
        }
        assert_eq!(outbox.waiting.len(), MAX_WAITING);
    }
}
