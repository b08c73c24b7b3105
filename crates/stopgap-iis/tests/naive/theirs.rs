//! The crate's own reading in the naive one's words, so that the two can be laid side by side.

use std::collections::{BTreeMap, BTreeSet};

use stopgap_iis::{Environment, MemoryTree, check};

use super::Reading;

/// What both are compared by: the entries of each collection with their files, and the faults of each level.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Side {
    pub entries: BTreeMap<String, Vec<String>>,
    pub faults: BTreeSet<(String, String)>,
}

/// The naive reading's codes, and the crate's for the same. What the crate looks at beyond them (values, attributes,
/// patterns) has no part in the comparison.
const CODES: [(&str, &str); 14] = [
    ("config-source-missing", "config-source"),
    ("duplicate-element", "repeated-element"),
    ("duplicate-key", "duplicate-key"),
    ("duplicate-section", "duplicate-section"),
    ("locked-element", "element-locked"),
    ("locked-item", "element-locked"),
    ("locked-section", "section-locked"),
    ("malformed-xml", "malformed"),
    ("missing-attribute", "missing-attribute"),
    ("override-mode-twice", "bad-value"),
    ("server-variable-not-allowed", "variable-not-allowed"),
    ("unknown-element", "unknown-element"),
    ("unknown-precondition", "unknown-precondition"),
    ("unknown-section", "section-not-declared"),
];

/// The naive reading, but for what it alone says.
pub fn ours(reading: &Reading, levels: &BTreeSet<String>) -> Side {
    let mut side = Side::default();
    for (path, level) in reading.levels.iter().filter(|(path, _)| levels.contains(&path.to_lowercase())) {
        let collections = level.iter().filter(|(name, _)| *name != "customTags");
        let line = |(name, entries): (&String, &Vec<super::Entry>)| {
            entries.iter().map(|e| format!("{name}: {} < {}", e.name, e.file)).collect::<Vec<_>>()
        };
        side.entries.insert(path.to_lowercase(), collections.flat_map(line).collect());
    }
    let word = |code: &str| {
        CODES.iter().find(|(ours, _)| *ours == code).map_or(code, |(_, theirs)| theirs).to_owned()
    };
    side.faults =
        reading.violations.iter().map(|(code, level, _)| (level.to_lowercase(), word(code))).collect();
    side.finish(levels)
}

/// The crate's reading of the same files.
pub fn theirs(files: &BTreeMap<String, String>) -> (Side, BTreeSet<String>) {
    let report = check(&tree(files), &Environment::windows()).unwrap();
    let mut side = Side::default();
    for level in &report.levels {
        let mut lines = vec![];
        let mut add = |collection: &str, entries: Vec<(&str, &str)>| {
            for (name, file) in entries {
                let file = files
                    .keys()
                    .find(|known| format!("C:/{known}").eq_ignore_ascii_case(&file.replace('\\', "/")));
                lines.push(format!("{collection}: {name} < {}", file.map_or("?", String::as_str)));
            }
        };
        macro_rules! collection {
            ($name:literal, $field:ident) => {
                add(
                    $name,
                    level.effective.$field.iter().map(|e| (e.name.as_str(), &*e.origin.file)).collect(),
                );
            };
        }
        collection!("allowedServerVariables", allowed_variables);
        if level.path.is_empty() {
            collection!("globalRules", global_rules);
        }
        collection!("outboundRules", outbound);
        collection!("preConditions", pre_conditions);
        collection!("providers", providers);
        collection!("rewriteMaps", maps);
        collection!("rules", rules);
        side.entries.insert(level.path.to_lowercase(), lines);
    }
    let known: BTreeSet<&str> = CODES.iter().map(|(_, theirs)| *theirs).chain(["wrong-level"]).collect();
    let faults = report.violations.iter().filter(|v| known.contains(v.code.word()));
    side.faults = faults.map(|v| (v.level.to_lowercase(), v.code.word().to_owned())).collect();
    let levels = report.levels.iter().map(|level| level.path.to_lowercase()).collect();
    (side.finish(&levels), levels)
}

/// The levels that the crate reports, and whether it says of each that an order matters which Microsoft leaves open.
pub fn order_matters(files: &BTreeMap<String, String>) -> BTreeMap<String, bool> {
    let report = check(&tree(files), &Environment::windows()).unwrap();
    report.levels.iter().map(|level| (level.path.to_lowercase(), level.order_matters)).collect()
}

fn tree(files: &BTreeMap<String, String>) -> MemoryTree {
    let mut tree = MemoryTree::default();
    for (path, text) in files {
        tree.insert(&format!("C:\\{}", path.replace('/', "\\")), text.as_bytes());
    }
    tree
}

impl Side {
    /// A fault is told at the uppermost level that has it; what IIS makes of the rules below a fault is no matter.
    fn finish(mut self, levels: &BTreeSet<String>) -> Side {
        let all = self.faults.clone();
        self.faults.retain(|(level, code)| {
            let above = |other: &&(String, String)| {
                other.1 == *code && other.0 != *level && super::under(level, &other.0)
            };
            // IIS reads no further than a section that stands twice or an element that is locked, so what else is
            // wrong in it is no matter.
            let twice = |(at, other): &(String, String)| {
                let hides = match other.as_str() {
                    "duplicate-section" => code != other,
                    "element-locked" => code == "duplicate-key",
                    _ => false,
                };
                hides && super::under(level, at)
            };
            levels.contains(level) && !all.iter().any(|other| above(&other)) && !all.iter().any(twice)
        });
        self.entries.retain(|level, _| !all.iter().any(|(at, _)| super::under(level, at)));
        self
    }
}
