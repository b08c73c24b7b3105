//! Watching files: ours on every target, those of a server that ours are put into, the operator's word, the drop-in
//! facts and the package database. A change of any of them starts a cycle, which finds out what changed by looking.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use stopgap_drivers::{Machine, iis};
use tokio::sync::mpsc;

use crate::config::{Config, TargetKind};
use crate::facts;

/// Watches until dropped.
pub struct Watch(#[allow(dead_code)] RecommendedWatcher);

/// Files that a cycle itself writes whatever happens; they are no news.
const OURS: [&str; 5] = ["lock", "ledger.json", "packages.json", "journal.jsonl", "journal.1.jsonl"];

/// The drop-in folders beside the configuration.
const DROP_INS: [&str; 3] = ["feeds.d", "targets.d", "facts.d"];

/// Watches the data folder (with the targets' folders below it), the configuration and its drop-in
/// folders. Sends one message a change.
pub fn watch(config: &Config, wake: mpsc::Sender<()>) -> notify::Result<Watch> {
    let of_iis = config.targets.iter().filter(|target| target.kind == TargetKind::Iis);
    let of_iis = of_iis.flat_map(|target| iis::watched(&Machine, &target.root));
    let places = Places {
        data: config.data.clone(),
        logs: config.logs.clone(),
        configuration: config.path.clone(),
        packages: facts::watched(Path::new("/")).into_iter().chain(of_iis).collect(),
    };
    let packages: BTreeSet<PathBuf> = places.packages.iter().filter_map(|file| folder(file)).collect();
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        let Ok(event) = event else { return };
        let is_news = || event.paths.iter().any(|path| places.is_news(path));
        if !matches!(event.kind, EventKind::Access(_)) && is_news() {
            // A full queue already holds the same message.
            let _ = wake.try_send(());
        }
    })?;
    watcher.watch(&config.data, RecursiveMode::Recursive)?;
    // An update can end what a mitigation is needed for.
    for folder in packages.iter().filter(|folder| folder.is_dir()) {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
    }
    if let Some(folder) = config.path.parent() {
        watcher.watch(folder, RecursiveMode::NonRecursive)?;
        for drop_in in DROP_INS.map(|name| folder.join(name)).iter().filter(|folder| folder.is_dir()) {
            watcher.watch(drop_in, RecursiveMode::NonRecursive)?;
        }
    }
    Ok(Watch(watcher))
}

struct Places {
    data: PathBuf,
    logs: PathBuf,
    configuration: PathBuf,
    /// And the files of servers that rules are put into.
    packages: Vec<PathBuf>,
}

fn folder(file: &Path) -> Option<PathBuf> {
    file.parent().map(Path::to_owned)
}

impl Places {
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
            "/var/lib/dpkg/status",
            "/var/lib/rpm/rpmdb.sqlite",
        ] {
            assert!(places.is_news(Path::new(path)), "{path}");
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
