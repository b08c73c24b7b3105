//! A document after an edit, without reading all of it again: what stands between two elements is read by itself, and
//! the elements behind it move.
//!
//! ```text
//!   <parent> … </before>  text, elements, the edit, text  <after> … </parent> …
//!                       |<--------- read again --------->|
//! ```
//!
//! At both ends of that region a reader is within the content of `parent` and in the middle of nothing, before the
//! edit and after it. What the region is read as is therefore what the whole would be read as; where its own reading
//! does not end there (a comment that is left open, a tag that closes the parent), the whole is read, and says why.

use std::num::NonZeroU32;
use std::ops::Range;

use super::parse::{self, Inside};
use super::{Attribute, Document, ElementId, MAX_ELEMENTS, Node, Span, long};

impl Document {
    /// Elements and attributes of `text`, which differs from this document's within `old` alone; nothing where it has
    /// to be read as a whole.
    pub(super) fn spliced(&self, old: &Range<usize>, text: &str) -> Option<(Vec<Node>, Vec<Attribute>)> {
        let open = self.around(old)?;
        let parent = *open.last()?;
        let within = self.nodes.get(parent.index())?;
        let (mut before, mut after) = (None, None);
        for child in self.element(parent)?.children() {
            if child.span().end <= old.start {
                before = Some(child);
            } else if child.span().start >= old.end {
                after = Some(child);
                break;
            }
        }
        let from = before.map_or(within.content.start(), |child| child.span().end);
        let to = after.map_or(within.content.end(), |child| child.span().start);
        let first = self.nodes.partition_point(|node| node.span.start() < from);
        let behind = self.nodes.partition_point(|node| node.span.start() < to);
        let attributes =
            |at: usize| self.nodes.get(at).map_or(self.attributes.len(), |node| node.attributes.start());
        let mut nodes = Vec::with_capacity(self.nodes.len() + 64);
        nodes.extend_from_slice(self.nodes.get(..first)?);
        let mut kept = Vec::with_capacity(self.attributes.len() + 64);
        kept.extend_from_slice(self.attributes.get(..attributes(first))?);
        {
            // As the reader would have it at the beginning of the region.
            let node = nodes.get_mut(parent.index())?;
            node.last_child = before.map(|child| child.id());
            node.first_child = node.first_child.filter(|_| before.is_some());
            node.words = node.words.filter(|at| long(at.get()) < from);
            if let Some(before) = before {
                nodes.get_mut(before.id().index())?.next = None;
            }
        }
        let moved = Moved {
            octets: i64::try_from(text.len()).ok()? - i64::try_from(self.text.len()).ok()?,
            behind,
            elements: 0,
            attributes: 0,
        };
        let region = from..usize::try_from(i64::try_from(to).ok()? + moved.octets).ok()?;
        let Inside { mut nodes, attributes: mut kept } = parse::inside(text, region, nodes, kept, &open)?;
        if nodes.len() + (self.nodes.len() - behind) > MAX_ELEMENTS {
            return None;
        }
        let moved = Moved {
            elements: i64::try_from(nodes.len()).ok()? - i64::try_from(behind).ok()?,
            attributes: i64::try_from(kept.len()).ok()? - i64::try_from(attributes(behind)).ok()?,
            ..moved
        };
        kept.extend(self.attributes.get(attributes(behind)..)?.iter().map(|attribute| Attribute {
            name: moved.span(attribute.name),
            value: moved.span(attribute.value),
        }));
        for id in &open {
            let node = nodes.get_mut(id.index())?;
            node.content.end = moved.octet(node.content.end);
            node.span.end = moved.octet(node.span.end);
            node.next = moved.id(node.next);
            if id != &parent {
                node.last_child = moved.id(node.last_child);
                node.words = node.words.map(|at| if long(at.get()) < to { at } else { moved.words(at) });
            }
        }
        // The first words of the parent: those of the region, or else those behind it.
        let node = nodes.get_mut(parent.index())?;
        match within.words {
            Some(at) if node.words.is_none() && long(at.get()) >= to => node.words = Some(moved.words(at)),
            // There may be more behind it.
            Some(_) if node.words.is_none() => return None,
            _ => {}
        }
        if let Some(after) = after {
            let next = moved.id(Some(after.id()));
            let last = std::mem::replace(&mut node.last_child, moved.id(within.last_child));
            match last {
                None => node.first_child = next,
                Some(last) => nodes.get_mut(last.index())?.next = next,
            }
        }
        nodes.extend(self.nodes.get(behind..)?.iter().map(|node| moved.node(node)));
        Some((nodes, kept))
    }

    /// The elements around these bytes, the root first; nothing where they are not all within the root's tags.
    fn around(&self, bytes: &Range<usize>) -> Option<Vec<ElementId>> {
        let holds = |node: &Node| {
            !node.empty_tag && node.content.start() <= bytes.start && bytes.end <= node.content.end()
        };
        let mut open = vec![ElementId::ROOT];
        let mut inner = self.root();
        if !holds(inner.node()) {
            return None;
        }
        while let Some(child) = inner.children().find(|child| holds(child.node())) {
            open.push(child.id());
            inner = child;
        }
        Some(open)
    }
}

/// How far what is behind the region has moved.
#[derive(Debug, Clone, Copy)]
struct Moved {
    octets: i64,
    /// The first element behind the region, as it was counted.
    behind: usize,
    elements: i64,
    attributes: i64,
}

impl Moved {
    fn octet(&self, at: u32) -> u32 {
        u32::try_from(i64::from(at) + self.octets).unwrap_or(u32::MAX)
    }

    fn words(&self, at: NonZeroU32) -> NonZeroU32 {
        NonZeroU32::new(self.octet(at.get())).unwrap_or(NonZeroU32::MAX)
    }

    fn span(&self, span: Span) -> Span {
        Span { start: self.octet(span.start), end: self.octet(span.end) }
    }

    fn id(&self, id: Option<ElementId>) -> Option<ElementId> {
        let moved = |id: ElementId| match id.index() < self.behind {
            true => id,
            false => {
                let number = i64::from(id.0.get()) + self.elements;
                ElementId(u32::try_from(number).ok().and_then(NonZeroU32::new).unwrap_or(NonZeroU32::MAX))
            }
        };
        id.map(moved)
    }

    fn node(&self, node: &Node) -> Node {
        let attribute = |at: u32| u32::try_from(i64::from(at) + self.attributes).unwrap_or(u32::MAX);
        Node {
            name: self.span(node.name),
            span: self.span(node.span),
            content: self.span(node.content),
            attributes: Span { start: attribute(node.attributes.start), end: attribute(node.attributes.end) },
            parent: self.id(node.parent),
            first_child: self.id(node.first_child),
            last_child: self.id(node.last_child),
            next: self.id(node.next),
            words: node.words.map(|at| self.words(at)),
            empty_tag: node.empty_tag,
        }
    }
}
