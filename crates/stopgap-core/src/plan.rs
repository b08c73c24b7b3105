//! The plan: ordered steps, complete and printable. What it prints is what apply does; apply makes
//! no choices.

use std::collections::BTreeMap;
use std::path::PathBuf;

use ring::digest;
use serde::{Deserialize, Serialize};
use stopgap_feed::document::Probe;
use stopgap_feed::{Id, Key};

use crate::observed::Hold;
use crate::proof::RefusalForm;

/// Every step of one cycle, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// One change a target; targets in the order of the configuration.
    pub changes: Vec<Change>,
    /// What an operator runs around each of them.
    pub hooks: Hooks,
}

/// Programs of the operator's, run in order before and after a change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hooks {
    /// One that fails stops the change.
    pub before: Vec<PathBuf>,
    /// They run however the change ended.
    pub after: Vec<PathBuf>,
}

/// One target's change as a whole: one swap and one reload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The target's name.
    pub target: String,
    /// The folder that holds the target's sets and the link to the live one. It is ours alone.
    pub folder: PathBuf,
    /// The set that is live before, by its digest; `None`: none.
    pub before: Option<String>,
    /// The set that is live after; `None`: nothing of ours stays.
    pub after: Option<GeneratedSet>,
    /// Where the link to the live set points while there is none, beside the sets; `None`: there is no link then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rest: Option<String>,
    /// Edits of files that are somebody else's, in the order in which they are made; none for a server that
    /// reads files of ours.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub edits: Vec<FileEdit>,
    /// Services and pools that are switched, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub switches: Vec<Switch>,
    /// What a person should know before it is made, one sentence each: what an application's rules come to, what
    /// stops as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What is in force before and not after.
    pub takes_off: Vec<ActionRef>,
    /// What is in force after and was not before, or in another revision.
    pub puts_on: Vec<ActionRef>,
}

/// A change of a file that somebody else owns: exactly these octets go in and out, and only while the file is
/// the one that was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEdit {
    /// The file.
    pub path: PathBuf,
    /// SHA-256 in hex of the file that the edit was planned for.
    pub before: String,
    /// SHA-256 in hex of the file once it is edited.
    pub after: String,
    /// In the order in which they are made.
    pub splices: Vec<Splice>,
}

/// One place of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Splice {
    /// Where, in octets of the file with the splices before this one made.
    pub at: usize,
    /// What stands there and goes.
    pub cut: Octets,
    /// What comes there.
    pub put: Octets,
    /// In words, for the plan: `rule "Stopgap example M1.1 …"`.
    pub what: String,
}

/// Octets that a person can read in the journal where they are UTF-8; else they are written in hex.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "WrittenOctets", into = "WrittenOctets")]
pub struct Octets(pub Vec<u8>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum WrittenOctets {
    Text(String),
    Hex { hex: String },
}

impl From<Octets> for WrittenOctets {
    fn from(octets: Octets) -> WrittenOctets {
        match String::from_utf8(octets.0) {
            Ok(text) => WrittenOctets::Text(text),
            Err(error) => WrittenOctets::Hex { hex: hex(error.as_bytes()) },
        }
    }
}

impl TryFrom<WrittenOctets> for Octets {
    type Error = String;

    fn try_from(written: WrittenOctets) -> Result<Octets, String> {
        let hex = match written {
            WrittenOctets::Text(text) => return Ok(Octets(text.into_bytes())),
            WrittenOctets::Hex { hex } => hex,
        };
        let digits: Option<Vec<u8>> =
            hex.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
        let pairs = |digits: Vec<u8>| {
            let pairs =
                digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |octet, digit| octet << 4 | digit));
            digits.len().is_multiple_of(2).then(|| Octets(pairs.collect()))
        };
        digits
            .and_then(pairs)
            .ok_or_else(|| format!("`{hex}` is not octets in hex: expected pairs of digits"))
    }
}

