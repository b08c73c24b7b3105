//! The structure of a pattern: what the parser makes and every matcher reads.

use super::fold;
use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};

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

impl Node {
    /// Nodes, with counted repetitions written out.
    pub(crate) fn size(&self) -> usize {
        match self {
            Node::Empty | Node::Set(_) | Node::Assert(_) | Node::BackReference { .. } => 1,
            Node::Group { node, .. } | Node::Look { node, .. } => node.size().saturating_add(2),
            Node::Concat(nodes) | Node::Alternate(nodes) => {
                nodes.iter().fold(1, |sum: usize, node| sum.saturating_add(node.size()).saturating_add(1))
            }
            Node::Repeat { node, min, max, .. } => {
                let times = max.map_or(min.saturating_add(1), |max| max.max(1));
                node.size().saturating_add(3).saturating_mul(usize::try_from(times).unwrap_or(usize::MAX))
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

/// A set of characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CharSet {
    class: ClassUnicode,
}

/// LineTerminator, ECMA-262 section 12.3: what `.` does not take.
pub(crate) const LINE_TERMINATORS: [char; 4] = ['\n', '\r', '\u{2028}', '\u{2029}'];

impl CharSet {
    /// No character.
    pub(crate) fn none() -> CharSet {
        CharSet { class: ClassUnicode::empty() }
    }

    /// Every character: `[^]`.
    pub(crate) fn any() -> CharSet {
        CharSet::none().negated()
    }

    /// `.`
    pub(crate) fn dot() -> CharSet {
        CharSet::line_terminators().negated()
    }

    pub(crate) fn line_terminators() -> CharSet {
        CharSet::of(LINE_TERMINATORS.map(|c| (c, c)))
    }

    /// One character, with those that are equal to it when case is ignored.
    pub(crate) fn one(char: char, ignore_case: bool) -> CharSet {
        if ignore_case && char.is_ascii_alphabetic() {
            let (upper, lower) = (char.to_ascii_uppercase(), char.to_ascii_lowercase());
            return CharSet::of([(upper, upper), (lower, lower)]);
        }
        let set = CharSet::of([(char, char)]);
        if ignore_case && !char.is_ascii() { set.closed() } else { set }
    }

    pub(crate) fn of(ranges: impl IntoIterator<Item = (char, char)>) -> CharSet {
        let ranges = ranges.into_iter().map(|(from, to)| ClassUnicodeRange::new(from, to));
        CharSet { class: ClassUnicode::new(ranges) }
    }

    /// `\d`
    pub(crate) fn digits() -> CharSet {
        CharSet::of([('0', '9')])
    }

    /// `\w`
    pub(crate) fn word() -> CharSet {
        CharSet::of([('0', '9'), ('A', 'Z'), ('_', '_'), ('a', 'z')])
    }

    /// `\s`: WhiteSpace (12.2) and LineTerminator.
    pub(crate) fn space() -> CharSet {
        CharSet::of([
            ('\t', '\r'),
            (' ', ' '),
            ('\u{a0}', '\u{a0}'),
            ('\u{1680}', '\u{1680}'),
            ('\u{2000}', '\u{200a}'),
            ('\u{2028}', '\u{2029}'),
            ('\u{202f}', '\u{202f}'),
            ('\u{205f}', '\u{205f}'),
            ('\u{3000}', '\u{3000}'),
            ('\u{feff}', '\u{feff}'),
        ])
    }

    pub(crate) fn negated(mut self) -> CharSet {
        self.class.negate();
        self
    }

    pub(crate) fn union(mut self, other: &CharSet) -> CharSet {
        self.class.union(&other.class);
        self
    }

    pub(crate) fn intersection(mut self, other: &CharSet) -> CharSet {
        self.class.intersect(&other.class);
        self
    }

    /// With every character that is equal to one of these when case is ignored.
    pub(crate) fn closed(mut self) -> CharSet {
        let ascii = self.ranges().all(|(_, to)| to.is_ascii());
        let mut more = Vec::new();
        if ascii {
            // ASCII folds only with itself, so the large table is not needed.
            for letter in 'a'..='z' {
                let upper = letter.to_ascii_uppercase();
                if self.contains(letter) || self.contains(upper) {
                    more.extend([letter, upper]);
                }
            }
        } else {
            for class in fold::classes() {
                if class.iter().any(|c| self.contains(*c)) {
                    more.extend(class);
                }
            }
        }
        self.class.union(&ClassUnicode::new(more.into_iter().map(|c| ClassUnicodeRange::new(c, c))));
        self
    }

    pub(crate) fn contains(&self, char: char) -> bool {
        let ranges = self.class.ranges();
        let at = ranges.partition_point(|range| range.end() < char);
        ranges.get(at).is_some_and(|range| range.start() <= char)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.class.ranges().is_empty()
    }

    pub(crate) fn ranges(&self) -> impl Iterator<Item = (char, char)> + '_ {
        self.class.ranges().iter().map(|range| (range.start(), range.end()))
    }

    pub(crate) fn class(&self) -> &ClassUnicode {
        &self.class
    }
}
