//! The gate: a few patterns of which one is found in every request that a rule could refuse. HAProxy tries each
//! rule's pattern on each request, and a thousand of them take milliseconds; where the gate is closed, it tries
//! none.
//!
//! Of each pattern the gate keeps a literal that must be there, the first characters of it, and looks for the
//! literals of many rules in one pass, as a tree of their common beginnings. A rule without such a literal
//! leaves the gate open.

use super::sample::{FRONTEND, Headers, Input};
use super::text::Text;
use super::{MAX_KEY, START, word};
use crate::pattern::ast::CharSet;
use crate::pattern::chain::Conjunction;
use crate::translate::bytes::{self, Bytes};
use crate::translate::possessive::Alphabet;

/// Characters of a literal: fewer are found in too many requests, more make the tree too long.
const LITERAL: std::ops::RangeInclusive<usize> = 3..=7;
/// Characters in one tree: about 9,000 bytes of pattern.
const MAX_TREE: usize = 300;

/// What must be in a request for a pattern to be found.
#[derive(Clone)]
pub(super) struct Needed {
    input: Input,
    literal: Vec<CharSet>,
}

/// What an entry needs: one of these; nothing, where requests have nothing in common that it finds.
pub(super) type Needs = Option<Vec<Needed>>;

/// What a choice of a pattern over this input needs.
pub(super) fn needed(input: &Input, choice: &Conjunction) -> Option<Needed> {
    Some(Needed { input: input.clone(), literal: literal(choice)? })
}

/// The longest row of characters that must stand in the text.
fn literal(conjunction: &Conjunction) -> Option<Vec<CharSet>> {
    let segments = conjunction
        .elements
        .iter()
        .filter(|element| !element.negate)
        .flat_map(|element| &element.chain.links)
        .map(|link| link.segment.as_slice());
    let rows = segments.flat_map(|segment| segment.split(|set| !is_letter(set)));
    let longest = rows.max_by_key(|row| row.len())?;
    (longest.len() >= *LITERAL.start()).then(|| longest.iter().take(*LITERAL.end()).cloned().collect())
}

/// One character of ASCII, in one case or both. It is one byte, which no other character holds.
fn is_letter(set: &CharSet) -> bool {
    let size: u32 = set.ranges().map(|(from, to)| u32::from(to) - u32::from(from) + 1).sum();
    (1..=2).contains(&size) && set.ranges().all(|(_, to)| to.is_ascii())
}

/// The gate's patterns, for what each entry needs.
pub(super) fn patterns(wanted: &[Needs]) -> Vec<String> {
    let open = || vec!["^".to_owned()];
    let mut known: Vec<&Needed> = Vec::new();
    for needed in wanted {
        match needed {
            Some(needed) => known.extend(needed),
            None => return open(),
        }
    }
    let mut patterns = Vec::new();
    while let Some(first) = known.first().copied() {
        let (mut tree, mut size) = (Tree::default(), 0);
        known.retain(|needed| {
            let fits = needed.input == first.input && size + needed.literal.len() <= MAX_TREE;
            if fits {
                size += tree.insert(&needed.literal);
            }
            !fits
        });
        patterns.push(pattern(&first.input, &tree));
    }
    if patterns.iter().any(|pattern| word(pattern).len() > MAX_KEY) { open() } else { patterns }
}

/// Whether one of the tree's literals is in the input: everything is passed over in which none starts, and then
/// the text is not at its end.
fn pattern(input: &Input, tree: &Tree) -> String {
    let headers = Headers::of(std::iter::once(input));
    let reach = headers.reach(input);
    let text = reach.text;
    let firsts: Vec<Bytes> = tree.children.iter().map(|(set, _)| bytes::first_bytes(set)).collect();
    let mut ways = text.run(&Bytes::of(|b| !firsts.iter().any(|first| first.contains(b))));
    ways.push(format!("(?!{}){}", tree.pattern(text), text.any_token()));
    let (define, start, ways) = (headers.define(), reach.start, ways.join("|"));
    format!("{START}{define}{FRONTEND}{start}(?:{ways})*+(?!{})", text.end())
}

/// Literals by their common beginnings. One that begins with another is no longer there.
#[derive(Default)]
struct Tree {
    children: Vec<(CharSet, Tree)>,
    end: bool,
}

impl Tree {
    /// Adds a literal; how many characters that took.
    fn insert(&mut self, literal: &[CharSet]) -> usize {
        if self.end {
            return 0;
        }
        let Some((first, rest)) = literal.split_first() else {
            self.end = true;
            self.children.clear();
            return 0;
        };
        if let Some((_, child)) = self.children.iter_mut().find(|(set, _)| set == first) {
            return child.insert(rest);
        }
        let mut child = Tree::default();
        let size = child.insert(rest) + 1;
        self.children.push((first.clone(), child));
        size
    }

    fn pattern(&self, text: Text) -> String {
        let ways: Vec<String> =
            self.children.iter().map(|(set, child)| text.char(set) + &child.pattern(text)).collect();
        match ways.as_slice() {
            [] => String::new(),
            [one] => one.clone(),
            _ => format!("(?:{})", ways.join("|")),
        }
    }
}
