//! The look at a document before it is parsed: is it small, flat and plain enough to be given to a
//! tree parser at all?
//!
//! A streaming pass counts what the tree parser ([`roxmltree`]) is slow at or does not check:
//! quadratic attributes and namespaces, duplicate default namespaces, `xmlns:p=""`, other encodings.
//! It does not look at what elements mean.
//!
//! ```text
//! octets -> size -> UTF-8 -> line ends -> characters -> events: depth, counts, order -> Scanned
//! ```

use std::borrow::Cow;

use quick_xml::events::{BytesDecl, BytesRef, BytesStart, Event};
use quick_xml::reader::Reader;

use crate::limits::Limits;

/// What is wrong with the octets as XML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum ScanError {
    #[error("the document is empty: expected one EOCS element")]
    Empty,
    #[error("the document is too large: expected at most {limit} octets, found {found}")]
    TooLarge { limit: usize, found: usize },
    #[error("the document is not UTF-8: found {found}")]
    NotUtf8 { found: String },
    #[error(
        "the document is not UTF-8: expected no encoding declaration or `utf-8`, found `encoding=\"{found}\"`"
    )]
    Encoding { found: String },
    #[error("line {line}: character U+{found:04X} is not allowed in XML")]
    Character { found: u32, line: usize },
    #[error("line {line}: a document type (DOCTYPE) is not allowed")]
    Doctype { line: usize },
    #[error("line {line}: elements are nested too deep: expected at most {limit} levels")]
    TooDeep { limit: usize, line: usize },
    #[error("line {line}: too many attributes on `{element}`: expected at most {limit}")]
    TooManyAttributes { element: String, limit: usize, line: usize },
    #[error("line {line}: too many namespace declarations: expected at most {limit} in the document")]
    TooManyNamespaces { limit: usize, line: usize },
    #[error("line {line}: too many nodes: expected at most {limit} in the document")]
    TooManyNodes { limit: usize, line: usize },
    #[error("line {line}: a name is too long: expected at most {limit} octets, found {found}")]
    NameTooLong { limit: usize, found: usize, line: usize },
    #[error("line {line}: not well-formed XML: {detail}")]
    Malformed { detail: String, line: usize },
}

impl ScanError {
    /// The stable name of this refusal.
    pub fn code(&self) -> &'static str {
        match self {
            ScanError::Empty => "empty",
            ScanError::TooLarge { .. } => "too-large",
            ScanError::NotUtf8 { .. } | ScanError::Encoding { .. } => "not-utf8",
            ScanError::Character { .. } => "illegal-character",
            ScanError::Doctype { .. } => "doctype",
            ScanError::TooDeep { .. } => "too-deep",
            ScanError::TooManyAttributes { .. } => "too-many-attributes",
            ScanError::TooManyNamespaces { .. } => "too-many-namespaces",
            ScanError::TooManyNodes { .. } => "too-many-nodes",
            ScanError::NameTooLong { .. } => "name-too-long",
            ScanError::Malformed { .. } => "malformed-xml",
        }
    }
}

/// Text that passed the scan: safe to give to the tree parser, and what XML 1.0 says that an
/// application sees of line ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scanned<'a>(Cow<'a, str>);

impl Scanned<'_> {
    /// The text. Line ends are single line feeds, a byte order mark is gone and the XML declaration is
    /// blanked out: neither is part of the data model, and lines stay what they were.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The tree of it.
    pub fn parse(&self) -> Result<roxmltree::Document<'_>, ScanError> {
        roxmltree::Document::parse(&self.0).map_err(|e| ScanError::Malformed {
            line: usize::try_from(e.pos().row).unwrap_or(usize::MAX),
            detail: e.to_string(),
        })
    }
}

/// Checks `bytes` against `limits` and the rules of the module documentation.
pub fn scan<'a>(bytes: &'a [u8], limits: &Limits) -> Result<Scanned<'a>, ScanError> {
    if bytes.len() > limits.bytes {
        return Err(ScanError::TooLarge { limit: limits.bytes, found: bytes.len() });
    }
    let text = normalize_line_ends(decode(bytes)?);
    if text.trim().is_empty() {
        return Err(ScanError::Empty);
    }
    check_characters(&text)?;
    check_reservation(&text, limits)?;
    let declaration = Events::new(&text, limits).run()?;
    Ok(Scanned(blank_declaration(text, declaration)))
}

