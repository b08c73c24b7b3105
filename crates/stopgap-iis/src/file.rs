//! One configuration file: which sections of `system.webServer/rewrite` it has, for which paths, under which
//! conditions. What the sections say is read by [`super::item`], and put together by [`super::effective`].

use std::borrow::Cow;
use std::collections::HashSet;
use std::sync::Arc;

use stopgap_rules::parse::Place;

use crate::document::{Document, DocumentError, Element};
use crate::item::{self, Body};
use crate::section::{OverrideMode, Section};
use crate::tree::{Tree, folded, url};
use crate::violation::{Code, Fault};

/// A file that is there.
#[derive(Debug)]
pub(crate) struct ConfigFile {
    pub(crate) path: Arc<str>,
    /// What breaks everything that reads it.
    pub(crate) faults: Vec<Fault>,
    pub(crate) entries: Vec<Entry>,
    /// Nothing where it is none.
    pub(crate) document: Option<Document>,
}

/// One section, where the file has it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) section: Section,
    /// Below the level of the file; empty: that level.
    pub(crate) location: String,
    pub(crate) in_location: bool,
    /// `inheritInChildApplications`.
    pub(crate) inherited: bool,
    pub(crate) mode: OverrideMode,
    /// The section stands in the file for this path already; the first one counts.
    pub(crate) twice: bool,
    /// Where the section's element stands, in the file itself.
    pub(crate) place: Place,
    /// The file of what is in it: this one, or that of `configSource`.
    pub(crate) source: Arc<str>,
    pub(crate) body: Body,
    /// What is wrong at the element itself, in the file itself.
    pub(crate) faults: Vec<Fault>,
}

pub(crate) const FIRST: Place = Place { line: 1, column: 1 };

/// Reads a file; nothing where there is none.
pub(crate) fn read(tree: &dyn Tree, path: &str) -> Option<ConfigFile> {
    let mut file = ConfigFile { path: path.into(), faults: Vec::new(), entries: Vec::new(), document: None };
    match open(tree, path) {
        Ok(None) => return None,
        Err(fault) => file.faults.push(fault),
        Ok(Some(document)) => {
            let mut reader = Reader { tree, file: &mut file, seen: HashSet::new() };
            reader.configuration(&document);
            file.document = Some(document);
        }
    }
    Some(file)
}

fn open(tree: &dyn Tree, path: &str) -> Result<Option<Document>, Fault> {
    let bytes: Option<Cow<[u8]>> = tree.read(path).map_err(|why| Fault::new(Code::Unreadable, FIRST, why))?;
    let Some(bytes) = bytes else { return Ok(None) };
    Document::parse(&bytes).map(Some).map_err(|error| {
        let code = match error {
            DocumentError::Undecodable { .. } | DocumentError::Encoding { .. } => Code::Undecodable,
            DocumentError::TooLarge { .. } | DocumentError::TooMany { .. } => Code::TooMany,
            _ => Code::Malformed,
        };
        let place = error.place().unwrap_or(FIRST);
        let text = error.to_string();
        // The place stands beside the message.
        let message = text.strip_prefix(&format!("{place}: ")).unwrap_or(&text);
        Fault::new(code, place, message)
    })
}

struct Reader<'a> {
    tree: &'a dyn Tree,
    file: &'a mut ConfigFile,
    /// Sections by the path that they are for.
    seen: HashSet<(String, Section)>,
}

/// `<location>`, or none.
struct Scope {
    location: String,
    in_location: bool,
    inherited: bool,
    mode: OverrideMode,
    /// What is wrong with it, for whatever section it holds.
    faults: Vec<Fault>,
}

impl Scope {
    fn of(location: String, in_location: bool) -> Scope {
        Scope { location, in_location, inherited: true, mode: OverrideMode::Inherit, faults: Vec::new() }
    }
}

