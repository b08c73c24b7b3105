//! No request takes the engine over its bound: known catastrophes against long texts, counted in steps. What a
//! step is: `EngineLimits::steps`.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;

use common::{condition, engine, escape, rules};
use stopgap_rules::{Connection, Engine, EngineLimits, Outcome, Request, RuleSet, Verdict};

/// Patterns that take exponential or polynomial time where they are matched by going back, and the text that
/// makes them: a piece to repeat, and what comes last.
const CATASTROPHES: [(&str, &str, &str); 16] = [
    ("(a+)+$", "a", "!"),
    ("(a|a)*$", "a", "!"),
    ("(a|aa)+$", "a", "!"),
    ("^(([a-z])+.)+[A-Z]([a-z])+$", "a", "!"),
    ("(.*a){20}", "a", "!"),
    ("(.*a){20}$", "ab", "!"),
    ("(x+x+)+y", "x", ""),
    ("^(.*?,){11}P", "1,", "Q"),
    ("(?=(a+)+$)b", "a", "!"),
    ("(?=.*(?=.*(?=.*(?=.*!!))))", "a", "!"),
    ("^(?!.*(?!.*(?!.*b)))", "a", "!"),
    ("(?=.*a)(?=.*b)(?=.*c)(?=.*d)", "abc", "!"),
    (r"(a*)*\1$", "a", "!"),
    (r"(.*)(.*)(.*)\1\2\3x", "ab", "!"),
    (r"(a?){30}a{30}", "a", ""),
    (r"(\w+\s?)*$", "word ", "!"),
];

/// Those that no engine can match in linear time: they may reach the limit, and are then refused.
fn has_back_reference(pattern: &str) -> bool {
    pattern.contains(r"\1")
}

fn counted(engine: &Engine, header: &str) -> (Verdict, u64) {
    let head = format!("GET / HTTP/1.1\r\nCookie: {header}\r\n");
    engine.evaluate_counted(&Request::parse_head(head.as_bytes(), &Connection::default()).unwrap())
}

#[test]
fn catastrophic_patterns_take_a_bounded_number_of_steps_for_a_byte() {
    let mut most = 0;
    for (pattern, piece, last) in CATASTROPHES {
        let engine = engine(&condition("r", "{HTTP_COOKIE}", pattern));
        for length in [0, 1, 30, 1_000, 16 * 1024, 64 * 1024 - 1] {
            let text = piece.repeat(length / piece.len()) + last;
            let (verdict, steps) = counted(&engine, &text);
            assert!(steps <= EngineLimits::default().steps, "{pattern} {length}: {steps}");
            if verdict.over_limit {
                assert!(has_back_reference(pattern), "{pattern} {length} is over the limit");
                assert_eq!((verdict.action, verdict.rule.as_deref()), (Outcome::AbortRequest, Some("r")));
            } else if !has_back_reference(pattern) {
                most = most.max(steps / (text.len() as u64 + 32));
            }
        }
    }
    println!("at most {most} steps a byte without back-references");
    assert!(most <= 60, "{most} steps a byte");
}

#[test]
fn ten_thousand_catastrophes_end_at_the_limit_and_not_after_it() {
    let many: String = (0..10_000)
        .map(|n| {
            let (pattern, ..) = CATASTROPHES[n % CATASTROPHES.len()];
            format!(
                r#"<rule name="r{n}"><match url=".*"/><conditions><add input="{{HTTP_COOKIE}}" pattern="{}{}"/></conditions><action type="AbortRequest"/></rule>"#,
                escape(pattern),
                escape(&format!("z?{}$", n % 7)),
            )
        })
        .collect();
    let engine = engine(&rules(&many));
    for text in ["a".repeat(64 * 1024), "ab!".repeat(20_000), "1,a ".repeat(16_000)] {
        let (verdict, steps) = counted(&engine, &text);
        assert!(verdict.over_limit && verdict.is_refusal() && verdict.rule.is_some());
        assert!(steps <= EngineLimits::default().steps);
    }
    let (verdict, steps) = counted(&engine, "a=1");
    assert!(!verdict.over_limit, "a short one is not refused ({steps} steps)");
}