/// UTF-8 text without its byte order mark.
fn decode(bytes: &[u8]) -> Result<&str, ScanError> {
    let not_utf8 = |found: &str| Err(ScanError::NotUtf8 { found: found.to_owned() });
    match bytes {
        [0xFF, 0xFE, ..] | [b'<', 0, ..] => return not_utf8("UTF-16, little endian"),
        [0xFE, 0xFF, ..] | [0, b'<', ..] => return not_utf8("UTF-16, big endian"),
        _ => {}
    }
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    std::str::from_utf8(bytes).or_else(|e| {
        let bad = bytes.get(e.valid_up_to()).copied().unwrap_or_default();
        not_utf8(&format!("octet 0x{bad:02X} at {}", e.valid_up_to()))
    })
}

/// XML 1.0 section 2.11: before parsing, CR LF and a lone CR become LF. Doing it here, once, means
/// that no parser behind this needs to get it right in texts, CDATA, comments and instructions.
fn normalize_line_ends(text: &str) -> Cow<'_, str> {
    if text.contains('\r') {
        Cow::Owned(text.replace("\r\n", "\n").replace('\r', "\n"))
    } else {
        Cow::Borrowed(text)
    }
}

/// XML 1.0 section 2.2, production `Char`.
fn is_xml_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..='\u{10FFFF}')
}

fn check_characters(text: &str) -> Result<(), ScanError> {
    // Usual text is told by its octets, many at a time: a control character is one octet, and what else is
    // not allowed begins with 0xEF.
    let unusual = |octet: u8| (octet < b' ' && !matches!(octet, b'\t' | b'\n' | b'\r')) | (octet == 0xEF);
    if !text.as_bytes().chunks(64).any(|some| some.iter().fold(false, |any, octet| any | unusual(*octet))) {
        return Ok(());
    }
    match text.char_indices().find(|(_, c)| !is_xml_char(*c)) {
        Some((at, c)) => Err(ScanError::Character { found: u32::from(c), line: line_of(text, at) }),
        None => Ok(()),
    }
}

/// The tree parser reserves a node for every `<` and an attribute for every `=` before it looks at
/// anything: sixteen megabytes of `=` would be more than a gigabyte.
fn check_reservation(text: &str, limits: &Limits) -> Result<(), ScanError> {
    if text.len() <= limits.nodes {
        return Ok(());
    }
    for marker in [b'<', b'='] {
        let mut all = text.bytes().enumerate().filter(|(_, octet)| *octet == marker);
        if let Some((at, _)) = all.nth(limits.nodes) {
            return Err(ScanError::TooManyNodes { limit: limits.nodes, line: line_of(text, at) });
        }
    }
    Ok(())
}

/// XML 1.0 section 2.3, production `NameChar`.
fn in_name(c: char) -> bool {
    matches!(c, '0'..='9' | 'A'..='Z' | 'a'..='z' | ':' | '_' | '-' | '.' | '\u{B7}'
        | '\u{C0}'..='\u{D6}' | '\u{D8}'..='\u{F6}' | '\u{F8}'..='\u{37D}' | '\u{37F}'..='\u{1FFF}'
        | '\u{200C}' | '\u{200D}' | '\u{203F}' | '\u{2040}' | '\u{2070}'..='\u{218F}' | '\u{2C00}'..='\u{2FEF}'
        | '\u{3001}'..='\u{D7FF}' | '\u{F900}'..='\u{FDCF}' | '\u{FDF0}'..='\u{FFFD}' | '\u{10000}'..='\u{EFFFF}')
}

fn line_of(text: &str, at: usize) -> usize {
    1 + text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count()
}

fn blank_declaration(text: Cow<'_, str>, length: usize) -> Cow<'_, str> {
    match text.get(..length) {
        Some(declaration) if length > 0 => {
            let blank: String = declaration.chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect();
            Cow::Owned(blank + text.get(length..).unwrap_or_default())
        }
        _ => text,
    }
}

/// The streaming pass.
struct Events<'a> {
    text: &'a str,
    limits: &'a Limits,
    at: usize,
    depth: usize,
    roots: usize,
    nodes: usize,
    namespaces: usize,
}

impl<'a> Events<'a> {
    fn new(text: &'a str, limits: &'a Limits) -> Self {
        Self { text, limits, at: 0, depth: 0, roots: 0, nodes: 0, namespaces: 0 }
    }

