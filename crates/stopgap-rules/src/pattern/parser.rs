//! Text to [`Node`]: ECMA-262 section 22.2.1 with Annex B.1.2, without the `u` flag and without named groups.

use super::ast::{Assertion, CharSet, Node};
use super::{PatternError, PatternLimits};

/// Parses a pattern.
pub(super) fn parse(text: &str, ignore_case: bool, limits: &PatternLimits) -> Result<Node, PatternError> {
    parse_in(&mut Room::default(), text, ignore_case, limits)
}

/// Memory that one pattern after the other is parsed in.
#[derive(Debug, Default)]
pub(crate) struct Room {
    chars: Vec<char>,
    /// The terms of all sequences that are open, the innermost last.
    terms: Vec<Node>,
}

pub(super) fn parse_in(
    room: &mut Room,
    text: &str,
    ignore_case: bool,
    limits: &PatternLimits,
) -> Result<Node, PatternError> {
    limits.check_length(text)?;
    let Room { chars, terms } = room;
    chars.clear();
    chars.extend(text.chars());
    terms.clear();
    let groups = count_groups(chars);
    limits.check_groups(groups)?;
    let mut parser = Parser { chars, terms, at: 0, groups, opened: 0, depth: 0, ignore_case, limits };
    let node = parser.disjunction()?;
    match parser.peek() {
        None => Ok(node),
        Some(_) => Err(parser.syntax("an unmatched )", "the end of the pattern")),
    }
}

/// `\8` is a back-reference where there are eight groups, so they are counted before anything is parsed.
fn count_groups(chars: &[char]) -> u32 {
    let (mut groups, mut class, mut at) = (0u32, false, 0);
    while let Some(char) = chars.get(at) {
        match char {
            '\\' => at += 1,
            '[' => class = true,
            ']' => class = false,
            '(' if !class && chars.get(at + 1) != Some(&'?') => groups = groups.saturating_add(1),
            _ => {}
        }
        at += 1;
    }
    groups
}

struct Parser<'a> {
    chars: &'a [char],
    /// See [`Room`].
    terms: &'a mut Vec<Node>,
    at: usize,
    /// In the whole pattern.
    groups: u32,
    /// So far.
    opened: u32,
    depth: u32,
    ignore_case: bool,
    limits: &'a PatternLimits,
}

/// A member of a class: one character, or a set such as `\d`.
enum Member {
    Char(char),
    /// A lone surrogate, which no text can hold; it keeps its value for ranges.
    Unit(u32),
    Set(CharSet),
}

