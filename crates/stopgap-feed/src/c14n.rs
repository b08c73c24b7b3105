//! Canonical XML: the one spelling of a document over which a digest is taken.
//!
//! Canonical XML 1.0 (<https://www.w3.org/TR/2001/REC-xml-c14n-20010315>) and Exclusive XML
//! Canonicalization 1.0 (<https://www.w3.org/TR/xml-exc-c14n/>), both without comments, of a whole
//! document or of one element with everything below it, less at most one subtree. General node sets
//! and `InclusiveNamespaces` are not in it: the signature profile ([`crate::dsig`]) has neither.
//!
//! The tree has no line ends but LF and no document type ([`crate::scan`] sees to both).

use std::collections::BTreeMap;

use roxmltree::{Attribute, Node, NodeType};

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
pub fn canonicalize<'a, 'i>(
    node: Node<'a, 'i>,
    algorithm: Canonicalization,
    omit: Option<Node<'a, 'i>>,
) -> Vec<u8> {
    let mut writer = Writer { algorithm, out: Vec::new(), rendered: Vec::new(), after_root: false };
    let mut stack = vec![Step::Open(node)];
    while let Some(step) = stack.pop() {
        match step {
            Step::Open(node) if omit.is_some_and(|o| o == node) => {}
            Step::Open(node) => match node.node_type() {
                NodeType::Root => stack.extend(node.children().rev().map(Step::Open)),
                NodeType::Element => {
                    let mark = writer.open(node, stack.is_empty());
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
    writer.out
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
    fn open<'i>(&mut self, element: Node<'a, 'i>, apex: bool) -> usize {
        let mark = self.rendered.len();
        self.out.push(b'<');
        self.out.extend_from_slice(qname(element).as_bytes());
        for (prefix, uri) in self.declarations(element, apex) {
            self.rendered.push((prefix, uri));
            self.out.extend_from_slice(b" xmlns");
            if !prefix.is_empty() {
                self.out.push(b':');
                self.out.extend_from_slice(prefix.as_bytes());
            }
            self.value(uri);
        }
        for (_, _, name, value) in attributes(element, apex && self.algorithm == Canonicalization::Inclusive)
        {
            self.out.push(b' ');
            self.out.extend_from_slice(name.as_bytes());
            self.value(value);
        }
        self.out.push(b'>');
        mark
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
    fn declarations<'i>(&self, element: Node<'a, 'i>, apex: bool) -> BTreeMap<&'a str, &'a str> {
        let wanted: BTreeMap<&str, &str> = match self.algorithm {
            Canonicalization::Inclusive if !apex && inherits_all(element) => BTreeMap::new(),
            Canonicalization::Inclusive => {
                // An undeclared default namespace is not in the list of those in scope.
                let in_scope = element.namespaces().map(|ns| (ns.name().unwrap_or_default(), ns.uri()));
                [("", "")].into_iter().chain(in_scope).collect()
            }
            Canonicalization::Exclusive => {
                let text = element.document().input_text();
                let names = element
                    .attributes()
                    .map(|attribute| name_at(text, attribute.range().start))
                    .filter(|name| name.contains(':'));
                names
                    .chain([qname(element)])
                    .map(|name| name.split_once(':').map_or("", |(prefix, _)| prefix))
                    .filter(|prefix| *prefix != "xml")
                    .map(|prefix| (prefix, in_scope(element, prefix)))
                    .collect()
            }
        };
        wanted.into_iter().filter(|(prefix, uri)| self.rendered_uri(prefix) != *uri).collect()
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

fn in_scope<'a, 'i>(element: Node<'a, 'i>, prefix: &str) -> &'a str {
    element.lookup_namespace_uri(Some(prefix).filter(|p| !p.is_empty())).unwrap_or_default()
}

/// (namespace, local name, name as written, value), sorted by the first two: attributes without a
/// namespace come first.
fn attributes<'a, 'i>(element: Node<'a, 'i>, inherit: bool) -> Vec<(&'a str, &'a str, &'a str, &'a str)> {
    let text = element.document().input_text();
    let row = |node: Attribute<'a, 'i>| {
        (node.namespace().unwrap_or_default(), node.name(), name_at(text, node.range().start), node.value())
    };
    let mut all: Vec<_> = element.attributes().map(row).collect();
    if inherit {
        // The nearest ancestor wins (Canonical XML 1.0, section 2.4).
        for ancestor in element.ancestors().skip(1).filter(|node| node.is_element()) {
            for inherited in ancestor.attributes().filter(|a| a.namespace() == Some(XML_NAMESPACE)).map(row) {
                if !all.iter().any(|(ns, local, ..)| (*ns, *local) == (inherited.0, inherited.1)) {
                    all.push(inherited);
                }
            }
        }
    }
    all.sort_unstable_by_key(|(namespace, local, ..)| (*namespace, *local));
    all
}

/// An element's name as it was written: the tree keeps no prefixes, the source does.
fn qname<'a, 'i>(element: Node<'a, 'i>) -> &'a str {
    name_at(element.document().input_text(), element.range().start.saturating_add(1))
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
    while let Some((at, written)) =
        rest.iter().enumerate().find_map(|(at, octet)| Some((at, otherwise(*octet)?)))
    {
        let (plain, after) = rest.split_at(at);
        out.extend_from_slice(plain);
        out.extend_from_slice(written);
        rest = after.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}
