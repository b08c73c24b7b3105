//! The rules file: one `<rewrite>` with the rules of every wanted action, cut from the action's own
//! octets. Only names of rules and of preconditions are changed, and the result is read again to see
//! that nothing else was.

use std::collections::BTreeSet;
use std::path::Path;

use roxmltree::Node;
use stopgap_rules::{Engine, EngineLimits, RuleSet};

use crate::render::{Piece, with_causes};

/// The file in the making.
#[derive(Debug, Default)]
pub(super) struct Document {
    elements: Elements,
    names: BTreeSet<String>,
    map_names: BTreeSet<String>,
}

impl Document {
    /// Adds an action's rules, named `Stopgap <feed> <action id> <name>`. The reason where the
    /// gateway cannot take them.
    pub(super) fn add(&mut self, piece: &Piece) -> Result<(), String> {
        // The gateway tells by the name what is only observed; no feed is named so.
        let how = if piece.wanted.observe { "(observes) " } else { "" };
        let prefix = format!("Stopgap {how}{} ", piece.marker());
        let mut cut = Elements::from(piece.rewrite, &prefix)?;
        if piece.wanted.observe {
            (cut.outbound, cut.pre_conditions) = Default::default();
        }
        let mut expected = piece.rules.clone();
        for rule in &mut expected.rules {
            rule.name.insert_str(0, &prefix);
        }
        for rule in &mut expected.outbound {
            rule.name.insert_str(0, &prefix);
            // Empty stands for none.
            if let Some(name) = rule.pre_condition.as_mut().filter(|name| !name.is_empty()) {
                name.insert_str(0, &prefix);
            }
        }
        for pre_condition in &mut expected.pre_conditions {
            pre_condition.name.insert_str(0, &prefix);
        }
        let alone = RuleSet::parse(&document("", &cut)).map_err(|e| with_causes(&e))?;
        if alone != expected {
            return Err("its rules cannot be renamed without changing them".into());
        }
        Engine::compile(&alone, &EngineLimits::default()).map_err(|e| with_causes(&e))?;
        let names = alone.rules.iter().map(|rule| &rule.name);
        let names: BTreeSet<String> =
            names.chain(alone.outbound.iter().map(|rule| &rule.name)).cloned().collect();
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
        self.elements.append(cut);
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
        document(&header, &self.elements)
    }
}

fn document(header: &str, elements: &Elements) -> String {
    let mut text = format!("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n{header}<rewrite>\n");
    let mut outbound = elements.outbound.clone();
    if !elements.pre_conditions.is_empty() {
        outbound.push(section("preConditions", &elements.pre_conditions));
    }
    for (name, children) in
        [("rewriteMaps", &elements.maps), ("rules", &elements.rules), ("outboundRules", &outbound)]
    {
        if !children.is_empty() {
            text.push_str(&format!("  {}\n", section(name, children)));
        }
    }
    text + "</rewrite>\n"
}

fn section(name: &str, children: &[String]) -> String {
    let children: String = children.iter().map(|child| format!("    {child}\n")).collect();
    format!("<{name}>\n{children}  </{name}>")
}

/// The elements of a rewrite, as they are written.
#[derive(Debug, Default)]
struct Elements {
    rules: Vec<String>,
    outbound: Vec<String>,
    pre_conditions: Vec<String>,
    maps: Vec<String>,
}

impl Elements {
    /// Those of an action, with their names changed.
    fn from(rewrite: &str, prefix: &str) -> Result<Elements, String> {
        let tree = roxmltree::Document::parse(rewrite).map_err(|e| with_causes(&e))?;
        let children = |section: &'static str, name: &'static str| {
            let sections = tree.descendants().filter(move |n| n.has_tag_name(section));
            sections.flat_map(move |n| n.children().filter(move |n| n.has_tag_name(name)))
        };
        let mut cut = Elements::default();
        for rule in children("globalRules", "rule").chain(children("rules", "rule")) {
            cut.rules.push(renamed(rewrite, rule, prefix)?);
        }
        for rule in children("outboundRules", "rule") {
            cut.outbound.push(renamed(rewrite, rule, prefix)?);
        }
        for pre_condition in children("preConditions", "preCondition") {
            cut.pre_conditions.push(renamed(rewrite, pre_condition, prefix)?);
        }
        for map in children("rewriteMaps", "rewriteMap") {
            cut.maps.push(rewrite.get(map.range()).ok_or("a rewrite map without text")?.to_owned());
        }
        Ok(cut)
    }

    fn append(&mut self, mut more: Elements) {
        self.rules.append(&mut more.rules);
        self.outbound.append(&mut more.outbound);
        self.pre_conditions.append(&mut more.pre_conditions);
        self.maps.append(&mut more.maps);
    }
}

/// The text of a rule or precondition with `prefix`, which needs no escape, before its name, and before
/// the name of the precondition that it refers to.
fn renamed(text: &str, node: Node, prefix: &str) -> Result<String, String> {
    let own = node.attribute_node("name").ok_or("a rule without a name")?;
    let reference = node.attribute_node("preCondition").filter(|name| !name.value().is_empty());
    let mut places: Vec<usize> =
        [Some(own), reference].into_iter().flatten().map(|name| name.range_value().start).collect();
    places.sort_unstable();
    let range = node.range();
    let mut renamed = String::new();
    let mut from = range.start;
    for place in places {
        renamed.push_str(text.get(from..place).ok_or("a rule without text")?);
        renamed.push_str(prefix);
        from = place;
    }
    renamed.push_str(text.get(from..range.end).ok_or("a rule without text")?);
    Ok(renamed)
}
