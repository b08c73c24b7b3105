use super::*;
use crate::pattern::ast::{CharSet, Node};
use crate::pattern::literal::{Choices, required};

/// The literals of a pattern that is a text.
fn of(text: &str) -> Choices {
    required(&Node::Concat(text.chars().map(|char| Node::Set(CharSet::one(char, false))).collect()))
}

fn found(guards: &[&[(usize, &str)]], texts: &[&str]) -> Vec<usize> {
    let choices: Vec<Vec<(usize, Choices)>> =
        guards.iter().map(|guard| guard.iter().map(|(input, text)| (*input, of(text))).collect()).collect();
    let mut guards = Guards::new(choices.len());
    for rule in &choices {
        let any: Vec<(usize, Choice)> =
            rule.iter().map(|(input, choices)| (*input, choices.iter().next().unwrap())).collect();
        if !any.is_empty() {
            guards.add_any_of(&any);
        }
        guards.end_rule();
    }
    let prefilter = Prefilter::new(&guards);
    let mut found = Found::new(&prefilter);
    for (input, text) in texts.iter().enumerate() {
        prefilter.scan(input, text, &mut found, &mut Budget::new(1_000_000)).unwrap();
    }
    found.rules.iter().collect()
}

#[test]
fn a_rule_is_found_by_any_of_its_literals_in_its_own_input() {
    let guards: [&[(usize, &str)]; 6] = [
        &[(0, "powershell")],
        &[(1, "powershell")],
        &[],
        &[(0, "autodiscover"), (1, "cookie")],
        &[(0, "ab")],
        &[(1, "\u{e9}\u{17f}k")],
    ];
    assert_eq!(found(&guards, &["/x", "y"]), [2]);
    assert_eq!(found(&guards, &["/PowerShell", "y"]), [0, 2]);
    assert_eq!(found(&guards, &["powershel", "POWERSHELL"]), [1, 2]);
    assert_eq!(found(&guards, &["", "a cookie"]), [2, 3]);
    assert_eq!(found(&guards, &["AbAUTOdiscover", ""]), [2, 3, 4]);
    assert_eq!(found(&guards, &["", "\u{e9}\u{17f}K"]), [2, 5]);
    assert_eq!(found(&guards, &["a", "\u{c9}\u{17f}k"]), [2]);
}

#[test]
fn literals_that_share_every_gram_are_all_found() {
    let texts: Vec<String> =
        (0..40).map(|n| format!("{}{}", "a".repeat(4 + n % 20), "b".repeat(n / 20))).collect();
    let guards: Vec<Vec<(usize, &str)>> = texts.iter().map(|text| vec![(0, text.as_str())]).collect();
    let guards: Vec<&[(usize, &str)]> = guards.iter().map(Vec::as_slice).collect();
    for (at, text) in texts.iter().enumerate() {
        assert!(found(&guards, &[&format!("x{text}y")]).contains(&at), "{text}");
    }
}

#[test]
fn a_text_full_of_beginnings_costs_a_bounded_number_of_steps() {
    let literals: Vec<String> = (0..10_000).map(|n| format!("aaaa{n:05}")).collect();
    let choices: Vec<Choices> = literals.iter().map(|literal| of(literal)).collect();
    let mut guards = Guards::new(choices.len());
    for choices in &choices {
        choices.iter().for_each(|choice| guards.add(0, choice));
        guards.end_rule();
    }
    let prefilter = Prefilter::new(&guards);
    let mut found = Found::new(&prefilter);
    let mut budget = Budget::new(1_000_000);
    prefilter.scan(0, &"aaaa0".repeat(13_000), &mut found, &mut budget).unwrap();
    let spent = 1_000_000 - budget.left();
    assert!(spent <= 65_000 / 16 + 65_000 * 8, "{spent}");
}

#[test]
fn sets_of_rules_are_walked_in_order() {
    let mut rules = Rules::none(200);
    for rule in [199, 0, 64, 63, 128] {
        rules.add(rule);
    }
    assert_eq!(rules.iter().collect::<Vec<_>>(), [0, 63, 64, 128, 199]);
    assert_eq!(rules.next(65), Some(128));
    assert_eq!(rules.next(200), None);
    assert_eq!(Rules::none(0).next(0), None);
}

/// A literal that is missed would let an attack through; one too many costs a look at its rule.
#[test]
fn literals_of_every_length_are_found_wherever_they_stand() {
    let mut state = 7u64;
    let mut roll = |sides: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        usize::try_from(state >> 33).unwrap() % sides
    };
    let (mut held, mut more) = (0, 0);
    for alphabet in ["ab", "abc/X", "abcdefghijklmnopqrstuvwxyz0123456789/.-_"] {
        for _ in 0..60 {
            let mut text = |length: usize| -> String {
                (0..length).map(|_| char::from(alphabet.as_bytes()[roll(alphabet.len())])).collect()
            };
            let mut literals: Vec<String> = (0..80).map(|n| text(2 + n % 24).to_lowercase()).collect();
            let mut long = text(300);
            // Some stand in it for sure, one at the very end.
            for literal in literals.iter().step_by(7) {
                long.push_str(literal);
            }
            literals.sort();
            let guards: Vec<Vec<(usize, &str)>> = literals.iter().map(|l| vec![(0, l.as_str())]).collect();
            let guards: Vec<&[(usize, &str)]> = guards.iter().map(Vec::as_slice).collect();
            let found = found(&guards, &[&long]);
            let folded = long.to_lowercase();
            for (at, literal) in literals.iter().enumerate() {
                if folded.contains(literal.as_str()) {
                    held += 1;
                    assert!(found.contains(&at), "{literal} in {long}");
                } else {
                    more += usize::from(found.contains(&at));
                }
            }
        }
    }
    assert!(held > 3_000 && more < held, "{held} {more}");
}
