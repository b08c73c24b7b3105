//! The engine leaves out the rules that cannot match. Its verdict must be that of going through every rule:
//! compared on generated rules and requests, made of so few words that rules match often and nearly match
//! always. `STOPGAP_ENGINE_CASES=1000000` runs longer.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod common;
#[path = "common/made.rs"]
mod made;

use common::dice::Dice;
use common::{engine, get, rules};
use stopgap_rules::{Connection, Engine, EngineLimits, Request, Verdict};

#[test]
fn the_verdict_is_that_of_every_rule_in_turn() {
    let wanted: usize =
        std::env::var("STOPGAP_ENGINE_CASES").map_or(40_000, |cases| cases.parse().expect("a number"));
    let mut dice = Dice::new(20_260_501);
    let (mut cases, mut sets, mut refused) = (0usize, 0usize, 0usize);
    let (mut acted, mut over, mut guarded, mut all) = (0usize, 0usize, 0usize, 0usize);
    while cases < wanted {
        let seed = dice.roll(usize::MAX >> 12);
        let mut own = Dice::new(seed as u64);
        let set = made::set(&mut own);
        let Ok(engine) = Engine::compile(&set, &EngineLimits::default()) else {
            refused += 1;
            continue;
        };
        sets += 1;
        all += engine.len();
        guarded += engine.len() - engine.rules_without_literal().count();
        for _ in 0..40 {
            let (target, headers) = made::request(&mut own);
            let headers = headers.iter().map(|(name, value)| (*name, value.as_slice()));
            let request = Request::new("GET", &target, headers, Connection::default());
            let (filtered, plain) = (engine.evaluate(&request), engine.evaluate_plainly(&request, 4_000_000));
            cases += 1;
            // Leaving rules out takes fewer steps, so it may come to an end where the other does not.
            if plain.over_limit {
                over += 1;
                continue;
            }
            assert_eq!(
                filtered,
                plain,
                "seed {seed}, {:?} {:#?}",
                String::from_utf8_lossy(&target),
                set.rules
            );
            acted += usize::from(plain != Verdict::default());
        }
    }
    println!(
        "{cases} requests, {sets} sets ({refused} refused); {acted} requests met a rule, {over} the limit; \
         {guarded} of {all} rules have a literal"
    );
    assert!((cases / 5..cases * 4 / 5).contains(&acted), "{acted} of {cases}: too few or too many match");
    assert!(over * 50 < cases, "{over} of {cases} are over the limit");
    assert!((all / 4..all * 9 / 10).contains(&guarded), "{guarded} of {all}");
}

/// An engine that takes over what the one before it had read says what it would say by itself.
#[test]
fn an_engine_made_after_another_says_the_same() {
    let limits = EngineLimits::default();
    let mut dice = Dice::new(20_260_502);
    let mut acted = 0;
    for _ in 0..150 {
        let set = made::set(&mut dice);
        let earlier = Engine::compile(&set, &limits).unwrap();
        let mut changed = made::set(&mut dice);
        changed.maps.clear();
        let kept = set.rules.iter().filter(|_| dice.roll(4) != 0).cloned();
        changed.rules.splice(1..1, kept);
        changed.maps.clone_from(&set.maps);
        let (after, alone) =
            (Engine::compile_after(&earlier, &changed, &limits), Engine::compile(&changed, &limits));
        let (Ok(after), Ok(alone)) = (after, alone) else { panic!("{changed:#?}") };
        drop(earlier);
        for _ in 0..40 {
            let (target, headers) = made::request(&mut dice);
            let headers = headers.iter().map(|(name, value)| (*name, value.as_slice()));
            let request = Request::new("GET", &target, headers, Connection::default());
            let verdict = after.evaluate(&request);
            assert_eq!(verdict, alone.evaluate(&request), "{changed:#?}");
            acted += usize::from(verdict != Verdict::default());
        }
    }
    assert!(acted > 1_000, "{acted}");
}

