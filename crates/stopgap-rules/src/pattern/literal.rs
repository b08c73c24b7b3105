//! What a text must hold for a pattern to be found in it: literals, one of which every match contains.
//!
//! A text in which none of them occurs cannot match, and that is told for a thousand patterns in one pass
//! (see [`crate::engine`]). Literals are bytes of UTF-8 with A-Z as a-z, and are to be looked for in texts that
//! are folded likewise: ECMAScript folds nothing outside ASCII into it, and a set that goes further than that
//! ends a literal, so that none is ever missed. What is not here: looking for them.

mod choices;
mod text;

use super::ast::{Assertion, CharSet, Node};
use std::cmp::Reverse;
use std::sync::OnceLock;
use text::Text;

pub(crate) use choices::{Choice, Choices};

/// Bytes of a literal. A longer one tells no more.
const MAX_LENGTH: usize = 64;
/// Strings that a part of a pattern may stand for: `[ab]c?d` stands for four.
const MAX_STRINGS: usize = 16;
/// Literals for one pattern.
const MAX_LITERALS: usize = 64;
/// A single byte is in nearly every text.
const MIN_LENGTH: usize = 2;
/// Choices for one pattern: the best ones.
const MAX_CHOICES: usize = 4;

/// Literals of which every match contains one. Never empty; each has 2 to 64 bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Literals {
    any: Vec<Text>,
    rarity: u32,
}

impl Literals {
    /// Of these, folded; nothing where there is none, too many, or one of them is too short.
    fn of(mut any: Vec<Text>) -> Option<Literals> {
        if any.len() > 1 {
            any.sort_unstable();
            any.dedup();
        }
        if any.len() > MAX_LITERALS || any.iter().any(|literal| literal.len() < MIN_LENGTH) {
            return None;
        }
        let rarest = any.iter().map(|literal| rarity(literal)).min()?;
        Some(Literals { rarity: rarest.saturating_sub(any.len().ilog2()), any })
    }
}

/// What a pattern cannot match without: each of these by itself, the rarest first. None where it has none.
pub(crate) fn required(node: &Node) -> Choices {
    Choices::of(&needed(node))
}

fn needed(node: &Node) -> Vec<Literals> {
    look(node).choices()
}

/// Whether a pattern is found in every text, at its very beginning. Errs towards no.
pub(crate) fn is_always(node: &Node) -> bool {
    match node {
        Node::Empty | Node::Assert(Assertion::Start) => true,
        Node::Set(_) | Node::Assert(_) | Node::Look { .. } | Node::BackReference { .. } => false,
        Node::Group { node, .. } => is_always(node),
        Node::Concat(nodes) => nodes.iter().all(is_always),
        Node::Alternate(nodes) => nodes.iter().any(is_always),
        Node::Repeat { node, min, .. } => *min == 0 || is_always(node),
    }
}

/// How rarely a byte is met in requests, in bits.
pub(crate) fn weight(byte: u8) -> u32 {
    static WEIGHTS: OnceLock<[u8; 256]> = OnceLock::new();
    let weights = WEIGHTS.get_or_init(|| {
        let mut weights = [0; 256];
        weights.iter_mut().zip(0..=u8::MAX).for_each(|(weight, byte)| *weight = of_byte(byte));
        weights
    });
    weights.get(usize::from(byte)).copied().unwrap_or(0).into()
}

fn of_byte(byte: u8) -> u8 {
    match byte {
        b'e' | b't' | b'a' | b'o' | b'i' | b'n' | b's' | b'r' | b'/' | b'.' | b'0'..=b'9' => 3,
        b'a'..=b'z' | b'=' | b'&' | b'-' | b' ' | b'%' | b';' | b',' | b':' => 4,
        _ => 6,
    }
}

