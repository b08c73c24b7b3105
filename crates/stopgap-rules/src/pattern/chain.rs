//! The linear form of a pattern: chains.
//!
//! A chain is a row of segments of fixed width, with gaps `.*` (or `[^]*`) between them: `ab.*cd`. A pattern
//! in this form is a choice of conjunctions; a conjunction is a position, some look-aheads at it and a body,
//! each a chain: `^(?=.*a)(?=.*b)c.*d`. Whether there is a match can then be told without backtracking,
//! because the leftmost place for each segment is always the best one: what fits after a later place fits
//! after an earlier one. That is so as long as no gap can lose by an early choice, which is what
//! [`Chains::of`] checks:
//!
//! - unanchored, with `.*`: all of a match lies in one line, so no segment may take a line terminator, and
//!   the lines are tried one by one;
//! - unanchored, with no gaps or `[^]*` only: the text is one line;
//! - anchored: the position is 0; a `.*` must not follow a segment that floats and can take a line
//!   terminator, nor a `[^]*`.
//!
//! Captures are gone: this form answers whether, not where.

mod matcher;

pub(crate) use matcher::Matcher;

use super::ast::{Assertion, CharSet, Node};

/// Any of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chains {
    pub(crate) choices: Vec<Conjunction>,
}

/// All of them, at one position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conjunction {
    pub(crate) place: Place,
    pub(crate) elements: Vec<Element>,
}

/// Where the position can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// At the start of the text.
    Start,
    /// Anywhere; the match lies within one line.
    InLine,
    /// Anywhere; lines do not matter.
    Anywhere,
}

/// A look-ahead, or the body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Element {
    /// Only where the place is the start.
    pub(crate) negate: bool,
    pub(crate) chain: Chain,
}

/// Links in a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) links: Vec<Link>,
    /// Whether the text must end after the last link.
    pub(crate) end: bool,
}

/// A segment, and the gap before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    pub(crate) gap: Option<Gap>,
    pub(crate) segment: Vec<CharSet>,
}

/// Any number of characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gap {
    /// `.*`
    Line,
    /// `[^]*`
    Any,
}

/// The segment at which a conjunction's position is found: the beginnings of all chains that start without a
/// gap, laid over each other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Head {
    pub(crate) segment: Vec<CharSet>,
    pub(crate) end: bool,
}

/// Characters of all segments together: the form is written out by its users.
const MAX_WIDTH: usize = 4_096;
/// Alternatives.
const MAX_CHOICES: usize = 64;

impl Chains {
    /// The linear form, or why there is none.
    pub(crate) fn of(node: &Node) -> Result<Chains, &'static str> {
        let alternatives = match strip(node) {
            Node::Alternate(nodes) => nodes.as_slice(),
            node => std::slice::from_ref(node),
        };
        if alternatives.len() > MAX_CHOICES {
            return Err("it has too many alternatives");
        }
        let choices = alternatives.iter().map(conjunction).collect::<Result<_, _>>()?;
        Ok(Chains { choices })
    }

    /// Whether it is found in every text.
    pub(crate) fn is_always(&self) -> bool {
        self.choices.iter().any(|choice| choice.elements.is_empty())
    }
}

impl Conjunction {
    /// Where there is a head, the position is its first occurrence; nothing can match where it is `Err`.
    pub(crate) fn head(&self) -> Result<Option<Head>, Impossible> {
        let mut head: Option<Head> = None;
        for chain in self.elements.iter().filter(|e| !e.negate).map(|e| &e.chain) {
            let Some(link) = chain.links.first().filter(|link| link.gap.is_none()) else { continue };
            let end = chain.end && chain.links.len() == 1;
            let head = head.get_or_insert_with(Head::default);
            let (short, long) = (link.segment.len().min(head.segment.len()), link.segment.len());
            if (end && long < head.segment.len()) || (head.end && long > head.segment.len()) {
                return Err(Impossible);
            }
            for (mine, theirs) in head.segment.iter_mut().zip(&link.segment) {
                *mine = mine.clone().intersection(theirs);
            }
            head.segment.extend(link.segment.iter().skip(short).cloned());
            head.end |= end;
            if head.segment.iter().any(CharSet::is_empty) {
                return Err(Impossible);
            }
        }
        Ok(head)
    }
}

/// A conjunction that contradicts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Impossible;

fn strip(node: &Node) -> &Node {
    match node {
        Node::Group { node, .. } => strip(node),
        node => node,
    }
}

enum Piece {
    Set(CharSet),
    Gap(Gap),
    End,
}

fn conjunction(node: &Node) -> Result<Conjunction, &'static str> {
    let mut flat = Vec::new();
    flatten(node, &mut flat);
    let mut anchored = false;
    let mut elements = Vec::new();
    let mut body = Vec::new();
    for node in flat {
        match node {
            Node::Assert(Assertion::Start) if body.is_empty() => anchored = true,
            Node::Look { negate, node } if body.is_empty() => {
                let mut flat = Vec::new();
                flatten(node, &mut flat);
                let mut inner = Vec::new();
                for node in flat {
                    pieces(node, &mut inner)?;
                }
                elements.push(Element { negate: *negate, chain: chain(inner) });
            }
            node => pieces(node, &mut body)?,
        }
    }
    let mut body = chain(body);
    if !anchored
        && elements.is_empty()
        && let Some(first) = body.links.first_mut()
    {
        // A search may start anywhere, so a gap at the beginning says nothing.
        first.gap = None;
    }
    elements.push(Element { negate: false, chain: body });
    elements.retain(|element| element.negate || !is_trivial(&element.chain));
    let place = place(anchored, &elements)?;
    Ok(Conjunction { place, elements })
}

