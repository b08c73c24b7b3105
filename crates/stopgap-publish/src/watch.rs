//! Notices that one file was replaced: by the system's file events at once, by a look every two
//! seconds in any case (network file systems and full event queues tell nothing).
//!
//! Not in here: what the file holds.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::Notify;
use tokio::time::{Interval, MissedTickBehavior};

/// The floor under file events.
const POLL: Duration = Duration::from_secs(2);

/// Why the next look is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wake {
    /// The system said that the file changed.
    Event,
    /// It is time to compare.
    Poll,
}

/// Watches the folder of one file: a rename replaces the file itself, so a watch on the file would
/// follow the old one.
pub(crate) struct FileWatch {
    changed: Arc<Notify>,
    poll: Interval,
    _watcher: Option<RecommendedWatcher>,
}

impl FileWatch {
    /// Starts to watch. Where the system has no file events to give, the poll remains, and the log
    /// says so.
    pub(crate) fn start(file: &Path) -> Self {
        let changed = Arc::new(Notify::new());
        let watcher = match watcher(file, Arc::clone(&changed)) {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                tracing::warn!(file = %file.display(), %error, "no file events here; looking every {POLL:?}");
                None
            }
        };
        let mut poll = tokio::time::interval(POLL);
        poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { changed, poll, _watcher: watcher }
    }

    /// Waits for the next reason to look. Cancelling loses nothing.
    pub(crate) async fn next(&mut self) -> Wake {
        tokio::select! {
            () = self.changed.notified() => Wake::Event,
            _ = self.poll.tick() => Wake::Poll,
        }
    }
}

fn watcher(file: &Path, changed: Arc<Notify>) -> notify::Result<RecommendedWatcher> {
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    };
    let name: Option<OsString> = file.file_name().map(ToOwned::to_owned);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        // An error (a full queue) may hide a change, so it counts as one.
        let relevant = event.is_err()
            || event.is_ok_and(|event| {
                is_change(event.kind)
                    && (event.need_rescan() || event.paths.iter().any(|path| is_ours(path, name.as_deref())))
            });
        if relevant {
            changed.notify_one();
        }
    })?;
    watcher.watch(&folder, RecursiveMode::NonRecursive)?;
    Ok(watcher)
}

/// The file, or what is named after it: `feed.xml.cosignature-1.xml` belongs to `feed.xml`.
fn is_ours(path: &Path, name: Option<&OsStr>) -> bool {
    let own = |found: &OsStr| {
        name.is_some_and(|name| found.as_encoded_bytes().starts_with(name.as_encoded_bytes()))
    };
    path.file_name().is_some_and(own)
}

/// Our own reading is an event too, and must not wake us again.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => true,
        EventKind::Access(_) => false,
        EventKind::Any
        | EventKind::Create(_)
        | EventKind::Modify(_)
        | EventKind::Remove(_)
        | EventKind::Other => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether an event comes within ten polls.
    async fn event_comes(watch: &mut FileWatch) -> bool {
        for _ in 0..10 {
            if watch.next().await == Wake::Event {
                return true;
            }
        }
        false
    }

    #[tokio::test]
    async fn a_rename_wakes_by_event_and_reading_or_a_neighbour_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("feed.xml");
        let mut watch = FileWatch::start(&file);
        assert_eq!(watch.next().await, Wake::Poll, "the first poll is due at once");

        std::fs::write(folder.path().join("staged"), "new").unwrap();
        assert_eq!(watch.next().await, Wake::Poll, "a neighbour");
        std::fs::rename(folder.path().join("staged"), &file).unwrap();
        assert!(event_comes(&mut watch).await);

        // The rename itself may come as more than one event.
        while watch.next().await == Wake::Event {}
        assert_eq!(std::fs::read(&file).unwrap(), b"new");
        assert_eq!(watch.next().await, Wake::Poll, "our own reading");
    }
}