/// What nearly every request holds somewhere; a literal from here tells requests apart badly.
const COMMON: &[u8] = b"http://www. https://www. .com/ .net/ .org/ index.html index.php .aspx \
    mozilla/5.0 (windows nt 10.0; win64; x64) applewebkit/537.36 (khtml, like gecko) chrome/120.0.0.0 safari/537.36 \
    (x11; linux x86_64; rv:109.0) gecko/20100101 firefox/ (macintosh; intel mac os x 10_15_7) version/ \
    text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8 gzip, deflate, br \
    en-us,en;q=0.5 keep-alive max-age=0 no-cache sessionid= session= token= user= page= &id= ?id= \
    /api/ /static/ /images/ /assets/ /js/ /css/ /owa/ /owa/auth/logon.aspx /ecp/ /ews/exchange.asmx /mapi/emsmdb/ \
    /autodiscover/autodiscover.xml /autodiscover/autodiscover.json /microsoft-server-activesync /rpc/rpcproxy.dll";

fn rarity(literal: &[u8]) -> u32 {
    let sum = literal.iter().map(|byte| weight(*byte)).sum::<u32>();
    if is_common(literal) { sum / 3 } else { sum }
}

/// Whether all of it is met in nearly every request.
fn is_common(literal: &[u8]) -> bool {
    // Three bytes and fewer are.
    literal.array_windows::<4>().all(|window| is_common_gram(u32::from_be_bytes(*window).into()))
}

/// Whether four bytes in a row, the first of them the highest of a number, are met in nearly every request. Now
/// and then it says so of others.
pub(crate) fn is_common_gram(four: u64) -> bool {
    const BITS: u32 = 15;
    static GRAMS: OnceLock<Vec<bool>> = OnceLock::new();
    let place = |four: u64| {
        let four = u32::try_from(four).unwrap_or(u32::MAX);
        usize::try_from(four.wrapping_mul(0x9E37_79B1) >> (32 - BITS)).unwrap_or(0)
    };
    let grams = GRAMS.get_or_init(|| {
        let mut grams = vec![false; 1 << BITS];
        for window in COMMON.windows(4) {
            if let Some(common) = grams.get_mut(place(gram(window))) {
                *common = true;
            }
        }
        grams
    });
    grams.get(place(four)).copied().unwrap_or(false)
}

fn gram(window: &[u8]) -> u64 {
    window.iter().fold(0, |gram, byte| (gram << 8) | u64::from(*byte))
}

/// The best of both.
fn both(mut some: Vec<Literals>, more: Vec<Literals>) -> Vec<Literals> {
    if more.is_empty() {
        return some;
    }
    some.extend(more);
    some.sort_by_key(|literals| Reverse(literals.rarity));
    some.truncate(MAX_CHOICES);
    some
}

/// What is known of a part of a pattern.
struct Found {
    /// All that it can take, folded, where that is a few strings.
    exact: Option<Vec<Text>>,
    /// What it both begins and ends with, where it is an open repetition.
    turns: Option<Vec<Text>>,
    /// What it cannot match without, beside that.
    required: Vec<Literals>,
}

impl Found {
    fn nothing() -> Found {
        Found { exact: None, turns: None, required: Vec::new() }
    }

    fn choices(self) -> Vec<Literals> {
        both(self.exact.or(self.turns).and_then(Literals::of).into_iter().collect(), self.required)
    }

    fn exactly(strings: Vec<Text>) -> Found {
        Found { exact: Some(strings), turns: None, required: Vec::new() }
    }
}

fn look(node: &Node) -> Found {
    match node {
        Node::Empty | Node::Assert(_) => Found::exactly(vec![Text::EMPTY]),
        Node::Set(set) => match strings(set) {
            Some(strings) => Found::exactly(strings),
            None => Found::nothing(),
        },
        Node::Group { node, .. } => look(node),
        Node::Concat(nodes) => concat(nodes),
        Node::Alternate(nodes) => alternate(nodes),
        Node::Repeat { node, min, max, .. } => repeat(node, *min, *max),
        // It takes nothing; what it looks for still lies in the text.
        Node::Look { negate, node } => Found {
            exact: Some(vec![Text::EMPTY]),
            turns: None,
            required: if *negate { Vec::new() } else { needed(node) },
        },
        Node::BackReference { .. } => Found::nothing(),
    }
}

