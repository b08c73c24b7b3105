//! Sets of characters. Most of those in a pattern are one letter, in one case or both, or `.`: they take no
//! memory of their own, which is half of the time that reading a pattern takes.

use super::fold;
use regex_syntax::hir::{ClassUnicode, ClassUnicodeRange};

/// A set of characters. Equal sets are equal values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CharSet {
    form: Form,
}

/// Each set has one form: the first of these that can say it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    One(char),
    /// A letter of ASCII in both cases, named by the small one.
    Letter(char),
    /// All but the line terminators.
    Dot,
    Class(ClassUnicode),
}

/// LineTerminator, ECMA-262 section 12.3: what `.` does not take.
pub(crate) const LINE_TERMINATORS: [char; 4] = ['\n', '\r', '\u{2028}', '\u{2029}'];

/// `.` as ranges.
const DOT: [(char, char); 4] =
    [('\0', '\t'), ('\u{b}', '\u{c}'), ('\u{e}', '\u{2027}'), ('\u{202a}', '\u{10ffff}')];

impl CharSet {
    /// No character.
    pub(crate) fn none() -> CharSet {
        CharSet { form: Form::Class(ClassUnicode::empty()) }
    }

    /// Every character: `[^]`.
    pub(crate) fn any() -> CharSet {
        CharSet::of([('\0', char::MAX)])
    }

    /// `.`
    pub(crate) fn dot() -> CharSet {
        CharSet { form: Form::Dot }
    }

    pub(crate) fn line_terminators() -> CharSet {
        CharSet::of(LINE_TERMINATORS.map(|c| (c, c)))
    }

    /// One character, with those that are equal to it when case is ignored.
    pub(crate) fn one(char: char, ignore_case: bool) -> CharSet {
        if ignore_case && char.is_ascii_alphabetic() {
            return CharSet { form: Form::Letter(char.to_ascii_lowercase()) };
        }
        let equals = if ignore_case && !char.is_ascii() { fold::equals(char) } else { None };
        match equals {
            Some(equals) => CharSet::of(equals.iter().map(|c| (*c, *c))),
            None => CharSet { form: Form::One(char) },
        }
    }

    pub(crate) fn of(ranges: impl IntoIterator<Item = (char, char)>) -> CharSet {
        CharSet::from_class(class(ranges))
    }

