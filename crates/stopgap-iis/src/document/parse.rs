//! Text to elements: XML 1.0 without document types, in one pass and without recursion.
//!
//! Well-formedness is checked as IIS's own reader does, since a file that is read here and refused there would
//! be called sound while the server answers 500.19.

use std::borrow::Cow;
use std::num::NonZeroU32;

use stopgap_rules::parse::Place;

use super::error::DocumentError;
use super::{Attribute, ElementId, MAX_ATTRIBUTES, MAX_DEPTH, MAX_ELEMENTS, Node, Span, short};

/// Prefixes that are declared at one place: each name with one is looked up among them.
const MAX_PREFIXES: usize = 64;

type Result<T> = std::result::Result<T, DocumentError>;

pub(super) fn parse(text: &str) -> Result<(Vec<Node>, Vec<Attribute>)> {
    let mut parser = Parser {
        text,
        at: 0,
        // As many as real files have: growing costs as much as reading.
        nodes: Vec::with_capacity(text.len() / 100),
        attributes: Vec::with_capacity(text.len() / 64),
        open: Vec::new(),
        declared: Vec::new(),
    };
    parser.characters(text)?;
    parser.document()?;
    Ok((parser.nodes, parser.attributes))
}

/// What stands before a region and in it.
pub(super) struct Inside {
    pub(super) nodes: Vec<Node>,
    pub(super) attributes: Vec<Attribute>,
}

