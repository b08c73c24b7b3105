//! The event stream: "serial N is out", never the content.
//!
//! ```text
//! announce ──> watch channel (only the newest state) ──> one Server-Sent Events stream a subscriber
//! ```
//!
//! A subscriber gets the present state when it connects and each later one as it comes; one that
//! reads slowly skips to the newest. What it then does is its own: an event is a hint to fetch, and
//! polling stays the truth. Format: HTML Living Standard, section 9.2 "Server-sent events".
//!
//! Not in here: what is announced ([`crate::serve`] announces a feed file).

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{StatusCode, header};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, watch};
use tokio_stream::wrappers::WatchStream;
use tokio_stream::{Stream, StreamExt};

/// The name of the event in the stream.
pub const EVENT_NAME: &str = "feed";

/// Proxies close a quiet connection after 30 to 60 seconds, so a comment comes sooner.
const KEEP_ALIVE: Duration = Duration::from_secs(25);

/// How long a subscriber waits before it connects again, and what one that was turned away is told.
const RETRY: Duration = Duration::from_secs(5);

/// What the `data` line of an event holds, as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// The feed's name; a document of Microsoft's grammar has none.
    pub feed: Option<String>,
    /// The serial; a document of Microsoft's grammar has none.
    pub serial: Option<u64>,
    /// SHA-256 of the file as it is served, in lower-case hexadecimal.
    pub sha256: String,
    /// The same of its co-signatures and of the publisher's revocation lists: when one comes, agents look again.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<String>,
}

/// One stream, and all who follow it. Cloning shares it.
#[derive(Clone)]
pub struct Events {
    state: watch::Sender<State>,
    places: Arc<Semaphore>,
}

#[derive(Clone, Default)]
struct State {
    newest: Option<Announcement>,
    closed: bool,
}

impl Events {
    /// A stream that at most `subscribers` follow at a time. Each holds a connection and about
    /// 20 KiB, so this is what bounds the server's memory.
    pub fn new(subscribers: usize) -> Self {
        Self {
            state: watch::Sender::new(State::default()),
            places: Arc::new(Semaphore::new(subscribers.min(Semaphore::MAX_PERMITS))),
        }
    }

    /// Tells every subscriber, unless this is what was said last.
    pub fn announce(&self, announcement: Announcement) {
        self.state.send_if_modified(|state| {
            let new = state.newest.as_ref() != Some(&announcement);
            if new {
                state.newest = Some(announcement);
            }
            new
        });
    }

    /// Ends every stream, now and later: without this a shutdown would wait for subscribers that
    /// never leave.
    pub fn close(&self) {
        self.state.send_modify(|state| state.closed = true);
    }

    /// How many follow the stream.
    pub fn subscribers(&self) -> usize {
        self.state.receiver_count()
    }

    /// The answer to a subscriber's request: the stream, or 503 where all places are taken.
    ///
    /// `Last-Event-ID` needs no reading: the newest state comes first in any case, and it is the
    /// only one that matters.
    pub fn respond(&self) -> Response {
        let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
            let retry = RETRY.as_secs().to_string();
            return (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, retry)]).into_response();
        };
        let stream = self.stream().map(move |event| {
            let _held_while_the_stream_lives = &place;
            event
        });
        let sse = Sse::new(stream).keep_alive(KeepAlive::new().interval(KEEP_ALIVE));
        // Nginx in front would otherwise collect events in its buffer.
        ([("x-accel-buffering", "no")], sse).into_response()
    }

    fn stream(&self) -> impl Stream<Item = Result<Event, Infallible>> + use<> {
        WatchStream::new(self.state.subscribe())
            .take_while(|state| !state.closed)
            .filter_map(|state| state.newest)
            .filter_map(|newest| event(&newest))
            .map(Ok)
    }
}

fn event(announcement: &Announcement) -> Option<Event> {
    // A struct of strings and numbers always has a JSON form, on one line.
    let data = serde_json::to_string(announcement).ok()?;
    let event = Event::default().event(EVENT_NAME).retry(RETRY).data(data);
    Some(match announcement.serial {
        Some(serial) => event.id(serial.to_string()),
        None => event,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use futures_util::FutureExt as _;

    fn serial(serial: u64) -> Announcement {
        Announcement {
            feed: Some("example".into()),
            serial: Some(serial),
            sha256: "00".into(),
            beside: Vec::new(),
        }
    }

    async fn next(body: &mut axum::body::BodyDataStream) -> Option<String> {
        body.next().await.map(|chunk| String::from_utf8(chunk.unwrap().to_vec()).unwrap())
    }

    fn body(response: Response) -> axum::body::BodyDataStream {
        Body::into_data_stream(response.into_body())
    }

    #[tokio::test]
    async fn a_subscriber_gets_the_present_state_and_then_each_change() {
        let events = Events::new(1);
        events.announce(serial(41));
        let mut stream = body(events.respond());
        assert_eq!(
            next(&mut stream).await.unwrap(),
            "event: feed\nretry: 5000\ndata: {\"feed\":\"example\",\"serial\":41,\"sha256\":\"00\"}\nid: 41\n\n"
        );
        events.announce(serial(42));
        assert!(next(&mut stream).await.unwrap().contains("\"serial\":42"));
    }

    #[tokio::test]
    async fn a_slow_subscriber_skips_to_the_newest_and_a_repetition_is_silent() {
        let events = Events::new(1);
        events.announce(serial(1));
        let mut stream = body(events.respond());
        assert!(next(&mut stream).await.unwrap().contains("\"serial\":1"));
        events.announce(serial(2));
        events.announce(serial(3));
        assert!(next(&mut stream).await.unwrap().contains("\"serial\":3"));
        events.announce(serial(3));
        assert_eq!(next(&mut stream).now_or_never(), None, "nothing to say yet");
    }

    #[tokio::test]
    async fn a_place_is_free_again_when_its_subscriber_leaves() {
        let events = Events::new(1);
        let first = events.respond();
        let refused = events.respond();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers()[header::RETRY_AFTER], "5");
        drop(first);
        assert_eq!(events.respond().status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn a_closed_stream_ends_at_once() {
        let events = Events::new(1);
        events.close();
        assert_eq!(next(&mut body(events.respond())).await, None);
    }
}
