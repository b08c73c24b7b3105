//! Patterns that describe a regular language, on the `regex` crate: linear time, no steps counted.
//!
//! The pattern is handed over as regex-syntax's own structure, whose literals and classes that crate prints, so
//! that no character of a rule can be read as Rust's syntax. What is built of them is printed here.

use super::ast::{Assertion, CharSet, Node};
use super::{Captures, PatternError};
use regex_syntax::hir::{Capture, Class, Hir, HirKind, Look, Repetition};
use std::fmt::Write;

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
        let regex = regex::RegexBuilder::new(&printed(hir))
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
    Hir::class(Class::Unicode(set.class()))
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

/// regex-syntax prints a repetition of a repetition without a group between them: `(?:a+)?` as `a+?`, which
/// is another pattern.
fn printed(hir: &Hir) -> String {
    let mut text = String::new();
    print(hir, &mut text);
    text
}

fn print(hir: &Hir, text: &mut String) {
    match hir.kind() {
        HirKind::Repetition(Repetition { min, max, greedy, sub }) => {
            text.push_str("(?:");
            print(sub, text);
            // Writing to a String cannot fail.
            let _ = match max {
                Some(max) => write!(text, "){{{min},{max}}}"),
                None => write!(text, "){{{min},}}"),
            };
            if !greedy {
                text.push('?');
            }
        }
        HirKind::Capture(Capture { sub, .. }) => {
            text.push('(');
            print(sub, text);
            text.push(')');
        }
        HirKind::Concat(subs) => {
            text.push_str("(?:");
            subs.iter().for_each(|sub| print(sub, text));
            text.push(')');
        }
        HirKind::Alternation(subs) => {
            text.push_str("(?:");
            for (at, sub) in subs.iter().enumerate() {
                text.push_str(if at == 0 { "" } else { "|" });
                print(sub, text);
            }
            text.push(')');
        }
        HirKind::Empty | HirKind::Literal(_) | HirKind::Class(_) | HirKind::Look(_) => {
            let _ = write!(text, "{hir}");
        }
    }
}
