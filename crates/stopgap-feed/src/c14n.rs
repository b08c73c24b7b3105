//! Canonical XML: the one spelling of a document over which a digest is taken.
//!
//! Canonical XML 1.0 (<https://www.w3.org/TR/2001/REC-xml-c14n-20010315>) and Exclusive XML
//! Canonicalization 1.0 (<https://www.w3.org/TR/xml-exc-c14n/>), both without comments, of a whole
//! document or of one element with everything below it, less at most one subtree. General node sets
//! and `InclusiveNamespaces` are not in it: the signature profile ([`crate::dsig`]) has neither.
//!
//! A document without namespaces needs no tree: [`canonicalize_plain`] writes the same octets from its text.
//!
//! The tree has no line ends but LF and no document type ([`crate::scan`] sees to both).

mod plain;

use std::convert::Infallible;

use roxmltree::{Attribute, Node, NodeType};

pub use plain::{Plain, canonicalize_plain};

use crate::limits::Limits;
use crate::scan::ScanError;

/// Which canonical form. Both leave comments out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Canonicalization {
    /// Canonical XML 1.0: every namespace in scope, `xml:` attributes of the ancestors.
    Inclusive,
    /// Exclusive Canonical XML 1.0: only namespaces that are visibly used.
    Exclusive,
}

const INCLUSIVE: &str = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315";
const EXCLUSIVE: &str = "http://www.w3.org/2001/10/xml-exc-c14n#";
const XML_NAMESPACE: &str = "http://www.w3.org/XML/1998/namespace";

impl Canonicalization {
    /// The form that an `Algorithm` attribute names.
    pub fn from_uri(uri: &str) -> Option<Self> {
        match uri {
            INCLUSIVE => Some(Self::Inclusive),
            EXCLUSIVE => Some(Self::Exclusive),
            _ => None,
        }
    }

    /// Its `Algorithm` attribute.
    pub fn uri(self) -> &'static str {
        match self {
            Self::Inclusive => INCLUSIVE,
            Self::Exclusive => EXCLUSIVE,
        }
    }
}

/// The canonical octets (UTF-8) of `node` and what is below it, less the subtree `omit`.
///
/// `node` is the document's root ([`roxmltree::Document::root`]) or an element; an element as the
/// apex takes over the namespaces of its ancestors, and for [`Canonicalization::Inclusive`] their
/// `xml:` attributes. The walk keeps its own stack, so depth costs memory and never the thread's
/// stack.
///
/// The exclusive form repeats a namespace's name wherever it comes into sight, which can make it as
/// long as the square of the document: [`canonicalize_within`] is for a document of somebody else.
pub fn canonicalize<'a, 'i>(
    node: Node<'a, 'i>,
    algorithm: Canonicalization,
    omit: Option<Node<'a, 'i>>,
) -> Vec<u8> {
    match write(node, algorithm, omit, |_, _| Ok::<(), Infallible>(())) {
        Ok(octets) => octets,
        Err(never) => match never {},
    }
}

/// [`canonicalize`] of what stays within `limits` when it is written, too: attributes of one element,
/// namespace declarations, and octets, of which escaping may make [`MAX_GROWTH`] times as many.
pub fn canonicalize_within<'a, 'i>(
    node: Node<'a, 'i>,
    algorithm: Canonicalization,
    omit: Option<Node<'a, 'i>>,
    limits: &Limits,
) -> Result<Vec<u8>, ScanError> {
    let mut namespaces = 0_usize;
    write(node, algorithm, omit, |so_far, tag| {
        let line = || 1 + memchr::memchr_iter(b'\n', so_far).count();
        if tag.attributes.saturating_add(tag.declarations) > limits.attributes {
            let (element, limit, line) = (tag.name.to_owned(), limits.attributes, line());
            return Err(ScanError::TooManyAttributes { element, limit, line });
        }
        namespaces = namespaces.saturating_add(tag.declarations);
        if namespaces > limits.namespaces {
            return Err(ScanError::TooManyNamespaces { limit: limits.namespaces, line: line() });
        }
        let limit = limits.bytes.saturating_mul(MAX_GROWTH);
        if so_far.len() > limit {
            return Err(ScanError::TooLarge { limit, found: so_far.len() });
        }
        Ok(())
    })
}

/// How many octets escaping makes of one: `&quot;`.
pub const MAX_GROWTH: usize = 6;

/// A start tag before it is written.
struct Tag<'a> {
    name: &'a str,
    attributes: usize,
    declarations: usize,
}

