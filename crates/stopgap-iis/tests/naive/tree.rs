//! Files as trees, and the rewrite sections in them with the URL level that each is for.

use std::collections::BTreeMap;

/// An element, without text and comments.
#[derive(Debug, Clone)]
pub struct El {
    pub name: String,
    pub attrs: Vec<(String, String)>,
    pub children: Vec<El>,
}

impl El {
    pub fn attr(&self, name: &str) -> Option<&str> {
        self.attrs.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    pub fn child(&self, name: &str) -> Option<&El> {
        self.children.iter().find(|child| child.name == name)
    }

    /// Every element below that stands at this path of names.
    pub fn all(&self, path: &[&str]) -> Vec<&El> {
        let Some((first, rest)) = path.split_first() else { return vec![self] };
        self.children.iter().filter(|child| child.name == *first).flat_map(|child| child.all(rest)).collect()
    }
}

pub fn parse(text: &str) -> Result<El, String> {
    fn of(node: roxmltree::Node<'_, '_>) -> El {
        El {
            name: node.tag_name().name().to_owned(),
            attrs: node.attributes().map(|a| (a.name().to_owned(), a.value().to_owned())).collect(),
            children: node.children().filter(roxmltree::Node::is_element).map(of).collect(),
        }
    }
    let text = text.trim_start_matches('\u{feff}');
    roxmltree::Document::parse(text).map(|d| of(d.root_element())).map_err(|_| "malformed-xml".to_owned())
}

/// A section of a file, for the URL level `target`.
#[derive(Debug, Clone)]
pub struct Piece {
    pub target: String,
    pub section: String,
    /// The section's content, from the file or from the one that `configSource` names, with that one's path.
    pub body: Result<(El, Option<String>), String>,
    pub inherit: bool,
    /// `overrideMode` or the older `allowOverride` of the location: unlocks (true), locks (false), or neither.
    pub mode: Option<bool>,
    pub both_modes: bool,
}

/// The rewrite sections of a file that is read for the URL level `at`.
pub fn pieces(files: &BTreeMap<String, String>, file: &str, at: &str) -> Result<Vec<Piece>, String> {
    let root = parse(&files[file])?;
    if root.name != "configuration" {
        return Err("malformed-xml".into());
    }
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut pieces = vec![];
    let mut add = |holder: &El, target: &str, location: Option<&El>| {
        for section in holder.all(&["system.webServer", "rewrite"]).into_iter().flat_map(|r| &r.children) {
            let attr = |name: &str| location.and_then(|l| l.attr(name));
            let mode = match (attr("overrideMode"), attr("allowOverride")) {
                (Some("Allow"), _) => Some(true),
                (Some("Deny"), _) => Some(false),
                (None, Some(value)) => Some(super::is_true(value)),
                _ => None,
            };
            let body = match section.attr("configSource") {
                None => Ok((section.clone(), None)),
                Some(source) => elsewhere(files, folder, source, &section.name),
            };
            pieces.push(Piece {
                target: target.to_owned(),
                section: section.name.clone(),
                body,
                inherit: attr("inheritInChildApplications").is_none_or(super::is_true),
                mode,
                both_modes: attr("overrideMode").is_some() && attr("allowOverride").is_some(),
            });
        }
    };
    add(&root, at, None);
    for location in root.children.iter().filter(|child| child.name == "location") {
        let path = location.attr("path").unwrap_or_default().trim_matches('/');
        // D: "." or "" is the current level, which is the default.
        let target = match (at, path) {
            (_, "" | ".") => at.to_owned(),
            ("", path) => path.to_owned(),
            (at, path) => format!("{at}/{path}"),
        };
        add(location, &target, Some(location));
    }
    Ok(pieces)
}

fn elsewhere(
    files: &BTreeMap<String, String>,
    folder: &str,
    source: &str,
    section: &str,
) -> Result<(El, Option<String>), String> {
    let path = format!("{folder}/{}", source.replace('\\', "/"));
    let (name, text) =
        files.iter().find(|(name, _)| name.eq_ignore_ascii_case(&path)).ok_or("config-source-missing")?;
    let root = parse(text)?;
    if root.name == section { Ok((root, Some(name.clone()))) } else { Err("config-source-missing".into()) }
}
