//! Rules as they are, and as no one would write them: what Apache answers is what the engine says.

use crate::common::dice::Dice;
use crate::common::inputs::{PATTERNS, head, target, text};
use crate::common::{M1_REQUESTS, condition, cookie_rules, engine, m1, scoped};
use crate::server::{Apache, FILE, Site, installed};
use crate::{Tally, sites_with};
use stopgap_rules::translate::apache::translate;
use stopgap_rules::{Action, RuleSet};

#[test]
fn the_revisions_of_m1_and_the_cookie_rules_agree_with_the_engine() {
    if !installed("the_revisions_of_m1_and_the_cookie_rules_agree_with_the_engine") {
        return;
    }
    let sets = vec![m1(1), m1(2), m1(3), m1(4), cookie_rules()];
    let (sites, engines) = sites_with(sets, FILE);
    let mut apache = Apache::start("", &sites);
    let mut tally = Tally::default();
    for (site, engine) in sites.iter().zip(&engines) {
        for target in M1_REQUESTS {
            tally.compare(&mut apache, engine, &head(&site.name, target.as_bytes(), None), &site.name);
        }
    }
    assert_eq!(tally.refused, 10, "the table: 1 + 2 + 3 + 4");
    for seed in 0..3_000 {
        for (site, engine) in sites.iter().zip(&engines) {
            let mut dice = Dice::new(seed);
            let target = target(&mut dice, &site.name);
            let cookie = text(&mut dice);
            let head = head(&site.name, &target, Some(&cookie));
            tally.compare(&mut apache, engine, &head, &format!("seed {seed}"));
        }
    }
    println!("{tally:?}");
    assert!(tally.refused * 20 > tally.requests && tally.malformed * 2 < tally.requests, "{tally:?}");
}

#[test]
fn every_linear_form_agrees_with_the_engine() {
    if !installed("every_linear_form_agrees_with_the_engine") {
        return;
    }
    let mut sets = Vec::new();
    let mut told = Vec::new();
    let mut refused = 0;
    let inputs = [
        "{REQUEST_URI}",
        "{UrlDecode:{REQUEST_URI}}",
        "{QUERY_STRING}",
        "{UrlDecode:{QUERY_STRING}}",
        "{HTTP_COOKIE}",
        "{UrlDecode:{HTTP_COOKIE}}",
    ];
    for pattern in PATTERNS {
        for input in inputs {
            let set = condition("a rule", input, pattern);
            match translate(&[scoped(set.clone(), None)]) {
                Ok(_) => {
                    sets.push(set);
                    told.push(format!("{input} {pattern}"));
                }
                Err(error) => {
                    println!("{input} {pattern}: {}", error.reason);
                    refused += 1;
                }
            }
        }
    }
    let (mut tally, mut at) = (Tally::default(), 0);
    for batch in sets.chunks(60) {
        let (sites, engines) = sites_with(batch.to_vec(), FILE);
        let mut apache = Apache::start("", &sites);
        for (site, engine) in sites.iter().zip(&engines) {
            for seed in 0..80 {
                let mut dice = Dice::new(seed + 1_000 * at as u64);
                let head = head(&site.name, &target(&mut dice, &site.name), Some(&text(&mut dice)));
                tally.compare(&mut apache, engine, &head, &format!("seed {seed}, {}", told[at]));
            }
            at += 1;
        }
    }
    println!("{} translated, {refused} refused: {tally:?}", sets.len());
    assert!(sets.len() > 150 && tally.refused * 10 > tally.requests, "{tally:?}");
}

/// Rules as no one would write them, some of them deciding, in Apache and in the engine.
#[test]
fn generated_rules_agree_with_the_engine() {
    if !installed("generated_rules_agree_with_the_engine") {
        return;
    }
    let mut sets = Vec::new();
    let mut seeds = Vec::new();
    for seed in 0..1_500 {
        let mut set = crate::common::generate::shaped(&mut Dice::new(seed));
        for rule in &mut set.rules {
            if matches!(rule.action, Action::Redirect { .. }) {
                rule.action = Action::AbortRequest;
            }
        }
        if translate(&[scoped(set.clone(), None)]).is_ok() {
            sets.push(set);
            seeds.push(seed);
        }
    }
    println!("{} of 1500 sets are translated", sets.len());
    let mut tally = Tally::default();
    let mut at = 0;
    for batch in sets.chunks(100) {
        let (sites, engines) = sites_with(batch.to_vec(), FILE);
        let mut apache = Apache::start("", &sites);
        for ((site, engine), set) in sites.iter().zip(&engines).zip(batch) {
            for round in 0..20 {
                let mut dice = Dice::new(seeds[at] * 100 + round);
                // What the rules look for, as it is, among other things.
                let mut wanted: Vec<u8> = Vec::new();
                for _ in 0..dice.roll(3) {
                    let all: Vec<&str> = set
                        .rules
                        .iter()
                        .flat_map(|rule| &rule.conditions.list)
                        .map(|condition| condition.pattern.as_str())
                        .collect();
                    if !all.is_empty() {
                        let pattern: &str = dice.pick(&all);
                        wanted.extend(pattern.bytes().filter(|b| !matches!(b, b'\\' | 0..=0x20 | 0x7f)));
                    }
                    wanted.extend(text(&mut dice));
                }
                let target = [b"/x?", wanted.as_slice()].concat();
                let head = head(&site.name, &target, Some(&wanted));
                tally.compare(&mut apache, engine, &head, &format!("set {}, round {round}", seeds[at]));
            }
            at += 1;
        }
    }
    println!("{tally:?}");
    assert!(sets.len() > 300 && tally.refused * 20 > tally.requests, "{tally:?}");
}

#[test]
fn a_thousand_rules_work() {
    if !installed("a_thousand_rules_work") {
        return;
    }
    let mut set = RuleSet::default();
    for number in 0..1_000 {
        set.append(condition(
            &format!("rule {number}"),
            "{UrlDecode:{REQUEST_URI}}",
            &format!("literal{number}z"),
        ));
    }
    let engine = engine(&set);
    let config = translate(&[scoped(set, None)]).unwrap();
    let site = Site { name: "a.example".into(), inside: FILE.into() };
    let mut apache = Apache::start(&config.server, &[site]);
    let mut tally = Tally::default();
    for target in ["/literal0z", "/?a=%6citeral999z", "/literal500Z", "/literal1000z", "/"] {
        tally.compare(&mut apache, &engine, &head("a.example", target.as_bytes(), None), target);
    }
    assert_eq!((tally.refused, tally.malformed), (3, 0));
}