/// What was checked within wider limits is checked again.
#[test]
fn an_engine_made_after_another_keeps_to_its_own_limits() {
    let set = rules(&abort("long", r#"><add input="{URL}" pattern="twelve chars"/>"#));
    let earlier = Engine::compile(&set, &EngineLimits::default()).unwrap();
    let mut narrow = EngineLimits::default();
    narrow.pattern.length = 5;
    assert!(Engine::compile_after(&earlier, &set, &EngineLimits::default()).is_ok());
    assert_eq!(
        Engine::compile_after(&earlier, &set, &narrow).unwrap_err(),
        Engine::compile(&set, &narrow).unwrap_err()
    );
}

fn abort(name: &str, conditions: &str) -> String {
    format!(
        r#"<rule name="{name}"><match url=".*"/><conditions {conditions}</conditions><action type="AbortRequest"/></rule>"#
    )
}

#[test]
fn what_a_rule_writes_is_seen_by_later_rules() {
    let stop = abort("stop", r#"><add input="{QUERY_STRING}" pattern="evil"/>"#);
    for (first, target, stopped) in [
        (r#"<action type="Rewrite" url="/x?evil"/>"#, "/a", true),
        (r#"<action type="Rewrite" url="/x?{C:0}"/>"#, "/a?EVI", false),
        (
            r#"<serverVariables><set name="QUERY_STRING" value="evil"/></serverVariables><action type="None"/>"#,
            "/a",
            true,
        ),
        (
            r#"<serverVariables><set name="HTTP_X" value="evil"/></serverVariables><action type="None"/>"#,
            "/a",
            false,
        ),
    ] {
        let first = format!(r#"<rule name="first"><match url="^a"/>{first}</rule>"#);
        let engine = engine(&rules(&format!("{first}{stop}")));
        let verdict = get(&engine, target);
        assert_eq!(verdict.rule.as_deref() == Some("stop"), stopped, "{first}");
        assert_eq!(get(&engine, "/b?evil").rule.as_deref(), Some("stop"));
    }
}

#[test]
fn rules_that_every_request_is_compared_with_are_named() {
    let set = rules(
        &[
            abort("all of", r#"><add input="{REQUEST_URI}" pattern=".*"/><add input="{URL}" pattern="evil"/>"#),
            abort("any of", r#"logicalGrouping="MatchAny"><add input="{URL}" pattern="evil"/><add input="{HTTP_X}" pattern="bad|worse"/>"#),
            abort("any of, one without", r#"logicalGrouping="MatchAny"><add input="{URL}" pattern="evil"/><add input="{HTTP_X}" pattern="b"/>"#),
            abort("not", r#"><add input="{URL}" pattern="evil" negate="true"/>"#),
            abort("class", r#"><add input="{URL}" pattern="[a-z]+"/>"#),
            abort("captured", r#"><add input="{R:0}" pattern="evil"/>"#),
            r#"<rule name="path"><match url="^evil"/><action type="AbortRequest"/></rule>"#.to_owned(),
            r#"<rule name="not path"><match url="^evil" negate="true"/><action type="AbortRequest"/></rule>"#.to_owned(),
        ]
        .concat(),
    );
    let engine = engine(&set);
    let named: Vec<&str> = engine.rules_without_literal().collect();
    assert_eq!(named, ["any of, one without", "not", "class", "captured", "not path"]);
}

/// Preparing a pattern takes longer than a request may; a request that meets many for the first time must get
/// the same answer all the same.
#[test]
fn a_request_that_meets_a_hundred_rules_for_the_first_time_gets_the_same_answer() {
    let many: String = (0..100)
        .map(|n| {
            let last = if n == 99 { "" } else { "never" };
            abort(
                &format!("r{n}"),
                &format!(r#"><add input="{{REQUEST_URI}}" pattern="(?=.*word{n:02})(?=.*common){last}"/>"#),
            )
        })
        .collect();
    let target = (0..100).fold("/common".to_owned(), |target, n| format!("{target}/word{n:02}"));
    let engine = engine(&rules(&many));
    for _ in 0..8 {
        assert_eq!(get(&engine, &target).rule.as_deref(), Some("r99"));
    }
}
