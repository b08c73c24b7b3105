//! A configuration file as a lossless document: the text as it was read, and where its elements stand in it.
//!
//! ```text
//!   bytes --encoding--> text --parse--> elements (spans into the text)
//!                        |                 | edit: one span, one replacement
//!                        +---- splice <----+--> a new document, checked like the first
//! ```
//!
//! Nothing is ever printed from the elements: a document's bytes are its text, so comments, quotes, the order of
//! attributes, blanks, line ends, the byte order mark and the encoding declaration stay as they are wherever no
//! edit touches them. What the elements mean is not in here.

mod edit;
mod encoding;
mod error;
mod parse;
mod splice;

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::ops::Range;
use std::sync::OnceLock;

use stopgap_rules::parse::Place;

pub use edit::{Edit, EditError};
pub use encoding::Encoding;
pub use error::DocumentError;

/// The largest file that is read: nine times the largest of a real Exchange server (1.8 MB).
pub const MAX_BYTES: usize = 16 * 1024 * 1024;
/// Elements within elements; those of Exchange have 14.
pub const MAX_DEPTH: usize = 64;
/// Attributes of one element: each is compared with the others.
pub const MAX_ATTRIBUTES: usize = 64;
/// Elements of one file.
pub const MAX_ELEMENTS: usize = 500_000;

/// A well-formed configuration file.
#[derive(Debug, Clone)]
pub struct Document {
    encoding: Encoding,
    text: String,
    nodes: Vec<Node>,
    attributes: Vec<Attribute>,
    /// Where each line begins; found when a place is first asked for.
    lines: OnceLock<Vec<usize>>,
}

/// An element of one document; of another one it names nothing, or something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ElementId(NonZeroU32);

impl ElementId {
    const ROOT: ElementId = ElementId(NonZeroU32::MIN);

    /// Counted from 1, so that the absence of one takes no room.
    fn of(index: usize) -> ElementId {
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        ElementId(NonZeroU32::MIN.saturating_add(number))
    }

    fn index(self) -> usize {
        usize::try_from(self.0.get() - 1).unwrap_or(usize::MAX)
    }
}

/// A part of the text, or of the list of attributes. Half as large as a range: a file has tens of thousands, and 32
/// bits reach far beyond [`MAX_BYTES`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn of(range: Range<usize>) -> Span {
        Span { start: short(range.start), end: short(range.end) }
    }

    fn start(self) -> usize {
        long(self.start)
    }

    fn end(self) -> usize {
        long(self.end)
    }

    fn range(self) -> Range<usize> {
        self.start()..self.end()
    }
}

fn short(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn long(at: u32) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Node {
    name: Span,
    /// From `<` of the start tag to behind `>` of the end tag.
    span: Span,
    /// Between the tags; empty, and at the end of the span, where there is one tag alone.
    content: Span,
    attributes: Span,
    parent: Option<ElementId>,
    first_child: Option<ElementId>,
    last_child: Option<ElementId>,
    next: Option<ElementId>,
    /// The first text in it that is more than blanks; a start tag stands before it.
    words: Option<NonZeroU32>,
    /// `<name/>`.
    empty_tag: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Attribute {
    name: Span,
    /// Between the quotes, as written.
    value: Span,
}

impl Document {
    /// Reads a file: UTF-8 with or without byte order mark, UTF-16 with one.
    ///
    /// # Errors
    /// [`DocumentError`]: too large, not decodable, not well-formed, a document type; with the place.
    pub fn parse(bytes: &[u8]) -> Result<Document, DocumentError> {
        if bytes.len() > MAX_BYTES {
            return Err(DocumentError::TooLarge { found: bytes.len(), limit: MAX_BYTES });
        }
        let (encoding, text) = encoding::decode(bytes)?;
        Document::of_text(encoding, text)
    }

    fn of_text(encoding: Encoding, text: String) -> Result<Document, DocumentError> {
        encoding::declared(&text, encoding)?;
        let (nodes, attributes) = parse::parse(&text)?;
        Ok(Document { encoding, text, nodes, attributes, lines: OnceLock::new() })
    }

    /// The same document with another text, which differs from this one's within these bytes alone. What comes out
    /// is what [`Document::of_text`] would give.
    fn changed(&self, old: &Range<usize>, text: String) -> Result<Document, DocumentError> {
        let Some((nodes, attributes)) = self.spliced(old, &text) else {
            return Document::of_text(self.encoding, text);
        };
        encoding::declared(&text, self.encoding)?;
        debug_assert!(
            parse::parse(&text).is_ok_and(|whole| whole.0 == nodes && whole.1 == attributes),
            "reading a part gave something else than reading the whole"
        );
        Ok(Document { encoding: self.encoding, text, nodes, attributes, lines: OnceLock::new() })
    }

    /// The bytes of the file: those that were read, where nothing was edited.
    pub fn to_bytes(&self) -> Vec<u8> {
        encoding::encode(self.encoding, &self.text)
    }

    /// How the file is written.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// The file's text, without the byte order mark.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The root element.
    pub fn root(&self) -> Element<'_> {
        Element { document: self, id: ElementId::ROOT }
    }

    /// The element of this id, of this document.
    pub fn element(&self, id: ElementId) -> Option<Element<'_>> {
        self.nodes.get(id.index()).map(|_| Element { document: self, id })
    }

    /// Every element, in the order of their start tags.
    pub fn elements(&self) -> impl Iterator<Item = Element<'_>> {
        (0..self.nodes.len()).map(|index| Element { document: self, id: ElementId::of(index) })
    }

    /// Line and column (characters) of a byte of the text, both from 1.
    pub fn place(&self, at: usize) -> Place {
        let lines = self.lines.get_or_init(|| {
            let ends = self.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
            std::iter::once(0).chain(ends.map(|(at, _)| at + 1)).collect()
        });
        let line = lines.partition_point(|start| *start <= at);
        let start = lines.get(line.saturating_sub(1)).copied().unwrap_or(0);
        let column = self.text.get(start..at).unwrap_or("").chars().count() + 1;
        let number = |value| u32::try_from(value).unwrap_or(u32::MAX);
        Place { line: number(line), column: number(column) }
    }

    fn slice(&self, span: Span) -> &str {
        self.text.get(span.range()).unwrap_or("")
    }
}

