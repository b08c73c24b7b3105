//! One piece put into one file: which octets, and where.

use std::fmt;

use crate::document::{Document, Edit, Element, ElementId, Encoding};
use crate::section::Section;
use crate::tree::{folded, url};

use super::Insertion;
use super::piece::{Part, Wanted};

/// A file, and the level in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Spot {
    /// A Windows path.
    pub(super) file: String,
    /// `path` of the `<location>`, as the file would have it; empty: the file's own level.
    pub(super) location: String,
    /// `inheritInChildApplications="false"`.
    pub(super) alone: bool,
}

impl fmt::Display for Spot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, location {:?}", self.file, self.location)?;
        if self.alone { f.write_str(", not inherited by applications below it") } else { Ok(()) }
    }
}

/// The file with the piece in it, and what was put in, in this order.
pub(super) fn insert(
    octets: &[u8],
    spot: &Spot,
    wanted: &Wanted,
) -> Result<(Vec<u8>, Vec<Insertion>), String> {
    let document = Document::parse(octets).map_err(|error| error.to_string())?;
    if document.root().name() != "configuration" {
        return Err(format!("its root is <{}>", document.root().name()));
    }
    let mut writer = Writer { document, marker: &wanted.marker, insertions: Vec::new() };
    let mut missing = Vec::new();
    for (section, _) in &wanted.sections {
        match find(&writer.document, &spot.location, *section) {
            None => missing.push(*section),
            Some(found) if found.alone != spot.alone => {
                return Err(format!(
                    "<{}> stands there for this level already, {} by applications below it",
                    section.name(),
                    if found.alone { "not inherited" } else { "inherited" }
                ));
            }
            Some(_) => {}
        }
    }
    if !missing.is_empty() {
        let root = writer.document.root().id();
        writer.append(root, &frame(spot, &missing), None)?;
    }
    for (section, parts) in &wanted.sections {
        for (nth, part) in parts.iter().enumerate() {
            let found = find(&writer.document, &spot.location, *section);
            let found = found.ok_or("the section that was put in is not found")?;
            writer.part(found.element, parts, nth, part)?;
        }
    }
    Ok((writer.document.to_bytes(), writer.insertions))
}

struct Writer<'w> {
    document: Document,
    marker: &'w str,
    insertions: Vec<Insertion>,
}

impl Writer<'_> {
    fn part(&mut self, section: ElementId, parts: &[Part], nth: usize, part: &Part) -> Result<(), String> {
        let Some(element) = self.document.element(section) else { return Err("no such element".to_owned()) };
        for attribute in ["configSource", "configProtectionProvider"] {
            if element.attribute(attribute).is_some() {
                return Err(format!("<{}> has a {attribute} and can have no entries", element.name()));
            }
        }
        if !part.pre_condition {
            self.opened(section)?;
            return self.append(section, &part.xml, Some(part.name.clone()));
        }
        match element.child("preConditions").map(|inner| inner.id()) {
            Some(inner) => {
                self.opened(inner)?;
                self.append(inner, &part.xml, Some(part.name.clone()))
            }
            // Somebody else's section: all of them in one piece, which is found again by their names.
            None if parts.iter().position(|part| part.pre_condition) == Some(nth) => {
                let all = parts.iter().filter(|part| part.pre_condition);
                let indented = all
                    .flat_map(|part| part.xml.lines())
                    .map(|line| format!("  {line}\n"))
                    .collect::<String>();
                self.opened(section)?;
                self.append(
                    section,
                    &format!("<preConditions>\n{indented}</preConditions>"),
                    Some(part.name.clone()),
                )
            }
            None => Ok(()),
        }
    }

    /// `<rules />` becomes `<rules>` and `</rules>`; the name of its element stays.
    fn opened(&mut self, element: ElementId) -> Result<(), String> {
        let Some(found) = self.document.element(element) else { return Ok(()) };
        let source = found.source();
        let Some(open) = source.strip_suffix("/>") else { return Ok(()) };
        let indentation = self.indentation(found);
        let with =
            format!("{}>{}{indentation}</{}>", open.trim_end(), self.document.line_end(), found.name());
        let before = self.document.text();
        if before.contains(&with) {
            return Err(format!(
                "its <{}/> could not be told from another when it is put back",
                found.name()
            ));
        }
        self.edit(&Edit { span: found.span(), with }, None)
    }

    fn indentation(&self, element: Element<'_>) -> String {
        let before = self.document.text().get(..element.span().start).unwrap_or("");
        let line = before.rsplit('\n').next().unwrap_or("");
        line.chars().take_while(|c| matches!(c, ' ' | '\t')).collect()
    }

    fn append(&mut self, parent: ElementId, xml: &str, name: Option<String>) -> Result<(), String> {
        let mut edit = self.document.append_child(parent, xml).map_err(|error| error.to_string())?;
        // In a parent that ends on the line where its content does, a line end behind the entry would be the one
        // before the next entry as well, and whoever is cut first would take it from the other.
        if edit.with.trim_end().len() < edit.with.len() {
            edit.with = edit.with.trim().to_owned();
        }
        self.edit(&edit, name)
    }

    fn edit(&mut self, edit: &Edit, name: Option<String>) -> Result<(), String> {
        let encoding = self.document.encoding();
        let text = self.document.text();
        let slice = |range: std::ops::Range<usize>| text.get(range).unwrap_or("");
        let insertion = Insertion {
            marker: self.marker.to_owned(),
            offset: mark(encoding) + encoded(encoding, slice(0..edit.span.start)).len(),
            octets: encoded(encoding, &edit.with),
            replaced: encoded(encoding, slice(edit.span.clone())),
            name,
        };
        self.document = self.document.with(std::slice::from_ref(edit)).map_err(|error| error.to_string())?;
        self.insertions.push(insertion);
        Ok(())
    }
}

