//! Every way to match, against two ECMAScript engines by others: generated patterns over generated texts, made
//! so that they often match. `regress` reads a text as code points, as we do, and folds some letters that
//! ECMA-262 keeps apart; Node's engine, a browser's, reads UTF-16 units, so that texts stay in the basic plane.
//!
//! `STOPGAP_PATTERNS` sets how many patterns are tried, by default 6,000.

use super::*;
use std::io::{Read, Write};
use std::process::{Command, Stdio};

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
        match self.roll(if depth == 0 { 9 } else { 21 }) {
            0..=3 => self
                .pick(&[
                    "a", "b", "A", "k", "s", "é", "ab", "{", "}", "]", "-", "x{", "_", "0", "a{", "a{,2}",
                    "a{1", "{a}", "a{1,b", "}{", "ß", "σ", "ǆ", "İ", "µ", "ω", "å", "\u{130}", "c",
                ])
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
                    r"\@", r"\/", r"\u212a", r"\u017f", r"\xe9", r"\07", r"\377", r"\u2028", r"\00", r"\08",
                    r"\18", r"\400", r"\9", r"\k", r"\p{L}", r"\u{61}", r"\u{2}", r"\x", r"\u", r"\cj",
                    r"\c1", r"\c", r"\v", r"\f", r"\t", r"\a", r"\e", r"\A", r"\Z", r"\{", r"\}", r"\]",
                    r"\ ", r"\_", r"\u2029", r"\ufeff", r"\u0130", r"\u2126", r"\xb5", r"\xdf",
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
                    r"[\c1]",
                    r"[\c_-a]",
                    r"[\c!]",
                    r"[\d-\w]",
                    r"[a-\d]",
                    r"[^\d\D]",
                    r"[\B]",
                    r"[\8]",
                    r"[\08]",
                    r"[\377-\u0100]",
                    r"[\x6-\x7a]",
                    r"[\-a]",
                    "[---]",
                    "[a-a]",
                    "[^^a]",
                    "[$^.*]",
                    "[(ab)]",
                    r"[\]a]",
                    r"[\k]",
                    "[À-ÿ]",
                    "[Α-ω]",
                    r"[^\u0100-\uffff]",
                    r"[\u2000-\u206f]",
                    "[b-a]",
                ])
                .to_owned(),
            7 => self.pick(&["", r"\1", r"\2", "a", "b"]).to_owned(),
            8 => self
                .pick(&[
                    r"\1", r"\2", r"\3", r"\10", "()", "(|a)", "(a|)", "(?:)", "(?!)", "(?=)", "(?=a)*",
                    "(?!b)?", "a||b", "(?=(a))+", "a*?", "(b)??", "(a*)*", "(?:a?)+", "(a)|b", "((a)|b)*",
                    "(a+)+", "^*", "$+", r"\b{2}", "{1}", "a{2,1}", "a**", "(?", "(", ")", "[", "a???",
                    "(?a)", "{0,1}a",
                ])
                .to_owned(),
            9 | 16 => self.pattern(depth - 1) + &self.pattern(depth - 1),
            17 => format!("(?:({})|{})*", self.pattern(depth - 1), self.pattern(depth - 1)),
            18 => format!("({}){}", self.pattern(depth - 1), self.pick(&["*", "+?", "{2}", "{0,2}?", "?"])),
            19 => format!(
                "({}){}",
                self.pattern(depth - 1),
                self.pick(&[r"\1", r"\1*", r".*\1", r"|\1", r"\2"])
            ),
            20 => format!("(?!({}))(?=({}))", self.pattern(depth - 1), self.pattern(depth - 1)),
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
                    "\u{2028}", "\u{2029}", "x", "{", "}", "0", "1", "8", "_", " ", "ab", "aa", "c", "-",
                    "&", "\u{8}", "\0", "]", "\\", "ß", "ẞ", "σ", "ς", "Σ", "ǅ", "Ǆ", "ı", "İ", "i\u{307}",
                    "µ", "μ", "ω", "Ω", "\u{2126}", "å", "\u{212b}", "\u{feff}", "\u{85}", "\t", "\u{b}",
                    "u", "^", "$", "ÿ", "Ÿ", "\u{1}", "\u{11}", "a", "b", "a", "b", "ab", "ba", "aab",
                ])
            })
            .collect()
    }
}