/// `check` sees what was written so far and the tag that comes next. Nothing but a tag's declarations
/// can make more of the text than escaping does, and those of one tag stood in the text once.
fn write<'a, 'i, E>(
    node: Node<'a, 'i>,
    algorithm: Canonicalization,
    omit: Option<Node<'a, 'i>>,
    mut check: impl FnMut(&[u8], &Tag<'a>) -> Result<(), E>,
) -> Result<Vec<u8>, E> {
    // Usually about as long as what was read.
    let out = Vec::with_capacity(node.range().len());
    let mut writer = Writer { algorithm, out, rendered: Vec::new(), after_root: false };
    let mut stack = vec![Step::Open(node)];
    while let Some(step) = stack.pop() {
        match step {
            Step::Open(node) if omit.is_some_and(|o| o == node) => {}
            Step::Open(node) => match node.node_type() {
                NodeType::Root => stack.extend(node.children().rev().map(Step::Open)),
                NodeType::Element => {
                    let mark = writer.open(node, stack.is_empty(), &mut check)?;
                    stack.push(Step::Close(node, mark));
                    stack.extend(node.children().rev().map(Step::Open));
                }
                NodeType::Text => escape_text(node.text().unwrap_or_default(), &mut writer.out),
                NodeType::PI => writer.instruction(node),
                NodeType::Comment => {}
            },
            Step::Close(node, mark) => writer.close(node, mark),
        }
    }
    Ok(writer.out)
}

enum Step<'a, 'i> {
    Open(Node<'a, 'i>),
    /// The element's end, and how many rendered namespaces stay in force after it.
    Close(Node<'a, 'i>, usize),
}

struct Writer<'a> {
    algorithm: Canonicalization,
    out: Vec<u8>,
    /// Namespace declarations written on the open elements, outermost first; `""` is the default
    /// namespace's prefix.
    rendered: Vec<(&'a str, &'a str)>,
    /// The root element is written.
    after_root: bool,
}

impl<'a> Writer<'a> {
    /// Writes a start tag; `apex` where no ancestor is in the output by the caller's choice. Returns
    /// the mark to which [`Writer::close`] goes back.
    fn open<'i, E>(
        &mut self,
        element: Node<'a, 'i>,
        apex: bool,
        check: impl FnOnce(&[u8], &Tag<'a>) -> Result<(), E>,
    ) -> Result<usize, E> {
        let name = qname(element);
        let attributes = attributes(element, apex && self.algorithm == Canonicalization::Inclusive);
        let declarations = self.declarations(element, apex, &attributes);
        check(&self.out, &Tag { name, attributes: attributes.len(), declarations: declarations.len() })?;

        let mark = self.rendered.len();
        self.out.push(b'<');
        self.out.extend_from_slice(name.as_bytes());
        for (prefix, uri) in declarations {
            self.rendered.push((prefix, uri));
            self.out.extend_from_slice(b" xmlns");
            if !prefix.is_empty() {
                self.out.push(b':');
                self.out.extend_from_slice(prefix.as_bytes());
            }
            self.value(uri);
        }
        for attribute in attributes {
            self.out.push(b' ');
            self.out.extend_from_slice(attribute.written.as_bytes());
            self.value(attribute.value);
        }
        self.out.push(b'>');
        Ok(mark)
    }

    fn close<'i>(&mut self, element: Node<'a, 'i>, mark: usize) {
        self.out.extend_from_slice(b"</");
        self.out.extend_from_slice(qname(element).as_bytes());
        self.out.push(b'>');
        self.rendered.truncate(mark);
        self.after_root |= outside(element);
    }

    /// A processing instruction; outside the root element it stands on a line of its own.
    fn instruction<'i>(&mut self, node: Node<'a, 'i>) {
        let Some(pi) = node.pi() else { return };
        if outside(node) && self.after_root {
            self.out.push(b'\n');
        }
        self.out.extend_from_slice(b"<?");
        self.out.extend_from_slice(pi.target.as_bytes());
        if let Some(value) = pi.value {
            self.out.push(b' ');
            self.out.extend_from_slice(value.as_bytes());
        }
        self.out.extend_from_slice(b"?>");
        if outside(node) && !self.after_root {
            self.out.push(b'\n');
        }
    }

    /// What must be declared on this element, by prefix; the default namespace sorts first.
    fn declarations<'i>(
        &self,
        element: Node<'a, 'i>,
        apex: bool,
        attributes: &[Row<'a>],
    ) -> Vec<(&'a str, &'a str)> {
        let mut missing = Vec::new();
        let mut want = |prefix, uri| {
            if self.rendered_uri(prefix) != uri {
                missing.push((prefix, uri));
            }
        };
        match self.algorithm {
            Canonicalization::Inclusive if !apex && inherits_all(element) => {}
            Canonicalization::Inclusive => {
                // An undeclared default namespace is not in the list of those in scope.
                want("", element.default_namespace().unwrap_or_default());
                let in_scope = element.namespaces().filter_map(|ns| Some((ns.name()?, ns.uri())));
                in_scope.for_each(|(prefix, uri)| want(prefix, uri));
            }
            Canonicalization::Exclusive => {
                let of_element = (qname(element), element.tag_name().namespace().unwrap_or_default());
                // An attribute without a prefix is in no namespace, whatever the default one is.
                let named =
                    attributes.iter().map(|a| (a.written, a.namespace)).filter(|(_, ns)| !ns.is_empty());
                for (written, uri) in named.chain([of_element]) {
                    match written.split_once(':').map_or("", |(prefix, _)| prefix) {
                        "xml" => {}
                        prefix => want(prefix, uri),
                    }
                }
            }
        }
        missing.sort_unstable();
        missing.dedup();
        missing
    }

    /// What the output's ancestors bind the prefix to; nothing is the empty name.
    fn rendered_uri(&self, prefix: &str) -> &'a str {
        self.rendered.iter().rev().find(|(p, _)| *p == prefix).map_or("", |(_, uri)| uri)
    }

    fn value(&mut self, value: &str) {
        self.out.extend_from_slice(b"=\"");
        escape_attribute(value, &mut self.out);
        self.out.push(b'"');
    }
}

