//! Who listens: one stream for each server, and so many in all.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// The streams that are open.
#[derive(Debug)]
pub(super) struct Lines {
    most: usize,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    /// Of each server: its number, and what ends it.
    streams: HashMap<Arc<str>, (u64, oneshot::Sender<()>)>,
    last: u64,
}

/// A stream's seat; given back when dropped.
#[derive(Debug)]
pub(super) struct Seat {
    lines: Arc<Lines>,
    server: Arc<str>,
    number: u64,
    taken: oneshot::Receiver<()>,
}

impl Lines {
    pub(super) fn new(most: usize) -> Lines {
        Lines { most, open: Mutex::default() }
    }

    /// A seat for a server. The stream that it had ends: it is half dead more often than not, and whoever has a
    /// server's credential must not hold the places of others. `None`: there are as many as there may be.
    pub(super) fn seat(self: &Arc<Self>, server: &str) -> Option<Seat> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.streams.len() >= self.most && !open.streams.contains_key(server) {
            return None;
        }
        open.last += 1;
        let (number, server) = (open.last, Arc::<str>::from(server));
        let (end, taken) = oneshot::channel();
        open.streams.insert(Arc::clone(&server), (number, end));
        Some(Seat { lines: Arc::clone(self), server, number, taken })
    }
}

impl Seat {
    /// Waits until another stream of the same server has it.
    pub(super) async fn taken(&mut self) {
        let _ = (&mut self.taken).await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.lines.open.lock().unwrap_or_else(PoisonError::into_inner);
        if open.streams.get(&self.server).is_some_and(|(number, _)| *number == self.number) {
            open.streams.remove(&self.server);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_second_stream_of_a_server_ends_the_first_and_takes_no_other_place() {
        let lines = Arc::new(Lines::new(2));
        let mut first = lines.seat("a").unwrap();
        let _other = lines.seat("b").unwrap();
        assert!(lines.seat("c").is_none());
        let second = lines.seat("a").unwrap();
        first.taken().await;
        drop(first);
        assert!(lines.seat("c").is_none(), "the second has the seat");
        drop(second);
        assert!(lines.seat("c").is_some());
    }
}