struct Case {
    pattern: String,
    ignore_case: bool,
    texts: Vec<String>,
}

fn case(seed: u64) -> Case {
    let mut dice = Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
    dice.roll(2);
    let pattern = dice.pattern(4);
    Case { pattern, ignore_case: dice.roll(2) == 0, texts: (0..12).map(|_| dice.text()).collect() }
}

/// Whether `regress` folds something in it as ECMA-262 does not: of the letters that are not ASCII, only these
/// two are surely alike.
fn folds_otherwise(text: &str) -> bool {
    text.contains(|c: char| !c.is_ascii() && !"éÉ".contains(c))
        || [r"\W", r"\S", r"\D", r"\u", r"\x", "[^"].iter().any(|escape| text.contains(escape))
}

/// Whether a group holds a reference to itself, which is empty there; `regress` reads what the group took at
/// its turn before, or never ends.
fn refers_to_itself(pattern: &str) -> bool {
    let (mut open, mut groups, mut class) = (Vec::new(), 0, false);
    let mut chars = pattern.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            '\\' => match chars.next().and_then(|c| c.to_digit(10)) {
                Some(group) if open.contains(&Some(group)) => return true,
                _ => {}
            },
            '[' => class = true,
            ']' => class = false,
            '(' if !class && chars.peek() == Some(&'?') => open.push(None),
            '(' if !class => {
                groups += 1;
                open.push(Some(groups));
            }
            ')' if !class => {
                open.pop();
            }
            _ => {}
        }
    }
    false
}

/// Node's answer to each case: nothing where it refuses the pattern.
type Answers = Vec<Option<Vec<Option<Captures>>>>;

/// Groups as places between UTF-16 units.
type Units = Vec<Option<(usize, usize)>>;

const SCRIPT: &str = r#"
    const answers = require("fs").readFileSync(0, "utf8").trimEnd().split("\n").map(line => {
        const [pattern, flags, texts] = JSON.parse(line);
        let regex;
        try { regex = new RegExp(pattern, flags + "d"); } catch { return "null"; }
        return JSON.stringify(texts.map(text => {
            const found = regex.exec(text);
            return found && Array.from(found.indices, range => range ?? null);
        }));
    });
    process.stdout.write(answers.join("\n"));"#;

/// Asks Node once about all of them; nothing where there is no Node.
fn node(cases: &[Case]) -> Option<Answers> {
    let mut child = Command::new("node")
        .args(["-e", SCRIPT])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .ok()?;
    let mut input = String::new();
    for Case { pattern, ignore_case, texts } in cases {
        let flags = if *ignore_case { "i" } else { "" };
        input += &serde_json::to_string(&(pattern, flags, texts)).unwrap();
        input.push('\n');
    }
    // It reads all of its input before it answers.
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let mut output = String::new();
    child.stdout.take().unwrap().read_to_string(&mut output).unwrap();
    assert!(child.wait().unwrap().success());
    let answers: Answers = output
        .lines()
        .zip(cases)
        .map(|(line, case)| {
            let found: Option<Vec<Option<Units>>> = serde_json::from_str(line).unwrap();
            let ranges = found?.into_iter().zip(&case.texts).map(|(groups, text)| {
                // Units to bytes: in the basic plane a unit is a character.
                let mut bytes: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
                bytes.push(text.len());
                let range = |(from, to): (usize, usize)| bytes[from]..bytes[to];
                Some(groups?.into_iter().map(|group| group.map(range)).collect())
            });
            Some(ranges.collect())
        })
        .collect();
    assert_eq!(answers.len(), cases.len());
    Some(answers)
}