/// The characters of a set, folded, where they are few.
fn strings(set: &CharSet) -> Option<Vec<Text>> {
    let mut strings: Vec<Text> = Vec::new();
    for (from, to) in set.ranges() {
        if u32::from(to) - u32::from(from) >= 8 {
            return None;
        }
        for char in from..=to {
            let string = Text::of(char.to_ascii_lowercase());
            if !strings.contains(&string) {
                strings.push(string);
            }
        }
        if strings.len() > 4 {
            return None;
        }
    }
    // A set of nothing never matches; that it is refused nowhere needs no literal.
    (!strings.is_empty()).then_some(strings)
}

fn concat(nodes: &[Node]) -> Found {
    let mut run = Run { strings: vec![Text::EMPTY], whole: true, best: Vec::new() };
    for node in nodes {
        if let Node::Set(set) = node
            && let Some(byte) = set.single().and_then(|char| u8::try_from(char).ok())
        {
            run.push_byte(byte);
            continue;
        }
        let found = look(node);
        run.best = both(std::mem::take(&mut run.best), found.required);
        match (found.exact, found.turns) {
            (Some(strings), _) => run.push(&strings),
            // `ab+c`: what comes before a repetition is followed by its first turns, what comes after it
            // follows its last.
            (None, Some(turns)) => {
                run.push(&turns);
                run.cut(turns);
            }
            (None, None) => run.cut(vec![Text::EMPTY]),
        }
    }
    run.end()
}

/// Strings in a row, as long as they are few.
struct Run {
    strings: Vec<Text>,
    /// Whether nothing was left out since the beginning.
    whole: bool,
    best: Vec<Literals>,
}

impl Run {
    /// The same for one byte, which is what most patterns are made of.
    fn push_byte(&mut self, byte: u8) {
        if self.strings.iter().any(|string| string.len() >= MAX_LENGTH) {
            self.cut(vec![Text::of(char::from(byte))]);
        } else {
            self.strings.iter_mut().for_each(|string| string.push(byte));
        }
    }

    fn push(&mut self, next: &[Text]) {
        if next.iter().all(|text| text.is_empty()) && !next.is_empty() {
            return;
        }
        match product(&self.strings, next) {
            Some(strings) => self.strings = strings,
            None => self.cut(next.to_vec()),
        }
    }

    /// Ends the run and begins one with these.
    fn cut(&mut self, next: Vec<Text>) {
        let strings = std::mem::replace(&mut self.strings, next);
        self.best = both(std::mem::take(&mut self.best), Literals::of(strings).into_iter().collect());
        self.whole = false;
    }

    fn end(mut self) -> Found {
        if self.whole {
            return Found { exact: Some(self.strings), turns: None, required: self.best };
        }
        self.cut(Vec::new());
        Found { exact: None, turns: None, required: self.best }
    }
}

fn product(before: &[Text], after: &[Text]) -> Option<Vec<Text>> {
    let mut strings: Vec<Text> = Vec::new();
    for left in before {
        for right in after {
            if strings.len() == MAX_STRINGS {
                return None;
            }
            strings.push(left.followed_by(right)?);
        }
    }
    Some(strings)
}

fn times(strings: Vec<Text>, count: u32) -> Option<Vec<Text>> {
    let mut all = vec![Text::EMPTY];
    for _ in 0..count {
        all = product(&all, &strings)?;
        if all.iter().all(|text| text.is_empty()) {
            break;
        }
    }
    Some(all)
}

fn alternate(nodes: &[Node]) -> Found {
    let mut exact: Option<Vec<Text>> = Some(Vec::new());
    let mut any: Vec<Text> = Vec::new();
    let mut complete = true;
    for node in nodes {
        let found = look(node);
        let strings = found.exact.as_ref().filter(|_| found.required.is_empty());
        match (&mut exact, strings) {
            (Some(all), Some(strings)) if all.len() + strings.len() <= MAX_STRINGS => {
                all.extend(strings);
            }
            _ => exact = None,
        }
        match found.choices().into_iter().next() {
            Some(literals) if any.len() <= MAX_LITERALS => any.extend(literals.any),
            _ => complete = false,
        }
        if !complete && exact.is_none() {
            return Found::nothing();
        }
    }
    Found {
        exact,
        turns: None,
        required: if complete { Literals::of(any).into_iter().collect() } else { Vec::new() },
    }
}

