//! XML to model: `<rewrite>`, `<rules>`, `<globalRules>` or a whole `web.config`.
//!
//! Strict: an element or attribute that this build does not know is an error that names it, its place and
//! what is allowed there, because a rule that is half understood is a hole. What is known but not built
//! (outbound rules, providers, `<clear/>`, `<remove/>`, another level's `<location>`) is refused by name.

mod error;
mod reader;
mod scan;

pub use error::{ParseError, Place};

use crate::model::{
    Action, Condition, Conditions, Grouping, Level, MatchType, MatchUrl, PatternSyntax, RedirectType,
    RewriteMap, Rule, RuleSet, SetVariable,
};
use reader::Reader;
use roxmltree::Node;

/// The largest text that is read. `SharedWebConfig.config` of a real Exchange server has 1.8 MB.
pub const MAX_TEXT: usize = 8 * 1024 * 1024;
/// Elements within elements.
pub const MAX_DEPTH: usize = 64;
/// Attributes of one element; the XML library is quadratic in them.
pub const MAX_ATTRIBUTES: usize = 64;
/// Namespace declarations in the whole text: each is inherited by everything below it.
pub const MAX_NAMESPACES: usize = 64;
/// Rules in one text.
pub const MAX_RULES: usize = 10_000;
/// Conditions, or server variables, of one rule.
pub const MAX_PER_RULE: usize = 256;
/// Entries in all maps together.
pub const MAX_MAP_ENTRIES: usize = 100_000;

impl RuleSet {
    /// Reads a rule set from text. Accepts a byte order mark.
    ///
    /// # Errors
    /// [`ParseError`]: the place, what was found, what is allowed.
    pub fn parse(xml: &str) -> Result<RuleSet, ParseError> {
        let xml = xml.strip_prefix('\u{feff}').unwrap_or(xml);
        scan::scan(xml)?;
        let document = roxmltree::Document::parse(xml).map_err(|error| {
            let at = error.pos();
            ParseError::NotXml { place: Place { line: at.row, column: at.col }, message: error.to_string() }
        })?;
        let reader = Reader { document: &document };
        let root = document.root_element();
        let mut set = RuleSet::default();
        match reader.name(root) {
            "configuration" => configuration(&reader, root, &mut set)?,
            "system.webServer" => web_server(&reader, root, &mut set)?,
            "rewrite" => rewrite(&reader, root, &mut set)?,
            "rules" | "globalRules" => rules(&reader, root, &mut set)?,
            other => {
                return Err(ParseError::UnknownRoot {
                    place: reader.place(root),
                    found: other.to_owned(),
                    allowed: "rewrite, rules, globalRules, configuration",
                });
            }
        }
        Ok(set)
    }
}

