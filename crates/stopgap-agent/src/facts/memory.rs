//! Which versions of a package were here before, so that a process that still runs replaced files can be told to
//! run a certain version. One small file in the data folder, of packages that mitigations ask for and nothing else.
//!
//! Times are counted from the start of the system, by the same clock as the beginning of a process: a clock that
//! is set changes nothing.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use stopgap_core::facts::Old;

use super::processes::{Process, Stale};

/// Versions of one package that are remembered; a process that outlives so many updates is of unknown age.
const MOST: usize = 16;
/// Processes of one package that are remembered for being old already.
const PROCESSES: usize = 4_096;

/// By the name that mitigations ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Memory(BTreeMap<String, Vec<Seen>>);

/// What was installed when it was first seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Seen {
    versions: BTreeSet<String>,
    /// The run of the system, and hundredths of a second since its start.
    boot: String,
    at: u64,
    /// Processes that ran still older files then.
    older: BTreeSet<Process>,
}

/// Now, as processes count it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Moment {
    pub boot: String,
    pub at: u64,
}

impl Memory {
    /// Takes note of the versions of `name` that are installed now, with the processes that run older files.
    pub(super) fn note(&mut self, name: &str, versions: BTreeSet<String>, stale: &[&Stale], now: &Moment) {
        let seen = self.0.entry(name.to_owned()).or_default();
        if seen.last().is_some_and(|last| last.versions == versions) {
            return;
        }
        let older = stale.iter().take(PROCESSES).map(|stale| stale.process).collect();
        seen.push(Seen { versions, boot: now.boot.clone(), at: now.at, older });
        let surplus = seen.len().saturating_sub(MOST);
        seen.drain(..surplus);
    }

    /// Forgets what nobody asks for any more.
    pub(super) fn keep(&mut self, names: &BTreeSet<String>) {
        self.0.retain(|name, _| names.contains(name));
    }

    /// A process that runs replaced files of `name`, and of which version these are: of the newest that was here
    /// when the process began, or while it ran and was not old yet.
    pub(super) fn old(&self, name: &str, stale: &Stale, now: &Moment) -> Old {
        let process = stale.process;
        let of = self.0.get(name).into_iter().flatten().rev().find(|seen| {
            let began_later = seen.boot != now.boot || process.start >= seen.at;
            began_later || !seen.older.contains(&process)
        });
        Old {
            pid: process.pid,
            name: stale.name.clone(),
            versions: of.map(|seen| seen.versions.clone()).unwrap_or_default(),
            older: of.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stale(pid: u32, start: u64) -> Stale {
        Stale { process: Process { pid, start }, name: "nginx".into(), files: BTreeSet::new() }
    }

    fn now(boot: &str, at: u64) -> Moment {
        Moment { boot: boot.into(), at }
    }

    fn set(versions: &[&str]) -> BTreeSet<String> {
        versions.iter().map(|version| (*version).to_owned()).collect()
    }

    #[test]
    fn a_process_runs_what_was_here_when_it_was_not_old_yet() {
        let mut memory = Memory::default();
        let (ancient, early, late) = (stale(1, 10), stale(2, 20), stale(3, 150));
        // First seen at 100: `ancient` was old already, `early` was not.
        memory.note("nginx", set(&["1"]), &[&ancient], &now("a", 100));
        memory.note("nginx", set(&["1"]), &[], &now("a", 120));
        memory.note("nginx", set(&["2"]), &[&ancient, &early], &now("a", 200));
        let later = now("a", 300);
        let third = stale(4, 250);
        memory.note("nginx", set(&["3"]), &[&ancient, &early, &late, &third], &later);
        let of = |stale: &Stale| {
            let old = memory.old("nginx", stale, &later);
            (old.versions, old.older)
        };
        assert_eq!(of(&ancient), (set(&[]), true));
        assert_eq!(of(&early), (set(&["1"]), false));
        // It began when 2 had come, and was old when 3 had.
        assert_eq!(of(&third), (set(&["2"]), false));
        // It began between them, and was not old yet.
        assert_eq!(of(&late), (set(&["2"]), false));
        // The very files were put there again: it runs what is installed.
        assert_eq!(of(&stale(5, 310)), (set(&["3"]), false));
        // After a start of the system nothing is older than that.
        let old = memory.old("nginx", &stale(1, 10), &now("b", 50));
        assert_eq!((old.versions, old.older), (set(&["3"]), false));
        assert!(memory.old("other", &early, &later).older);
    }

    #[test]
    fn only_what_is_asked_for_is_kept_and_not_without_end() {
        let mut memory = Memory::default();
        for version in 0..100_u64 {
            memory.note("nginx", set(&[&version.to_string()]), &[], &now("a", version));
        }
        memory.note("php", set(&["8"]), &[], &now("a", 1));
        assert_eq!(memory.0["nginx"].len(), MOST);
        assert_eq!(memory.0["nginx"].last().unwrap().versions, set(&["99"]));
        memory.keep(&set(&["php"]));
        assert_eq!(memory.0.keys().collect::<Vec<_>>(), ["php"]);
    }
}
