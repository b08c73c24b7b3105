//! What was compared, counted; and the page's words for it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Disagreements that are kept to be shown.
const SHOWN: usize = 12;

/// Of one server.
#[derive(Debug, Default, Clone)]
pub struct Tally {
    /// Requests whose verdict the server gave by the rules, and that was the engine's.
    pub compared: u64,
    /// Those of them that were refused.
    pub refused: u64,
    /// Requests on which the server's own word came first, by kind.
    pub excused: BTreeMap<String, u64>,
    /// Of the excused, those that the engine refuses: none of them reached the origin.
    pub excused_attacks: u64,
    /// By mutation, how often a compared request had it.
    pub mutations: BTreeMap<&'static str, u64>,
    pub disagreements: u64,
    pub shown: Vec<String>,
    /// Requests that the rules let pass, here and in the engine, and that the server then changed into
    /// something that they would have refused.
    pub changed: u64,
    pub changed_shown: Vec<String>,
}

impl Tally {
    pub fn add(&mut self, other: Tally) {
        self.compared += other.compared;
        self.refused += other.refused;
        self.excused_attacks += other.excused_attacks;
        self.disagreements += other.disagreements;
        self.changed += other.changed;
        self.changed_shown.extend(other.changed_shown);
        self.changed_shown.sort_by_key(String::len);
        self.changed_shown.truncate(SHOWN);
        for (kind, count) in other.excused {
            *self.excused.entry(kind).or_default() += count;
        }
        for (mutation, count) in other.mutations {
            *self.mutations.entry(mutation).or_default() += count;
        }
        self.shown.extend(other.shown);
        self.shown.sort_by_key(String::len);
        self.shown.truncate(SHOWN);
    }

    pub fn changed(&mut self, told: String) {
        self.changed += 1;
        self.changed_shown.push(told);
        self.changed_shown.sort_by_key(String::len);
        self.changed_shown.truncate(SHOWN);
    }

    pub fn disagree(&mut self, told: String) {
        self.disagreements += 1;
        self.shown.push(told);
        self.shown.sort_by_key(String::len);
        self.shown.truncate(SHOWN);
    }

    pub fn excuse(&mut self, kind: String, attack: bool) {
        *self.excused.entry(kind).or_default() += 1;
        self.excused_attacks += u64::from(attack);
    }

    pub fn all_excused(&self) -> u64 {
        self.excused.values().sum()
    }
}

/// A number with commas.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A table in Markdown; the first row is the head.
pub fn table(rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let _ = writeln!(text, "| {} |", row.join(" | "));
        if number == 0 {
            let _ = writeln!(text, "|{}", " --- |".repeat(row.len()));
        }
    }
    text
}