/// Of a `web.config` only the rewrite sections are ours; every other section is another module's business.
fn configuration(reader: &Reader, node: Node, set: &mut RuleSet) -> Result<(), ParseError> {
    for child in node.children().filter(Node::is_element) {
        match reader.name(child) {
            "system.webServer" => web_server(reader, child, set)?,
            "location" => {
                let path = child.attribute("path").unwrap_or("");
                let here = path.is_empty() || path == ".";
                for server in child.children().filter(|n| n.has_tag_name("system.webServer")) {
                    if here {
                        web_server(reader, server, set)?;
                    } else if let Some(found) = server.children().find(|n| n.has_tag_name("rewrite")) {
                        return Err(reader.unsupported(found, format!("rules of <location path=\"{path}\">")));
                    }
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn web_server(reader: &Reader, node: Node, set: &mut RuleSet) -> Result<(), ParseError> {
    for child in node.children().filter(|n| n.has_tag_name("rewrite")) {
        rewrite(reader, child, set)?;
    }
    Ok(())
}

const REWRITE: &str = "globalRules, rules, rewriteMaps, outboundRules, allowedServerVariables, providers";

/// Global rules come before rules, whatever the order in the file (IIS runs them before any level's).
fn rewrite(reader: &Reader, node: Node, set: &mut RuleSet) -> Result<(), ParseError> {
    reader.attributes(node, &[])?;
    let mut seen: Vec<&str> = Vec::new();
    for child in reader.elements(node)? {
        let name = reader.name(child);
        if seen.contains(&name) {
            return Err(ParseError::Repeated { place: reader.place(child), element: name.to_owned() });
        }
        seen.push(name);
        match name {
            "globalRules" | "rules" => {}
            "rewriteMaps" => maps(reader, child, set)?,
            "outboundRules" => {
                if let Some(found) = reader.elements(child)?.next() {
                    return Err(reader.unsupported(found, "outboundRules".to_owned()));
                }
            }
            "allowedServerVariables" => allowed_variables(reader, child)?,
            "providers" => return Err(reader.unsupported(child, "providers".to_owned())),
            _ => return Err(reader.unknown(child, REWRITE)),
        }
    }
    for section in ["globalRules", "rules"] {
        for child in node.children().filter(|n| n.has_tag_name(section)) {
            rules(reader, child, set)?;
        }
    }
    Ok(())
}

/// The list that lets an IIS administrator forbid variables. It takes nothing away from a rule's meaning.
fn allowed_variables(reader: &Reader, node: Node) -> Result<(), ParseError> {
    reader.attributes(node, &[])?;
    for child in reader.elements(node)? {
        match reader.name(child) {
            "add" => {
                reader.attributes(child, &["name"])?;
                reader.required(child, "name")?;
                reader.empty(child)?;
            }
            other @ ("clear" | "remove") => return Err(reader.unsupported(child, format!("<{other}/>"))),
            _ => return Err(reader.unknown(child, "add")),
        }
    }
    Ok(())
}

fn rules(reader: &Reader, node: Node, set: &mut RuleSet) -> Result<(), ParseError> {
    reader.attributes(node, &[])?;
    let first = set.rules.len();
    for child in reader.elements(node)? {
        match reader.name(child) {
            "rule" => {
                let rule = rule(reader, child)?;
                // IIS compares this key ignoring case and answers 500.19 for a duplicate.
                if set.rules.iter().skip(first).any(|other| other.name.eq_ignore_ascii_case(&rule.name)) {
                    return Err(ParseError::DuplicateName { place: reader.place(child), name: rule.name });
                }
                if set.rules.len() == MAX_RULES {
                    return Err(reader.too_many(child, "rules", MAX_RULES));
                }
                set.rules.push(rule);
            }
            other @ ("clear" | "remove") => {
                return Err(reader.unsupported(child, format!("<{other}/> in rules")));
            }
            _ => return Err(reader.unknown(child, "rule")),
        }
    }
    Ok(())
}

fn rule(reader: &Reader, node: Node) -> Result<Rule, ParseError> {
    reader.attributes(node, &["name", "enabled", "patternSyntax", "stopProcessing"])?;
    let name = reader.required(node, "name")?;
    if name.is_empty() {
        return Err(reader.bad_value(node, "name", "a name"));
    }
    let pattern_syntax = reader.one_of(
        node,
        "patternSyntax",
        &[
            ("ECMAScript", PatternSyntax::EcmaScript),
            ("Wildcard", PatternSyntax::Wildcard),
            ("ExactMatch", PatternSyntax::ExactMatch),
        ],
    )?;
    let (mut match_url, mut conditions, mut variables, mut action) = (None, None, None, None);
    for child in reader.elements(node)? {
        let repeated = match reader.name(child) {
            "match" => match_url.replace(match_element(reader, child)?).is_some(),
            "conditions" => conditions.replace(conditions_element(reader, child)?).is_some(),
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
        level: Level::default(),
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
    Ok(MatchUrl {
        url: reader.required(node, "url")?.to_owned(),
        ignore_case: reader.boolean(node, "ignoreCase", true)?,
        negate: reader.boolean(node, "negate", false)?,
    })
}

fn conditions_element(reader: &Reader, node: Node) -> Result<Conditions, ParseError> {
    reader.attributes(node, &["logicalGrouping", "trackAllCaptures"])?;
    let grouping = reader.one_of(
        node,
        "logicalGrouping",
        &[("MatchAll", Grouping::MatchAll), ("MatchAny", Grouping::MatchAny)],
    )?;
    let mut list = Vec::new();
    for child in reader.elements(node)? {
        match reader.name(child) {
            "add" if list.len() < MAX_PER_RULE => list.push(condition(reader, child)?),
            "add" => return Err(reader.too_many(child, "conditions", MAX_PER_RULE)),
            other @ ("clear" | "remove") => {
                return Err(reader.unsupported(child, format!("<{other}/> in conditions")));
            }
            _ => return Err(reader.unknown(child, "add")),
        }
    }
    Ok(Conditions { grouping, track_all_captures: reader.boolean(node, "trackAllCaptures", false)?, list })
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
                list.push(SetVariable {
                    name: name.to_owned(),
                    value: reader.required(child, "value")?.to_owned(),
                    replace: reader.boolean(child, "replace", true)?,
                });
            }
            "set" => return Err(reader.too_many(child, "server variables", MAX_PER_RULE)),
            other @ ("clear" | "remove") => {
                return Err(reader.unsupported(child, format!("<{other}/> in serverVariables")));
            }
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
        Kind::Rewrite => {
            Action::Rewrite { url: reader.required(node, "url")?.to_owned(), append_query_string }
        }
        Kind::Redirect => Action::Redirect {
            url: reader.required(node, "url")?.to_owned(),
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

fn maps(reader: &Reader, node: Node, set: &mut RuleSet) -> Result<(), ParseError> {
    reader.attributes(node, &[])?;
    let mut entries_left = MAX_MAP_ENTRIES;
    for child in reader.elements(node)? {
        match reader.name(child) {
            "rewriteMap" => {}
            other @ ("clear" | "remove") => {
                return Err(reader.unsupported(child, format!("<{other}/> in rewriteMaps")));
            }
            _ => return Err(reader.unknown(child, "rewriteMap")),
        }
        reader.attributes(child, &["name", "defaultValue", "ignoreCase"])?;
        let name = reader.required(child, "name")?.to_owned();
        if set.maps.iter().any(|other| other.name == name) {
            return Err(ParseError::DuplicateName { place: reader.place(child), name });
        }
        let mut entries = Vec::new();
        for add in reader.elements(child)? {
            match reader.name(add) {
                "add" => {}
                other @ ("clear" | "remove") => {
                    return Err(reader.unsupported(add, format!("<{other}/> in rewriteMap")));
                }
                _ => return Err(reader.unknown(add, "add")),
            }
            reader.attributes(add, &["key", "value"])?;
            reader.empty(add)?;
            entries_left = entries_left
                .checked_sub(1)
                .ok_or_else(|| reader.too_many(add, "map entries", MAX_MAP_ENTRIES))?;
            entries
                .push((reader.required(add, "key")?.to_owned(), reader.required(add, "value")?.to_owned()));
        }
        set.maps.push(RewriteMap {
            name,
            default_value: child.attribute("defaultValue").unwrap_or("").to_owned(),
            ignore_case: reader.boolean(child, "ignoreCase", true)?,
            entries,
        });
    }
    Ok(())
}
