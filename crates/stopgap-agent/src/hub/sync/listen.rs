//! The hub's event stream: what is said there is a reason to ask, never content.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use serde::Deserialize;
use stopgap_core::wire::event;
use stopgap_feed::FeedName;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::debug;

use crate::follow::{Announced, EventReader, HEAD, LASTING, MAX_WAIT, Pace, SILENCE, waits};
use crate::hub::client::Client;

/// Beside the growing wait: ten thousand servers come back within this time at the earliest.
const SPREAD: Duration = Duration::from_secs(5);

/// Octets of an event's id.
const MAX_ID: usize = 256;

/// What was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    /// This server's settings have this version.
    Settings(String),
    /// A feed has this serial at the mirror.
    Feed(FeedName, Option<u64>),
    /// A place came free, or may have while nobody listened: what waits to be stopped may be asked for.
    Place,
    /// The stream cannot be opened.
    Lost,
    /// It can, after it could not.
    Back,
}

/// Listens until `say` is closed.
pub(super) async fn listen(client: Client, say: mpsc::Sender<Heard>) {
    let mut wait = waits();
    let mut pace = Pace::default();
    let began = Instant::now();
    let mut last = None;
    let mut lost = false;
    while !say.is_closed() {
        let start = Instant::now();
        let ended = connection(&client, &say, &mut pace, began, (&mut last, &mut lost)).await;
        debug!(why = ended.as_ref().err().map(|ended| ended.why.as_str()), "the hub's event stream ended");
        if start.elapsed() >= LASTING {
            wait = waits();
        }
        if ended.is_err() && !std::mem::replace(&mut lost, true) && say.send(Heard::Lost).await.is_err() {
            return;
        }
        let asked = ended.err().and_then(|ended| ended.retry_after).unwrap_or_default();
        tokio::time::sleep(pause(wait.next().unwrap_or(MAX_WAIT), asked)).await;
    }
}

/// All servers of a hub that goes away lose it in one moment, and must not come back in one.
fn pause(grown: Duration, asked: Duration) -> Duration {
    grown.max(asked) + SPREAD.mul_f64(fastrand::f64())
}

/// Why there is no stream any more.
#[derive(Debug)]
struct Ended {
    why: String,
    /// When the hub wants to be asked again.
    retry_after: Option<Duration>,
}

impl Ended {
    fn of(why: &str) -> Ended {
        Ended { why: why.to_owned(), retry_after: None }
    }
}

async fn connection(
    client: &Client,
    say: &mpsc::Sender<Heard>,
    pace: &mut Pace,
    began: Instant,
    (last, lost): (&mut Option<String>, &mut bool),
) -> Result<(), Ended> {
    let opened = timeout(HEAD, client.events(last.as_deref())).await;
    let response = opened.map_err(|_| Ended::of("no answer"))?.map_err(|error| Ended {
        retry_after: error.retry_after(MAX_WAIT),
        ..Ended::of(&error.to_string())
    })?;
    if std::mem::take(lost) && say.send(Heard::Back).await.is_err() {
        return Ok(());
    }
    if say.send(Heard::Place).await.is_err() {
        return Ok(());
    }
    let mut stream = response.bytes_stream();
    let mut reader = EventReader::default();
    while let Ok(Some(chunk)) = timeout(SILENCE, stream.next()).await {
        let chunk = chunk.map_err(|error| Ended::of(&error.to_string()))?;
        for announced in reader.push(&chunk).map_err(Ended::of)? {
            // It is sent in a header: a long one would keep the stream from being opened ever again.
            if announced.id.as_ref().is_some_and(|id| id.len() <= MAX_ID) {
                last.clone_from(&announced.id);
            }
            let Some(heard) = heard(&announced) else { continue };
            // Whoever holds the stream must not keep this server busy without end.
            tokio::time::sleep(pace.wait(began.elapsed())).await;
            if say.send(heard).await.is_err() {
                return Ok(());
            }
        }
    }
    Ok(())
}

#[derive(Deserialize)]
struct Settings {
    version: String,
}

#[derive(Deserialize)]
struct Feed {
    feed: FeedName,
    #[serde(default)]
    serial: Option<u64>,
}

/// What this build understands of it.
fn heard(announced: &Announced) -> Option<Heard> {
    match announced.event.as_str() {
        event::SETTINGS => {
            serde_json::from_str(&announced.data).ok().map(|Settings { version }| Heard::Settings(version))
        }
        event::FEED => {
            serde_json::from_str(&announced.data).ok().map(|Feed { feed, serial }| Heard::Feed(feed, serial))
        }
        event::PLACE => Some(Heard::Place),
        _ => None,
    }
}

/// A stream of a hub sends a comment every so often; twice that and more is [`SILENCE`].
const _: () = assert!(SILENCE.as_secs() > 2 * Duration::from_secs(25).as_secs());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_thousand_that_lose_their_hub_in_one_moment_come_back_over_seconds() {
        fastrand::seed(7);
        let mut tenths = std::collections::BTreeMap::<u128, usize>::new();
        for _ in 0..10_000 {
            let back = pause(waits().next().unwrap(), Duration::ZERO);
            *tenths.entry(back.as_millis() / 100).or_default() += 1;
        }
        let fullest = tenths.values().max().unwrap();
        assert!(*fullest < 400 && tenths.len() >= 45, "{tenths:?}");
        let asked = Duration::from_secs(40);
        assert!(pause(Duration::ZERO, asked) >= asked, "a hub that is crowded says when");
    }

    /// How many of ten thousand come back in each second after a hub was away for so long.
    fn arrivals(outage: u64) -> std::collections::BTreeMap<u64, usize> {
        fastrand::seed(7);
        let outage = Duration::from_secs(outage);
        let mut seconds = std::collections::BTreeMap::new();
        for _ in 0..10_000 {
            let (mut at, mut wait) = (Duration::ZERO, waits());
            while at < outage {
                at += pause(wait.next().unwrap(), Duration::ZERO);
            }
            *seconds.entry((at - outage).as_secs()).or_default() += 1;
        }
        seconds
    }

    #[test]
    fn the_longer_a_hub_was_away_the_fewer_come_back_in_one_second() {
        // Seconds of the outage, and the most that may come in any second after it: the hub's own page says so.
        for (outage, most) in [(5, 3500), (60, 800), (600, 80), (86_400, 60)] {
            let arrivals = arrivals(outage);
            let fullest = *arrivals.values().max().unwrap();
            assert!(fullest <= most, "away for {outage} s: {fullest} in one second, {arrivals:?}");
            let last = *arrivals.keys().last().unwrap();
            assert!(last <= outage + 10 && last <= 2 * MAX_WAIT.as_secs() + 10, "{outage}: after {last} s");
        }
    }

    #[test]
    fn what_is_not_understood_is_passed_over() {
        let said =
            |event: &str, data: &str| heard(&Announced { event: event.into(), data: data.into(), id: None });
        assert_eq!(said("settings", r#"{"version":"7"}"#), Some(Heard::Settings("7".into())));
        let feed = Some(Heard::Feed("example".parse().unwrap(), Some(12)));
        assert_eq!(said("feed", r#"{"feed":"example","serial":12}"#), feed);
        assert_eq!(said("feed", r#"{"feed":"../example"}"#), None);
        assert_eq!(said("place", "{}"), Some(Heard::Place));
        assert_eq!(said("weather", "{}"), None);
        assert_eq!(said("settings", "fine"), None);
    }
}
