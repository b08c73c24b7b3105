//! Patterns that describe a regular language, on the `regex` crate: linear time, no steps counted.
//!
//! The pattern is handed over as regex-syntax's own structure, printed by that crate, so that no character
//! of a rule can be read as Rust's syntax.

use super::ast::{Assertion, CharSet, Node};
use super::{Captures, PatternError};
use regex_syntax::hir::{Capture, Class, Hir, Look, Repetition};

/// Bytes of a compiled program. A pattern within our own bounds needs far less, unless it repeats large sets.
const SIZE_LIMIT: usize = 4 * 1024 * 1024;
/// Bytes of its lazily built automaton, per thread.
const CACHE_LIMIT: usize = 2 * 1024 * 1024;

/// A compiled regular pattern.
#[derive(Debug)]
pub(crate) struct Linear {
    regex: regex::Regex,
}

impl Linear {
    pub(crate) fn compile(node: &Node) -> Result<Linear, PatternError> {
        Linear::from_hir(&hir(node))
    }

    pub(crate) fn from_hir(hir: &Hir) -> Result<Linear, PatternError> {
        let regex = regex::RegexBuilder::new(&hir.to_string())
            .size_limit(SIZE_LIMIT)
            .dfa_size_limit(CACHE_LIMIT)
            .build()
            .map_err(|error| PatternError::Engine { message: error.to_string() })?;
        Ok(Linear { regex })
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }

    /// Where the first match starts.
    pub(crate) fn start(&self, text: &str) -> Option<usize> {
        self.regex.find(text).map(|found| found.start())
    }

    pub(crate) fn captures(&self, text: &str) -> Option<Captures> {
        let found = self.regex.captures(text)?;
        Some(found.iter().map(|group| group.map(|group| group.range())).collect())
    }
}

pub(crate) fn set(set: &CharSet) -> Hir {
    Hir::class(Class::Unicode(set.class().clone()))
}

fn hir(node: &Node) -> Hir {
    match node {
        Node::Empty => Hir::empty(),
        Node::Set(chars) => set(chars),
        Node::Group { index: None, node } => hir(node),
        Node::Group { index: Some(index), node } => {
            Hir::capture(Capture { index: *index, name: None, sub: Box::new(hir(node)) })
        }
        Node::Concat(nodes) => Hir::concat(nodes.iter().map(hir).collect()),
        Node::Alternate(nodes) => Hir::alternation(nodes.iter().map(hir).collect()),
        Node::Repeat { node, min, max, greedy } => {
            Hir::repetition(Repetition { min: *min, max: *max, greedy: *greedy, sub: Box::new(hir(node)) })
        }
        Node::Assert(assertion) => Hir::look(match assertion {
            Assertion::Start => Look::Start,
            Assertion::End => Look::End,
            Assertion::WordBoundary => Look::WordAscii,
            Assertion::NotWordBoundary => Look::WordAsciiNegate,
        }),
        // Only regular patterns come here; one that is not must not match by mistake.
        Node::Look { .. } | Node::BackReference { .. } => Hir::fail(),
    }
}