/// A service or a pool that is taken out of service, or back into it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// Its name, as its system knows it: `cups.service`, `MSExchangeECPAppPool`.
    pub name: String,
    /// Whether it is out of service after; otherwise it goes back to what it was before.
    pub off: bool,
    /// Its settings as they were read, in its system's own words: `enablement` to `enabled`.
    pub before: BTreeMap<String, String>,
    /// Its settings after.
    pub after: BTreeMap<String, String>,
    /// What else stops with it, or starts with it, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub also: Vec<String>,
}

/// One action of one mitigation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ActionRef {
    /// The mitigation.
    pub key: Key,
    /// The action of it.
    pub action: Id,
}

/// The files that a driver generates for a target, named by their digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GeneratedSet {
    /// SHA-256 in hex over names and contents: the folder's name, and how our own work is
    /// recognized.
    pub id: String,
    /// File name to content.
    pub files: BTreeMap<String, String>,
    /// What it holds; also written into the set as `manifest.json`.
    pub holds: Vec<Hold>,
}

/// The file in a set that says what it holds.
pub const MANIFEST: &str = "manifest.json";

impl GeneratedSet {
    /// A set of `files`, with the manifest of `holds` added.
    pub fn new(mut files: BTreeMap<String, String>, holds: Vec<Hold>) -> GeneratedSet {
        let manifest = serde_json::to_string_pretty(&holds).unwrap_or_default() + "\n";
        files.insert(MANIFEST.to_owned(), manifest);
        GeneratedSet { id: set_digest(&files), files, holds }
    }
}

/// The digest of a set: SHA-256 in hex over each name and content, each preceded by its length, so
/// that no two sets share one input.
pub fn set_digest<C: AsRef<[u8]>>(files: &BTreeMap<String, C>) -> String {
    let mut context = digest::Context::new(&digest::SHA256);
    for (name, content) in files {
        for part in [name.as_bytes(), content.as_ref()] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
    }
    hex(context.finish().as_ref())
}

/// SHA-256 of `bytes` in lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// One line of a printed plan (`steps` in `plan --json`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The target's name.
    pub target: String,
    /// `write`, `check`, `swap`, `remove`, `edit`, `stop`, `restore`, `reload`, `probe` or `run`.
    pub kind: StepKind,
    /// The file or folder that it touches; empty where it touches none.
    pub path: String,
    /// In words.
    pub detail: String,
}

/// What a step does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum StepKind {
    Write,
    Check,
    Swap,
    Remove,
    Edit,
    Stop,
    Restore,
    Reload,
    Probe,
    Run,
}

impl Change {
    /// This change, line by line, in the order in which apply works.
    pub fn steps(&self) -> Vec<Step> {
        let step = |kind, path: PathBuf, detail: String| Step {
            target: self.target.clone(),
            kind,
            path: path.display().to_string(),
            detail,
        };
        let live = self.folder.join("live");
        let mut steps = Vec::new();
        match &self.after {
            Some(set) => {
                let folder = self.folder.join("sets").join(&set.id);
                for (name, content) in &set.files {
                    steps.push(step(StepKind::Write, folder.join(name), format!("{} bytes", content.len())));
                }
                steps.push(step(
                    StepKind::Check,
                    folder.clone(),
                    "the server's own test of these files".into(),
                ));
                steps.push(step(StepKind::Swap, live, format!("to {} ({})", folder.display(), self.words())));
            }
            None => {
                steps.push(step(
                    StepKind::Check,
                    live.clone(),
                    "the server's own test without our files".into(),
                ));
                match &self.rest {
                    Some(rest) => {
                        let to = self.folder.join(rest);
                        steps.push(step(
                            StepKind::Swap,
                            live,
                            format!("to {} ({})", to.display(), self.words()),
                        ));
                    }
                    None => steps.push(step(StepKind::Remove, live, self.words())),
                }
            }
        }
        for note in &self.notes {
            steps.push(step(StepKind::Check, PathBuf::new(), note.clone()));
        }
        for edit in &self.edits {
            for splice in &edit.splices {
                steps.push(step(StepKind::Edit, edit.path.clone(), splice.words()));
            }
        }
        for switch in &self.switches {
            let kind = if switch.off { StepKind::Stop } else { StepKind::Restore };
            steps.push(step(kind, PathBuf::new(), switch.words()));
        }
        // Who watches its own files is told nothing, and a service has no rules to read.
        if self.edits.is_empty() && self.switches.is_empty() {
            let taken = format!("{} takes the new set", self.target);
            steps.push(step(StepKind::Reload, PathBuf::new(), taken));
        }
        steps.push(step(StepKind::Probe, PathBuf::new(), "every listener, before and after".into()));
        let gone =
            self.before.as_ref().filter(|before| self.after.as_ref().is_none_or(|set| set.id != **before));
        if let Some(before) = gone {
            let old = self.folder.join("sets").join(before);
            steps.push(step(StepKind::Remove, old, "the set before, which nothing reads any more".into()));
        }
        steps
    }