/// Groups and concatenations opened up.
fn flatten<'n>(node: &'n Node, into: &mut Vec<&'n Node>) {
    match node {
        Node::Empty => {}
        Node::Group { node, .. } => flatten(node, into),
        Node::Concat(nodes) => nodes.iter().for_each(|node| flatten(node, into)),
        node => into.push(node),
    }
}

fn pieces(node: &Node, into: &mut Vec<Piece>) -> Result<(), &'static str> {
    if into.len() > MAX_WIDTH {
        return Err("it is too long");
    }
    let after_end = matches!(into.last(), Some(Piece::End));
    match node {
        Node::Set(set) => into.push(Piece::Set(set.clone())),
        Node::Assert(Assertion::End) if after_end => return Ok(()),
        Node::Assert(Assertion::End) => into.push(Piece::End),
        Node::Repeat { node, min, max, .. } => {
            let mut flat = Vec::new();
            flatten(node, &mut flat);
            let [Node::Set(set)] = flat.as_slice() else {
                return Err("it repeats more than a single character");
            };
            for _ in 0..*min {
                if into.len() > MAX_WIDTH {
                    return Err("it is too long");
                }
                into.push(Piece::Set(set.clone()));
            }
            match max {
                Some(max) if max == min => {}
                None if *set == CharSet::dot() => into.push(Piece::Gap(Gap::Line)),
                None if *set == CharSet::any() => into.push(Piece::Gap(Gap::Any)),
                _ => return Err("it repeats something other than any character"),
            }
        }
        Node::Assert(Assertion::Start) => return Err("^ is not at its beginning"),
        Node::Assert(_) => return Err("it looks for word boundaries"),
        Node::Look { .. } => return Err("a look-ahead is not at its beginning"),
        Node::BackReference { .. } => return Err("it refers back to a group"),
        Node::Alternate(_) => return Err("it has alternatives within"),
        Node::Empty | Node::Group { .. } | Node::Concat(_) => {}
    }
    if after_end {
        return Err("something follows $");
    }
    Ok(())
}

fn chain(pieces: Vec<Piece>) -> Chain {
    let mut chain = Chain { links: Vec::new(), end: false };
    for piece in pieces {
        match piece {
            Piece::Set(set) => match chain.links.last_mut() {
                Some(link) => link.segment.push(set),
                None => chain.links.push(Link { gap: None, segment: vec![set] }),
            },
            Piece::Gap(gap) => match chain.links.last_mut() {
                // Two gaps in a row: the wider one, where one of them takes anything.
                Some(link) if link.segment.is_empty() => {
                    if gap == Gap::Any {
                        link.gap = Some(gap);
                    }
                }
                _ => chain.links.push(Link { gap: Some(gap), segment: Vec::new() }),
            },
            Piece::End => chain.end = true,
        }
    }
    // `[^]*` reaches every end.
    if chain.end && chain.links.last().is_some_and(|l| l.segment.is_empty() && l.gap == Some(Gap::Any)) {
        chain.end = false;
    }
    if chain.end {
        if chain.links.is_empty() {
            chain.links.push(Link { gap: None, segment: Vec::new() });
        }
    } else if chain.links.last().is_some_and(|link| link.segment.is_empty()) {
        // A gap at the end says nothing.
        chain.links.pop();
    }
    chain
}

fn is_trivial(chain: &Chain) -> bool {
    chain.links.is_empty()
}

fn place(anchored: bool, elements: &[Element]) -> Result<Place, &'static str> {
    let links = || elements.iter().flat_map(|element| &element.chain.links);
    let breaks = |link: &Link| link.segment.iter().any(takes_line_terminators);
    if anchored {
        for element in elements {
            let (mut any, mut floating_break) = (false, false);
            for link in &element.chain.links {
                match link.gap {
                    Some(Gap::Line) if any => return Err(".* follows [^]*"),
                    Some(Gap::Line) if floating_break => return Err(BREAK),
                    Some(Gap::Any) => any = true,
                    _ => {}
                }
                floating_break |= link.gap.is_some() && breaks(link);
            }
        }
        return Ok(Place::Start);
    }
    if elements.iter().any(|element| element.negate) {
        return Err("a negative look-ahead is not anchored with ^");
    }
    if links().all(|link| link.gap != Some(Gap::Line)) {
        return Ok(Place::Anywhere);
    }
    if links().any(|link| link.gap == Some(Gap::Any)) {
        return Err("it has both .* and [^]*");
    }
    if links().any(breaks) {
        return Err(BREAK);
    }
    Ok(Place::InLine)
}

const BREAK: &str = "beside .* it has a character set that takes a line break";

fn takes_line_terminators(set: &CharSet) -> bool {
    !set.clone().intersection(&CharSet::line_terminators()).is_empty()
}