    /// Returns the length of the XML declaration, 0 where there is none.
    fn run(mut self) -> Result<usize, ScanError> {
        let mut reader = Reader::from_str(self.text);
        reader.config_mut().check_comments = true;
        let mut declaration = 0;
        loop {
            self.at = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
            let event = reader.read_event().map_err(|e| self.malformed(e.to_string()))?;
            self.nodes += 1;
            if self.nodes > self.limits.nodes {
                return Err(ScanError::TooManyNodes { limit: self.limits.nodes, line: self.line() });
            }
            match event {
                Event::Start(element) => {
                    self.element(&element)?;
                    self.depth += 1;
                }
                Event::Empty(element) => self.element(&element)?,
                // An end without a start is the reader's own error.
                Event::End(_) => self.depth = self.depth.saturating_sub(1),
                Event::Text(text) if self.depth == 0 => {
                    if !text.trim_ascii().is_empty() {
                        return Err(self.malformed("text outside the root element"));
                    }
                }
                Event::CData(_) | Event::GeneralRef(_) if self.depth == 0 => {
                    return Err(self.malformed("text outside the root element"));
                }
                Event::GeneralRef(reference) => self.reference(&reference)?,
                Event::Decl(found) => {
                    if self.at != 0 {
                        return Err(self.malformed("an XML declaration that is not at the start"));
                    }
                    self.declaration(&found)?;
                    declaration = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
                }
                Event::PI(pi) => {
                    self.name(pi.target())?;
                    if pi.target().eq_ignore_ascii_case("xml") {
                        return Err(self.malformed("a processing instruction named `xml`"));
                    }
                    // The tree parser takes the rest of such a target for the instruction's text.
                    if !pi.target().chars().all(in_name) {
                        return Err(self.malformed("a processing instruction whose target is no name"));
                    }
                }
                Event::DocType(_) => return Err(ScanError::Doctype { line: self.line() }),
                Event::Text(_) | Event::CData(_) | Event::Comment(_) => {}
                Event::Eof => break,
            }
        }
        if self.depth > 0 {
            return Err(self.malformed("the document ends inside an element"));
        }
        if self.roots == 0 {
            return Err(self.malformed("no root element"));
        }
        Ok(declaration)
    }

    fn element(&mut self, element: &BytesStart<'_>) -> Result<(), ScanError> {
        if self.depth == 0 {
            self.roots += 1;
            if self.roots > 1 {
                return Err(self.malformed("a second root element"));
            }
        }
        if self.depth >= self.limits.depth {
            return Err(ScanError::TooDeep { limit: self.limits.depth, line: self.line() });
        }
        self.name(element.name().as_ref())?;
        for (count, attribute) in element.attributes().enumerate() {
            // Before the attribute is looked at: the iterator compares it with all before it.
            if count >= self.limits.attributes {
                return Err(ScanError::TooManyAttributes {
                    element: element.name().as_ref().to_owned(),
                    limit: self.limits.attributes,
                    line: self.line(),
                });
            }
            // Two of one name are the iterator's own error, two default namespaces among them.
            let attribute = attribute.map_err(|e| self.malformed(e.to_string()))?;
            let key: &str = attribute.key.as_ref();
            self.name(key)?;
            let prefix = key.strip_prefix("xmlns:");
            if prefix.is_some() || key == "xmlns" {
                self.namespaces += 1;
            }
            if prefix.is_some() && attribute.value.is_empty() {
                return Err(self.malformed(format!("`{key}=\"\"`: a prefix cannot be undeclared")));
            }
        }
        if self.namespaces > self.limits.namespaces {
            return Err(ScanError::TooManyNamespaces { limit: self.limits.namespaces, line: self.line() });
        }
        Ok(())
    }

    fn name(&self, name: &str) -> Result<(), ScanError> {
        if name.len() > self.limits.name {
            let (limit, found) = (self.limits.name, name.len());
            return Err(ScanError::NameTooLong { limit, found, line: self.line() });
        }
        Ok(())
    }

    /// A character reference to what XML does not allow, or an entity: without a document type only
    /// the five predefined ones exist. (In attribute values the tree parser refuses them.)
    fn reference(&self, reference: &BytesRef<'_>) -> Result<(), ScanError> {
        match reference.resolve_char_ref() {
            Ok(Some(c)) if is_xml_char(c) => Ok(()),
            Ok(Some(c)) => Err(ScanError::Character { found: u32::from(c), line: self.line() }),
            Ok(None) => Ok(()),
            Err(e) => Err(self.malformed(e.to_string())),
        }
    }

    fn declaration(&self, declaration: &BytesDecl<'_>) -> Result<(), ScanError> {
        let version = declaration.version().map_err(|e| self.malformed(e.to_string()))?;
        if version != "1.0" {
            return Err(self.malformed(format!("expected XML version 1.0, found `{version}`")));
        }
        if let Some(encoding) = declaration.encoding() {
            let encoding = encoding.map_err(|e| self.malformed(e.to_string()))?;
            if !encoding.eq_ignore_ascii_case("utf-8") {
                return Err(ScanError::Encoding { found: encoding.chars().take(40).collect() });
            }
        }
        Ok(())
    }

    fn malformed(&self, detail: impl Into<String>) -> ScanError {
        ScanError::Malformed { detail: detail.into(), line: self.line() }
    }

    fn line(&self) -> usize {
        line_of(self.text, self.at)
    }
}
