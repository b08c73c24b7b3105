//! `<conditions>`, and what a precondition has of them.

use super::MAX_PER_RULE;
use super::error::ParseError;
use super::reader::Reader;
use crate::model::{Condition, Conditions, Grouping, MatchType, PatternSyntax};
use roxmltree::Node;
use std::collections::HashSet;

/// Whether two equal conditions may stand in one list: the schema makes all attributes of a condition one
/// key, but for those of plain inbound rules.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    Unique,
    Free,
}

pub(super) fn conditions_element(
    reader: &Reader,
    node: Node,
    keys: Keys,
    track_by_default: bool,
) -> Result<Conditions, ParseError> {
    reader.attributes(node, &["logicalGrouping", "trackAllCaptures"])?;
    Ok(Conditions {
        grouping: grouping(reader, node)?,
        track_all_captures: reader.boolean(node, "trackAllCaptures", track_by_default)?,
        list: list(reader, node, keys)?,
    })
}

pub(super) fn grouping(reader: &Reader, node: Node) -> Result<Grouping, ParseError> {
    let values = [("MatchAll", Grouping::MatchAll), ("MatchAny", Grouping::MatchAny)];
    reader.one_of(node, "logicalGrouping", &values)
}

pub(super) fn pattern_syntax(reader: &Reader, node: Node) -> Result<PatternSyntax, ParseError> {
    reader.one_of(
        node,
        "patternSyntax",
        &[
            ("ECMAScript", PatternSyntax::EcmaScript),
            ("Wildcard", PatternSyntax::Wildcard),
            ("ExactMatch", PatternSyntax::ExactMatch),
        ],
    )
}

/// The `<add …>` elements. The schema has neither `<clear/>` nor `<remove>` here.
pub(super) fn list(reader: &Reader, node: Node, keys: Keys) -> Result<Vec<Condition>, ParseError> {
    let mut list = Vec::new();
    let mut seen = HashSet::new();
    for child in reader.elements(node)? {
        match reader.name(child) {
            "add" if list.len() < MAX_PER_RULE => {
                let condition = condition(reader, child)?;
                let key = || {
                    (
                        condition.input.to_lowercase(),
                        condition.match_type,
                        condition.pattern.to_lowercase(),
                        condition.ignore_case,
                        condition.negate,
                    )
                };
                if keys == Keys::Unique && !seen.insert(key()) {
                    return Err(ParseError::DuplicateCondition {
                        place: reader.place(child),
                        input: condition.input,
                    });
                }
                list.push(condition);
            }
            "add" => return Err(reader.too_many(child, "conditions", MAX_PER_RULE)),
            _ => return Err(reader.unknown(child, "add")),
        }
    }
    Ok(list)
}

fn condition(reader: &Reader, node: Node) -> Result<Condition, ParseError> {
    reader.attributes(node, &["input", "matchType", "pattern", "ignoreCase", "negate"])?;
    reader.empty(node)?;
    let match_type = reader.one_of(
        node,
        "matchType",
        &[
            ("Pattern", MatchType::Pattern),
            ("IsFile", MatchType::IsFile),
            ("IsDirectory", MatchType::IsDirectory),
        ],
    )?;
    let pattern = match match_type {
        MatchType::Pattern => reader.required(node, "pattern")?,
        MatchType::IsFile | MatchType::IsDirectory => node.attribute("pattern").unwrap_or(""),
    };
    Ok(Condition {
        input: reader.required(node, "input")?.to_owned(),
        match_type,
        pattern: pattern.to_owned(),
        ignore_case: reader.boolean(node, "ignoreCase", true)?,
        negate: reader.boolean(node, "negate", false)?,
    })
}
