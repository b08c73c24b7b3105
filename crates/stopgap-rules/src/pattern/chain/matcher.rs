//! Chains searched with a few linear patterns.

use super::{Chain, Chains, Conjunction, Gap, Head, Place};
use crate::pattern::PatternError;
use crate::pattern::ast::{CharSet, LINE_TERMINATORS};
use crate::pattern::linear::{self, Linear};
use regex_syntax::hir::{Hir, Look, Repetition};

/// The searches for a pattern.
#[derive(Debug)]
pub(crate) struct Matcher {
    choices: Vec<Choice>,
}

#[derive(Debug)]
struct Choice {
    place: Place,
    head: Option<(Linear, bool)>,
    elements: Vec<Search>,
}

#[derive(Debug)]
struct Search {
    linear: Linear,
    negate: bool,
    end: bool,
}

impl Matcher {
    pub(crate) fn compile(chains: &Chains) -> Result<Matcher, PatternError> {
        let mut choices = Vec::new();
        for conjunction in &chains.choices {
            // A choice that contradicts itself is never found.
            if let Ok(head) = conjunction.head() {
                choices.push(choice(conjunction, head)?);
            }
        }
        Ok(Matcher { choices })
    }

    /// How often a text is read at most.
    pub(crate) fn searches(&self) -> usize {
        let of = |choice: &Choice| choice.elements.len() + usize::from(choice.head.is_some());
        self.choices.iter().map(of).sum()
    }

    pub(crate) fn is_match(&self, text: &str) -> bool {
        self.choices.iter().any(|choice| match choice.place {
            Place::Start | Place::Anywhere => choice.holds(text, true),
            Place::InLine => lines(text).any(|(line, last)| choice.holds(line, last)),
        })
    }
}

impl Choice {
    /// Whether it is found in this line; `last`: the line ends where the text does.
    fn holds(&self, line: &str, last: bool) -> bool {
        let position = match &self.head {
            None => Some(0),
            Some((_, true)) if !last => None,
            Some((head, _)) => head.start(line),
        };
        let Some(rest) = position.and_then(|position| line.get(position..)) else { return false };
        self.elements.iter().all(|search| {
            let found = (last || !search.end) && search.linear.is_match(rest);
            found != search.negate
        })
    }
}

fn choice(conjunction: &Conjunction, head: Option<Head>) -> Result<Choice, PatternError> {
    let head = match head {
        Some(head) => Some((Linear::from_hir(&self::head(conjunction.place, &head))?, head.end)),
        None => None,
    };
    let elements = conjunction
        .elements
        .iter()
        .map(|element| {
            let linear = Linear::from_hir(&search(conjunction.place, &element.chain))?;
            Ok(Search { linear, negate: element.negate, end: element.chain.end })
        })
        .collect::<Result<_, PatternError>>()?;
    Ok(Choice { place: conjunction.place, head, elements })
}

fn head(place: Place, head: &Head) -> Hir {
    let mut parts = Vec::new();
    if place == Place::Start {
        parts.push(Hir::look(Look::Start));
    }
    parts.extend(head.segment.iter().map(linear::set));
    if head.end {
        parts.push(Hir::look(Look::End));
    }
    Hir::concat(parts)
}

fn search(place: Place, chain: &Chain) -> Hir {
    let mut parts = Vec::new();
    for (at, link) in chain.links.iter().enumerate() {
        match link.gap {
            None => parts.push(Hir::look(Look::Start)),
            // In a single line a gap at the beginning is what a search does by itself, and faster.
            Some(_) if at == 0 && place != Place::Start => {}
            Some(gap) => {
                if at == 0 {
                    parts.push(Hir::look(Look::Start));
                }
                let set = match gap {
                    Gap::Line => CharSet::dot(),
                    Gap::Any => CharSet::any(),
                };
                parts.push(Hir::repetition(Repetition {
                    min: 0,
                    max: None,
                    greedy: true,
                    sub: Box::new(linear::set(&set)),
                }));
            }
        }
        parts.extend(link.segment.iter().map(linear::set));
    }
    if chain.end {
        parts.push(Hir::look(Look::End));
    }
    Hir::concat(parts)
}

/// The lines of a text without their terminators, and whether each is the last.
fn lines(text: &str) -> impl Iterator<Item = (&str, bool)> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest.take()?;
        match text.find(LINE_TERMINATORS) {
            None => Some((text, true)),
            Some(at) => {
                let (line, tail) = text.split_at(at);
                let mut tail = tail.chars();
                tail.next();
                rest = Some(tail.as_str());
                Some((line, false))
            }
        }
    })
}