impl Parser<'_> {
    fn disjunction(&mut self) -> Result<Node, PatternError> {
        self.depth += 1;
        if self.depth > self.limits.depth {
            return Err(PatternError::TooDeep { at: self.at + 1, limit: self.limits.depth });
        }
        let first = self.alternative()?;
        let mut alternatives = Vec::new();
        while self.take('|') {
            alternatives.push(self.alternative()?);
        }
        self.depth -= 1;
        if alternatives.is_empty() {
            return Ok(first);
        }
        alternatives.insert(0, first);
        Ok(Node::Alternate(alternatives))
    }

    fn alternative(&mut self) -> Result<Node, PatternError> {
        let open = self.terms.len();
        while let Some(char) = self.peek() {
            if char == '|' || char == ')' {
                break;
            }
            let term = self.term(char)?;
            self.terms.push(term);
        }
        match self.terms.len() - open {
            0 => Ok(Node::Empty),
            1 => Ok(self.terms.pop().unwrap_or(Node::Empty)),
            _ => Ok(Node::Concat(self.terms.drain(open..).collect())),
        }
    }

    fn term(&mut self, char: char) -> Result<Node, PatternError> {
        let (node, quantifiable) = match char {
            '^' => (self.assertion(1, Assertion::Start), false),
            '$' => (self.assertion(1, Assertion::End), false),
            '\\' if self.ahead(1) == Some('b') => (self.assertion(2, Assertion::WordBoundary), false),
            '\\' if self.ahead(1) == Some('B') => (self.assertion(2, Assertion::NotWordBoundary), false),
            '(' => (self.group()?, true),
            '.' => {
                self.at += 1;
                (Node::Set(CharSet::dot()), true)
            }
            '[' => (self.class()?, true),
            '\\' => (self.atom_escape()?, true),
            '*' | '+' | '?' => {
                return Err(self.syntax("a quantifier with nothing before it", "something to repeat"));
            }
            '{' if self.braces().is_some() => {
                return Err(self.syntax("a quantifier with nothing before it", "something to repeat"));
            }
            // Annex B: `]`, `{` and `}` stand for themselves.
            other => {
                self.at += 1;
                (self.char(other), true)
            }
        };
        let place = self.at;
        let Some((min, max)) = self.quantifier()? else { return Ok(node) };
        if !quantifiable {
            self.at = place;
            return Err(self.syntax("a quantifier after an assertion", "something to repeat"));
        }
        let greedy = !self.take('?');
        Ok(Node::Repeat { node: Box::new(node), min, max, greedy })
    }

    fn assertion(&mut self, length: usize, assertion: Assertion) -> Node {
        self.at += length;
        Node::Assert(assertion)
    }

    fn group(&mut self) -> Result<Node, PatternError> {
        let open = self.at;
        self.at += 1;
        enum Kind {
            Capture(u32),
            Plain,
            Look(bool),
        }
        let kind = if self.take('?') {
            match (self.peek(), self.ahead(1)) {
                (Some(':'), _) => Kind::Plain,
                (Some('='), _) => Kind::Look(false),
                (Some('!'), _) => Kind::Look(true),
                (Some('<'), Some('=' | '!')) => return Err(PatternError::LookBehind { at: open + 1 }),
                (Some('<'), _) => return Err(PatternError::NamedGroup { at: open + 1 }),
                _ => return Err(self.syntax("an unknown kind of group", "(?: (?= or (?!")),
            }
        } else {
            self.opened += 1;
            Kind::Capture(self.opened)
        };
        if !matches!(kind, Kind::Capture(_)) {
            self.at += 1;
        }
        let node = Box::new(self.disjunction()?);
        if !self.take(')') {
            self.at = open;
            return Err(self.syntax("a group that is not closed", ")"));
        }
        Ok(match kind {
            Kind::Capture(index) => Node::Group { index: Some(index), node },
            Kind::Plain => Node::Group { index: None, node },
            Kind::Look(negate) => Node::Look { negate, node },
        })
    }

    fn quantifier(&mut self) -> Result<Option<(u32, Option<u32>)>, PatternError> {
        let bounds = match self.peek() {
            Some('*') => (0, None),
            Some('+') => (1, None),
            Some('?') => (0, Some(1)),
            Some('{') => {
                let Some((min, max, length)) = self.braces() else { return Ok(None) };
                if max.is_some_and(|max| max < min) {
                    return Err(self.syntax("a quantifier whose bounds are out of order", "{least,most}"));
                }
                self.at += length;
                return Ok(Some((min, max)));
            }
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some(bounds))
    }

    /// `{n}`, `{n,}` or `{n,m}` at this place, and its length; anything else is text.
    fn braces(&self) -> Option<(u32, Option<u32>, usize)> {
        let mut ahead = 1;
        let mut number = || {
            let first = ahead;
            let mut value = 0u32;
            while let Some(digit) = self.ahead(ahead).and_then(|c| c.to_digit(10)) {
                value = value.saturating_mul(10).saturating_add(digit);
                ahead += 1;
            }
            let separator = self.ahead(ahead);
            ahead += 1;
            ((ahead - 1 > first).then_some(value), separator)
        };
        match number() {
            (Some(min), Some('}')) => Some((min, Some(min), ahead)),
            (Some(min), Some(',')) => match number() {
                (max, Some('}')) => Some((min, max, ahead)),
                _ => None,
            },
            _ => None,
        }
    }

    fn atom_escape(&mut self) -> Result<Node, PatternError> {
        if let Some(digit) = self.ahead(1).filter(|c| ('1'..='9').contains(c)) {
            let mut length = 1;
            let mut number = 0u32;
            while let Some(digit) = self.ahead(length).and_then(|c| c.to_digit(10)) {
                number = number.saturating_mul(10).saturating_add(digit);
                length += 1;
            }
            if number <= self.groups {
                self.at += length;
                return Ok(Node::BackReference { group: number, ignore_case: self.ignore_case });
            }
            // Annex B: what is no back-reference is an octal escape, and `\8` and `\9` the digit itself.
            if digit >= '8' {
                self.at += 2;
                return Ok(self.char(digit));
            }
        }
        match self.escape(false)? {
            Member::Char(char) => Ok(self.char(char)),
            Member::Unit(unit) => Ok(match self.low_surrogate(unit) {
                Some(char) => self.char(char),
                None => Node::Set(CharSet::none()),
            }),
            Member::Set(set) => Ok(Node::Set(set)),
        }
    }

    /// A backslash and what follows it, within a class or outside.
    fn escape(&mut self, class: bool) -> Result<Member, PatternError> {
        let Some(char) = self.ahead(1) else {
            return Err(self.syntax("a backslash at the end", "an escape"));
        };
        let mut length = 2;
        let member = match char {
            'd' => Member::Set(CharSet::digits()),
            'D' => Member::Set(CharSet::digits().negated()),
            'w' => Member::Set(CharSet::word()),
            'W' => Member::Set(CharSet::word().negated()),
            's' => Member::Set(CharSet::space()),
            'S' => Member::Set(CharSet::space().negated()),
            'b' if class => Member::Char('\u{8}'),
            'f' => Member::Char('\u{c}'),
            'n' => Member::Char('\n'),
            'r' => Member::Char('\r'),
            't' => Member::Char('\t'),
            'v' => Member::Char('\u{b}'),
            'c' => match self.ahead(2) {
                // Annex B: in a class digits and _ count, too; else the backslash stands for itself.
                Some(letter)
                    if letter.is_ascii_alphabetic()
                        || (class && (letter.is_ascii_digit() || letter == '_')) =>
                {
                    length = 3;
                    Member::Char(char::from_u32(u32::from(letter) % 32).unwrap_or('\0'))
                }
                _ => {
                    length = 1;
                    Member::Char('\\')
                }
            },
            '0'..='7' => {
                let (value, digits) = self.octal();
                length = 1 + digits;
                unit(value)
            }
            'x' | 'u' => {
                let digits = if char == 'x' { 2 } else { 4 };
                match self.hex(2, digits) {
                    Some(value) => {
                        length = 2 + digits;
                        unit(value)
                    }
                    None => Member::Char(char),
                }
            }
            other => Member::Char(other),
        };
        self.at += length;
        Ok(member)
    }

    /// LegacyOctalEscapeSequence: at most `\377`.
    fn octal(&self) -> (u32, usize) {
        let mut value = 0;
        let mut digits = 0;
        while let Some(digit) = self.ahead(1 + digits).and_then(|c| c.to_digit(8)) {
            if digits == 3 || value * 8 + digit > 0o377 {
                break;
            }
            value = value * 8 + digit;
            digits += 1;
        }
        (value, digits)
    }

    fn hex(&self, from: usize, digits: usize) -> Option<u32> {
        let mut value = 0;
        for ahead in from..from + digits {
            value = value * 16 + self.ahead(ahead)?.to_digit(16)?;
        }
        Some(value)
    }

    /// A high surrogate just taken, and the escape of a low one behind it: one character of our text.
    fn low_surrogate(&mut self, high: u32) -> Option<char> {
        if !(0xD800..0xDC00).contains(&high) || self.peek() != Some('\\') || self.ahead(1) != Some('u') {
            return None;
        }
        let low = self.hex(2, 4).filter(|low| (0xDC00..0xE000).contains(low))?;
        self.at += 6;
        char::from_u32(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))
    }

    fn class(&mut self) -> Result<Node, PatternError> {
        let open = self.at;
        self.at += 1;
        let negate = self.take('^');
        let mut set = CharSet::none();
        while let Some(first) = self.member(open)? {
            let dash = self.peek() == Some('-') && self.ahead(1).is_some_and(|c| c != ']');
            if !dash {
                set = set.union(&of(&first));
                continue;
            }
            let place = self.at;
            self.at += 1;
            let Some(last) = self.member(open)? else { break };
            match (value(&first), value(&last)) {
                (Some(from), Some(to)) if from > to => {
                    self.at = place;
                    return Err(self.syntax("a range out of order", "the lower character first"));
                }
                (Some(from), Some(to)) => set = set.union(&range(from, to)),
                // Annex B: with a set at one end, the dash stands for itself.
                _ => set = set.union(&of(&first)).union(&of(&last)).union(&CharSet::one('-', false)),
            }
        }
        if self.ignore_case {
            set = set.closed();
        }
        Ok(Node::Set(if negate { set.negated() } else { set }))
    }

    /// The next member; nothing at the closing bracket, which is taken.
    fn member(&mut self, open: usize) -> Result<Option<Member>, PatternError> {
        match self.peek() {
            None => {
                self.at = open;
                Err(self.syntax("a class that is not closed", "]"))
            }
            Some(']') => {
                self.at += 1;
                Ok(None)
            }
            Some('\\') => match self.escape(true)? {
                Member::Unit(unit) => {
                    Ok(Some(self.low_surrogate(unit).map_or(Member::Unit(unit), Member::Char)))
                }
                member => Ok(Some(member)),
            },
            Some(char) => {
                self.at += 1;
                Ok(Some(Member::Char(char)))
            }
        }
    }

    fn char(&self, char: char) -> Node {
        Node::Set(CharSet::one(char, self.ignore_case))
    }

    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn ahead(&self, by: usize) -> Option<char> {
        self.chars.get(self.at + by).copied()
    }

    fn take(&mut self, char: char) -> bool {
        let found = self.peek() == Some(char);
        self.at += usize::from(found);
        found
    }

    fn syntax(&self, found: &str, expected: &'static str) -> PatternError {
        PatternError::Syntax { at: self.at + 1, found: found.to_owned(), expected }
    }
}

fn unit(value: u32) -> Member {
    char::from_u32(value).map_or(Member::Unit(value), Member::Char)
}

fn value(member: &Member) -> Option<u32> {
    match member {
        Member::Char(char) => Some(u32::from(*char)),
        Member::Unit(unit) => Some(*unit),
        Member::Set(_) => None,
    }
}

fn of(member: &Member) -> CharSet {
    match member {
        Member::Char(char) => CharSet::one(*char, false),
        Member::Unit(_) => CharSet::none(),
        Member::Set(set) => set.clone(),
    }
}

/// A range of values; surrogates within it are no characters.
fn range(from: u32, to: u32) -> CharSet {
    let part = |from: u32, to: u32| Some((char::from_u32(from)?, char::from_u32(to)?)).filter(|_| from <= to);
    let below = part(from, to.min(0xD7FF));
    let above = part(from.max(0xE000), to);
    CharSet::of(below.into_iter().chain(above))
}