/// Whether the node stands beside the root element, or is it.
fn outside(node: Node<'_, '_>) -> bool {
    node.parent().is_some_and(|parent| parent.is_root())
}

/// Whether the element has exactly its parent's namespaces (the usual case, and cheap to see).
fn inherits_all(element: Node<'_, '_>) -> bool {
    element.parent_element().is_some_and(|parent| {
        parent.namespaces().len() == element.namespaces().len()
            && parent.namespaces().zip(element.namespaces()).all(|(a, b)| std::ptr::eq(a, b))
    })
}

/// An attribute as it is written; sorted by namespace and local name, so that those without a namespace
/// come first (Canonical XML 1.0, section 2.2).
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Row<'a> {
    namespace: &'a str,
    local: &'a str,
    /// With its prefix.
    written: &'a str,
    value: &'a str,
}

impl<'a> Row<'a> {
    fn of<'i>(attribute: Attribute<'a, 'i>, text: &'a str) -> Self {
        let local = attribute.name();
        let (namespace, written) = match attribute.namespace() {
            None => ("", local),
            Some(namespace) => (namespace, name_at(text, attribute.range().start)),
        };
        Self { namespace, local, written, value: attribute.value() }
    }
}

/// The element's attributes in their order, with `inherit` its ancestors' `xml:` ones, too.
fn attributes<'a, 'i>(element: Node<'a, 'i>, inherit: bool) -> Vec<Row<'a>> {
    let text = element.document().input_text();
    let mut all: Vec<_> = element.attributes().map(|attribute| Row::of(attribute, text)).collect();
    if inherit {
        // The nearest ancestor wins (Canonical XML 1.0, section 2.4).
        for ancestor in element.ancestors().skip(1).filter(|node| node.is_element()) {
            for inherited in ancestor.attributes().filter(|a| a.namespace() == Some(XML_NAMESPACE)) {
                if !all.iter().any(|row| (row.namespace, row.local) == (XML_NAMESPACE, inherited.name())) {
                    all.push(Row::of(inherited, text));
                }
            }
        }
    }
    all.sort_unstable();
    all
}

/// An element's name as it was written: the tree keeps no prefixes, the source does. What is in no
/// namespace has none, since a prefix cannot be undeclared.
fn qname<'a, 'i>(element: Node<'a, 'i>) -> &'a str {
    let name = element.tag_name();
    match name.namespace() {
        None => name.name(),
        Some(_) => name_at(element.document().input_text(), element.range().start.saturating_add(1)),
    }
}

fn name_at(text: &str, start: usize) -> &str {
    let rest = text.get(start..).unwrap_or_default();
    let end = rest.find([' ', '\t', '\n', '\r', '/', '>', '=']);
    rest.get(..end.unwrap_or(rest.len())).unwrap_or_default()
}

/// Canonical XML 1.0, section 2.3, "Text Nodes".
fn escape_text(text: &str, out: &mut Vec<u8>) {
    escape(text, out, |octet| match octet {
        b'&' => Some(b"&amp;"),
        b'<' => Some(b"&lt;"),
        b'>' => Some(b"&gt;"),
        b'\r' => Some(b"&#xD;"),
        _ => None,
    });
}

/// Canonical XML 1.0, section 2.3, "Attribute Nodes".
fn escape_attribute(value: &str, out: &mut Vec<u8>) {
    escape(value, out, |octet| match octet {
        b'&' => Some(b"&amp;"),
        b'<' => Some(b"&lt;"),
        b'"' => Some(b"&quot;"),
        b'\t' => Some(b"&#x9;"),
        b'\n' => Some(b"&#xA;"),
        b'\r' => Some(b"&#xD;"),
        _ => None,
    });
}

/// Copies what stands between the octets that are written otherwise.
fn escape(text: &str, out: &mut Vec<u8>, otherwise: impl Fn(u8) -> Option<&'static [u8]>) {
    let mut rest = text.as_bytes();
    while let Some(at) = rest.iter().position(|octet| otherwise(*octet).is_some()) {
        let (plain, after) = rest.split_at(at);
        out.extend_from_slice(plain);
        let Some((octet, after)) = after.split_first() else { break };
        out.extend_from_slice(otherwise(*octet).unwrap_or_default());
        rest = after;
    }
    out.extend_from_slice(rest);
}
