//! Watching files: ours on every target, those of a server that ours are put into, the operator's word, the drop-in
//! facts and the package database. A change of any of them starts a cycle, which finds out what changed by looking.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use stopgap_drivers::{Machine, iis};
use tokio::sync::mpsc;

use crate::config::{Config, TargetKind};
use crate::facts;

/// Watches until dropped.
pub struct Watch {
    /// Watches for as long as it is kept.
    _watcher: RecommendedWatcher,
    places: Places,
    folders: BTreeMap<PathBuf, Folder>,
    /// Something was not told: what is watched is not what it was.
    lost: Arc<AtomicBool>,
}

/// A folder that is watched. One of the same name that took its place is another.
#[derive(Debug, PartialEq, Eq)]
struct Folder {
    recursive: bool,
    /// Its device and number, and when it was made: numbers are given out again.
    is: Option<((u64, u64), Option<SystemTime>)>,
}

/// Files that a cycle itself writes whatever happens; they are no news.
const OURS: [&str; 5] = ["lock", "ledger.json", "packages.json", "journal.jsonl", "journal.1.jsonl"];

/// The drop-in folders beside the configuration.
const DROP_INS: [&str; 3] = ["feeds.d", "targets.d", "facts.d"];

/// Watches the data folder (with the targets' folders below it), the configuration and its drop-in
/// folders. Sends one message a change.
pub fn watch(config: &Config, wake: mpsc::Sender<()>) -> notify::Result<Watch> {
    Watch::begin(Places::of(config), wake)
}

impl Watch {
    /// Another watch, where these are other folders than at its beginning; nothing where this one goes on. Each
    /// has a thread and a queue of the kernel's, which a service is not to make in each cycle.
    ///
    /// # Errors
    /// What cannot be watched; this one goes on.
    pub fn renewed(&self, config: &Config, wake: &mpsc::Sender<()>) -> notify::Result<Option<Watch>> {
        let places = Places::of(config);
        let is_same = places == self.places && places.folders() == self.folders;
        if is_same && !self.lost.load(Ordering::Relaxed) {
            return Ok(None);
        }
        Watch::begin(places, wake.clone()).map(Some)
    }

