//! The rules file: one `<rewrite>` with the rules of every wanted action, cut from the action's own
//! octets. Only a rule's name is changed, and the result is read again to see that nothing else
//! was.

use std::collections::BTreeSet;
use std::path::Path;

use roxmltree::Node;
use stopgap_rules::{Engine, EngineLimits, RuleSet};

use crate::render::{Piece, with_causes};

/// The file in the making.
#[derive(Debug, Default)]
pub(super) struct Document {
    rules: Vec<String>,
    maps: Vec<String>,
    names: BTreeSet<String>,
    map_names: BTreeSet<String>,
}

impl Document {
    /// Adds an action's rules, named `Stopgap <feed> <action id> <name>`. The reason where the
    /// gateway cannot take them.
    pub(super) fn add(&mut self, piece: &Piece) -> Result<(), String> {
        let prefix = format!("Stopgap {} ", piece.marker());
        let cut = Cut::from(piece.rewrite, &prefix)?;
        let mut expected = piece.rules.clone();
        for rule in &mut expected.rules {
            rule.name.insert_str(0, &prefix);
        }
        let alone = RuleSet::parse(&document("", &cut.rules, &cut.maps)).map_err(|e| with_causes(&e))?;
        if alone != expected {
            return Err("its rules cannot be renamed without changing them".into());
        }
        Engine::compile(&alone, &EngineLimits::default()).map_err(|e| with_causes(&e))?;
        let names: BTreeSet<String> = alone.rules.iter().map(|rule| rule.name.clone()).collect();
        if let Some(name) = names.intersection(&self.names).next() {
            return Err(format!("there is a rule of the name \"{name}\" already"));
        }
        // Names of maps are compared without case, as IIS does.
        let map_names: BTreeSet<String> = alone.maps.iter().map(|map| map.name.to_lowercase()).collect();
        if let Some(name) = map_names.intersection(&self.map_names).next() {
            return Err(format!("another mitigation has a rewrite map of the name \"{name}\""));
        }
        self.names.extend(names);
        self.map_names.extend(map_names);
        self.rules.extend(cut.rules);
        self.maps.extend(cut.maps);
        Ok(())
    }

    /// The whole file. `live` is where the gateway finds it.
    pub(super) fn finish(&self, live: &Path) -> String {
        // Within a comment two hyphens would end it.
        let live = live.display().to_string().replace("--", "- -");
        let header = format!(
            "<!-- The Stopgap agent writes this file and removes it; edits are reported and undone.\n     \
             To take the rules off by hand: remove {live} and restart the gateway. -->\n"
        );
        document(&header, &self.rules, &self.maps)
    }
}

fn document(header: &str, rules: &[String], maps: &[String]) -> String {
    let mut text = format!("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n{header}<rewrite>\n");
    for (section, elements) in [("rewriteMaps", maps), ("rules", rules)] {
        if !elements.is_empty() {
            text.push_str(&format!("  <{section}>\n"));
            elements.iter().for_each(|element| text.push_str(&format!("    {element}\n")));
            text.push_str(&format!("  </{section}>\n"));
        }
    }
    text + "</rewrite>\n"
}

/// The elements of an action, as they are written.
struct Cut {
    rules: Vec<String>,
    maps: Vec<String>,
}

impl Cut {
    fn from(rewrite: &str, prefix: &str) -> Result<Cut, String> {
        let tree = roxmltree::Document::parse(rewrite).map_err(|e| with_causes(&e))?;
        let sections = |name: &'static str| tree.descendants().filter(move |n| n.has_tag_name(name));
        let mut cut = Cut { rules: Vec::new(), maps: Vec::new() };
        for section in sections("globalRules").chain(sections("rules")) {
            for rule in section.children().filter(|n| n.has_tag_name("rule")) {
                cut.rules.push(renamed(rewrite, rule, prefix)?);
            }
        }
        for section in sections("rewriteMaps") {
            for map in section.children().filter(|n| n.has_tag_name("rewriteMap")) {
                cut.maps.push(rewrite.get(map.range()).ok_or("a rewrite map without text")?.to_owned());
            }
        }
        Ok(cut)
    }
}

/// The text of a rule with `prefix`, which needs no escape, before its name.
fn renamed(text: &str, rule: Node, prefix: &str) -> Result<String, String> {
    let name = rule.attribute_node("name").ok_or("a rule without a name")?.range_value().start;
    let range = rule.range();
    let (head, tail) = (text.get(range.start..name), text.get(name..range.end));
    Ok([head.ok_or("a rule without text")?, prefix, tail.ok_or("a rule without text")?].concat())
}
