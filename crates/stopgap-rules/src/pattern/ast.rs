//! The structure of a pattern: what the parser makes and every matcher reads.

pub(crate) use super::char_set::{CharSet, LINE_TERMINATORS};

/// A node. Case is already folded into the sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Node {
    Empty,
    /// One character.
    Set(CharSet),
    /// A group, capturing where it has an index (from 1).
    Group {
        index: Option<u32>,
        node: Box<Node>,
    },
    Concat(Vec<Node>),
    Alternate(Vec<Node>),
    Repeat {
        node: Box<Node>,
        min: u32,
        max: Option<u32>,
        greedy: bool,
    },
    Assert(Assertion),
    Look {
        negate: bool,
        node: Box<Node>,
    },
    /// What the group took, or nothing where it took no part.
    BackReference {
        group: u32,
        ignore_case: bool,
    },
}

/// An assertion without a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Assertion {
    /// The beginning of the input; never after a line break.
    Start,
    /// The end of the input; never before a line break.
    End,
    WordBoundary,
    NotWordBoundary,
}

/// How large a pattern is once counted repetitions are written out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Measure {
    pub(crate) nodes: usize,
    /// Of characters, in all sets.
    pub(crate) ranges: usize,
}

impl Measure {
    fn plus(self, nodes: usize, ranges: usize) -> Measure {
        Measure { nodes: self.nodes.saturating_add(nodes), ranges: self.ranges.saturating_add(ranges) }
    }

    /// Whether a pattern is so small that preparing it takes well under a millisecond and cannot fail. (A
    /// pattern of 100 letters has 200 ranges.)
    pub(crate) fn is_light(self) -> bool {
        const RANGES: usize = 1_000;
        self.ranges <= RANGES
    }
}

impl Node {
    /// Nodes, with counted repetitions written out.
    pub(crate) fn size(&self) -> usize {
        self.measure().nodes
    }

    pub(crate) fn measure(&self) -> Measure {
        match self {
            Node::Empty | Node::Assert(_) | Node::BackReference { .. } => Measure { nodes: 1, ranges: 1 },
            Node::Set(set) => Measure { nodes: 1, ranges: 1 + set.size() },
            Node::Group { node, .. } | Node::Look { node, .. } => node.measure().plus(2, 1),
            Node::Concat(nodes) | Node::Alternate(nodes) => {
                nodes.iter().fold(Measure { nodes: 1, ranges: 1 }, |sum, node| {
                    let more = node.measure();
                    sum.plus(more.nodes.saturating_add(1), more.ranges)
                })
            }
            Node::Repeat { node, min, max, .. } => {
                let times = max.map_or(min.saturating_add(1), |max| max.max(1));
                let times = usize::try_from(times).unwrap_or(usize::MAX);
                let once = node.measure().plus(3, 0);
                Measure { nodes: once.nodes.saturating_mul(times), ranges: once.ranges.saturating_mul(times) }
            }
        }
    }

    /// Whether it describes a regular language as it stands: no look-around, no back-reference.
    pub(crate) fn is_regular(&self) -> bool {
        !self.any(&|node| matches!(node, Node::Look { .. } | Node::BackReference { .. }))
    }

    /// Whether its groups capture the same in every engine. ECMA-262 forgets a group at each turn of the
    /// repetition around it, and refuses an empty turn; others do neither.
    pub(crate) fn has_plain_captures(&self) -> bool {
        !self.any(&|node| match node {
            Node::Repeat { node: body, .. } => {
                body.any(&|inner| matches!(inner, Node::Group { index: Some(_), .. })) || body.can_be_empty()
            }
            _ => false,
        })
    }

    /// Whether it can match without taking a character. Errs towards yes.
    pub(crate) fn can_be_empty(&self) -> bool {
        match self {
            Node::Set(_) => false,
            Node::Empty | Node::Assert(_) | Node::Look { .. } | Node::BackReference { .. } => true,
            Node::Group { node, .. } => node.can_be_empty(),
            Node::Concat(nodes) => nodes.iter().all(Node::can_be_empty),
            Node::Alternate(nodes) => nodes.iter().any(Node::can_be_empty),
            Node::Repeat { node, min, .. } => *min == 0 || node.can_be_empty(),
        }
    }

    /// Whether this node, or one within it, is so.
    pub(crate) fn any(&self, test: &impl Fn(&Node) -> bool) -> bool {
        test(self)
            || match self {
                Node::Empty | Node::Set(_) | Node::Assert(_) | Node::BackReference { .. } => false,
                Node::Group { node, .. } | Node::Look { node, .. } | Node::Repeat { node, .. } => {
                    node.any(test)
                }
                Node::Concat(nodes) | Node::Alternate(nodes) => nodes.iter().any(|node| node.any(test)),
            }
    }
}
