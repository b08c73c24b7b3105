//! Elements and attributes with their place, so that each refusal can name both.

use super::error::{ParseError, Place};
use roxmltree::{Document, Node, NodeType};

pub(super) struct Reader<'d, 'i> {
    pub(super) document: &'d Document<'i>,
}

impl<'d, 'i> Reader<'d, 'i> {
    pub(super) fn place(&self, node: Node) -> Place {
        let at = self.document.text_pos_at(node.range().start);
        Place { line: at.row, column: at.col }
    }

    /// The name, or nothing for an element in a namespace: IIS's configuration has none.
    pub(super) fn name<'n>(&self, node: Node<'n, 'i>) -> &'n str {
        if node.tag_name().namespace().is_none() { node.tag_name().name() } else { "" }
    }

    /// The child elements; text between them is refused.
    pub(super) fn elements<'n>(
        &self,
        node: Node<'n, 'i>,
    ) -> Result<impl Iterator<Item = Node<'n, 'i>> + use<'n, 'i>, ParseError> {
        for child in node.children() {
            let text = child.text().map(str::trim).unwrap_or("");
            if child.node_type() == NodeType::Text && !text.is_empty() {
                return Err(ParseError::UnexpectedText {
                    place: self.place(child),
                    parent: node.tag_name().name().to_owned(),
                    found: text.chars().take(40).collect(),
                });
            }
        }
        Ok(node.children().filter(Node::is_element))
    }

    pub(super) fn empty(&self, node: Node<'_, 'i>) -> Result<(), ParseError> {
        match self.elements(node)?.next() {
            Some(child) => Err(self.unknown(child, "nothing")),
            None => Ok(()),
        }
    }

    pub(super) fn attributes(&self, node: Node, allowed: &[&str]) -> Result<(), ParseError> {
        match node.attributes().find(|a| a.namespace().is_some() || !allowed.contains(&a.name())) {
            None => Ok(()),
            Some(attribute) => Err(ParseError::UnknownAttribute {
                place: self.place(node),
                element: node.tag_name().name().to_owned(),
                found: attribute.name().to_owned(),
                allowed: if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") },
            }),
        }
    }

    pub(super) fn required<'n>(
        &self,
        node: Node<'n, 'i>,
        attribute: &'static str,
    ) -> Result<&'n str, ParseError> {
        node.attribute(attribute).ok_or_else(|| ParseError::MissingAttribute {
            place: self.place(node),
            element: node.tag_name().name().to_owned(),
            attribute,
        })
    }

    /// `true` or `false` in any case: `True` is common in files that .NET wrote.
    pub(super) fn boolean(
        &self,
        node: Node,
        attribute: &'static str,
        default: bool,
    ) -> Result<bool, ParseError> {
        match node.attribute(attribute) {
            None => Ok(default),
            Some(value) if value.eq_ignore_ascii_case("true") => Ok(true),
            Some(value) if value.eq_ignore_ascii_case("false") => Ok(false),
            Some(_) => Err(self.bad_value(node, attribute, "true, false")),
        }
    }

    pub(super) fn one_of<T: Copy + Default>(
        &self,
        node: Node,
        attribute: &'static str,
        values: &[(&str, T)],
    ) -> Result<T, ParseError> {
        let Some(found) = node.attribute(attribute) else { return Ok(T::default()) };
        match values.iter().find(|(word, _)| *word == found) {
            Some((_, value)) => Ok(*value),
            None => {
                let words: Vec<&str> = values.iter().map(|(word, _)| *word).collect();
                Err(self.bad_value(node, attribute, &words.join(", ")))
            }
        }
    }

    pub(super) fn number(&self, node: Node<'_, 'i>, attribute: &'static str) -> Result<u16, ParseError> {
        self.required(node, attribute)?
            .parse()
            .map_err(|_| self.bad_value(node, attribute, "a number from 0 to 65535"))
    }

    pub(super) fn bad_value(&self, node: Node, attribute: &'static str, allowed: &str) -> ParseError {
        ParseError::BadValue {
            place: self.place(node),
            element: node.tag_name().name().to_owned(),
            attribute,
            found: node.attribute(attribute).unwrap_or("").chars().take(80).collect(),
            allowed: allowed.to_owned(),
        }
    }

    pub(super) fn unknown(&self, node: Node, allowed: &'static str) -> ParseError {
        ParseError::UnknownElement {
            place: self.place(node),
            parent: node.parent().map(|p| p.tag_name().name().to_owned()).unwrap_or_default(),
            found: node.tag_name().name().to_owned(),
            allowed,
        }
    }

    pub(super) fn unsupported(&self, node: Node, what: String) -> ParseError {
        ParseError::NotSupported { place: self.place(node), what }
    }

    pub(super) fn too_many(&self, node: Node, what: &'static str, limit: usize) -> ParseError {
        ParseError::TooMany { place: self.place(node), what, limit }
    }
}