/// Reads a region of the content of the last of `open`; `nodes` and `attributes` are what stands before it. Nothing
/// where it is not well-formed by itself.
pub(super) fn inside(
    text: &str,
    region: std::ops::Range<usize>,
    nodes: Vec<Node>,
    attributes: Vec<Attribute>,
    open: &[ElementId],
) -> Option<Inside> {
    // Nothing behind it is looked at.
    let text = text.get(..region.end)?;
    let mut parser =
        Parser { text, at: region.start, nodes, attributes, open: open.to_vec(), declared: Vec::new() };
    parser.characters(text.get(region)?).ok()?;
    for (depth, id) in open.iter().enumerate() {
        let node = parser.nodes.get(id.index())?;
        let own = parser.attributes.get(node.attributes.range())?.iter();
        let prefixes = own.filter_map(|attribute| text.get(attribute.name.range())?.strip_prefix("xmlns:"));
        let prefixes: Vec<_> = prefixes.map(|prefix| (depth, prefix)).collect();
        parser.declared.extend(prefixes);
    }
    parser.content().ok()?;
    (parser.open == open).then_some(Inside { nodes: parser.nodes, attributes: parser.attributes })
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    nodes: Vec<Node>,
    attributes: Vec<Attribute>,
    open: Vec<ElementId>,
    /// The prefixes that are declared here, each with the depth of its element.
    declared: Vec<(usize, &'t str)>,
}

impl<'t> Parser<'t> {
    /// XML has no control characters but tab and line ends, wherever they stand.
    fn characters(&self, text: &str) -> Result<()> {
        let control = |byte: u8| byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r');
        // Most files are ASCII, and a search for one byte is quick.
        let none = |c: char| text.find(c);
        // Without a way out of a block, it is looked at as a whole.
        let clean = |block: &[u8]| !block.iter().fold(false, |found, byte| found | control(*byte));
        let search = || text.bytes().position(control);
        let found = match text.as_bytes().chunks(256).all(clean) {
            true => None,
            false => search(),
        };
        let found = found.or_else(|| match text.is_ascii() {
            true => None,
            false => none('\u{fffe}').or_else(|| none('\u{ffff}')),
        });
        match found {
            Some(at) => self.fail(at, "a character that XML does not have", "text"),
            None => Ok(()),
        }
    }

    fn document(&mut self) -> Result<()> {
        if self.text.starts_with("<?xml") && !self.text.get(5..6).is_some_and(is_name_text) {
            self.declaration()?;
        }
        self.content()?;
        let end = self.text.len();
        if let Some(open) = self.open.last().and_then(|id| self.nodes.get(id.index())) {
            let name = self.slice(open.name.range());
            let line = place(self.text, open.span.start()).line;
            return self.fail(end, "the end of the file", format!("</{name}>, opened in line {line}"));
        }
        if self.nodes.is_empty() {
            return self.fail(end, "the end of the file", "an element");
        }
        Ok(())
    }

    /// Markup and text, up to the end of the text.
    fn content(&mut self) -> Result<()> {
        loop {
            let rest = self.rest();
            let Some(gap) = memchr::memchr(b'<', rest.as_bytes()) else { break };
            self.words(self.at, self.at + gap)?;
            self.at += gap;
            let rest = self.rest();
            if rest.starts_with("</") {
                self.end_tag()?;
            } else if rest.starts_with("<!--") {
                self.comment()?;
            } else if rest.starts_with("<![CDATA[") {
                self.cdata()?;
            } else if rest.starts_with("<!") {
                return match rest.starts_with("<!DOCTYPE") {
                    true => Err(DocumentError::Doctype { place: place(self.text, self.at) }),
                    false => self.fail(self.at, "<!", "an element, a comment or CDATA"),
                };
            } else if rest.starts_with("<?") {
                self.instruction()?;
            } else {
                self.start_tag()?;
            }
        }
        self.words(self.at, self.text.len())
    }

    fn declaration(&mut self) -> Result<()> {
        let end = self.end_of("?>", "?> of the XML declaration")?;
        let inside = self.slice(5..end - 2);
        // version, encoding and standalone, in this order; the encoding itself is compared by the caller.
        let mut rest = inside.trim_end_matches(is_blank);
        for (name, required) in [("version", true), ("encoding", false), ("standalone", false)] {
            let here = rest.trim_start_matches(is_blank);
            let value = here.strip_prefix(name).filter(|_| here.len() < rest.len()).and_then(|after| {
                let after = after.trim_start_matches(is_blank).strip_prefix('=')?;
                let after = after.trim_start_matches(is_blank);
                let quote = after.chars().next().filter(|c| matches!(c, '"' | '\''))?;
                after.get(1..)?.split_once(quote)
            });
            match value {
                Some((value, after)) if name != "version" || value == "1.0" => rest = after,
                None if !required => {}
                _ => return self.fail(0, "an XML declaration", "<?xml version=\"1.0\" …?>"),
            }
        }
        if !rest.is_empty() {
            return self.fail(0, "an XML declaration", "version, encoding and standalone alone");
        }
        self.at = end;
        Ok(())
    }

    fn instruction(&mut self) -> Result<()> {
        let target = self.name(self.at + 2)?;
        if target.eq_ignore_ascii_case("xml") {
            return self.fail(self.at, "an XML declaration", "it at the very beginning, or not at all");
        }
        self.at = self.end_of("?>", "?>")?;
        Ok(())
    }

    fn comment(&mut self) -> Result<()> {
        let start = self.at;
        self.at += 4;
        let end = self.end_of("--", "-->")?;
        if !self.text.get(end..).is_some_and(|rest| rest.starts_with('>')) {
            return self.fail(end - 2, "-- in a comment", "-->, which ends it");
        }
        debug_assert!(start < end);
        self.at = end + 1;
        Ok(())
    }

    fn cdata(&mut self) -> Result<()> {
        let start = self.at;
        let end = self.end_of("]]>", "]]>")?;
        let words = !self.slice(start + 9..end - 3).trim_matches(is_blank).is_empty();
        match self.open.last().and_then(|id| self.nodes.get_mut(id.index())) {
            Some(node) if words => node.words = node.words.or(NonZeroU32::new(short(start))),
            Some(_) => {}
            None => return self.fail(start, "CDATA", "it in an element"),
        }
        self.at = end;
        Ok(())
    }

    /// Text between markup.
    fn words(&mut self, from: usize, to: usize) -> Result<()> {
        let text = self.slice(from..to);
        let Some(first) = text.bytes().position(|byte| !is_blank_byte(byte)) else { return Ok(()) };
        if let Some(at) = text.find("]]>") {
            return self.fail(from + at, "]]> in text", "]]&gt;");
        }
        self.references(from, text)?;
        match self.open.last().and_then(|id| self.nodes.get_mut(id.index())) {
            Some(node) => node.words = node.words.or(NonZeroU32::new(short(from + first))),
            None => return self.fail(from + first, "text outside the root element", "markup"),
        }
        Ok(())
    }

    fn references(&self, from: usize, text: &str) -> Result<()> {
        let mut at = 0;
        while let Some(found) = text.get(at..).and_then(|rest| rest.find('&')) {
            at += found;
            let rest = text.get(at + 1..).unwrap_or("");
            if rest.split_once(';').and_then(|(name, _)| reference(name)).is_none() {
                let expected = "&amp; &lt; &gt; &quot; &apos; or a character's number";
                return self.fail(from + at, "& that begins no reference", expected);
            }
            at += 1;
        }
        Ok(())
    }

    fn end_tag(&mut self) -> Result<()> {
        let start = self.at;
        if let Some(end) = self.end_as_opened(start) {
            return self.close(start, end);
        }
        let name = self.name(start + 2)?;
        let rest = self.text.get(start + 2 + name.len()..).unwrap_or("");
        let close = rest.trim_start_matches(is_blank);
        if !close.starts_with('>') {
            return self.fail(self.text.len() - close.len(), first(close), ">");
        }
        let end = self.text.len() - close.len() + 1;
        let Some(id) = self.open.last() else {
            return self.fail(start, format!("</{name}>"), "an element that is open");
        };
        let opened = self.nodes.get(id.index()).map(|node| node.name).unwrap_or_default();
        if self.slice(opened.range()) != name {
            let line = place(self.text, opened.start()).line;
            let expected = format!("</{}>, opened in line {line}", self.slice(opened.range()));
            return self.fail(start, format!("</{name}>"), expected);
        }
        self.close(start, end)
    }

    /// Where an end tag ends that is the innermost open element's, without a blank in it: most are.
    fn end_as_opened(&self, start: usize) -> Option<usize> {
        let opened = self.nodes.get(self.open.last()?.index())?.name.range();
        let bytes = self.text.as_bytes();
        let rest = bytes.get(start + 2..)?.strip_prefix(bytes.get(opened.clone())?)?;
        (rest.first() == Some(&b'>')).then_some(start + 3 + opened.len())
    }

    /// Ends the innermost open element.
    fn close(&mut self, start: usize, end: usize) -> Result<()> {
        let id = self.open.pop();
        if let Some(node) = id.and_then(|id| self.nodes.get_mut(id.index())) {
            node.content.end = short(start);
            node.span.end = short(end);
        }
        if !self.declared.is_empty() {
            self.undeclare();
        }
        self.at = end;
        Ok(())
    }

    /// What an element declared ends with it.
    fn undeclare(&mut self) {
        let depth = self.open.len();
        self.declared.retain(|(at, _)| *at < depth);
    }

    fn start_tag(&mut self) -> Result<()> {
        let start = self.at;
        let too_many = |what, limit| DocumentError::TooMany { place: place(self.text, start), what, limit };
        if self.open.len() == MAX_DEPTH {
            return Err(too_many("elements within each other", MAX_DEPTH));
        }
        if self.nodes.len() == MAX_ELEMENTS {
            return Err(too_many("elements", MAX_ELEMENTS));
        }
        if self.open.is_empty() && !self.nodes.is_empty() {
            return self.fail(start, "a second root element", "one");
        }
        let name = self.name(start + 1)?;
        let mut at = start + 1 + name.len();
        let first_attribute = self.attributes.len();
        let mut colon = has_colon(name);
        let empty_tag = loop {
            let rest = self.text.as_bytes().get(at..).unwrap_or(&[]);
            let blanks = rest.iter().take_while(|byte| is_blank_byte(**byte)).count();
            at += blanks;
            match rest.get(blanks..).unwrap_or(&[]) {
                [b'>', ..] => {
                    at += 1;
                    break false;
                }
                [b'/', b'>', ..] => {
                    at += 2;
                    break true;
                }
                _ if blanks == 0 => {
                    return self.fail(at, first(self.text.get(at..).unwrap_or("")), "a blank, > or />");
                }
                _ => {}
            }
            if self.attributes.len() - first_attribute == MAX_ATTRIBUTES {
                return Err(too_many("attributes of one element", MAX_ATTRIBUTES));
            }
            let name = self.name(at)?;
            colon |= has_colon(name);
            at = self.attribute(at, name, first_attribute)?;
        };
        let id = ElementId::of(self.nodes.len());
        let parent = self.open.last().copied();
        self.nodes.push(Node {
            name: Span::of(start + 1..start + 1 + name.len()),
            span: Span::of(start..at),
            content: Span::of(at..at),
            empty_tag,
            parent,
            attributes: Span::of(first_attribute..self.attributes.len()),
            ..Node::default()
        });
        if let Some(parent) = parent.and_then(|id| self.nodes.get_mut(id.index())) {
            let before = parent.last_child.replace(id);
            parent.first_child.get_or_insert(id);
            if let Some(before) = before.and_then(|id| self.nodes.get_mut(id.index())) {
                before.next = Some(id);
            }
        }
        if colon {
            self.prefixes(id)?;
        }
        match empty_tag {
            true => self.undeclare(),
            false => self.open.push(id),
        }
        self.at = at;
        Ok(())
    }

    /// Reads one attribute, and returns where it ends.
    fn attribute(&mut self, start: usize, name: &str, first_attribute: usize) -> Result<usize> {
        let end = start + name.len();
        let rest = self.text.get(end..).unwrap_or("").trim_start_matches(is_blank);
        let Some(value) = rest.strip_prefix('=').map(|value| value.trim_start_matches(is_blank)) else {
            return self.fail(self.text.len() - rest.len(), first(rest), format!("= behind {name}"));
        };
        let from = self.text.len() - value.len() + 1;
        let Some(quote) = value.bytes().next().filter(|c| matches!(c, b'"' | b'\'')) else {
            return self.fail(from - 1, first(value), "a value in quotes");
        };
        let inside = value.as_bytes().get(1..).unwrap_or(&[]);
        let mut stops = memchr::memchr3_iter(quote, b'<', b'&', inside);
        let mut references = false;
        let length = loop {
            let Some(at) = stops.next() else {
                return self.fail(from - 1, "a value", format!("{}, which ends it", char::from(quote)));
            };
            match inside.get(at) {
                Some(b'&') => references = true,
                Some(b'<') => return self.fail(from + at, "< in a value", "&lt;"),
                _ => break at,
            }
        };
        if references {
            self.references(from, self.slice(from..from + length))?;
        }
        let same = |other: &Attribute| self.slice(other.name.range()) == name;
        if self.attributes.get(first_attribute..).is_some_and(|others| others.iter().any(same)) {
            return self.fail(start, format!("a second attribute {name}"), "one");
        }
        let (name, value) = (Span::of(start..end), Span::of(from..from + length));
        self.attributes.push(Attribute { name, value });
        Ok(from + length + 1)
    }

    /// A prefix must be declared, here or above.
    fn prefixes(&mut self, id: ElementId) -> Result<()> {
        let Some(node) = self.nodes.get(id.index()).cloned() else { return Ok(()) };
        let own = self.attributes.get(node.attributes.range()).unwrap_or(&[]);
        for attribute in own {
            let Some(prefix) = self.slice(attribute.name.range()).strip_prefix("xmlns:") else { continue };
            if prefix == "xmlns" || attribute.value.range().is_empty() {
                return self.fail(attribute.name.start(), "a prefix that stands for nothing", "a namespace");
            }
            if self.declared.len() == MAX_PREFIXES {
                let place = place(self.text, node.span.start());
                return Err(DocumentError::TooMany { place, what: "prefixes", limit: MAX_PREFIXES });
            }
            self.declared.push((self.open.len(), prefix));
        }
        for span in std::iter::once(node.name).chain(own.iter().map(|attribute| attribute.name)) {
            let name = self.slice(span.range());
            let Some((prefix, local)) = name.split_once(':') else { continue };
            let bound = match prefix {
                "xml" => true,
                "xmlns" => span != node.name,
                _ => self.declared.iter().any(|(_, known)| *known == prefix),
            };
            if !bound || !is_name_text(local) || local.contains(':') {
                return self.fail(span.start(), format!("the name {name}"), "a prefix that is declared");
            }
        }
        Ok(())
    }

    fn name(&self, from: usize) -> Result<&'t str> {
        let rest = self.text.get(from..).unwrap_or("");
        let plain = rest.bytes().take_while(|byte| is_name_byte(*byte)).count();
        let (end, starts) = match rest.as_bytes().get(plain) {
            Some(byte) if !byte.is_ascii() => {
                let end = rest.find(|c| !is_name_char(c)).unwrap_or(rest.len());
                (end, rest.chars().next().is_some_and(is_name_start))
            }
            _ => (plain, rest.bytes().next().is_some_and(is_name_start_byte)),
        };
        let name = rest.get(..end).unwrap_or("");
        match starts && end > 0 {
            true => Ok(name),
            false => self.fail(from, first(rest), "a name"),
        }
    }

    /// Behind the next `end`.
    fn end_of(&self, end: &str, expected: &str) -> Result<usize> {
        match self.rest().find(end) {
            Some(found) => Ok(self.at + found + end.len()),
            None => self.fail(self.text.len(), "the end of the file", expected),
        }
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn slice(&self, range: std::ops::Range<usize>) -> &'t str {
        self.text.get(range).unwrap_or("")
    }

    fn fail<T>(&self, at: usize, found: impl Into<String>, expected: impl Into<String>) -> Result<T> {
        let place = place(self.text, at);
        Err(DocumentError::Malformed { place, found: found.into(), expected: expected.into() })
    }
}