    fn begin(places: Places, wake: mpsc::Sender<()>) -> notify::Result<Watch> {
        // Before they are watched: one that is replaced in between is another the next time.
        let folders = places.folders();
        let lost = Arc::new(AtomicBool::new(false));
        let (seen, is_lost) = (places.clone(), Arc::clone(&lost));
        let mut watcher = notify::recommended_watcher(move |event| {
            let news = news(&seen, &event);
            if news == News::Lost {
                is_lost.store(true, Ordering::Relaxed);
            }
            if news != News::None {
                // A full queue already holds the same message.
                let _ = wake.try_send(());
            }
        })?;
        for (path, folder) in &folders {
            let mode = if folder.recursive { RecursiveMode::Recursive } else { RecursiveMode::NonRecursive };
            watcher.watch(path, mode)?;
        }
        Ok(Watch { _watcher: watcher, places, folders, lost })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    None,
    Some,
    /// The kernel's queue was full, or a folder could not be watched.
    Lost,
}

fn news(places: &Places, event: &notify::Result<Event>) -> News {
    let Ok(event) = event else { return News::Lost };
    if event.need_rescan() {
        return News::Lost;
    }
    let is_news = || event.paths.iter().any(|path| places.is_news(path));
    match !matches!(event.kind, EventKind::Access(_)) && is_news() {
        true => News::Some,
        false => News::None,
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Places {
    data: PathBuf,
    logs: PathBuf,
    configuration: PathBuf,
    /// And the files of servers that rules are put into.
    packages: Vec<PathBuf>,
}

impl Folder {
    /// Nothing where there is no such folder.
    fn at(path: &Path, recursive: bool) -> Option<Folder> {
        let metadata = path.metadata().ok().filter(std::fs::Metadata::is_dir)?;
        #[cfg(unix)]
        let number = {
            use std::os::unix::fs::MetadataExt;
            (metadata.dev(), metadata.ino())
        };
        #[cfg(not(unix))]
        let number = (0, 0);
        Some(Folder { recursive, is: Some((number, metadata.created().ok())) })
    }
}

impl Places {
    fn of(config: &Config) -> Places {
        let of_iis = config.targets.iter().filter(|target| target.kind == TargetKind::Iis);
        let of_iis = of_iis.flat_map(|target| iis::watched(&Machine, &target.root));
        Places {
            data: config.data.clone(),
            logs: config.logs.clone(),
            configuration: config.path.clone(),
            packages: facts::watched(Path::new("/")).into_iter().chain(of_iis).collect(),
        }
    }

    /// The folders that are to be watched.
    fn folders(&self) -> BTreeMap<PathBuf, Folder> {
        let beside = self.configuration.parent();
        let drop_ins = beside.iter().flat_map(|folder| DROP_INS.map(|name| folder.join(name)));
        // An update can end what a mitigation is needed for.
        let packages = self.packages.iter().filter_map(|file| file.parent());
        let flat = packages.chain(beside).map(Path::to_owned).chain(drop_ins);
        let flat = flat.filter_map(|path| Folder::at(&path, false).map(|folder| (path, folder)));
        let mut folders: BTreeMap<PathBuf, Folder> = flat.collect();
        let data = Folder::at(&self.data, true).unwrap_or(Folder { recursive: true, is: None });
        folders.insert(self.data.clone(), data);
        folders
    }

    fn is_news(&self, path: &Path) -> bool {
        if path.starts_with(&self.logs) {
            return false;
        }
        if let Ok(below) = path.strip_prefix(&self.data) {
            let parts: Vec<_> = below.components().map(|part| part.as_os_str().to_string_lossy()).collect();
            let Some(first) = parts.first() else { return false };
            // That this server joined or left a hub is news; what is told and said wakes the service itself.
            if first == "hub" {
                return parts.get(1).is_some_and(|name| name == "enrollment.json");
            }
            let is_book = OURS.iter().any(|ours| first.starts_with(ours)) || first == "feeds";
            // What a driver prepares is news only once `live` points to it.
            let is_staging = parts.iter().any(|part| part.starts_with('.') || part == "staged");
            return !is_book && !is_staging && !parts.iter().any(|part| part.ends_with(".sock"));
        }
        let below = self.configuration.parent().and_then(|folder| path.strip_prefix(folder).ok());
        let in_drop_ins = below
            .and_then(|below| below.components().next())
            .is_some_and(|first| DROP_INS.iter().any(|name| first.as_os_str() == *name));
        path == self.configuration || in_drop_ins || self.packages.iter().any(|file| file == path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_does_not_wake_itself_by_its_own_books() {
        let places = Places {
            data: "/data".into(),
            logs: "/data/logs".into(),
            configuration: "/etc/stopgap/stopgap.toml".into(),
            packages: facts::watched(Path::new("/")),
        };
        for path in [
            "/data/nginx/live",
            "/data/nginx/sets/x/server.conf",
            "/data/operator.json",
            "/data/hub/enrollment.json",
            "/data/wake.txt",
            "/etc/stopgap/stopgap.toml",
            "/etc/stopgap/facts.d/exchange.toml",
        ] {
            assert!(places.is_news(Path::new(path)), "{path}");
        }
        for path in ["/var/lib/dpkg/status", "/var/lib/rpm/rpmdb.sqlite"] {
            assert_eq!(places.is_news(Path::new(path)), cfg!(unix), "{path}");
        }
        for path in [
            "/data",
            "/data/ledger.json",
            "/data/packages.json",
            "/data/ledger.json.tmp",
            "/data/journal.jsonl",
            "/data/lock",
            "/data/hub/reports.json",
            "/data/hub/settings.json",
            "/data/hub/.enrollment.json.stopgap-new",
            "/data/feeds/example.xml",
            "/data/logs/stopgap.2026-11-22.log",
            "/data/nginx/staged/live/http.conf",
            "/data/nginx/sets/.new/http.conf",
            "/data/nginx/.live-new",
            "/data/gateway/control.sock",
            "/etc/stopgap/other.toml",
            "/var/lib/dpkg/status-new",
            "/var/lib/dpkg/lock",
            "/var/lib/rpm/rpmdb.sqlite-wal",
        ] {
            assert!(!places.is_news(Path::new(path)), "{path}");
        }
    }
}
