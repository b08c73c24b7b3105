//! Following a feed's event stream: "serial N is out" starts a cycle at once. The poll stays as the
//! floor; a stream that ends is taken up again with growing, jittered waits.
//!
//! The event carries no content: what is applied always comes from a verified document.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use futures_util::StreamExt;
use stopgap_feed::FeedName;
use tokio::sync::mpsc;
use tracing::debug;
use url::Url;

use crate::fetch::Fetcher;

/// A stream without an octet for this long is dead: servers send a comment every 25 s.
pub(crate) const SILENCE: Duration = Duration::from_secs(90);
/// From the request to the head of the answer.
pub(crate) const HEAD: Duration = Duration::from_secs(30);
/// A stream that lasted this long worked; the next wait begins anew.
pub(crate) const LASTING: Duration = Duration::from_secs(60);
/// A line of an event stream longer than this is not ours.
const MAX_LINE: usize = 64 * 1024;
/// Announcements that start a cycle at once: a publisher at work releases again and again.
const BURST: u32 = 30;
/// Further ones come no faster: whoever holds the stream must not keep this server busy without end.
const EVERY: Duration = Duration::from_secs(10);
const MIN_WAIT: Duration = Duration::from_millis(500);
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(300);

/// Follows `url` until `wake` is closed, sending the feed's name at each announcement. `to_private`: a
/// redirect may lead to a private network.
pub async fn follow(
    fetcher: Fetcher,
    url: Url,
    to_private: bool,
    feed: FeedName,
    wake: mpsc::Sender<FeedName>,
) {
    let mut wait = waits();
    let began = Instant::now();
    let mut pace = Pace::default();
    let mut next = || pace.wait(began.elapsed());
    while !wake.is_closed() {
        let start = Instant::now();
        let ended = listen(&fetcher, &url, to_private, &feed, &wake, &mut next).await;
        debug!(%feed, ?ended, "the event stream ended");
        // A stream says where it stands when it begins: one that is cut at once says the same again
        // and again, and is no reason to come back soon.
        if start.elapsed() >= LASTING {
            wait = waits();
        }
        tokio::time::sleep(wait.next().unwrap_or(MAX_WAIT)).await;
    }
}

/// The waits between two connections: growing, each a random part longer.
pub(crate) fn waits() -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(MIN_WAIT)
        .with_max_delay(MAX_WAIT)
        .with_jitter()
        .without_max_times()
        .build()
}

/// One connection; ends with what went wrong, if anything did.
async fn listen(
    fetcher: &Fetcher,
    url: &Url,
    to_private: bool,
    feed: &FeedName,
    wake: &mpsc::Sender<FeedName>,
    next: &mut impl FnMut() -> Duration,
) -> Result<(), String> {
    let response = tokio::time::timeout(HEAD, fetcher.stream(url, to_private))
        .await
        .map_err(|_| "no answer".to_owned())?
        .map_err(|failure| failure.to_string())?;
    let mut stream = response.bytes_stream();
    let mut reader = EventReader::default();
    while let Ok(Some(chunk)) = tokio::time::timeout(SILENCE, stream.next()).await {
        let chunk = chunk.map_err(|error| error.to_string())?;
        let events = reader.push(&chunk).map_err(str::to_owned)?;
        if !events.is_empty() {
            // What comes meanwhile is one announcement.
            tokio::time::sleep(next()).await;
            if wake.send(feed.clone()).await.is_err() {
                break;
            }
        }
    }
    Ok(())
}

/// When an announcement may start a cycle: [`BURST`] at once, and from there on one [`EVERY`] so often.
/// Times count from when the stream was first followed.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// When all that was let through will have been paid for.
    paid: Duration,
}

impl Pace {
    /// How long this one waits.
    pub(crate) fn wait(&mut self, now: Duration) -> Duration {
        let wait = self.paid.saturating_sub(EVERY.saturating_mul(BURST - 1)).saturating_sub(now);
        self.paid = self.paid.max(now).saturating_add(EVERY);
        wait
    }
}

/// One event of a stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Announced {
    /// Its name; empty where it has none.
    pub(crate) event: String,
    /// What it says.
    pub(crate) data: String,
    /// Where the stream goes on after it.
    pub(crate) id: Option<String>,
}

/// Reads the events of a stream (WHATWG HTML, 9.2.6): an event ends with an empty line and holds at least one
/// `data` field. Of a feed's stream it does not matter what they say.
#[derive(Debug, Default)]
pub(crate) struct EventReader {
    line: Vec<u8>,
    next: Announced,
    has_data: bool,
}

impl EventReader {
    pub(crate) fn push(&mut self, octets: &[u8]) -> Result<Vec<Announced>, &'static str> {
        let mut events = Vec::new();
        for octet in octets {
            match octet {
                b'\n' if self.line.is_empty() => {
                    let next = std::mem::take(&mut self.next);
                    if std::mem::take(&mut self.has_data) {
                        events.push(next);
                    }
                }
                b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    self.field(&String::from_utf8_lossy(&line))?;
                }
                b'\r' => {}
                octet if self.line.len() < MAX_LINE => self.line.push(*octet),
                _ => return Err("a line of the event stream is too long"),
            }
        }
        Ok(events)
    }

    fn field(&mut self, line: &str) -> Result<(), &'static str> {
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "event" => value.clone_into(&mut self.next.event),
            "id" => self.next.id = Some(value.to_owned()),
            "data" => {
                if self.has_data {
                    self.next.data.push('\n');
                }
                self.has_data = true;
                self.next.data.push_str(value);
            }
            _ => {}
        }
        if self.next.data.len() > MAX_LINE { Err("an event of the stream is too long") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_counted_however_they_are_cut() {
        let stream =
            b": keep-alive\n\nevent: feed\nid: 1\ndata: {}\n\nevent: feed\r\ndata: {}\r\n\r\nid: 3\n\n";
        for size in 1..stream.len() {
            let mut reader = EventReader::default();
            let events: Vec<Announced> =
                stream.chunks(size).flat_map(|chunk| reader.push(chunk).unwrap()).collect();
            let words: Vec<(&str, &str)> =
                events.iter().map(|event| (event.event.as_str(), event.data.as_str())).collect();
            assert_eq!(words, [("feed", "{}"), ("feed", "{}")], "in pieces of {size}");
            assert_eq!((events[0].id.as_deref(), &events[1].id), (Some("1"), &None));
        }
    }

    #[test]
    fn a_stream_that_never_stops_starts_a_cycle_now_and_then() {
        let (mut pace, mut now, hour) = (Pace::default(), Duration::ZERO, Duration::from_secs(3600));
        let mut cycles = 0;
        while now < hour {
            now += pace.wait(now) + Duration::from_millis(1);
            cycles += 1;
            assert!(cycles > BURST || now < Duration::from_secs(1), "a publisher at work waits for nothing");
        }
        assert!((360..=391).contains(&cycles), "{cycles}");
        // After an hour of peace it is as it was.
        assert_eq!(pace.wait(now + hour), Duration::ZERO);
    }

    #[test]
    fn an_endless_line_is_refused() {
        let mut reader = EventReader::default();
        assert!(reader.push(&vec![b'x'; MAX_LINE]).is_ok());
        assert!(reader.push(b"x").is_err());
        let mut reader = EventReader::default();
        let line = format!("data: {}\n", "x".repeat(MAX_LINE / 2));
        assert!(reader.push(line.as_bytes()).is_ok());
        assert!(reader.push(line.repeat(2).as_bytes()).is_err(), "nor may an event have lines without end");
    }
}
