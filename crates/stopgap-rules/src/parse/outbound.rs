//! `<outboundRules>`: rules for responses, and the preconditions that they name.

use super::collection::Builder;
use super::conditions::{Keys, conditions_element, grouping, list, pattern_syntax};
use super::error::ParseError;
use super::reader::Reader;
use crate::model::{Conditions, Level, OutboundAction, OutboundRule, OutboundSubject, PreCondition};
use roxmltree::Node;

/// The values of `filterByTags`.
const TAGS: [&str; 13] = [
    "None",
    "A",
    "Area",
    "Base",
    "Form",
    "Frame",
    "Head",
    "IFrame",
    "Img",
    "Input",
    "Link",
    "Script",
    "CustomTags",
];

pub(super) fn outbound_rules(reader: &Reader, node: Node, builder: &mut Builder) -> Result<(), ParseError> {
    reader.attributes(node, &["rewriteBeforeCache"])?;
    // Whether IIS caches the response before or after: nothing of what a client sees.
    reader.boolean(node, "rewriteBeforeCache", false)?;
    let level = builder.level().clone();
    let mut seen: Vec<&str> = Vec::new();
    for child in reader.elements(node)? {
        let name = reader.name(child);
        match name {
            "rule" => {
                let rule = rule(reader, child, &level)?;
                builder.outbound.add((reader, child), &level, &rule.name.clone(), rule)?;
            }
            "clear" => builder.outbound.clear((reader, child), &level)?,
            "remove" => builder.outbound.remove((reader, child), &level)?,
            "preConditions" | "customTags" if seen.contains(&name) => {
                return Err(ParseError::Repeated { place: reader.place(child), element: name.to_owned() });
            }
            "preConditions" => pre_conditions(reader, child, builder)?,
            "customTags" => custom_tags(reader, child)?,
            _ => return Err(reader.unknown(child, "rule, clear, remove, preConditions, customTags")),
        }
        seen.push(name);
    }
    Ok(())
}

fn pre_conditions(reader: &Reader, node: Node, builder: &mut Builder) -> Result<(), ParseError> {
    reader.attributes(node, &[])?;
    let level = builder.level().clone();
    for child in reader.elements(node)? {
        match reader.name(child) {
            "preCondition" => {
                reader.attributes(child, &["name", "logicalGrouping", "patternSyntax"])?;
                let name = name(reader, child)?;
                let pre_condition = PreCondition {
                    name: name.clone(),
                    grouping: grouping(reader, child)?,
                    pattern_syntax: pattern_syntax(reader, child)?,
                    list: list(reader, child, Keys::Unique)?,
                };
                builder.pre_conditions.add((reader, child), &level, &name, pre_condition)?;
            }
            "clear" => builder.pre_conditions.clear((reader, child), &level)?,
            "remove" => builder.pre_conditions.remove((reader, child), &level)?,
            _ => return Err(reader.unknown(child, "preCondition, clear, remove")),
        }
    }
    Ok(())
}

fn rule(reader: &Reader, node: Node, level: &Level) -> Result<OutboundRule, ParseError> {
    reader.attributes(node, &["name", "preCondition", "enabled", "patternSyntax", "stopProcessing"])?;
    let name = name(reader, node)?;
    let (mut matched, mut conditions, mut action) = (None, None, None);
    for child in reader.elements(node)? {
        let repeated = match reader.name(child) {
            "match" => matched.replace(child).is_some(),
            "conditions" => {
                conditions.replace(conditions_element(reader, child, Keys::Unique, true)?).is_some()
            }
            "action" => action.replace(action_element(reader, child)?).is_some(),
            _ => return Err(reader.unknown(child, "match, conditions, action")),
        };
        if repeated {
            let element = reader.name(child).to_owned();
            return Err(ParseError::Repeated { place: reader.place(child), element });
        }
    }
    let missing = |element| ParseError::MissingElement { place: reader.place(node), parent: "rule", element };
    let matched = matched.ok_or_else(|| missing("match"))?;
    Ok(OutboundRule {
        name,
        level: level.clone(),
        enabled: reader.boolean(node, "enabled", true)?,
        pre_condition: node.attribute("preCondition").filter(|name| !name.is_empty()).map(str::to_owned),
        pattern_syntax: pattern_syntax(reader, node)?,
        stop_processing: reader.boolean(node, "stopProcessing", false)?,
        subject: subject(reader, matched)?,
        pattern: reader.required(matched, "pattern")?.to_owned(),
        ignore_case: reader.boolean(matched, "ignoreCase", true)?,
        negate: reader.boolean(matched, "negate", false)?,
        conditions: conditions.unwrap_or(Conditions { track_all_captures: true, ..Conditions::default() }),
        action: action.ok_or_else(|| missing("action"))?,
    })
}