    fn words(&self) -> String {
        let holds = self.after.as_ref().map(|set| set.holds.as_slice()).unwrap_or_default();
        let observes = |r: &ActionRef| {
            holds.iter().any(|hold| hold.observe && hold.key == r.key && hold.action == r.action)
        };
        let named = |r: &ActionRef| {
            let how = if observes(r) { " to observe, which refuses nothing" } else { "" };
            format!("{} {}{how}", r.key.feed, r.action)
        };
        let list = |verb: &str, refs: &[ActionRef]| {
            let names: Vec<String> = refs.iter().map(named).collect();
            (!names.is_empty()).then(|| format!("{verb} {}", names.join(", ")))
        };
        let parts: Vec<String> = [list("puts on", &self.puts_on), list("takes off", &self.takes_off)]
            .into_iter()
            .flatten()
            .collect();
        if parts.is_empty() { "repairs what was changed by hand".into() } else { parts.join("; ") }
    }
}

impl Splice {
    fn words(&self) -> String {
        let octets = match (self.put.0.len(), self.cut.0.len()) {
            (put, 0) => format!("{put} octets put in"),
            (0, cut) => format!("{cut} octets cut"),
            (put, cut) => format!("{put} octets in place of {cut}"),
        };
        format!("{}: {octets} at octet {}", self.what, self.at)
    }
}

impl Switch {
    fn words(&self) -> String {
        let named = |settings: &BTreeMap<String, String>| {
            let pairs: Vec<String> = settings.iter().map(|(name, value)| format!("{name} {value}")).collect();
            pairs.join(", ")
        };
        let words = format!("{}: {} (was {})", self.name, named(&self.after), named(&self.before));
        match self.also.is_empty() {
            true => words,
            false if self.off => format!("{words}; this also stops {}", self.also.join(", ")),
            false => format!("{words}; this also starts {}", self.also.join(", ")),
        }
    }
}

impl Plan {
    /// Every step of every change, with the operator's hooks around it.
    pub fn steps(&self) -> Vec<Step> {
        let hook = |change: &Change, program: &PathBuf, detail: &str| Step {
            target: change.target.clone(),
            kind: StepKind::Run,
            path: program.display().to_string(),
            detail: detail.to_owned(),
        };
        let around = |change: &Change| -> Vec<Step> {
            let before = self.hooks.before.iter().map(|program| hook(change, program, "before the change"));
            let after = self.hooks.after.iter().map(|program| hook(change, program, "after the change"));
            before.chain(change.steps()).chain(after).collect()
        };
        self.changes.iter().flat_map(around).collect()
    }

    /// Nothing to do.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }
}