#[test]
fn every_way_to_match_agrees_with_other_engines() {
    let limits = PatternLimits::default();
    let count = std::env::var("STOPGAP_PATTERNS").ok().and_then(|n| n.parse().ok()).unwrap_or(6_000u64);
    let cases: Vec<Case> = (1..=count).map(case).collect();
    let browser = node(&cases);
    if browser.is_none() {
        assert!(std::env::var_os("CI").is_none(), "node is not installed");
        println!("skipped (no node): every_way_to_match_agrees_with_other_engines, of its two engines one");
    }
    let (mut patterns, mut pairs, mut asked, mut matches, mut refused) = (0, 0, 0, 0, 0);
    let (mut over, mut disagree) = (0, 0);
    for (at, case) in cases.iter().enumerate() {
        let Case { pattern: text_of_pattern, ignore_case, .. } = case;
        let told = format!("seed {}: /{text_of_pattern}/ ignore case {ignore_case}", at + 1);
        let browser = browser.as_ref().map(|answers| answers[at].as_ref());
        let oracle = regress::Regex::with_flags(text_of_pattern, if *ignore_case { "i" } else { "" });
        let parsed = parse(text_of_pattern, *ignore_case, &limits);
        if let Some(browser) = browser {
            assert_eq!(parsed.is_ok(), browser.is_some(), "{told}: {:?}", parsed.err());
        } else {
            assert_eq!(parsed.is_ok(), oracle.is_ok(), "{told}: {:?}", parsed.err());
        }
        let Ok(node) = parsed else {
            refused += 1;
            continue;
        };
        patterns += 1;
        let pattern = Pattern::from_node(node.clone(), &limits).unwrap();
        let program = vm::Program::compile(&node);
        let chains = chain::Chains::of(&node).ok().map(|chains| chain::Matcher::compile(&chains).unwrap());
        // `regress` tries every division of nothing.
        let never_ends = node.any(&|node| match node {
            Node::Repeat { node: body, .. } => {
                body.any(&|inner| matches!(inner, Node::Repeat { node, .. } if node.can_be_empty()))
            }
            _ => false,
        });
        for (n, text) in case.texts.iter().enumerate() {
            let told = format!("{told}, text {text:?}");
            // Beyond this, backtracking engines take as long as they like; tests/pattern.rs has those.
            let mut budget = Budget::new(20_000);
            let Ok(found) = program.captures(text, &mut budget) else {
                over += 1;
                continue;
            };
            budget = Budget::new(20_000);
            pairs += 1;
            matches += usize::from(found.is_some());
            if let Some(Some(answers)) = browser {
                assert_eq!(found, answers[n], "{told}: node");
            }
            let odd = refers_to_itself(text_of_pattern)
                || never_ends
                || *ignore_case && (folds_otherwise(text) || folds_otherwise(text_of_pattern));
            if let Ok(oracle) = oracle.as_ref().map_err(|_| ())
                && !odd
            {
                asked += 1;
                let theirs: Option<Captures> = oracle.find(text).map(|found| found.groups().collect());
                // Where the two disagree with each other, the browser's engine has decided above.
                disagree += usize::from(found != theirs);
            }
            assert_eq!(pattern.captures(text, &mut budget).unwrap(), found, "{told}: captures");
            budget = Budget::new(20_000);
            assert_eq!(pattern.is_match(text, &mut budget), Ok(found.is_some()), "{told}: test");
            if let Some(chains) = &chains {
                assert_eq!(chains.is_match(text), found.is_some(), "{told}: chain");
            }
        }
    }
    assert!(disagree * 200 < asked, "regress disagrees on {disagree} of {asked} pairs");
    assert!(over * 100 < pairs, "{over} of {pairs} pairs were over the limit");
    assert!(pairs > 40_000 && pairs / 5 < matches, "{patterns} patterns, {pairs} pairs, {matches} matches");
    println!(
        "{patterns} patterns ({refused} refused by all), {pairs} pairs asked of node, {asked} of regress ({disagree} of them it alone sees otherwise), {matches} matches, {over} over the limit"
    );
}
