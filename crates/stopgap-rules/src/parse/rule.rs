//! `<rules>` and `<globalRules>`: rules for requests.

use super::MAX_PER_RULE;
use super::collection::Builder;
use super::conditions::{Keys, conditions_element, pattern_syntax};
use super::error::ParseError;
use super::reader::Reader;
use crate::model::{Action, Level, MatchUrl, RedirectType, Rule, SetVariable};
use roxmltree::Node;

pub(super) fn rules(
    reader: &Reader,
    node: Node,
    builder: &mut Builder,
    global: bool,
) -> Result<(), ParseError> {
    reader.attributes(node, &[])?;
    let level = builder.level().clone();
    let collection = if global { &mut builder.global } else { &mut builder.rules };
    for child in reader.elements(node)? {
        match reader.name(child) {
            "rule" => {
                let rule = rule(reader, child, &level, global)?;
                collection.add((reader, child), &level, &rule.name.clone(), rule)?;
            }
            "clear" => collection.clear((reader, child), &level)?,
            "remove" => collection.remove((reader, child), &level)?,
            _ => return Err(reader.unknown(child, "rule, clear, remove")),
        }
    }
    Ok(())
}

fn rule(reader: &Reader, node: Node, level: &Level, global: bool) -> Result<Rule, ParseError> {
    reader.attributes(node, &["name", "enabled", "patternSyntax", "stopProcessing"])?;
    let name = reader.required(node, "name")?;
    if name.is_empty() {
        return Err(reader.bad_value(node, "name", "a name"));
    }
    let pattern_syntax = pattern_syntax(reader, node)?;
    let keys = if global { Keys::Unique } else { Keys::Free };
    let (mut match_url, mut conditions, mut variables, mut action) = (None, None, None, None);
    for child in reader.elements(node)? {
        let repeated = match reader.name(child) {
            "match" => match_url.replace(match_element(reader, child)?).is_some(),
            "conditions" => conditions.replace(conditions_element(reader, child, keys, false)?).is_some(),
            "serverVariables" => variables.replace(server_variables(reader, child)?).is_some(),
            "action" => action.replace(action_element(reader, child)?).is_some(),
            _ => return Err(reader.unknown(child, "match, conditions, serverVariables, action")),
        };
        if repeated {
            let element = reader.name(child).to_owned();
            return Err(ParseError::Repeated { place: reader.place(child), element });
        }
    }
    let missing = |element| ParseError::MissingElement { place: reader.place(node), parent: "rule", element };
    Ok(Rule {
        name: name.to_owned(),
        level: level.clone(),
        enabled: reader.boolean(node, "enabled", true)?,
        pattern_syntax,
        stop_processing: reader.boolean(node, "stopProcessing", false)?,
        match_url: match_url.ok_or_else(|| missing("match"))?,
        conditions: conditions.unwrap_or_default(),
        server_variables: variables.unwrap_or_default(),
        action: action.ok_or_else(|| missing("action"))?,
    })
}

fn match_element(reader: &Reader, node: Node) -> Result<MatchUrl, ParseError> {
    reader.attributes(node, &["url", "ignoreCase", "negate"])?;
    reader.empty(node)?;
    let url = reader.required(node, "url")?;
    if url.is_empty() {
        return Err(reader.bad_value(node, "url", "a pattern that is not empty"));
    }
    Ok(MatchUrl {
        url: url.to_owned(),
        ignore_case: reader.boolean(node, "ignoreCase", true)?,
        negate: reader.boolean(node, "negate", false)?,
    })
}

fn server_variables(reader: &Reader, node: Node) -> Result<Vec<SetVariable>, ParseError> {
    reader.attributes(node, &[])?;
    let mut list = Vec::new();
    for child in reader.elements(node)? {
        match reader.name(child) {
            "set" if list.len() < MAX_PER_RULE => {
                reader.attributes(child, &["name", "value", "replace"])?;
                reader.empty(child)?;
                let name = reader.required(child, "name")?;
                if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)) {
                    return Err(reader.bad_value(child, "name", "letters, digits, _ and -"));
                }
                if list.iter().any(|other: &SetVariable| other.name.eq_ignore_ascii_case(name)) {
                    let name = name.to_owned();
                    return Err(ParseError::DuplicateName { place: reader.place(child), name });
                }
                list.push(SetVariable {
                    name: name.to_owned(),
                    value: child.attribute("value").unwrap_or("").to_owned(),
                    replace: reader.boolean(child, "replace", true)?,
                });
            }
            "set" => return Err(reader.too_many(child, "server variables", MAX_PER_RULE)),
            _ => return Err(reader.unknown(child, "set")),
        }
    }
    Ok(list)
}

#[derive(Clone, Copy, Default)]
enum Kind {
    #[default]
    None,
    Rewrite,
    Redirect,
    CustomResponse,
    AbortRequest,
}

fn action_element(reader: &Reader, node: Node) -> Result<Action, ParseError> {
    reader.attributes(
        node,
        &[
            "type",
            "url",
            "appendQueryString",
            "logRewrittenUrl",
            "redirectType",
            "statusCode",
            "subStatusCode",
            "statusReason",
            "statusDescription",
        ],
    )?;
    reader.empty(node)?;
    let kind = reader.one_of(
        node,
        "type",
        &[
            ("None", Kind::None),
            ("Rewrite", Kind::Rewrite),
            ("Redirect", Kind::Redirect),
            ("CustomResponse", Kind::CustomResponse),
            ("AbortRequest", Kind::AbortRequest),
        ],
    )?;
    let append_query_string = reader.boolean(node, "appendQueryString", true)?;
    reader.boolean(node, "logRewrittenUrl", false)?;
    Ok(match kind {
        Kind::None => Action::None,
        Kind::Rewrite => Action::Rewrite { url: address(reader, node)?, append_query_string },
        Kind::Redirect => Action::Redirect {
            url: address(reader, node)?,
            append_query_string,
            redirect_type: reader.one_of(
                node,
                "redirectType",
                &[
                    ("Permanent", RedirectType::Permanent),
                    ("Found", RedirectType::Found),
                    ("SeeOther", RedirectType::SeeOther),
                    ("Temporary", RedirectType::Temporary),
                ],
            )?,
        },
        Kind::CustomResponse => {
            let status = reader.number(node, "statusCode")?;
            // The schema excludes the redirects: a Location would be missing.
            if !(100..=999).contains(&status) || (300..=307).contains(&status) {
                return Err(reader.bad_value(node, "statusCode", "100 to 999 without 300 to 307"));
            }
            let substatus = match node.attribute("subStatusCode") {
                Some(_) => reader.number(node, "subStatusCode")?,
                None => 0,
            };
            if substatus > 999 {
                return Err(reader.bad_value(node, "subStatusCode", "0 to 999"));
            }
            Action::CustomResponse {
                status,
                substatus,
                reason: node.attribute("statusReason").unwrap_or("").to_owned(),
                description: node.attribute("statusDescription").unwrap_or("").to_owned(),
            }
        }
        Kind::AbortRequest => Action::AbortRequest,
    })
}

/// The schema takes no blanks at its ends.
fn address(reader: &Reader, node: Node) -> Result<String, ParseError> {
    let url = reader.required(node, "url")?;
    if url.trim() != url {
        return Err(reader.bad_value(node, "url", "an address without blanks at its ends"));
    }
    Ok(url.to_owned())
}
