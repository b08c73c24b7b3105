//! The model kept as the files are: read again after each change, and swapped whole. A request keeps the model that
//! it began with.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::model::Model;
use super::{IisSettings, read};

/// Who changes a file often changes another one next, or has not written all of it yet.
const SETTLE: Duration = Duration::from_millis(50);
/// After a change the files are read once more, for what was written into a folder that was not watched yet;
/// where they cannot be watched at all, they are read so often.
const AGAIN: Duration = Duration::from_secs(1);

/// What tells of changes.
pub(super) struct Watch {
    watcher: notify::Result<RecommendedWatcher>,
    woken: mpsc::Receiver<()>,
    /// The other end lives as long as the watch, whether there is a watcher or not.
    _wake: mpsc::Sender<()>,
}

impl Watch {
    /// Watches from now on; to be called before the first reading, so that nothing falls between.
    pub(super) fn new(folder: &Path) -> Watch {
        let (wake, woken) = mpsc::channel(1);
        let watcher = watch(folder, wake.clone());
        Watch { watcher, woken, _wake: wake }
    }
}

/// Keeps the model until dropped.
pub(super) async fn keep(model: Arc<ArcSwap<Model>>, settings: IisSettings, watch: Watch) {
    let Watch { watcher, mut woken, _wake } = watch;
    if let Err(error) = &watcher {
        tracing::warn!(%error, "the configuration cannot be watched and is read every second");
    }
    let mut again = watcher.is_err();
    loop {
        let said = match again {
            true => timeout(AGAIN, woken.recv()).await.is_ok(),
            false => woken.recv().await.is_some(),
        };
        again = said || watcher.is_err();
        sleep(SETTLE).await;
        // What came until now is seen by this reading.
        while woken.try_recv().is_ok() {}
        let now = match read(&settings).await {
            Ok(Ok(model)) => model,
            Ok(Err(error)) => Model::dead(error.to_string()),
            Err(_) => continue,
        };
        match &now.dead {
            Some(why) => tracing::warn!(%why, "no site starts"),
            None => tracing::debug!("the configuration was read"),
        }
        model.store(Arc::new(now));
    }
}

fn watch(folder: &Path, wake: mpsc::Sender<()>) -> notify::Result<RecommendedWatcher> {
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        if !event.is_ok_and(|event| matches!(event.kind, EventKind::Access(_))) {
            // A full queue already holds the same message.
            let _ = wake.try_send(());
        }
    })?;
    watcher.watch(folder, RecursiveMode::Recursive)?;
    Ok(watcher)
}
