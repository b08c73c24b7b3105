//! The engine's verdict is that of going through every rule. An execution is one rule set and 16 requests, each
//! judged by both.
//!
//! Preparing a pattern takes a thousand times as long as matching it, so most patterns come from pools that are
//! prepared once and shared with every set. Which pool, which rule has which of its patterns, and everything else
//! in a rule set and in the request, is the fuzzer's choice; one rule in eight keeps the patterns that the bytes
//! spell.

use crate::{Dice, made};
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::OnceLock;
use stopgap_rules::{Connection, Engine, EngineLimits, PatternSyntax, Request, Rule, RuleSet};

/// Few enough that a fuzzer's run is not spent on patterns that run into the limit.
const STEPS: u64 = 400_000;
/// Rules of a set; more of them take longer and rarely show more.
const RULES: usize = 6;
/// Requests for each set: what the fuzzer does around an execution takes longer than a few of them.
const REQUESTS: usize = 16;
/// Many small ones: to begin with a pool takes as long as it has patterns.
const POOLS: u64 = 24;
/// Patterns of each syntax in a pool.
const POOLED: [(PatternSyntax, usize); 3] =
    [(PatternSyntax::EcmaScript, 14), (PatternSyntax::Wildcard, 4), (PatternSyntax::ExactMatch, 3)];

pub fn engine_differential(data: &[u8]) {
    static ALL: OnceLock<Vec<Pool>> = OnceLock::new();
    let pools = ALL.get_or_init(|| (0..POOLS).map(Pool::new).collect());
    let mut dice = Dice::new(data);
    let first = made::request(&mut dice);
    let mut set = made::set(&mut dice);
    set.rules.truncate(RULES);
    let pool = &pools[dice.roll(pools.len())];
    for rule in &mut set.rules {
        if dice.roll(8) != 7 {
            pool.replace(rule);
        }
    }
    let Ok(engine) = Engine::compile_after(&pool.engine, &set, &limits()) else { return };
    // The others are what the same bytes spell from other places on.
    let others = (1..REQUESTS).map(|n| made::request(&mut Dice::new(&data[data.len() * n / REQUESTS..])));
    for (target, headers) in std::iter::once(first).chain(others) {
        let headers = headers.iter().map(|(name, value)| (*name, value.as_slice()));
        let request = Request::new("GET", &target, headers, Connection::default());
        let plain = engine.evaluate_plainly(&request, STEPS);
        if !plain.over_limit {
            let said = engine.evaluate(&request);
            assert_eq!(said, plain, "{:?} {set:#?}", String::from_utf8_lossy(&target));
        }
    }
}

fn limits() -> EngineLimits {
    EngineLimits { steps: STEPS, ..EngineLimits::default() }
}

struct Pool {
    /// Of each syntax.
    patterns: [Vec<String>; 3],
    /// Has all of them, in either case.
    engine: Engine,
}

impl Pool {
    /// From numbers that are always the same, so that an input always means the same.
    fn new(number: u64) -> Pool {
        let mut state = 20_260_503 + number;
        let mut bytes = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as u8
        };
        let mut patterns = [const { Vec::new() }; 3];
        let mut rules = Vec::new();
        while POOLED.iter().zip(&patterns).any(|((_, wanted), have)| have.len() < *wanted) {
            let bytes: Vec<u8> = (0..2_000).map(|_| bytes()).collect();
            for rule in made::set(&mut Dice::new(&bytes)).rules {
                let pattern = &rule.match_url.url;
                let kind = kind(&rule);
                if patterns[kind].len() < POOLED[kind].1 && !patterns[kind].contains(pattern) {
                    patterns[kind].push(pattern.clone());
                    rules.extend([true, false].map(|ignore_case| with_case(&rule, ignore_case)));
                }
            }
        }
        let rules = RuleSet { rules, ..RuleSet::default() };
        let engine = Engine::compile(&rules, &limits()).expect("every pattern is well-formed");
        Pool { patterns, engine }
    }

    /// Gives a rule patterns of the pool, which ones its own decide.
    fn replace(&self, rule: &mut Rule) {
        let patterns = &self.patterns[kind(rule)];
        let own = std::iter::once(&mut rule.match_url.url);
        for pattern in own.chain(rule.conditions.list.iter_mut().map(|condition| &mut condition.pattern)) {
            // What takes everything stays, since most real rules have it.
            if !matches!(pattern.as_str(), ".*" | "(.*)" | "*") {
                let mut hasher = DefaultHasher::new();
                pattern.hash(&mut hasher);
                pattern.clone_from(&patterns[hasher.finish() as usize % patterns.len()]);
            }
        }
    }
}

fn kind(rule: &Rule) -> usize {
    POOLED.iter().position(|(syntax, _)| *syntax == rule.pattern_syntax).expect("every syntax is pooled")
}

/// The pattern of its address alone.
fn with_case(rule: &Rule, ignore_case: bool) -> Rule {
    let mut rule = rule.clone();
    rule.enabled = true;
    rule.match_url.ignore_case = ignore_case;
    rule.conditions.list.clear();
    rule.server_variables.clear();
    rule.action = stopgap_rules::Action::None;
    rule
}
