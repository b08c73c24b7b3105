//! What the test programs said: counts, and which tests skipped themselves and why.
//!
//! A test that cannot run here (a tool or the corpus is absent) passes, and prints
//! `skipped (<reason>): <test>`. The test programs run with `--show-output`, so that this line is
//! seen; their list of every passed test's name, which comes with it, is kept from the terminal.

use std::collections::{BTreeMap, BTreeSet};

/// The reason that is no failure, not even where skips are.
pub const CORPUS_ABSENT: &str = "corpus absent";
const IGNORED: &str = "marked #[ignore]";

/// Counts over all test programs.
#[derive(Debug, Default)]
pub struct Tally {
    passed: usize,
    failed: usize,
    ignored: usize,
    /// Reason to tests, a test named as it names itself.
    skips: BTreeMap<String, BTreeSet<String>>,
    /// Tests that passed by skipping, over all programs.
    passed_by_skipping: usize,
    skipped_here: BTreeSet<String>,
    block: Block,
    showing: Option<String>,
}

/// Where in one program's output a line stands.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Block {
    /// `test … ok`, as they end.
    #[default]
    Results,
    /// What the passed tests printed.
    PassedOutput,
    /// The names of the passed tests.
    PassedNames,
    /// What the failed tests printed, and their names.
    Failures,
}

impl Tally {
    /// Takes in one line; says whether it is worth showing.
    pub fn line(&mut self, line: &str) -> bool {
        if let Some(counts) = line.strip_prefix("test result: ") {
            self.end_of_program(counts);
            return true;
        }
        match (line, self.block) {
            ("successes:", Block::Results) => self.block = Block::PassedOutput,
            ("successes:", Block::PassedOutput) => self.block = Block::PassedNames,
            ("failures:", _) => self.block = Block::Failures,
            _ => self.inner_line(line),
        }
        self.block != Block::PassedNames && line != "successes:"
    }

    fn inner_line(&mut self, line: &str) {
        if self.block == Block::Failures {
            return;
        }
        if let Some(test) = line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----")) {
            self.showing = Some(test.to_owned());
        } else if let Some((reason, test)) = skip(line) {
            let shown_under = self.showing.clone().unwrap_or_else(|| test.to_owned());
            self.skipped_here.insert(shown_under);
            self.skips.entry(reason.to_owned()).or_default().insert(test.to_owned());
        }
    }

    fn end_of_program(&mut self, counts: &str) {
        self.passed += count(counts, "passed");
        self.failed += count(counts, "failed");
        self.ignored += count(counts, "ignored");
        self.passed_by_skipping += std::mem::take(&mut self.skipped_here).len();
        self.block = Block::Results;
        self.showing = None;
    }

    /// A check that is no test program's.
    pub fn check(&mut self, ok: bool) {
        if ok { self.passed += 1 } else { self.failed += 1 }
    }

    /// How many tests failed.
    pub fn failed(&self) -> usize {
        self.failed
    }

    /// What was skipped, for people: the reasons, each with its tests. Empty where nothing was.
    pub fn skipped(&self) -> String {
        let mut text = String::new();
        for (reason, tests) in &self.skips {
            text.push_str(&format!("    {reason}: {}\n", tests.len()));
            for test in tests {
                text.push_str(&format!("        {test}\n"));
            }
        }
        if self.ignored > 0 {
            text.push_str(&format!("    {IGNORED}: {}\n", self.ignored));
        }
        text
    }

    /// Whether anything but tests of the absent corpus was skipped.
    pub fn skipped_without_excuse(&self) -> bool {
        self.ignored > 0 || self.skips.keys().any(|reason| reason != CORPUS_ABSENT)
    }

    /// The closing line.
    pub fn summary(&self) -> String {
        let passed = self.passed.saturating_sub(self.passed_by_skipping);
        let skipped = self.passed_by_skipping + self.ignored;
        format!("{passed} passed, {} failed, {skipped} skipped", self.failed)
    }
}

/// `skipped (<reason>): <test>`.
fn skip(line: &str) -> Option<(&str, &str)> {
    line.trim().strip_prefix("skipped (")?.split_once("): ")
}

/// The number before `word` in `ok. 3 passed; 0 failed; …`.
fn count(counts: &str, word: &str) -> usize {
    let mut words = counts.split([' ', ';']).filter(|piece| !piece.is_empty());
    let mut before = "";
    words
        .find_map(|piece| {
            if piece == word {
                before.parse().ok()
            } else {
                before = piece;
                None
            }
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> (Tally, String) {
        let mut tally = Tally::default();
        let shown = text.lines().filter(|line| tally.line(line)).map(|line| format!("{line}\n")).collect();
        (tally, shown)
    }

    const TWO_PROGRAMS: &str = "
running 3 tests
test a ... ok
test real ... ok
test real_too ... ok

successes:

---- a stdout ----
one 8 KB URL: 41 us

---- real stdout ----
skipped (corpus absent): real
skipped (corpus absent): real, its second half

---- real_too stdout ----
skipped (no nginx): real_too


successes:
    a
    real
    real_too

test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s


running 2 tests
test b ... ok
test c ... FAILED

successes:

successes:
    b

failures:

---- c stdout ----
skipped (no java): not one that passed

failures:
    c

test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn a_test_that_skipped_is_not_counted_as_passed() {
        let (tally, _) = read(TWO_PROGRAMS);
        assert_eq!(tally.summary(), "2 passed, 1 failed, 3 skipped");
        assert_eq!(tally.failed(), 1);
    }

    #[test]
    fn reasons_are_counted_and_their_tests_named() {
        let (tally, _) = read(TWO_PROGRAMS);
        assert_eq!(
            tally.skipped(),
            "    corpus absent: 2\n        real\n        real, its second half\n    \
             no nginx: 1\n        real_too\n    marked #[ignore]: 1\n"
        );
    }

    #[test]
    fn results_and_output_are_shown_and_the_list_of_names_is_not() {
        let (_, shown) = read(TWO_PROGRAMS);
        for line in ["test a ... ok", "one 8 KB URL: 41 us", "test c ... FAILED", "failures:", "    c"] {
            assert!(shown.lines().any(|l| l == line), "{line}");
        }
        assert_eq!(shown.lines().filter(|l| l.starts_with("test result: ")).count(), 2);
        for line in ["successes:", "    a", "    real", "    b"] {
            assert!(!shown.lines().any(|l| l == line), "{line}");
        }
    }

    #[test]
    fn only_the_absent_corpus_excuses_a_skip() {
        let skip = |reason| read(&format!("skipped ({reason}): t\ntest result: ok. 1 passed; 0 failed")).0;
        assert!(!skip(CORPUS_ABSENT).skipped_without_excuse());
        assert!(skip("no nginx").skipped_without_excuse());
        assert!(read("test result: ok. 1 passed; 0 failed; 1 ignored;").0.skipped_without_excuse());
        assert!(!read("test result: ok. 1 passed; 0 failed; 0 ignored;").0.skipped_without_excuse());
    }

    #[test]
    fn checks_are_counted() {
        let mut tally = Tally::default();
        tally.check(true);
        tally.check(false);
        assert_eq!(tally.summary(), "1 passed, 1 failed, 0 skipped");
    }
}
