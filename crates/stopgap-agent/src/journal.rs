//! The journal: every change, before it happens, and what an operator said. A start after a crash
//! first puts back what a change without an end had begun.
//!
//! One JSON object a line, appended and synced. A torn last line is a change that never began.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stopgap_core::plan::Change;
use stopgap_drivers::Host;

use crate::home::{FILE_MODE, Home, HomeError};

const FILE: &str = "journal.jsonl";
/// Past this size a journal without a pending change is moved aside to `journal.1.jsonl`.
const ROTATE_BYTES: usize = 4 << 20;

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// What.
    #[serde(flatten)]
    pub what: Event,
}

/// What a line says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
#[allow(clippy::large_enum_variant, reason = "one line at a time is written, or read and judged")]
pub enum Event {
    /// A change is about to happen.
    Begin {
        /// All of it.
        change: Change,
    },
    /// It happened.
    Done {
        /// On which target.
        target: String,
    },
    /// It was taken back, and why.
    Reverted {
        /// On which target.
        target: String,
        /// The cause.
        why: String,
    },
    /// It stays without an end, and not because the agent died.
    Open {
        /// On which target.
        target: String,
        /// The cause.
        why: String,
    },
    /// An operator's word.
    Word {
        /// The account that gave it.
        by: String,
        /// What was said, as a command: `pause --for 2h`.
        said: String,
    },
}

/// A change without an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// When it began.
    pub at: Timestamp,
    /// All of it.
    pub change: Change,
    /// Nobody wrote down why it has no end: the agent, or the machine, went down in the middle of it.
    pub died: bool,
}

/// The journal of a data folder.
pub struct Journal<'a> {
    home: &'a Home,
    host: &'a dyn Host,
}

impl<'a> Journal<'a> {
    /// The journal in `home`.
    pub fn new(home: &'a Home, host: &'a dyn Host) -> Self {
        Journal { home, host }
    }

    /// Every change that began and has no end, oldest first.
    pub fn pending(&self) -> Result<Vec<Pending>, HomeError> {
        let mut pending: Vec<Pending> = Vec::new();
        for line in self.lines()? {
            match line.what {
                Event::Begin { change } => pending.push(Pending { at: line.at, change, died: true }),
                Event::Done { target } | Event::Reverted { target, .. } => {
                    pending.retain(|open| open.change.target != target);
                }
                Event::Open { target, .. } => {
                    let of_it = pending.iter_mut().filter(|open| open.change.target == target);
                    of_it.for_each(|open| open.died = false);
                }
                Event::Word { .. } => {}
            }
        }
        Ok(pending)
    }

    /// The last change of each target, where it was made and stays.
    pub fn done(&self) -> Result<Vec<Change>, HomeError> {
        let mut last: BTreeMap<String, (Change, bool)> = BTreeMap::new();
        for line in self.lines()? {
            match line.what {
                Event::Begin { change } => drop(last.insert(change.target.clone(), (change, false))),
                Event::Done { target } => {
                    if let Some((_, done)) = last.get_mut(&target) {
                        *done = true;
                    }
                }
                _ => {}
            }
        }
        Ok(last.into_values().filter(|(_, done)| *done).map(|(change, _)| change).collect())
    }

    /// Every line.
    pub fn lines(&self) -> Result<Vec<Line>, HomeError> {
        let Some(bytes) = self.home.read(self.host, FILE)? else { return Ok(Vec::new()) };
        let text = String::from_utf8_lossy(&bytes);
        let complete = text.rfind('\n').map_or("", |end| text.get(..end).unwrap_or_default());
        let mut lines = Vec::new();
        for (number, line) in complete.lines().enumerate().filter(|(_, line)| !line.is_empty()) {
            let line = serde_json::from_str(line).map_err(|error| HomeError::Damaged {
                path: self.path(),
                message: format!("line {}: {error}", number + 1),
            })?;
            lines.push(line);
        }
        Ok(lines)
    }

    /// Writes a line and waits until it is on the disk.
    pub fn note(&self, at: Timestamp, what: Event) -> Result<(), HomeError> {
        let begins = matches!(what, Event::Begin { .. });
        let mut text = serde_json::to_vec(&Line { at, what })
            .map_err(|error| HomeError::Damaged { path: self.path(), message: error.to_string() })?;
        text.push(b'\n');
        let before = self.home.read(self.host, FILE)?;
        // A torn line of an earlier crash is cut, so that this one stands alone.
        if before.as_ref().is_some_and(|bytes| bytes.last().is_some_and(|end| *end != b'\n')) {
            self.cut_torn_line()?;
        }
        self.host.append(&self.path(), &text, FILE_MODE).map_err(|source| self.failed("write", source))?;
        // A new file is on the disk only once its folder is. One that is found may have been made by an agent that was
        // killed before it had waited for that; what counts on it is a change.
        if before.is_none() || begins {
            let folder = self.home.path("");
            self.host.sync_dir(&folder).map_err(|source| self.failed("write", source))?;
        }
        Ok(())
    }