fn place(text: &str, at: usize) -> Place {
    let before = text.get(..at).unwrap_or(text);
    let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
    let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
    Place { line: u32::try_from(line).unwrap_or(u32::MAX), column: u32::try_from(column).unwrap_or(u32::MAX) }
}

fn first(text: &str) -> String {
    match text.chars().next() {
        Some(found) => format!("{found:?}"),
        None => "the end of the file".to_owned(),
    }
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\r' | '\n')
}

fn is_blank_byte(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | b'\n')
}

/// Of ASCII, what a name has.
fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':' | b'-' | b'.')
}

/// Of these, what it can start with.
fn is_name_start_byte(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || matches!(byte, b'_' | b':')
}

fn has_colon(name: &str) -> bool {
    name.bytes().any(|byte| byte == b':')
}

fn is_name_text(text: &str) -> bool {
    text.chars().next().is_some_and(is_name_start)
}

/// `NameStartChar` (XML 1.0, production 4).
fn is_name_start(c: char) -> bool {
    matches!(c, 'a'..='z' | 'A'..='Z' | '_' | ':' | '\u{c0}'..='\u{d6}' | '\u{d8}'..='\u{f6}'
        | '\u{f8}'..='\u{2ff}' | '\u{370}'..='\u{37d}' | '\u{37f}'..='\u{1fff}' | '\u{200c}' | '\u{200d}'
        | '\u{2070}'..='\u{218f}' | '\u{2c00}'..='\u{2fef}' | '\u{3001}'..='\u{d7ff}' | '\u{f900}'..='\u{fdcf}'
        | '\u{fdf0}'..='\u{fffd}' | '\u{10000}'..='\u{effff}')
}