/// What a driver is asked to have in force on a target: one action of one mitigation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The mitigation.
    pub key: Key,
    /// SHA-256 of the mitigation's octets in hex.
    pub digest: String,
    /// The action to render.
    pub action: stopgap_feed::document::Action,
    /// The mitigation's probes, which prove its actions.
    pub probes: Vec<Probe>,
    /// The target's sites where it is wanted; `None`: every site.
    pub sites: Option<Vec<String>>,
    /// To count and to log, and to refuse nothing.
    pub observe: bool,
}

/// What a driver made of the wanted actions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rendered {
    /// `None`: the target is already as wanted.
    pub change: Option<Change>,
    /// Where each action works once the change is made (or now, if there is none).
    pub placements: Vec<Placement>,
    /// Actions that this target cannot express, and why. The others are rendered without them.
    pub refused: Vec<(ActionRef, String)>,
}

/// One action on one site.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Which action.
    pub what: ActionRef,
    /// The site's name.
    pub site: String,
    /// How this target refuses on behalf of that action.
    pub form: RefusalForm,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_named_by_names_and_contents() {
        let set = |pairs: &[(&str, &str)]| {
            GeneratedSet::new(pairs.iter().map(|(n, c)| ((*n).to_owned(), (*c).to_owned())).collect(), vec![])
                .id
        };
        assert_eq!(set(&[("a", "b")]), set(&[("a", "b")]));
        assert_ne!(set(&[("a", "bc")]), set(&[("ab", "c")]));
        assert_ne!(set(&[("a", "b")]), set(&[("a", "c")]));
    }

    #[test]
    fn octets_come_back_from_the_journal_as_they_were() {
        for octets in [&b""[..], b"<rule name=\"x\"/>\r\n", b"\xff\xfe<\0", "\u{feff}\u{1f600}".as_bytes()] {
            let written = serde_json::to_string(&Octets(octets.to_vec())).unwrap();
            assert_eq!(serde_json::from_str::<Octets>(&written).unwrap().0, octets, "{written}");
        }
        for bad in [r#"{"hex":"f"}"#, r#"{"hex":"fg"}"#, r#"{"hex":"é0"}"#, "7"] {
            assert!(serde_json::from_str::<Octets>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_a_switch_takes_along_is_in_the_plan() {
        let state = |value: &str| BTreeMap::from([("state".to_owned(), value.to_owned())]);
        let switch = Switch {
            name: "MSExchangeECPAppPool".into(),
            off: true,
            before: state("Started"),
            after: state("Stopped"),
            also: vec!["Exchange Back End/ecp".into()],
        };
        let words =
            "MSExchangeECPAppPool: state Stopped (was state Started); this also stops Exchange Back End/ecp";
        assert_eq!(switch.words(), words);
    }

    #[test]
    fn the_steps_of_a_change_are_in_the_order_of_apply() {
        let change = Change {
            target: "nginx".into(),
            folder: "/data/nginx".into(),
            before: None,
            after: Some(GeneratedSet::new([("http.conf".to_owned(), "x".to_owned())].into(), vec![])),
            rest: None,
            edits: vec![],
            switches: vec![],
            notes: vec![],
            takes_off: vec![],
            puts_on: vec![ActionRef { key: "example:M1".parse().unwrap(), action: "M1.1".parse().unwrap() }],
        };
        let kinds: Vec<StepKind> = change.steps().iter().map(|s| s.kind).collect();
        use StepKind::*;
        assert_eq!(kinds, [Write, Write, Check, Swap, Reload, Probe]);
        assert!(change.steps().iter().any(|s| s.detail.contains("puts on example M1.1")));
        // Nothing of ours stays: there is no link, or it points at what a server needs at all times.
        let off = Change { after: None, ..change };
        assert_eq!(off.steps()[1].kind, Remove);
        let rests = Change { rest: Some("none".into()), ..off };
        assert_eq!(rests.steps()[1].kind, Swap);
        assert!(rests.steps()[1].detail.starts_with("to /data/nginx/none "), "{:?}", rests.steps());
    }
}