    /// Moves a long journal aside once nothing in it is pending.
    pub fn rotate(&self) -> Result<(), HomeError> {
        let long = self.home.read(self.host, FILE)?.is_some_and(|bytes| bytes.len() > ROTATE_BYTES);
        if long && self.pending()?.is_empty() {
            let aside = self.home.path("journal.1.jsonl");
            self.host.rename(&self.path(), &aside).map_err(|source| self.failed("rename", source))?;
        }
        Ok(())
    }

    fn cut_torn_line(&self) -> Result<(), HomeError> {
        let bytes = self.home.read(self.host, FILE)?.unwrap_or_default();
        let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.home.write(self.host, FILE, bytes.get(..end).unwrap_or_default())
    }

    fn path(&self) -> PathBuf {
        self.home.path(FILE)
    }

    fn failed(&self, what: &'static str, source: io::Error) -> HomeError {
        HomeError::Io { what, path: self.path(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stopgap_drivers::Machine;
    use stopgap_testkit::host::{FakeHost, Fault};

    fn change(target: &str) -> Change {
        Change {
            target: target.into(),
            folder: "/data".into(),
            before: None,
            after: None,
            rest: None,
            edits: vec![],
            switches: vec![],
            notes: vec![],
            takes_off: vec![],
            puts_on: vec![],
        }
    }

    fn begin(target: &str) -> Event {
        Event::Begin { change: change(target) }
    }

    #[test]
    fn a_change_without_an_end_is_pending() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(&Machine, folder.path()).unwrap();
        let journal = Journal::new(&home, &Machine);
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(journal.pending().unwrap(), []);
        journal.note(now, begin("nginx")).unwrap();
        journal.note(now, begin("gateway")).unwrap();
        journal.note(now, Event::Done { target: "nginx".into() }).unwrap();
        assert_eq!(journal.done().unwrap(), [change("nginx")]);
        let open = |died| [Pending { at: now, change: change("gateway"), died }];
        assert_eq!(journal.pending().unwrap(), open(true));
        journal.note(now, Event::Open { target: "gateway".into(), why: "x".into() }).unwrap();
        assert_eq!(journal.pending().unwrap(), open(false));
        journal.note(now, Event::Reverted { target: "gateway".into(), why: "x".into() }).unwrap();
        assert_eq!(journal.pending().unwrap(), []);
        assert_eq!(journal.lines().unwrap().len(), 5);
        journal.note(now, begin("nginx")).unwrap();
        assert_eq!(journal.done().unwrap(), [], "the last one of it is not made");
    }

    #[test]
    fn a_torn_line_never_happened_and_does_not_spoil_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(&Machine, folder.path()).unwrap();
        let journal = Journal::new(&home, &Machine);
        journal.note(Timestamp::UNIX_EPOCH, begin("nginx")).unwrap();
        let whole = std::fs::read(folder.path().join(FILE)).unwrap();
        for end in 1..whole.len() {
            let mut torn = whole.clone();
            torn.extend_from_slice(&whole[..end]);
            std::fs::write(folder.path().join(FILE), torn).unwrap();
            assert_eq!(journal.pending().unwrap().len(), 1, "torn after {end} octets");
        }
        journal.note(Timestamp::UNIX_EPOCH, Event::Done { target: "nginx".into() }).unwrap();
        assert_eq!(journal.lines().unwrap().len(), 2);
    }

    #[test]
    fn a_journal_that_a_killed_agent_has_made_has_its_name_on_the_disk_before_a_change() {
        let host = FakeHost::new();
        let home = Home::open(&host, "/data".as_ref()).unwrap();
        let journal = Journal::new(&home, &host);
        let synced = |what: Event, fault: Option<usize>| {
            host.set_fault(fault.map(Fault::Crash));
            let _ = journal.note(Timestamp::UNIX_EPOCH, what);
            let calls = host.operations();
            host.set_fault(None);
            calls.iter().position(|call| call.starts_with("sync_dir"))
        };
        let said = || Event::Word { by: "root".into(), said: "pause".into() };
        let at = synced(said(), None);
        host.take("/data/journal.jsonl");
        synced(said(), at);
        assert!(host.peek("/data/journal.jsonl").is_some(), "it was made, and its name not waited for");
        assert!(synced(begin("nginx"), None).is_some());
    }

    #[test]
    fn damage_in_the_middle_is_named_with_its_line() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(&Machine, folder.path()).unwrap();
        let journal = Journal::new(&home, &Machine);
        journal.note(Timestamp::UNIX_EPOCH, begin("nginx")).unwrap();
        let mut bytes = std::fs::read(folder.path().join(FILE)).unwrap();
        bytes.extend_from_slice(b"{nonsense}\n");
        std::fs::write(folder.path().join(FILE), bytes).unwrap();
        let message = journal.pending().unwrap_err().to_string();
        assert!(message.contains("line 2"), "{message}");
    }
}