    fn from_class(class: ClassUnicode) -> CharSet {
        let form = match class.ranges() {
            [one] if one.start() == one.end() => Form::One(one.start()),
            [upper, lower] if is_letter(upper, lower) => Form::Letter(lower.start()),
            ranges if ranges.len() == DOT.len() && ranges.iter().map(ends).eq(DOT) => Form::Dot,
            _ => Form::Class(class),
        };
        CharSet { form }
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

    pub(crate) fn negated(self) -> CharSet {
        let mut class = self.into_class();
        class.negate();
        CharSet::from_class(class)
    }

    pub(crate) fn union(self, other: &CharSet) -> CharSet {
        let mut class = self.into_class();
        class.union(&other.class());
        CharSet::from_class(class)
    }

    pub(crate) fn intersection(self, other: &CharSet) -> CharSet {
        let mut class = self.into_class();
        class.intersect(&other.class());
        CharSet::from_class(class)
    }

    /// With every character that is equal to one of these when case is ignored.
    pub(crate) fn closed(self) -> CharSet {
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
        let mut closed = self.into_class();
        closed.union(&class(more.into_iter().map(|c| (c, c))));
        CharSet::from_class(closed)
    }

    pub(crate) fn contains(&self, char: char) -> bool {
        match &self.form {
            Form::One(one) => *one == char,
            Form::Letter(letter) => *letter == char.to_ascii_lowercase(),
            Form::Dot => !LINE_TERMINATORS.contains(&char),
            Form::Class(class) => {
                let ranges = class.ranges();
                let at = ranges.partition_point(|range| range.end() < char);
                ranges.get(at).is_some_and(|range| range.start() <= char)
            }
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        matches!(&self.form, Form::Class(class) if class.ranges().is_empty())
    }

    /// First and last of each, in order, apart from each other.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = (char, char)> + '_ {
        let (one, fixed, class): (_, &[_], &[_]) = match &self.form {
            Form::One(char) => ([Some(*char), None], &[], &[]),
            Form::Letter(char) => ([Some(char.to_ascii_uppercase()), Some(*char)], &[], &[]),
            Form::Dot => ([None; 2], &DOT, &[]),
            Form::Class(class) => ([None; 2], &[], class.ranges()),
        };
        one.into_iter().flatten().map(|c| (c, c)).chain(fixed.iter().copied()).chain(class.iter().map(ends))
    }

    /// How many ranges.
    pub(crate) fn size(&self) -> usize {
        match &self.form {
            Form::One(_) => 1,
            Form::Letter(_) => 2,
            Form::Dot => DOT.len(),
            Form::Class(class) => class.ranges().len(),
        }
    }

    /// The one character of ASCII that it holds, be it in both cases: then the small one.
    pub(crate) fn single(&self) -> Option<char> {
        match &self.form {
            Form::One(char) | Form::Letter(char) if char.is_ascii() => Some(char.to_ascii_lowercase()),
            _ => None,
        }
    }

    /// As the `regex` crate has it.
    pub(crate) fn class(&self) -> ClassUnicode {
        match &self.form {
            Form::Class(class) => class.clone(),
            _ => class(self.ranges()),
        }
    }

    fn into_class(self) -> ClassUnicode {
        match self.form {
            Form::Class(class) => class,
            _ => self.class(),
        }
    }
}

fn class(ranges: impl IntoIterator<Item = (char, char)>) -> ClassUnicode {
    ClassUnicode::new(ranges.into_iter().map(|(from, to)| ClassUnicodeRange::new(from, to)))
}

fn ends(range: &ClassUnicodeRange) -> (char, char) {
    (range.start(), range.end())
}

fn is_letter(upper: &ClassUnicodeRange, lower: &ClassUnicodeRange) -> bool {
    let (upper, lower) = (ends(upper), ends(lower));
    upper.0 == upper.1
        && lower.0 == lower.1
        && upper.0.is_ascii_uppercase()
        && lower.0 == upper.0.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_a_set_is_made_it_has_one_form() {
        let pair = |a, b| CharSet::of([(a, a), (b, b)]);
        for (made, same) in [
            (pair('x', 'X'), CharSet::one('X', true)),
            (pair('x', 'x'), CharSet::one('x', false)),
            (CharSet::one('x', false).closed(), CharSet::one('x', true)),
            (CharSet::one('x', false).union(&CharSet::one('X', false)), CharSet::one('X', true)),
            (CharSet::line_terminators().negated(), CharSet::dot()),
            (CharSet::dot().negated(), CharSet::line_terminators()),
            (CharSet::none().negated(), CharSet::any()),
            (CharSet::any().intersection(&CharSet::dot()), CharSet::dot()),
            (CharSet::of([('\u{e9}', '\u{e9}')]).closed(), CharSet::one('\u{c9}', true)),
            (CharSet::one('1', true), CharSet::of([('1', '1')])),
            (CharSet::one('x', true).intersection(&CharSet::one('y', true)), CharSet::none()),
        ] {
            assert_eq!(made, same);
        }
    }

    #[test]
    fn every_form_says_the_same_of_a_character() {
        let sets = [
            CharSet::one('k', true),
            CharSet::one('K', false),
            CharSet::one('\u{e9}', true),
            CharSet::one('\u{212a}', true),
            CharSet::dot(),
            CharSet::word(),
            CharSet::none(),
        ];
        for set in sets {
            let class = set.class();
            for char in
                ['K', 'k', '\u{212a}', '\u{e9}', '\u{c9}', '\n', '\u{2028}', '\u{2030}', '\0', char::MAX]
            {
                let held = class.ranges().iter().any(|range| (range.start()..=range.end()).contains(&char));
                assert_eq!(set.contains(char), held, "{set:?} {char:?}");
                assert_eq!(
                    set.ranges().any(|(from, to)| (from..=to).contains(&char)),
                    held,
                    "{set:?} {char:?}"
                );
            }
        }
    }
}