fn repeat(node: &Node, min: u32, max: Option<u32>) -> Found {
    if max == Some(0) {
        return Found::exactly(vec![Text::EMPTY]);
    }
    let found = look(node);
    if min == 0 {
        let Some(strings) = found.exact.filter(|_| max == Some(1)) else { return Found::nothing() };
        // `a?`: with it or without. What a look-ahead inside needs is needed in one case only.
        let mut all = vec![Text::EMPTY];
        all.extend(strings);
        return if all.len() <= MAX_STRINGS { Found::exactly(all) } else { Found::nothing() };
    }
    let once = found.exact.clone().and_then(Literals::of).into_iter().collect();
    match found.exact.and_then(|strings| times(strings, min)) {
        Some(strings) if max == Some(min) => {
            Found { exact: Some(strings), turns: None, required: found.required }
        }
        turns => Found { exact: None, turns, required: both(once, found.required) },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pattern::{PatternLimits, parse};

    fn found(pattern: &str, ignore_case: bool) -> String {
        let node = parse(pattern, ignore_case, &PatternLimits::default()).unwrap();
        let choices = required(&node);
        let literals: Option<Vec<_>> =
            choices.iter().next().map(|choice| choice.iter().map(String::from_utf8_lossy).collect());
        literals.unwrap_or_default().join("|")
    }

    #[test]
    fn the_best_literal_that_a_match_cannot_do_without_is_found() {
        for (pattern, expected) in [
            ("", ""),
            (".*", ""),
            ("a", ""),
            ("ab", "ab"),
            ("PowerShell", "powershell"),
            (".*autodiscover\\.json.*Powershell.*", "powershell"),
            ("(?=.*autodiscover)(?=.*powershell)", "powershell"),
            ("(?!.*autodiscover)power", "power"),
            ("^a(?:bc|de)f$", "abcf|adef"),
            ("(foo|bar.*quux)", "foo|quux"),
            ("(foo|.*)", ""),
            ("fo?o", "fo|foo"),
            ("(foo)?", ""),
            ("(foo){2}", "foofoo"),
            ("(foo){2,}bar", "foofoobar"),
            ("ab+c", "ab"),
            ("x(yz)+", "xyz"),
            ("[xy]z", "xz|yz"),
            ("[a-z]+abc", "abc"),
            ("foo(?=bar)bar", "foobar"),
            ("foo(?=.*longer-than-that)", "longer-than-that"),
            ("foo\\b-bar", "foo-bar"),
            ("(foo)\\1bar", "foo"),
            ("É", "\u{c9}|\u{e9}"),
            ("ab\u{17f}cd", "ab\u{17f}cd"),
            ("a[^]bcd", "bcd"),
            ("(?=a|bc)", ""),
            ("(?:(?=foo)x|xyz)", "foo|xyz"),
            ("(?:(?=foo))?xyz", "xyz"),
        ] {
            assert_eq!(found(pattern, true), expected, "{pattern}");
        }
    }

    #[test]
    fn long_and_many_are_cut() {
        assert_eq!(found(&"abcdefgh".repeat(20), true).len(), MAX_LENGTH);
        let many = (0..200).map(|n| format!("word{n}")).collect::<Vec<_>>().join("|");
        assert_eq!(found(&many, true), "");
        assert_eq!(found("[ab][ab][ab][ab][ab]xyz", false), "axyz|bxyz");
    }

    #[test]
    fn what_matches_every_text_is_seen() {
        for (pattern, expected) in [
            (".*", true),
            ("^(.*)", true),
            ("", true),
            ("a*|b", true),
            (".*$", false),
            ("^$", false),
            (".+", false),
        ] {
            let node = parse(pattern, true, &PatternLimits::default()).unwrap();
            assert_eq!(is_always(&node), expected, "{pattern}");
        }
    }
}