/// Octets of the byte order mark.
fn mark(encoding: Encoding) -> usize {
    match encoding {
        Encoding::Utf8 { mark: false } => 0,
        Encoding::Utf8 { mark: true } => 3,
        Encoding::Utf16Le | Encoding::Utf16Be => 2,
    }
}

fn encoded(encoding: Encoding, text: &str) -> Vec<u8> {
    match encoding {
        Encoding::Utf8 { .. } => text.as_bytes().to_vec(),
        Encoding::Utf16Le => text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
        Encoding::Utf16Be => text.encode_utf16().flat_map(u16::to_be_bytes).collect(),
    }
}

struct Found {
    element: ElementId,
    alone: bool,
}

/// The section that a file has for a level, where it has one.
fn find(document: &Document, location: &str, section: Section) -> Option<Found> {
    let here = folded(&url(location));
    for child in document.root().children() {
        let (server, alone) = match child.name() {
            "system.webServer" if here.is_empty() => (Some(child), false),
            "location" => {
                let path = child.attribute("path").unwrap_or_default();
                let path = if path == "*" { String::new() } else { folded(&url(&path)) };
                let alone = child
                    .attribute("inheritInChildApplications")
                    .is_some_and(|value| value.eq_ignore_ascii_case("false"));
                (child.child("system.webServer").filter(|_| path == here), alone)
            }
            _ => (None, false),
        };
        let Some(server) = server else { continue };
        // The group can be written several times.
        let servers = std::iter::once(server).chain(
            child
                .named("system.webServer")
                .filter(|other| other.id() != server.id() && child.id() != server.id()),
        );
        let groups = servers.flat_map(|server| server.named("rewrite"));
        if let Some(found) = groups.flat_map(|group| group.named(section.name())).next() {
            return Some(Found { element: found.id(), alone });
        }
    }
    None
}

/// A `<location>` with these sections, and nothing in them.
fn frame(spot: &Spot, sections: &[Section]) -> String {
    let path = spot.location.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    // Both mean the file's own level; Microsoft writes the first in applicationHost.config, the second elsewhere.
    let host = folded(&spot.file).ends_with("\\applicationhost.config");
    let path = if path.is_empty() && !host { "." } else { &path };
    let alone = if spot.alone { " inheritInChildApplications=\"false\"" } else { "" };
    let mut out = format!("<location path=\"{path}\"{alone}>\n  <system.webServer>\n    <rewrite>\n");
    for section in sections {
        let name = section.name();
        out.push_str(&format!("      <{name}>\n"));
        if *section == Section::OutboundRules {
            out.push_str("        <preConditions>\n        </preConditions>\n");
        }
        out.push_str(&format!("      </{name}>\n"));
    }
    out + "    </rewrite>\n  </system.webServer>\n</location>"
}