/// An element, and where it stands.
#[derive(Debug, Clone, Copy)]
pub struct Element<'d> {
    document: &'d Document,
    id: ElementId,
}

impl<'d> Element<'d> {
    fn node(&self) -> &'d Node {
        const AT: Span = Span { start: 0, end: 0 };
        const NONE: &Node = &Node {
            name: AT,
            span: AT,
            content: AT,
            attributes: AT,
            parent: None,
            first_child: None,
            last_child: None,
            next: None,
            words: None,
            empty_tag: true,
        };
        self.document.nodes.get(self.id.index()).unwrap_or(NONE)
    }

    fn at(&self, id: Option<ElementId>) -> Option<Element<'d>> {
        id.map(|id| Element { document: self.document, id })
    }

    /// Its id, for edits.
    pub fn id(&self) -> ElementId {
        self.id
    }

    /// Its name as written, with the prefix if it has one.
    pub fn name(&self) -> &'d str {
        self.document.slice(self.node().name)
    }

    /// Where its start tag begins.
    pub fn place(&self) -> Place {
        self.document.place(self.node().span.start())
    }

    /// Its bytes in [`Document::text`], both tags included.
    pub fn span(&self) -> Range<usize> {
        self.node().span.range()
    }

    /// Its text as written, both tags included.
    pub fn source(&self) -> &'d str {
        self.document.slice(self.node().span)
    }

    /// The element around it.
    pub fn parent(&self) -> Option<Element<'d>> {
        self.at(self.node().parent)
    }

    /// The elements in it, in order.
    pub fn children(&self) -> impl Iterator<Item = Element<'d>> + use<'d> {
        std::iter::successors(self.at(self.node().first_child), |child| child.at(child.node().next))
    }

    /// The element itself, and every element in it, in the order of their start tags.
    pub fn descendants(&self) -> impl Iterator<Item = Element<'d>> + use<'d> {
        let (document, end) = (self.document, self.span().end);
        let all = (self.id.index()..).map(move |index| Element { document, id: ElementId::of(index) });
        all.take_while(move |element| {
            document.element(element.id).is_some_and(|element| element.span().start < end)
        })
    }

    /// The elements of this name in it.
    pub fn named(&self, name: &'static str) -> impl Iterator<Item = Element<'d>> + use<'d> {
        self.children().filter(move |child| child.name() == name)
    }

    /// The first element of this name in it.
    pub fn child(&self, name: &'static str) -> Option<Element<'d>> {
        self.named(name).next()
    }

    /// Its attributes in order: names as written, values with references resolved.
    pub fn attributes(&self) -> impl Iterator<Item = (&'d str, Cow<'d, str>)> + use<'d> {
        let document = self.document;
        self.spans().map(move |attribute| {
            (document.slice(attribute.name), parse::value(document.slice(attribute.value)))
        })
    }

    /// The value of an attribute, references resolved.
    pub fn attribute(&self, name: &str) -> Option<Cow<'d, str>> {
        self.attributes().find(|(found, _)| *found == name).map(|(_, value)| value)
    }

    /// The bytes of an attribute in [`Document::text`], its name and quotes included.
    pub fn attribute_span(&self, name: &str) -> Option<Range<usize>> {
        self.spans()
            .find(|attribute| self.document.slice(attribute.name) == name)
            .map(|attribute| attribute.name.start()..attribute.value.end() + 1)
    }

    /// The first text in it that is more than blanks: its place and its beginning.
    pub fn words(&self) -> Option<(Place, String)> {
        let at = long(self.node().words?.get());
        let content = self.document.text.get(at..self.node().content.end()).unwrap_or("");
        let text: String = content.chars().take(40).collect();
        let end = text.find('<').unwrap_or(text.len());
        Some((self.document.place(at), text.get(..end).unwrap_or("").trim().to_owned()))
    }

    fn spans(&self) -> std::slice::Iter<'d, Attribute> {
        self.document.attributes.get(self.node().attributes.range()).unwrap_or(&[]).iter()
    }
}