fn subject(reader: &Reader, node: Node) -> Result<OutboundSubject, ParseError> {
    reader.attributes(
        node,
        &["filterByTags", "customTags", "serverVariable", "pattern", "occurrences", "ignoreCase", "negate"],
    )?;
    reader.empty(node)?;
    let tags = node.attribute("filterByTags").unwrap_or("None");
    if tags.split(',').any(|tag| !TAGS.contains(&tag.trim())) {
        return Err(reader.bad_value(node, "filterByTags", &TAGS.join(", ")));
    }
    // How many matches in a body are replaced; a header has one value.
    if node.attribute("occurrences").is_some_and(|found| found.parse::<i64>().is_err()) {
        return Err(reader.bad_value(node, "occurrences", "a number"));
    }
    match node.attribute("serverVariable").filter(|name| !name.is_empty()) {
        None => {
            Ok(OutboundSubject::Body { tags: if tags == "None" { String::new() } else { tags.to_owned() } })
        }
        Some(_) if tags != "None" => {
            Err(reader.bad_value(node, "filterByTags", "None where there is a serverVariable"))
        }
        Some(name) if name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)) => {
            Ok(OutboundSubject::Variable(name.to_owned()))
        }
        Some(_) => Err(reader.bad_value(node, "serverVariable", "letters, digits, _ and -")),
    }
}

fn action_element(reader: &Reader, node: Node) -> Result<OutboundAction, ParseError> {
    reader.attributes(node, &["type", "value", "replace"])?;
    reader.empty(node)?;
    let rewrite = reader.one_of(node, "type", &[("None", false), ("Rewrite", true)])?;
    let replace = reader.boolean(node, "replace", true)?;
    Ok(match rewrite {
        false => OutboundAction::None,
        true => OutboundAction::Rewrite { value: node.attribute("value").unwrap_or("").to_owned(), replace },
    })
}

/// The tags that `filterByTags="CustomTags"` means. Read, so that an error in them is told; no rule that
/// needs them is evaluated.
fn custom_tags(reader: &Reader, node: Node) -> Result<(), ParseError> {
    reader.attributes(node, &[])?;
    for tags in reader.elements(node)? {
        match reader.name(tags) {
            "tags" => {
                reader.attributes(tags, &["name"])?;
                name(reader, tags)?;
                for tag in reader.elements(tags)? {
                    reader.empty(tag)?;
                    match reader.name(tag) {
                        "tag" | "remove" => {
                            reader.attributes(tag, &["name", "attribute"])?;
                            reader.required(tag, "name")?;
                            reader.required(tag, "attribute")?;
                        }
                        "clear" => reader.attributes(tag, &[])?,
                        _ => return Err(reader.unknown(tag, "tag, clear, remove")),
                    }
                }
            }
            "remove" => {
                reader.attributes(tags, &["name"])?;
                reader.required(tags, "name")?;
            }
            "clear" => reader.attributes(tags, &[])?,
            _ => return Err(reader.unknown(tags, "tags, clear, remove")),
        }
    }
    Ok(())
}

fn name(reader: &Reader, node: Node) -> Result<String, ParseError> {
    let name = reader.required(node, "name")?;
    match name.is_empty() {
        true => Err(reader.bad_value(node, "name", "a name")),
        false => Ok(name.to_owned()),
    }
}