/// Without literals every rule searches every text; that is counted, so that its sum is bounded, too.
#[test]
fn many_rules_and_a_large_header_are_counted() {
    let rule = |n: usize| {
        let only = format!(r#"<add input="{{HTTP_COOKIE}}" pattern="[a-c][d-f]{{{}}}[0-9]$"/>"#, 1 + n % 50);
        format!(
            r#"<rule name="r{n}"><match url=".*"/><conditions>{only}</conditions><action type="AbortRequest"/></rule>"#
        )
    };
    let many = |count: usize| rules(&(0..count).map(rule).collect::<String>());
    let header = "adef ".repeat(64 * 1024 / 5);
    let steps = |count: usize| counted(&engine(&many(count)), &header).1;
    let (few, more) = (steps(100), steps(200));
    assert!(few >= 100 * 64 * 1024 / 16 / 2, "{few}");
    assert!(more >= few * 3 / 2, "{few} {more}");
    let (verdict, steps) = counted(&engine(&many(10_000)), &header);
    assert!(verdict.over_limit && steps <= EngineLimits::default().steps);
}

/// What a thousand rules with literals take of a large header: a pass for each width of literals, whatever
/// their number.
#[test]
fn rules_with_literals_share_one_pass() {
    let many = |count: usize| -> RuleSet {
        let rule = |n| {
            format!(
                r#"<rule name="r{n}"><match url=".*"/><conditions><add input="{{HTTP_COOKIE}}" pattern="(a+)+word{n}$"/></conditions><action type="AbortRequest"/></rule>"#
            )
        };
        rules(&(0..count).map(rule).collect::<String>())
    };
    let header = "a".repeat(64 * 1024);
    let steps = |count: usize| counted(&engine(&many(count)), &header).1;
    let (one, thousands) = (steps(1), steps(10_000));
    assert!(thousands <= 3 * one / 2 + 64, "one rule: {one}, ten thousand: {thousands}");
}

/// Texts that no pattern searches cost their making: what is compared with a pattern that matches everything,
/// the keys of maps, and what functions read.
#[test]
fn texts_that_are_only_made_are_counted() {
    let header = "a".repeat(64 * 1024);
    for input in
        ["{R:0}{HTTP_COOKIE}", "{R:0}{M:{HTTP_COOKIE}}", "{M:{HTTP_COOKIE}#}", "{M:{ToLower:{HTTP_COOKIE}}#}"]
    {
        let rule = |n: usize| {
            let input = input.replace('#', &n.to_string());
            format!(
                r#"<rule name="r{n}"><match url="(.*)"/><conditions><add input="{input}" pattern=".*"/></conditions><action type="None"/></rule>"#
            )
        };
        let many: String = (0..2_000).map(rule).collect();
        let set = RuleSet::parse(&format!(
            r#"<rewrite><rewriteMaps><rewriteMap name="M"/></rewriteMaps><rules>{many}</rules></rewrite>"#
        ));
        let (verdict, steps) = counted(&engine(&set.unwrap()), &header);
        assert!(verdict.over_limit, "{input}: {steps} steps");
    }
}

/// Each variable that is set is compared with those that were set before, and with the inputs that may read it.
#[test]
fn variables_and_rewrites_are_counted() {
    let set = |n: usize| (0..20).map(|m| format!(r#"<set name="V{n}X{m}" value=""/>"#)).collect::<String>();
    let variables: String = (0..200)
        .map(|n| {
            let set = set(n);
            format!(
                r#"<rule name="r{n}"><match url=".*"/><serverVariables>{set}</serverVariables><action type="None"/></rule>"#
            )
        })
        .collect();
    let rewrites: String = (0..10_000)
        .map(|n| {
            format!(
                r#"<rule name="r{n}"><match url=".*"/><conditions><add input="{{HTTP_A{n}}}" pattern=".*"/></conditions><action type="Rewrite" url="/"/></rule>"#
            )
        })
        .collect();
    for many in [variables, rewrites] {
        let (verdict, steps) = counted(&engine(&rules(&many)), "a=1");
        assert!(verdict.over_limit, "{steps} steps");
    }
}
