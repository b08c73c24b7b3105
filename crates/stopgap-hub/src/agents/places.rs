//! Who waits for a place, where only so many servers may have something stopped, and is told on its stream when one
//! comes free. Who holds the places is in the store; this is of one hub, and whoever asked another, or has no stream,
//! asks again by itself within a minute.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

/// Servers that wait.
#[derive(Debug, Default)]
pub(super) struct Places {
    waiting: Mutex<HashSet<String>>,
    freed: watch::Sender<Arc<HashSet<String>>>,
}

impl Places {
    /// A server asked, and waits or does not.
    pub(super) fn waits(&self, server: &str, waits: bool) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waits {
            waiting.insert(server.to_owned());
        } else {
            waiting.remove(server);
        }
    }

    /// A place came free: whoever waits may ask again.
    pub(super) fn freed(&self) {
        let waited = std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner));
        if !waited.is_empty() {
            self.freed.send_replace(Arc::new(waited));
        }
    }

    /// Who waited when the last place came free.
    pub(super) fn heard(&self) -> watch::Receiver<Arc<HashSet<String>>> {
        self.freed.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_told_once_and_who_does_not_is_not() {
        let places = Places::default();
        let mut heard = places.heard();
        places.waits("a", true);
        places.waits("b", true);
        places.waits("b", false);
        places.freed();
        assert_eq!(**heard.borrow_and_update(), HashSet::from(["a".to_owned()]));
        places.freed();
        assert!(!heard.has_changed().unwrap(), "it was told, and asks again before it waits again");
    }
}
