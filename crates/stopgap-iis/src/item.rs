//! The inside of one section: what it adds, removes and clears, in order. Rules, preconditions and maps are read
//! by `stopgap-rules`, each by itself, so that one fault hides no other.

mod locks;

use std::borrow::Cow;
use std::sync::Arc;

use stopgap_rules::parse::{ParseError, Place};
use stopgap_rules::pattern::{Pattern, PatternError, PatternLimits};
use stopgap_rules::{
    Condition, MatchType, OutboundRule, PatternSyntax, PreCondition, RewriteMap, Rule, RuleSet,
};

use crate::document::Element;
use crate::section::Section;
use crate::violation::{Code, Fault};
use locks::LOCKS;
pub(crate) use locks::Locks;

/// Directives of one section: those of a real one are a few hundred.
const MAX_DIRECTIVES: usize = 100_000;

/// A collection with unique keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Collection {
    GlobalRules,
    Rules,
    Outbound,
    PreConditions,
    Tags,
    Maps,
    Variables,
    Providers,
}

/// What is in one section.
#[derive(Debug, Default)]
pub(crate) struct Body {
    pub(crate) directives: Vec<Directive>,
    pub(crate) locks: Locks,
    /// The collections within the section's own: the element's name, for locks, and its place.
    pub(crate) nested: Vec<(Collection, &'static str, Place)>,
    /// Attributes of the section's own, with their place.
    pub(crate) attributes: Vec<(&'static str, Place)>,
    pub(crate) faults: Vec<Fault>,
}

#[derive(Debug)]
pub(crate) struct Directive {
    pub(crate) collection: Collection,
    /// The element's name, for locks.
    pub(crate) element: &'static str,
    pub(crate) place: Place,
    pub(crate) does: Does,
}

#[derive(Debug)]
pub(crate) enum Does {
    Add {
        name: String,
        /// Nothing where it could not be read; its name is taken all the same.
        item: Option<Item>,
        /// `lockItem`.
        locked: bool,
    },
    Remove(String),
    Clear,
}

#[derive(Debug, Clone)]
pub(crate) enum Item {
    Rule(Arc<Rule>),
    Outbound(Arc<OutboundRule>),
    PreCondition(Arc<PreCondition>),
    Map(Arc<RewriteMap>),
    Name,
}

/// Reads a section's element.
pub(crate) fn read(section: Section, element: Element) -> Body {
    let mut body = Body::default();
    let own: &[&'static str] = if section == Section::OutboundRules { &["rewriteBeforeCache"] } else { &[] };
    body.locks = Locks::of(element);
    for (name, value) in element.attributes().filter(|(name, _)| !LOCKS.contains(name)) {
        if let Some(own) = own.iter().find(|own| **own == name) {
            body.attributes.push((own, element.place()));
            if !value.eq_ignore_ascii_case("true") && !value.eq_ignore_ascii_case("false") {
                body.faults.push(bad_value(element, name, &value, "true, false"));
            }
        } else {
            let known = own.first().unwrap_or(&"none");
            body.faults.push(unknown_attribute(element, name, known));
        }
    }
    match section {
        Section::GlobalRules => body.collection(element, Collection::GlobalRules, "rule"),
        Section::Rules => body.collection(element, Collection::Rules, "rule"),
        Section::OutboundRules => body.outbound(element),
        Section::RewriteMaps => body.collection(element, Collection::Maps, "rewriteMap"),
        Section::AllowedServerVariables => body.collection(element, Collection::Variables, "add"),
        Section::Providers => body.collection(element, Collection::Providers, "provider"),
    }
    body
}

impl Body {
    fn outbound(&mut self, element: Element) {
        let nested = [
            ("preConditions", Collection::PreConditions, "preCondition"),
            ("customTags", Collection::Tags, "tags"),
        ];
        let mut seen: Vec<&str> = Vec::new();
        for child in element.children() {
            let Some((name, collection, item)) = nested.iter().find(|(name, ..)| *name == child.name())
            else {
                continue;
            };
            if seen.contains(name) {
                let message = format!("a second <{name}>; it can stand once");
                self.faults.push(Fault::new(Code::RepeatedElement, child.place(), message));
            }
            seen.push(name);
            self.nested.push((*collection, name, child.place()));
            for (attribute, _) in child.attributes() {
                self.faults.push(match LOCKS.contains(&attribute) {
                    true => locks::unknown(child, attribute),
                    false => unknown_attribute(child, attribute, "none"),
                });
            }
            self.collection(child, *collection, item);
        }
        self.collection(element, Collection::Outbound, "rule");
    }

    /// The elements of one collection.
    fn collection(&mut self, element: Element, collection: Collection, item: &'static str) {
        if let Some((place, words)) = element.words() {
            let message = format!("text {words:?} in <{}>, where only elements can stand", element.name());
            self.faults.push(Fault::new(Code::UnexpectedText, place, message));
        }
        for child in element.children() {
            if self.directives.len() == MAX_DIRECTIVES {
                let message = format!("more than {MAX_DIRECTIVES} entries; the rest was not judged");
                return self.faults.push(Fault::new(Code::TooMany, child.place(), message));
            }
            let place = child.place();
            let mut push =
                |element, does| self.directives.push(Directive { collection, element, place, does });
            match child.name() {
                "clear" => {
                    push("clear", Does::Clear);
                    self.plain(child, &[]);
                }
                "remove" => {
                    if let Some(name) = child.attribute("name") {
                        push("remove", Does::Remove(name.into_owned()));
                    }
                    self.plain(child, &["name"]);
                }
                "preConditions" | "customTags" if collection == Collection::Outbound => {}
                name if name == item => self.add(child, collection, item),
                name => {
                    let parent = element.name();
                    let message =
                        format!("unknown element <{name}> in <{parent}>; allowed: {item}, clear, remove");
                    self.faults.push(Fault::new(Code::UnknownElement, place, message));
                }
            }
        }
    }

    /// `<clear/>`, `<remove name="…"/>`.
    fn plain(&mut self, element: Element, required: &[&str]) {
        for (name, _) in element.attributes() {
            if !required.contains(&name) && !LOCKS.contains(&name) {
                self.faults.push(unknown_attribute(element, name, required.first().unwrap_or(&"none")));
            }
        }
        for name in required.iter().filter(|name| element.attribute(name).is_none()) {
            let message = format!("<{}> has no attribute \"{name}\"", element.name());
            self.faults.push(Fault::new(Code::MissingAttribute, element.place(), message));
        }
        if let Some(child) = element.children().next() {
            let message =
                format!("unknown element <{}> in <{}>; allowed: nothing", child.name(), element.name());
            self.faults.push(Fault::new(Code::UnknownElement, child.place(), message));
        }
    }

    fn add(&mut self, element: Element, collection: Collection, name: &'static str) {
        let place = element.place();
        let locked = locks::is_true(element, "lockItem");
        let (item, faults) = match collection {
            Collection::Variables => {
                self.plain(element, &["name"]);
                (Some(Item::Name), Vec::new())
            }
            // .NET code with settings of its own: known, and not judged.
            Collection::Providers => {
                if element.attribute("name").is_none() {
                    let message = "<provider> has no attribute \"name\"";
                    self.faults.push(Fault::new(Code::MissingAttribute, place, message));
                }
                (Some(Item::Name), Vec::new())
            }
            _ => parsed(element, collection),
        };
        self.faults.extend(faults);
        if let Some(key) = element.attribute("name") {
            let does = Does::Add { name: key.into_owned(), item, locked };
            self.directives.push(Directive { collection, element: name, place, does });
        }
    }
}

/// One rule, precondition, map or list of tags, by the parser of the rule language.
fn parsed(element: Element, collection: Collection) -> (Option<Item>, Vec<Fault>) {
    let (before, behind) = match collection {
        Collection::GlobalRules => ("<globalRules>", "</globalRules>"),
        Collection::Rules => ("<rules>", "</rules>"),
        Collection::Outbound => ("<outboundRules>", "</outboundRules>"),
        Collection::PreConditions => ("<outboundRules><preConditions>", "</preConditions></outboundRules>"),
        Collection::Tags => ("<outboundRules><customTags>", "</customTags></outboundRules>"),
        _ => ("<rewrite><rewriteMaps>", "</rewriteMaps></rewrite>"),
    };
    let whole = completed(element, collection, locks::blanked(element));
    let text = format!("{before}{whole}{behind}");
    let mut set = match RuleSet::parse(&text) {
        Ok(set) => set,
        Err(error) => return (None, vec![fault(&error, element.place(), before.len())]),
    };
    let mut faults = Vec::new();
    let item = match collection {
        Collection::GlobalRules | Collection::Rules => set.rules.pop().map(|rule| {
            let status = if collection == Collection::GlobalRules { "500.51" } else { "500.50" };
            if rule.enabled {
                let url = (rule.match_url.url.as_str(), rule.match_url.ignore_case);
                let all = std::iter::once(url).chain(patterns(&rule.conditions.list));
                faults = bad_patterns(element, rule.pattern_syntax, all, status);
            }
            Item::Rule(Arc::new(rule))
        }),
        Collection::Outbound => set.outbound.pop().map(|rule| {
            if rule.enabled {
                let own = (rule.pattern.as_str(), rule.ignore_case);
                let all = std::iter::once(own).chain(patterns(&rule.conditions.list));
                faults = bad_patterns(element, rule.pattern_syntax, all, "500.52");
            }
            Item::Outbound(Arc::new(rule))
        }),
        Collection::PreConditions => set.pre_conditions.pop().map(|pre_condition| {
            let all = patterns(&pre_condition.list);
            faults = bad_patterns(element, pre_condition.pattern_syntax, all, "500.52");
            Item::PreCondition(Arc::new(pre_condition))
        }),
        Collection::Maps => set.maps.pop().map(|map| Item::Map(Arc::new(map))),
        _ => Some(Item::Name),
    };
    (item, faults)
}

/// A rule with what it leaves out. The schema requires neither `<match>` nor `<action>`, whose type is None where it
/// says nothing; the parser of the language wants both, since a rule without is of no use elsewhere.
fn completed<'t>(element: Element, collection: Collection, text: Cow<'t, str>) -> Cow<'t, str> {
    let matched = match collection {
        Collection::GlobalRules | Collection::Rules => "<match url=\".*\"/>",
        Collection::Outbound => "<match pattern=\".*\"/>",
        _ => return text,
    };
    let mut lacks = String::new();
    for (name, default) in [("match", matched), ("action", "<action type=\"None\"/>")] {
        if element.child(name).is_none() {
            lacks.push_str(default);
        }
    }
    if lacks.is_empty() {
        return text;
    }
    // Behind everything else, so that each place stays.
    match (text.strip_suffix("/>"), text.rfind("</")) {
        (Some(open), _) => Cow::Owned(format!("{open}>{lacks}</rule>")),
        (None, Some(end)) => {
            let (inside, tag) = text.split_at(end);
            Cow::Owned(format!("{inside}{lacks}{tag}"))
        }
        (None, None) => text,
    }
}

fn patterns(list: &[Condition]) -> impl Iterator<Item = (&str, bool)> {
    let list = list.iter().filter(|condition| condition.match_type == MatchType::Pattern);
    list.map(|condition| (condition.pattern.as_str(), condition.ignore_case))
}

fn bad_patterns<'p>(
    element: Element,
    syntax: PatternSyntax,
    patterns: impl Iterator<Item = (&'p str, bool)>,
    status: &'static str,
) -> Vec<Fault> {
    if syntax != PatternSyntax::EcmaScript {
        return Vec::new();
    }
    let faults = patterns.filter_map(|(pattern, ignore_case)| {
        let error = Pattern::compile(pattern, ignore_case, &PatternLimits::default()).err()?;
        // The other refusals are bounds of ours; IIS has none.
        let refused = matches!(
            error,
            PatternError::Syntax { .. } | PatternError::LookBehind { .. } | PatternError::NamedGroup { .. }
        );
        let holds = |element: &Element| element.attributes().any(|(_, value)| value == pattern);
        let place = element.descendants().find(holds).unwrap_or(element).place();
        let message = format!("pattern {pattern:?}: {error}");
        refused.then(|| Fault::new(Code::BadPattern, place, message).status(status).key(pattern))
    });
    faults.collect()
}

/// An error of the rule parser as a fault of the file: `skipped` characters stand before the element in the
/// text that it read.
fn fault(error: &ParseError, element: Place, skipped: usize) -> Fault {
    let (code, place) = match error {
        ParseError::NotXml { place, .. } | ParseError::Doctype { place } => (Code::Malformed, Some(place)),
        ParseError::TooDeep { place, .. } | ParseError::TooMany { place, .. } => (Code::TooMany, Some(place)),
        ParseError::UnknownElement { place, .. } => (Code::UnknownElement, Some(place)),
        ParseError::UnexpectedText { place, .. } => (Code::UnexpectedText, Some(place)),
        ParseError::UnknownAttribute { place, .. } => (Code::UnknownAttribute, Some(place)),
        ParseError::MissingAttribute { place, .. } | ParseError::MissingElement { place, .. } => {
            (Code::MissingAttribute, Some(place))
        }
        ParseError::BadValue { place, .. } => (Code::BadValue, Some(place)),
        ParseError::Repeated { place, .. } => (Code::RepeatedElement, Some(place)),
        ParseError::DuplicateName { place, .. } | ParseError::DuplicateCondition { place, .. } => {
            (Code::DuplicateKey, Some(place))
        }
        ParseError::TooLarge { .. } => (Code::TooMany, None),
        _ => (Code::BadValue, None),
    };
    let text = error.to_string();
    let message = place.and_then(|place| text.strip_prefix(&format!("{place}: "))).unwrap_or(&text);
    let place = match place {
        None => element,
        Some(Place { line: 1, column }) => {
            let skipped = u32::try_from(skipped).unwrap_or(u32::MAX);
            Place {
                line: element.line,
                column: column.saturating_sub(skipped).saturating_add(element.column) - 1,
            }
        }
        Some(place) => Place { line: element.line.saturating_add(place.line) - 1, column: place.column },
    };
    let key = match error {
        ParseError::DuplicateName { name, .. } => Some(name.clone()),
        ParseError::DuplicateCondition { input, .. } => Some(input.clone()),
        _ => None,
    };
    Fault { key, ..Fault::new(code, place, message) }
}

fn unknown_attribute(element: Element, found: &str, allowed: &str) -> Fault {
    let name = element.name();
    let message = format!("unknown attribute \"{found}\" of <{name}>; allowed: {allowed}");
    Fault::new(Code::UnknownAttribute, element.place(), message)
}

fn bad_value(element: Element, name: &str, found: &str, allowed: &str) -> Fault {
    let message = format!("{name}=\"{found}\" of <{}>; allowed: {allowed}", element.name());
    Fault::new(Code::BadValue, element.place(), message)
}