/// `NameChar` (production 4a).
fn is_name_char(c: char) -> bool {
    is_name_start(c)
        || matches!(c, '-' | '.' | '0'..='9' | '\u{b7}' | '\u{300}'..='\u{36f}' | '\u{203f}' | '\u{2040}')
}

/// What a reference stands for, by what is between `&` and `;`.
fn reference(name: &str) -> Option<char> {
    let number = |digits: &str, base| {
        let plain = !digits.is_empty() && digits.len() <= 8 && digits.bytes().all(|b| b.is_ascii_hexdigit());
        let found = char::from_u32(u32::from_str_radix(digits, base).ok().filter(|_| plain)?)?;
        let control = found < ' ' && !matches!(found, '\t' | '\n' | '\r');
        (!control && !matches!(found, '\u{fffe}' | '\u{ffff}')).then_some(found)
    };
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => match name.strip_prefix("#x") {
            Some(digits) => number(digits, 16),
            None => number(name.strip_prefix('#')?, 10),
        },
    }
}

/// The value of an attribute: references resolved, line ends and tabs as blanks (XML 1.0, 3.3.3).
pub(super) fn value(raw: &str) -> Cow<'_, str> {
    if !raw.contains(['&', '\t', '\n', '\r']) {
        return Cow::Borrowed(raw);
    }
    let raw = raw.replace("\r\n", " ").replace(['\t', '\n', '\r'], " ");
    let mut value = String::with_capacity(raw.len());
    let mut rest = raw.as_str();
    while let Some((before, after)) = rest.split_once('&') {
        value.push_str(before);
        match after.split_once(';').and_then(|(name, tail)| Some((reference(name)?, tail))) {
            Some((found, tail)) => {
                value.push(found);
                rest = tail;
            }
            None => {
                value.push('&');
                rest = after;
            }
        }
    }
    value.push_str(rest);
    Cow::Owned(value)
}
