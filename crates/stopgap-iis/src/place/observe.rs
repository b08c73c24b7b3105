//! What of ours a server has: read from its files, whoever recorded what.

use std::collections::BTreeSet;

use crate::check::{CheckError, check};
use crate::document::Document;
use crate::tree::{Environment, Tree, folded};

/// An entry of ours in a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OurEntry {
    /// Feed and action id, `example M1.1`.
    pub marker: String,
    /// Its whole name.
    pub name: String,
    /// `rule`, `preCondition` or `rewriteMap`.
    pub element: String,
    /// A Windows path.
    pub file: String,
    /// Where its start tag begins.
    pub line: u32,
    /// The levels that it counts at, as `Default Web Site/owa`; those that a violation breaks are not among them.
    pub levels: Vec<String>,
}

/// Every entry with a name of ours, file by file, the server's own first.
///
/// # Errors
/// [`CheckError`] where the tree is not a server's.
pub fn observe(tree: &dyn Tree, environment: &Environment) -> Result<Vec<OurEntry>, CheckError> {
    let report = check(tree, environment)?;
    let mut files = BTreeSet::new();
    let mut found = Vec::new();
    let host = format!("{}\\applicationHost.config", environment.configuration());
    let of_levels = report.levels.iter().flat_map(|level| level.files.iter().cloned());
    for file in std::iter::once(host).chain(of_levels) {
        if !files.insert(folded(&file)) {
            continue;
        }
        let Ok(Some(octets)) = tree.read(&file) else { continue };
        let Ok(document) = Document::parse(&octets) else { continue };
        for element in document.elements() {
            if !matches!(element.name(), "rule" | "preCondition" | "rewriteMap") {
                continue;
            }
            let Some(name) = element.attribute("name") else { continue };
            let Some(marker) = marker(&name) else { continue };
            let line = element.place().line;
            let here = |origin: &crate::effective::Origin| {
                folded(&origin.file) == folded(&file) && origin.place == element.place()
            };
            let levels = report.levels.iter().filter(|level| !level.broken).filter(|level| {
                let e = &level.effective;
                e.global_rules.iter().any(|entry| here(&entry.origin))
                    || e.rules.iter().any(|entry| here(&entry.origin))
                    || e.outbound.iter().any(|entry| here(&entry.origin))
                    || e.pre_conditions.iter().any(|entry| here(&entry.origin))
                    || e.maps.iter().any(|entry| here(&entry.origin))
            });
            found.push(OurEntry {
                marker,
                levels: levels.map(|level| level.path.clone()).collect(),
                name: name.into_owned(),
                element: element.name().to_owned(),
                file: file.clone(),
                line,
            });
        }
    }
    Ok(found)
}

/// `Stopgap <feed> <action id> <name>`.
fn marker(name: &str) -> Option<String> {
    let mut words = name.strip_prefix("Stopgap ")?.splitn(3, ' ');
    let (feed, action) = (words.next()?, words.next()?);
    (!feed.is_empty() && !action.is_empty()).then(|| format!("{feed} {action}"))
}
