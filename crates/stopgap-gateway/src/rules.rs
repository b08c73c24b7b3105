//! The rules in force: read from their file, compiled beside the request path, swapped whole. Each
//! request looks the book up anew, so a swap holds for the next request of every connection, and
//! loses none. What earlier books have let in is counted until it has ended (`era.rs`).

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwap, Guard};

use crate::era::{Eras, Older};
use crate::verdict::{RuleBook, RulesError};

/// Octets of a rules file; a mitigation has some hundreds.
const MAX_RULES_FILE: u64 = 16 * 1024 * 1024;

pub(crate) struct Rules {
    path: PathBuf,
    book: ArcSwap<RuleBook>,
    /// What was wrong with the file when it was last read.
    error: Mutex<Option<String>>,
    /// What earlier books have let in.
    eras: Eras,
    /// One reader at a time: the file that was read last is the one in force.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error("cannot read {}: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("{}: larger than {MAX_RULES_FILE} octets", path.display())]
    TooLarge { path: PathBuf },
    #[error("{}: {}", path.display(), chain(source))]
    Rules { path: PathBuf, source: Box<RulesError> },
    #[error("reading the rules was interrupted")]
    Interrupted,
}

impl Rules {
    /// No rules, until the first [`Rules::activate`].
    pub(crate) fn new(path: PathBuf) -> Self {
        Rules {
            path,
            book: ArcSwap::from_pointee(RuleBook::empty()),
            error: Mutex::default(),
            eras: Eras::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// The book in force. To be held for the judging of one request.
    pub(crate) fn book(&self) -> Guard<Arc<RuleBook>> {
        self.book.load()
    }

    /// What was wrong with the file when it was last read.
    pub(crate) fn error(&self) -> Option<String> {
        self.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What earlier books have let in and has not ended.
    pub(crate) fn older(&self) -> Older {
        self.eras.older()
    }

    /// Reads the file and puts it in force. Where that fails, what was in force stays.
    pub(crate) async fn activate(&self) {
        let _turn = self.turn.lock().await;
        let path = self.path.clone();
        let earlier = self.book.load_full();
        let loaded = tokio::task::spawn_blocking(move || load(&path, &earlier)).await;
        let error = match loaded.unwrap_or(Err(LoadError::Interrupted)) {
            Ok(book) => {
                tracing::info!(rules = book.rules, active = book.hash, "rules in force");
                let earlier = self.eras.close(|| self.book.swap(Arc::new(book)));
                // Thousands of compiled patterns take their time, which no request should wait for.
                drop(tokio::task::spawn_blocking(move || drop(earlier)).await);
                None
            }
            Err(error) => {
                let error = error.to_string();
                tracing::error!(error, "the rules file was refused; what was in force stays");
                Some(error)
            }
        };
        *self.error.lock().unwrap_or_else(PoisonError::into_inner) = error;
    }
}

fn load(path: &Path, earlier: &RuleBook) -> Result<RuleBook, LoadError> {
    let read = |source| LoadError::Read { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    match open(path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(read(error)),
        Ok(file) => {
            file.take(MAX_RULES_FILE + 1).read_to_end(&mut bytes).map_err(read)?;
        }
    }
    if bytes.len() as u64 > MAX_RULES_FILE {
        return Err(LoadError::TooLarge { path: path.to_owned() });
    }
    RuleBook::compile(&bytes, earlier)
        .map_err(|source| LoadError::Rules { path: path.to_owned(), source: Box::new(source) })
}

#[cfg(not(windows))]
fn open(path: &Path) -> std::io::Result<std::fs::File> {
    std::fs::File::open(path)
}

/// On Windows the agent has a file stand for the link to the live set (`stopgap-drivers`, `host/pointer.rs`): it says
/// in which folder beside it the rules are.
#[cfg(windows)]
fn open(path: &Path) -> std::io::Result<std::fs::File> {
    let opened = std::fs::File::open(path);
    let (Some(link), Some(name)) = (path.parent(), path.file_name()) else { return opened };
    let led = || {
        let mut text = String::new();
        std::fs::File::open(link).ok()?.take(4096).read_to_string(&mut text).ok()?;
        let to = text.strip_prefix("stopgap link to ")?.strip_suffix('\n')?.to_owned();
        Some(link.parent()?.join(to).join(name))
    };
    match opened {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            led().map_or(Err(error), std::fs::File::open)
        }
        opened => opened,
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