impl Reader<'_> {
    fn fault(&mut self, code: Code, at: Element, message: impl Into<String>) {
        self.file.faults.push(Fault::new(code, at.place(), message));
    }

    fn configuration(&mut self, document: &Document) {
        let root = document.root();
        if root.name() != "configuration" {
            return self.fault(
                Code::Malformed,
                root,
                format!("the root is <{}>; expected <configuration>", root.name()),
            );
        }
        for child in root.children() {
            match child.name() {
                "system.webServer" => {
                    self.server(child, &Scope::of(String::new(), false));
                }
                "location" => {
                    let scope = self.location(child);
                    for inner in child.children() {
                        match inner.name() {
                            "system.webServer" => self.server(inner, &scope),
                            "location" => self.fault(
                                Code::UnknownElement,
                                inner,
                                "a <location> in a <location>; it can stand in <configuration> alone",
                            ),
                            _ => {}
                        }
                    }
                }
                _ => {}
            }
        }
    }

    fn location(&mut self, element: Element) -> Scope {
        let path = element.attribute("path").unwrap_or_default();
        // `*` is another word for this level and all below it.
        let location = if path == "*" { String::new() } else { url(&path) };
        let mut scope = Scope::of(location, true);
        for (name, value) in element.attributes() {
            let truth = match value.to_ascii_lowercase().as_str() {
                "true" => Some(true),
                "false" => Some(false),
                _ => None,
            };
            match (name, truth) {
                ("path", _) => {}
                ("inheritInChildApplications", Some(inherited)) => scope.inherited = inherited,
                ("allowOverride", Some(false)) => scope.mode = OverrideMode::Deny,
                ("allowOverride", Some(true)) => scope.mode = OverrideMode::Allow,
                ("overrideMode", _) => match &*value {
                    "Allow" => scope.mode = OverrideMode::Allow,
                    "Deny" => scope.mode = OverrideMode::Deny,
                    "Inherit" => {}
                    other => {
                        let message = format!("overrideMode=\"{other}\"; allowed: Allow, Deny, Inherit");
                        self.fault(Code::BadValue, element, message);
                    }
                },
                ("inheritInChildApplications" | "allowOverride", None) => {
                    self.fault(Code::BadValue, element, format!("{name}=\"{value}\"; allowed: true, false"));
                }
                _ => {
                    let allowed = "path, overrideMode, allowOverride, inheritInChildApplications";
                    let message = format!("unknown attribute \"{name}\" of <location>; allowed: {allowed}");
                    self.fault(Code::UnknownAttribute, element, message);
                }
            }
        }
        if element.attribute("overrideMode").is_some() && element.attribute("allowOverride").is_some() {
            let message = "a <location> with overrideMode and allowOverride; it can have one of them";
            scope.faults.push(Fault::new(Code::BadValue, element.place(), message));
        }
        scope
    }

    fn server(&mut self, server: Element, scope: &Scope) {
        for group in server.named("rewrite") {
            for (name, _) in group.attributes() {
                let message = format!("unknown attribute \"{name}\" of <rewrite>; allowed: none");
                self.fault(Code::UnknownAttribute, group, message);
            }
            if let Some((place, words)) = group.words() {
                let message = format!("text {words:?} in <rewrite>, where only elements can stand");
                self.file.faults.push(Fault::new(Code::UnexpectedText, place, message));
            }
            for element in group.children() {
                match Section::named(element.name()) {
                    Some(section) => self.section(section, element, scope),
                    None => {
                        let allowed = "globalRules, rules, outboundRules, rewriteMaps, allowedServerVariables, providers";
                        let message =
                            format!("unknown element <{}> in <rewrite>; allowed: {allowed}", element.name());
                        self.fault(Code::UnknownElement, element, message);
                    }
                }
            }
        }
    }

    fn section(&mut self, section: Section, element: Element, scope: &Scope) {
        let place = element.place();
        let mut faults = scope.faults.clone();
        let twice = !self.seen.insert((folded(&scope.location), section));
        if twice {
            let message = format!("<{}> stands in this file for this path already", section.name());
            faults.push(Fault::new(Code::DuplicateSection, place, message).key(section.name()));
        }
        let mut source = Arc::clone(&self.file.path);
        let kept = element.attribute("configSource").map(|name| self.kept(section, element, &name));
        let body = match kept {
            None if element.attribute("configProtectionProvider").is_some() => {
                let message = format!("<{}> is encrypted and was not judged", section.name());
                faults.push(Fault::new(Code::Encrypted, place, message));
                Body::default()
            }
            None => item::read(section, element),
            Some(Ok((path, document))) => {
                source = path;
                item::read(section, document.root())
            }
            Some(Err(fault)) => {
                faults.push(fault);
                Body::default()
            }
        };
        self.file.entries.push(Entry {
            section,
            location: scope.location.clone(),
            in_location: scope.in_location,
            inherited: scope.inherited,
            // A lock of the section itself says the same as one around it.
            mode: if body.locks.whole { OverrideMode::Deny } else { scope.mode },
            twice,
            place,
            source,
            body,
            faults,
        });
    }

    /// The file that a section is kept in.
    fn kept(&self, section: Section, element: Element, name: &str) -> Result<(Arc<str>, Document), Fault> {
        let fault = |message: String| Fault::new(Code::ConfigSource, element.place(), message);
        if element.children().next().is_some() || element.attributes().count() > 1 {
            return Err(fault(format!("<{}> has a configSource and something else", section.name())));
        }
        let below = name.replace('/', "\\");
        let outside =
            below.starts_with('\\') || below.contains(':') || below.split('\\').any(|part| part == "..");
        if outside || below.is_empty() {
            return Err(fault(format!("configSource=\"{name}\"; expected a file below this one's folder")));
        }
        let folder = self.file.path.rsplit_once('\\').map_or("", |(folder, _)| folder);
        let path = format!("{folder}\\{below}");
        let document = open(self.tree, &path)
            .map_err(|inner| fault(format!("{path}, line {}: {}", inner.place.line, inner.message)))?
            .ok_or_else(|| fault(format!("configSource=\"{name}\": there is no {path}")))?;
        if document.root().name() != section.name() {
            let found = document.root().name();
            return Err(fault(format!("{path}: the root is <{found}>; expected <{}>", section.name())));
        }
        Ok((path.into(), document))
    }
}
