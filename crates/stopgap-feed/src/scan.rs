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

mod cursor;

use std::borrow::Cow;

use quick_xml::events::{BytesDecl, BytesRef, BytesStart};

use crate::limits::Limits;
use cursor::Cursor;

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
    #[error(
        "line {line}: `{found}` is no name for a namespace: expected an absolute one such as `urn:example`, since others have no canonical form"
    )]
    RelativeNamespace { found: String, line: usize },
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
            ScanError::RelativeNamespace { .. } => "relative-namespace",
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

/// Canonical text of what was scanned and stayed within the limits when it was written
/// ([`crate::c14n::canonicalize_within`]): the same characters, names, depth and tree, so that only what
/// the tree parser reserves has to be looked at again.
pub(crate) fn scanned_before<'a>(canonical: &'a [u8], limits: &Limits) -> Result<Scanned<'a>, ScanError> {
    let text = decode(canonical)?;
    check_reservation(text, limits)?;
    Ok(Scanned(Cow::Borrowed(text)))
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
    let declaration = Pieces::new(&text, limits).run()?;
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
        if let Some(at) = memchr::memchr_iter(marker, text.as_bytes()).nth(limits.nodes) {
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

/// Whether a namespace's name begins with a scheme (RFC 3986 section 3.1). Canonical XML 1.0 section 1.3
/// has documents with relative ones fail. Written with references it is none here, whatever they stand for.
fn is_absolute(name: &str) -> bool {
    let scheme = name.split_once(':').map_or("", |(scheme, _)| scheme);
    scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

/// What ends the name of an element or an attribute.
fn ends_name(octet: u8) -> bool {
    matches!(octet, b' ' | b'\t' | b'\n' | b'\r' | b'/' | b'>' | b'=' | b'"' | b'\'' | b'<')
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

/// The streaming pass. It tells pieces apart as the tree parser does, so that both count the same up to
/// the first octet that the tree parser refuses; whether a piece is well-formed inside is for that to say.
struct Pieces<'a> {
    text: &'a str,
    limits: &'a Limits,
    cursor: Cursor<'a>,
    /// Where the piece begins that is looked at.
    at: usize,
    depth: usize,
    roots: usize,
    nodes: usize,
    namespaces: usize,
    /// Length of the XML declaration.
    declaration: usize,
    /// Names of the attributes of the element that is looked at.
    names: Vec<&'a str>,
}

impl<'a> Pieces<'a> {
    fn new(text: &'a str, limits: &'a Limits) -> Self {
        let (cursor, names) = (Cursor::new(text), Vec::new());
        let (at, depth, roots, nodes, namespaces, declaration) = Default::default();
        Self { text, limits, cursor, at, depth, roots, nodes, namespaces, declaration, names }
    }

    /// Returns the length of the XML declaration, 0 where there is none.
    fn run(mut self) -> Result<usize, ScanError> {
        while let Some(first) = self.cursor.peek() {
            self.at = self.passed();
            self.nodes += 1;
            if self.nodes > self.limits.nodes {
                return Err(ScanError::TooManyNodes { limit: self.limits.nodes, line: self.line() });
            }
            match first {
                b'<' => self.markup()?,
                b'&' if self.depth > 0 => self.reference()?,
                _ => {
                    let text = self.cursor.text();
                    if self.depth == 0 && (first == b'&' || !text.trim_ascii().is_empty()) {
                        return Err(self.malformed("text outside the root element"));
                    }
                }
            }
        }
        if self.depth > 0 {
            return Err(self.malformed("the document ends inside an element"));
        }
        if self.roots == 0 {
            return Err(self.malformed("no root element"));
        }
        Ok(self.declaration)
    }

    fn markup(&mut self) -> Result<(), ScanError> {
        let ends = |end: Option<&'a str>, what: &str| {
            end.ok_or_else(|| self.malformed(format!("{what} without its end")))
        };
        let mut cursor = self.cursor;
        if cursor.take("</") {
            let element = ends(cursor.until(">"), "an end tag")?;
            self.name(element.trim_ascii_end())?;
            self.depth =
                self.depth.checked_sub(1).ok_or_else(|| self.malformed("an end tag without its start"))?;
        } else if cursor.take("<!--") {
            ends(cursor.until("-->"), "a comment")?;
        } else if cursor.take("<![CDATA[") {
            ends(cursor.until("]]>"), "a CDATA section")?;
            if self.depth == 0 {
                return Err(self.malformed("text outside the root element"));
            }
        } else if cursor.take_ignoring_case("<!DOCTYPE") {
            return Err(ScanError::Doctype { line: self.line() });
        } else if cursor.take("<!") {
            return Err(self.malformed("`<!` that begins nothing"));
        } else if cursor.take("<?") {
            let content = ends(cursor.until("?>"), "an instruction")?;
            self.cursor = cursor;
            return self.instruction(content);
        } else {
            cursor.take("<");
            self.cursor = cursor;
            return self.element();
        }
        self.cursor = cursor;
        Ok(())
    }

    fn element(&mut self) -> Result<(), ScanError> {
        if self.depth == 0 {
            self.roots += 1;
            if self.roots > 1 {
                return Err(self.malformed("a second root element"));
            }
        }
        if self.depth >= self.limits.depth {
            return Err(ScanError::TooDeep { limit: self.limits.depth, line: self.line() });
        }
        let element = self.cursor.before(ends_name);
        self.name(element)?;
        self.names.clear();
        loop {
            self.cursor.skip_white_space();
            if self.cursor.take(">") {
                self.depth += 1;
                break;
            }
            if self.cursor.take("/>") {
                break;
            }
            if self.cursor.len() == 0 {
                return Err(self.malformed("the document ends inside a tag"));
            }
            self.attribute(element)?;
        }
        if self.namespaces > self.limits.namespaces {
            return Err(ScanError::TooManyNamespaces { limit: self.limits.namespaces, line: self.line() });
        }
        Ok(())
    }

    fn attribute(&mut self, element: &str) -> Result<(), ScanError> {
        let name = self.cursor.before(ends_name);
        // Before it is looked at: it is compared with all before it.
        if self.names.len() >= self.limits.attributes {
            return Err(ScanError::TooManyAttributes {
                element: element.to_owned(),
                limit: self.limits.attributes,
                line: self.line(),
            });
        }
        self.name(name)?;
        // The tree parser does not see two default namespaces.
        if self.names.contains(&name) {
            return Err(self.malformed(format!("expected each attribute once, found `{name}` twice")));
        }
        self.names.push(name);
        self.cursor.skip_white_space();
        let equals = self.cursor.take("=");
        self.cursor.skip_white_space();
        let value = if self.cursor.take("\"") {
            self.cursor.until("\"")
        } else if self.cursor.take("'") {
            self.cursor.until("'")
        } else {
            None
        };
        let Some(value) = value.filter(|_| equals) else {
            return Err(self.malformed(format!("expected `name=\"value\"` in a tag, found `{name}`")));
        };
        // The tree parser takes one to what is no character at all for U+FFFD.
        for reference in memchr::memchr_iter(b'&', value.as_bytes()).filter_map(|at| value.get(at + 1..)) {
            let number = reference.split(';').next().unwrap_or_default();
            BytesRef::new(number).resolve_char_ref().map_err(|e| self.malformed(e.to_string()))?;
        }
        let prefix = name.strip_prefix("xmlns:");
        if prefix.is_none() && name != "xmlns" {
            return Ok(());
        }
        self.namespaces += 1;
        match (prefix, value) {
            (Some(_), "") => Err(self.malformed(format!("`{name}=\"\"`: a prefix cannot be undeclared"))),
            (None, "") => Ok(()),
            _ if is_absolute(value) => Ok(()),
            _ => {
                let found = value.chars().take(80).collect();
                Err(ScanError::RelativeNamespace { found, line: self.line() })
            }
        }
    }

    fn instruction(&mut self, content: &'a str) -> Result<(), ScanError> {
        let target = content.split([' ', '\t', '\n', '\r']).next().unwrap_or_default();
        if target == "xml" {
            if self.at != 0 {
                return Err(self.malformed("an XML declaration that is not at the start"));
            }
            self.declaration = self.passed();
            return self.check_declaration(&BytesDecl::from_start(BytesStart::from_content(content, 3)));
        }
        self.name(target)?;
        if target.eq_ignore_ascii_case("xml") {
            return Err(self.malformed("a processing instruction named `xml`"));
        }
        // The tree parser takes the rest of such a target for the instruction's text.
        if !target.chars().all(in_name) {
            return Err(self.malformed("a processing instruction whose target is no name"));
        }
        Ok(())
    }

    /// A character reference to what XML does not allow, or an entity: without a document type only
    /// the five predefined ones exist, which the tree parser knows.
    fn reference(&mut self) -> Result<(), ScanError> {
        self.cursor.take("&");
        let name = self.cursor.before(|octet| matches!(octet, b';' | b'&' | b'<'));
        if !self.cursor.take(";") {
            return Err(self.malformed("a reference without its end"));
        }
        match BytesRef::new(name).resolve_char_ref() {
            Ok(Some(c)) if is_xml_char(c) => Ok(()),
            Ok(Some(c)) => Err(ScanError::Character { found: u32::from(c), line: self.line() }),
            Ok(None) => Ok(()),
            Err(e) => Err(self.malformed(e.to_string())),
        }
    }

    fn name(&self, name: &str) -> Result<(), ScanError> {
        if name.len() > self.limits.name {
            let (limit, found) = (self.limits.name, name.len());
            return Err(ScanError::NameTooLong { limit, found, line: self.line() });
        }
        // Namespaces in XML 1.0, section 3. The tree parser reads `:a` and `a`, which are written
        // differently, as one.
        let qualified = match name.split_once(':') {
            None => !name.is_empty(),
            Some((prefix, local)) => !prefix.is_empty() && !local.is_empty() && !local.contains(':'),
        };
        match qualified {
            true => Ok(()),
            false if name.is_empty() => Err(self.malformed("expected a name, found none")),
            false => Err(self.malformed(format!("expected a colon within a name, once, found `{name}`"))),
        }
    }

    fn check_declaration(&self, declaration: &BytesDecl<'_>) -> Result<(), ScanError> {
        let version = declaration.version().map_err(|e| self.malformed(e.to_string()))?;
        if version != "1.0" {
            return Err(self.malformed(format!("expected `version=\"1.0\"`, found `version=\"{version}\"`")));
        }
        if let Some(encoding) = declaration.encoding() {
            let encoding = encoding.map_err(|e| self.malformed(e.to_string()))?;
            if !encoding.eq_ignore_ascii_case("utf-8") {
                return Err(ScanError::Encoding { found: encoding.chars().take(40).collect() });
            }
        }
        Ok(())
    }

    /// Octets that were passed.
    fn passed(&self) -> usize {
        self.text.len().saturating_sub(self.cursor.len())
    }

    fn malformed(&self, detail: impl Into<String>) -> ScanError {
        ScanError::Malformed { detail: detail.into(), line: self.line() }
    }

    fn line(&self) -> usize {
        line_of(self.text, self.at)
    }
}
