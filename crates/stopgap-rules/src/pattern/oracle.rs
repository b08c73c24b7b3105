//! Every way to match, against `regress`, an ECMAScript engine by others: generated patterns over generated
//! texts, made so that they often match. `regress` reads a text as code points, as we do.

use super::*;

/// A small generator, so that a failing case has a number and can be made again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.roll(of.len())]
    }

    fn pattern(&mut self, depth: usize) -> String {
        match self.roll(if depth == 0 { 8 } else { 16 }) {
            0..=3 => self
                .pick(&["a", "b", "A", "k", "s", "é", "ab", "{", "}", "]", "-", "x{", "_", "0"])
                .to_owned(),
            4 => self
                .pick(&[
                    r"\d", r"\w", r"\s", r"\D", r"\W", r"\S", r"\b", r"\B", ".", "^", "$", "[^]", "[]", ".*",
                    ".+",
                ])
                .to_owned(),
            5 => self
                .pick(&[
                    r"\x61", r"\u0062", r"\cJ", r"\n", r"\0", r"\101", r"\x6", r"\u006", r"\c", r"\8", r"\-",
                    r"\@", r"\/", r"\u212a", r"\u017f", r"\xe9", r"\07", r"\377", r"\u2028",
                ])
                .to_owned(),
            6 => self
                .pick(&[
                    "[ab]",
                    "[^a]",
                    "[a-k]",
                    "[^a-c]",
                    r"[\d-x]",
                    r"[\b]",
                    "[a&&b]",
                    "[~~]",
                    "[--a]",
                    "[[a]",
                    "[a-]",
                    r"[\cJ]",
                    r"[\c]",
                    r"[\w-]",
                    r"[^\W]",
                    r"[\s\S]",
                    r"[\x61-\x63]",
                    "[é-ë]",
                    "[^é]",
                    r"[\1]",
                    "[A-Z]",
                    "[^A-Z]",
                    "[]a",
                    "[^]a",
                ])
                .to_owned(),
            7 => self.pick(&["", r"\1", r"\2", "a", "b"]).to_owned(),
            8 | 9 => self.pattern(depth - 1) + &self.pattern(depth - 1),
            10 => format!("({})", self.pattern(depth - 1)),
            11 => format!("(?:{})", self.pattern(depth - 1)),
            12 => format!("(?={})", self.pattern(depth - 1)),
            13 => format!("(?!{})", self.pattern(depth - 1)),
            14 => format!("({})|{}", self.pattern(depth - 1), self.pattern(depth - 1)),
            _ => {
                let times =
                    self.pick(&["*", "+", "?", "*?", "+?", "??", "{2}", "{1,}", "{0,2}", "{1,2}?", "{0}"]);
                format!("(?:{}){times}", self.pattern(depth - 1))
            }
        }
    }

    fn text(&mut self) -> String {
        (0..self.roll(9))
            .map(|_| {
                self.pick(&[
                    "a", "b", "A", "B", "k", "K", "s", "\u{17f}", "\u{212a}", "é", "É", "\n", "\r",
                    "\u{2028}", "x", "{", "0", "_", " ", "ab", "aa", "c", "-", "&", "\u{8}", "\0", "]", "\\",
                ])
            })
            .collect()
    }
}

fn theirs(regex: &regress::Regex, text: &str) -> Option<Captures> {
    regex.find(text).map(|found| found.groups().collect())
}

#[test]
fn every_way_to_match_agrees_with_another_engine() {
    let limits = PatternLimits::default();
    let (mut patterns, mut texts, mut matches, mut refused) = (0, 0, 0, 0);
    for seed in 1..=6_000u64 {
        let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        dice.roll(2);
        let text_of_pattern = dice.pattern(4);
        // `regress` folds U+017F to s and U+212A to k even where ECMA-262 forbids it; V8 is
        // asked about those (tests/pattern.rs).
        let folds = |text: &str| text.contains(['\u{17f}', '\u{212a}']);
        let escaped = [r"\W", r"\u017f", r"\u212a"].iter().any(|escape| text_of_pattern.contains(escape));
        let ignore_case = dice.roll(2) == 0 && !escaped && !folds(&text_of_pattern);
        let oracle = regress::Regex::with_flags(&text_of_pattern, if ignore_case { "i" } else { "" });
        let parsed = parse(&text_of_pattern, ignore_case, &limits);
        let (oracle, node) = match (oracle, parsed) {
            (Ok(oracle), Ok(node)) => (oracle, node),
            (Err(_), Err(_)) => {
                refused += 1;
                continue;
            }
            (oracle, node) => panic!("seed {seed}: {text_of_pattern:?}: {:?} {:?}", oracle.err(), node.err()),
        };
        patterns += 1;
        let pattern = Pattern::from_node(node.clone(), &limits).unwrap();
        let program = vm::Program::compile(&node);
        let chains = chain::Chains::of(&node).ok().map(|chains| chain::Matcher::compile(&chains).unwrap());
        for _ in 0..12 {
            let text = dice.text();
            if ignore_case && folds(&text) {
                continue;
            }
            let told = format!("seed {seed}: /{text_of_pattern}/ ignore case {ignore_case}, text {text:?}");
            let expected = theirs(&oracle, &text);
            let mut budget = Budget::new(10_000_000);
            texts += 1;
            matches += usize::from(expected.is_some());
            assert_eq!(program.captures(&text, &mut budget).unwrap(), expected, "{told}: vm");
            assert_eq!(pattern.captures(&text, &mut budget).unwrap(), expected, "{told}: captures");
            assert_eq!(pattern.is_match(&text, &mut budget), Ok(expected.is_some()), "{told}: test");
            if let Some(chains) = &chains {
                assert_eq!(chains.is_match(&text), expected.is_some(), "{told}: chain");
            }
        }
    }
    assert!(patterns > 4_000 && texts / 5 < matches, "{patterns} patterns, {texts} texts, {matches} matches");
    println!("{patterns} patterns ({refused} refused by both), {texts} texts, {matches} matches");
}
