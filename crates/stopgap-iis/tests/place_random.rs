//! Made-up servers and made-up rules: placing brings no fault that the naive reading sees, placing twice is placing
//! once, and taking off gives the files back to the byte, in any order.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]
#![allow(missing_docs, dead_code, reason = "modules of several tests")]

mod naive;

use std::collections::{BTreeMap, BTreeSet};

use naive::{Order, Reading};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use stopgap_iis::place::{By, Insertion, Piece, Placement, Scope, State, place, take_off};
use stopgap_iis::{Document, Environment, MemoryTree, check, pools};

const SECTIONS: &str = r#"<configSections><sectionGroup name="system.webServer"><sectionGroup name="rewrite">
    <section name="globalRules" overrideModeDefault="Deny" allowDefinition="AppHostOnly"/>
    <section name="rules" overrideModeDefault="Allow"/>
    <section name="outboundRules" overrideModeDefault="Allow"/>
    <section name="providers" overrideModeDefault="Allow"/>
    <section name="rewriteMaps" overrideModeDefault="Allow"/>
    <section name="allowedServerVariables" overrideModeDefault="Deny"/>
  </sectionGroup></sectionGroup></configSections>"#;

/// What pieces say: blocked paths, a header, a table, all of it in one; the last equals rules that the made-up servers
/// have.
const RULES: [&str; 6] = [
    r#"<rewrite><rewriteMaps><rewriteMap name="a"><add key="k" value="v"/></rewriteMap></rewriteMaps><rules><rule name="b"><match url=".*"/><conditions><add input="{a:{QUERY_STRING}}" pattern="v"/></conditions><action type="AbortRequest"/></rule><rule name="d"><match url=".*"/><conditions><add input="{URL}" pattern="d"/></conditions><action type="CustomResponse" statusCode="403"/></rule></rules><outboundRules><rule name="a" preCondition="b"><match serverVariable="RESPONSE_Y" pattern="(.*)"/><action type="Rewrite" value="{R:1}; z"/></rule><preConditions><preCondition name="b"><add input="{RESPONSE_CONTENT_TYPE}" pattern="^text/html"/></preCondition></preConditions></outboundRules></rewrite>"#,
    r#"<rules><rule name="p"><match url=".*"/><conditions><add input="{HTTP_COOKIE}" pattern="x"/></conditions><action type="AbortRequest"/></rule></rules>"#,
    r#"<rules><rule name="u"><match url="^secret"/><action type="AbortRequest"/></rule></rules>"#,
    r#"<outboundRules><rule name="o" preCondition="c"><match serverVariable="RESPONSE_X" pattern="(.*)"/><action type="Rewrite" value="{R:1}; y"/></rule><preConditions><preCondition name="c"><add input="{RESPONSE_CONTENT_TYPE}" pattern="^text/html"/></preCondition></preConditions></outboundRules>"#,
    r#"<rewrite><rewriteMaps><rewriteMap name="m"><add key="k" value="v"/></rewriteMap></rewriteMaps><rules><rule name="m"><match url=".*"/><conditions><add input="{m:{QUERY_STRING}}" pattern="v"/></conditions><action type="AbortRequest"/></rule></rules></rewrite>"#,
    r#"<rules><rule name="t"><match url="."/><action type="None"/></rule></rules>"#,
];

fn pieces() -> impl Strategy<Value = Vec<Piece>> {
    let scope = prop_oneof![
        1 => Just(Scope::Server),
        2 => select(vec!["Site", "Other"]).prop_map(|name| Scope::Site(name.to_owned())),
        4 => select(vec!["Site/app", "Site/app/in", "Site/vd", "Site/dir/deep", "Site/none"])
            .prop_map(|path| Scope::VirtualDirectory(path.to_owned())),
    ];
    prop::collection::vec((scope, select(RULES.to_vec())), 1..4).prop_map(|list| {
        let piece = |(n, (scope, rules)): (usize, (Scope, &str))| Piece {
            marker: format!("feed X{n}.1"),
            scope,
            rules: rules.to_owned(),
        };
        list.into_iter().enumerate().map(piece).collect()
    })
}

type Texts = BTreeMap<String, String>;

fn windows_path(path: &str) -> String {
    format!("C:\\{}", path.replace('/', "\\"))
}

fn files(texts: &Texts) -> MemoryTree {
    let mut tree = MemoryTree::default();
    texts.iter().for_each(|(path, text)| tree.insert(&windows_path(path), text.as_bytes()));
    tree
}

fn texts_of(like: &Texts, tree: &MemoryTree) -> Texts {
    let text = |path: &String| String::from_utf8(tree.get(&windows_path(path)).unwrap().to_vec()).unwrap();
    like.keys().map(|path| (path.clone(), text(path))).collect()
}

fn put(tree: &mut MemoryTree, pieces: &[Piece]) -> (Placement, BTreeMap<String, Vec<Insertion>>) {
    let placement = place(tree, &Environment::windows(), pieces).unwrap();
    let mut recorded = BTreeMap::new();
    for edit in &placement.files {
        let octets = edit.apply(tree.get(&edit.path).unwrap()).unwrap();
        tree.insert(&edit.path, octets);
        recorded.insert(edit.path.clone(), edit.insertions.clone());
    }
    (placement, recorded)
}

/// What is wrong with placing these pieces there.
fn wrong(before: &Texts, pieces: &[Piece]) -> Option<String> {
    let mut tree = files(before);
    let untouched = tree.clone();
    let (placement, recorded) = put(&mut tree, pieces);
    let after = texts_of(before, &tree);

    let report = check(&untouched, &Environment::windows()).unwrap();
    let open: BTreeSet<String> = report
        .levels
        .iter()
        .filter(|level| level.order_matters)
        .map(|level| level.path.to_lowercase())
        .collect();
    for order in [Order::ByLevel, Order::ByFile] {
        let (old, new) = (naive::read(before, order), naive::read(&after, order));
        // Where Microsoft leaves open what is there, both readings are not ours to keep.
        let skipped = |level: &str| order == Order::ByFile && open.contains(&level.to_lowercase());
        let fault = new.violations.iter().find(|fault| {
            !old.violations.contains(fault) && old.levels.contains_key(&fault.1) && !skipped(&fault.1)
        });
        if let Some(fault) = fault {
            return Some(format!("a new fault, {order:?}: {fault:?}"));
        }
        for (path, level) in &old.levels {
            for (collection, entries) in level {
                let now = new.levels.get(path).and_then(|level| level.get(collection));
                let mut now = now.into_iter().flatten();
                let lost = entries.iter().find(|e| !now.any(|n| n.name == e.name && n.file == e.file));
                if let Some(lost) = lost.filter(|_| !skipped(path)) {
                    return Some(format!("{path} lost {collection} {}, {order:?}", lost.name));
                }
            }
        }
        if let Some(text) = uninvited(&old, &new, pieces) {
            return Some(format!("{text}, {order:?}"));
        }
        for (piece, placed) in pieces.iter().zip(&placement.pieces) {
            let us = placed.levels.iter().filter(|level| level.state == State::InForce(By::Us));
            for state in us.filter(|state| !skipped(&state.path)) {
                // Global rules are told for the server alone.
                let at = if piece.scope == Scope::Server { "" } else { &state.path };
                let found = new.levels.iter().find(|(path, _)| path.eq_ignore_ascii_case(at));
                let mark = format!("Stopgap {} ", piece.marker);
                let there = found.is_none_or(|(_, level)| {
                    let rules = ["globalRules", "rules", "outboundRules"].map(|name| level.get(name));
                    rules.into_iter().flatten().flatten().any(|entry| entry.name.starts_with(&mark))
                });
                if !there {
                    return Some(format!("{}: {} is not there, {order:?}", state.path, piece.marker));
                }
            }
        }
    }

    let (again, more) = put(&mut tree.clone(), pieces);
    if !more.is_empty() {
        return Some(format!("placed twice: {more:?}"));
    }
    let states = |placement: &Placement| -> Vec<_> {
        placement.pieces.iter().map(|piece| piece.levels.clone()).collect()
    };
    let refused = |nth: usize| placement.pieces[nth].refused.is_some();
    for (nth, (one, two)) in states(&placement).into_iter().zip(states(&again)).enumerate() {
        if one != two && !refused(nth) {
            return Some(format!("another state the second time: {one:?} {two:?}"));
        }
    }

    for (path, insertions) in &recorded {
        let whole = take_off(tree.get(path).unwrap(), insertions);
        if whole.octets != untouched.get(path).unwrap()
            || !whole.by_hand.is_empty()
            || !whole.frames.is_empty()
        {
            return Some(format!("{path} is not what it was, or: {:?} {:?}", whole.by_hand, whole.frames));
        }
    }
    // One by one, the first first.
    for (path, insertions) in &recorded {
        let mut octets = tree.get(path).unwrap().to_vec();
        let mut left = insertions.clone();
        for piece in pieces {
            let (mine, others): (Vec<_>, Vec<_>) =
                left.into_iter().partition(|one| one.marker == piece.marker || one.name.is_none());
            let off = take_off(&octets, &mine);
            if !off.by_hand.is_empty() {
                return Some(format!("{path}: {} by hand: {:?}", piece.marker, off.by_hand));
            }
            octets = off.octets;
            left = others.into_iter().chain(off.frames).collect();
        }
        if octets != untouched.get(path).unwrap() {
            return Some(format!("{path} is not what it was, piece by piece: {left:?}"));
        }
    }
    None
}

/// An entry that is new at a level and is not of a piece that is meant for it.
fn uninvited(old: &Reading, new: &Reading, pieces: &[Piece]) -> Option<String> {
    let above = |path: &str| {
        // A level that has something of its own only now was as the one above it.
        let known =
            path.rmatch_indices('/').map(|(at, _)| &path[..at]).find(|at| old.levels.contains_key(*at));
        known.unwrap_or("").to_owned()
    };
    for (path, level) in &new.levels {
        let was = old.levels.get(path).or_else(|| old.levels.get(&above(path)));
        let meant: Vec<String> = pieces
            .iter()
            .filter(|piece| match &piece.scope {
                Scope::Server => true,
                Scope::Site(at) | Scope::VirtualDirectory(at) => {
                    naive::under(&path.to_lowercase(), &at.to_lowercase())
                }
            })
            .map(|piece| format!("Stopgap {} ", piece.marker))
            .collect();
        for (collection, entries) in level {
            let before = was.and_then(|level| level.get(collection));
            let mut before: Vec<_> =
                before.into_iter().flatten().map(|entry| (&entry.name, &entry.file)).collect();
            for entry in entries {
                match before.iter().position(|known| *known == (&entry.name, &entry.file)) {
                    Some(at) => drop(before.swap_remove(at)),
                    None if meant.iter().any(|mark| entry.name.starts_with(mark)) => {}
                    None => return Some(format!("{path}: {collection} {} is not meant for it", entry.name)),
                }
            }
        }
    }
    None
}

/// Takes the pool `P` out of service, and gives what was there.
fn take_out(tree: &mut MemoryTree) -> pools::Before {
    let path = windows_path(naive::HOST);
    let document = Document::parse(tree.get(&path).unwrap()).unwrap();
    let out = pools::take_out(&document, "P").unwrap();
    let document = document.with(&out.edits).unwrap();
    assert_eq!(pools::take_out(&document, "p").unwrap().edits, [], "taken out twice");
    tree.insert(&path, document.to_bytes());
    out.before
}

fn put_back(tree: &mut MemoryTree, before: &pools::Before) {
    let path = windows_path(naive::HOST);
    let document = Document::parse(tree.get(&path).unwrap()).unwrap();
    let back = pools::put_back(&document, before).unwrap();
    assert_eq!(back.foreign, []);
    let document = document.with(&back.edits).unwrap();
    assert_eq!(pools::put_back(&document, before).unwrap().edits, [], "put back twice");
    tree.insert(&path, document.to_bytes());
}

fn take_all_off(tree: &mut MemoryTree, recorded: &BTreeMap<String, Vec<Insertion>>) {
    for (path, insertions) in recorded {
        let off = take_off(tree.get(path).unwrap(), insertions);
        assert!(off.by_hand.is_empty(), "{path}: {:?}", off.by_hand);
        tree.insert(path, off.octets);
    }
}

#[test]
fn a_pool_that_is_taken_out_while_rules_come_and_go_is_put_back_to_the_byte() {
    let says = select(vec![
        "",
        " autoStart=\"true\"",
        " autoStart='false'",
        " startMode=\"AlwaysRunning\"",
        "\n  autoStart=\"True\"\n  startMode='AlwaysRunning'",
    ]);
    let made = (naive::generate::drives(), pieces(), says, 0..4u8);
    let checked = made_up().run(&made, |(drive, pieces, says, order)| {
        let mut before = drive.files(SECTIONS);
        let host = before.get_mut(naive::HOST).unwrap();
        *host = host.replace("<add name=\"P\"", &format!("<add name=\"P\"{says}"));
        let untouched = files(&before);
        let mut tree = untouched.clone();
        let pool_first = order & 1 == 0;
        let (pool, recorded);
        if pool_first {
            pool = take_out(&mut tree);
            recorded = put(&mut tree, &pieces).1;
        } else {
            recorded = put(&mut tree, &pieces).1;
            let placed = texts_of(&before, &tree);
            pool = take_out(&mut tree);
            let out = texts_of(&before, &tree);
            for merged in [Order::ByLevel, Order::ByFile] {
                // A pool says nothing of rules.
                let (with, without) = (naive::read(&placed, merged), naive::read(&out, merged));
                prop_assert_eq!(with.text(), without.text());
            }
        }
        if order & 2 == 0 {
            put_back(&mut tree, &pool);
            take_all_off(&mut tree, &recorded);
        } else {
            take_all_off(&mut tree, &recorded);
            put_back(&mut tree, &pool);
        }
        prop_assert_eq!(texts_of(&before, &tree), texts_of(&before, &untouched));
        Ok(())
    });
    checked.unwrap_or_else(|error| panic!("{error}"));
}

/// The same cases in every run, or as many new ones as `STOPGAP_PLACE_CASES` says.
fn made_up() -> TestRunner {
    let more = std::env::var("STOPGAP_PLACE_CASES").ok().and_then(|n| n.parse().ok());
    let config = Config { cases: more.unwrap_or(200), failure_persistence: None, ..Config::default() };
    match more {
        Some(_) => TestRunner::new(config),
        None => TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha)),
    }
}

#[test]
fn placing_brings_no_fault_and_placing_twice_is_once_and_taking_off_gives_all_back() {
    let checked = made_up().run(&(naive::generate::drives(), pieces()), |(drive, pieces)| {
        let before = drive.files(SECTIONS);
        let shown = || before.iter().map(|(path, text)| format!("== {path}\n{text}\n")).collect::<String>();
        match wrong(&before, &pieces) {
            None => Ok(()),
            Some(text) => Err(TestCaseError::fail(format!("{}{pieces:#?}\n{text}", shown()))),
        }
    });
    if let Err(TestError::Fail(reason, _)) = checked {
        panic!("{}", reason.message());
    }
}

#[test]
fn made_up_pieces_are_placed_in_both_kinds_of_file_refused_and_found_in_force_by_others() {
    let mut runner = made_up();
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for _ in 0..200 {
        let (drive, pieces) = (naive::generate::drives(), pieces()).new_tree(&mut runner).unwrap().current();
        let mut tree = files(&drive.files(SECTIONS));
        let (placement, recorded) = put(&mut tree, &pieces);
        for (path, insertions) in &recorded {
            let host = path.to_lowercase().ends_with("applicationhost.config");
            *seen.entry(if host { "host" } else { "web.config" }).or_default() += 1;
            let alone = |one: &&Insertion| String::from_utf8_lossy(&one.octets).contains("inheritInChild");
            *seen.entry("alone").or_default() += insertions.iter().filter(alone).count();
            let framed = insertions.iter().any(|one| one.name.is_none());
            *seen.entry(if framed { "framed" } else { "in a section of theirs" }).or_default() += 1;
        }
        for piece in &placement.pieces {
            let code = piece.refused.as_ref().map(|refused| refused.code());
            *seen.entry(code.unwrap_or("placed")).or_default() += 1;
            for level in &piece.levels {
                let word = match level.state {
                    State::InForce(By::Us) => "by us",
                    State::InForce(By::Twin { .. }) => "by a twin",
                    State::NotInForce(_) => "not in force",
                };
                *seen.entry(word).or_default() += 1;
            }
        }
    }
    println!("{seen:?}");
    let kinds = ["host", "web.config", "alone", "framed", "in a section of theirs", "no-place", "no-level"];
    let states = ["placed", "by us", "by a twin", "not in force"];
    assert!(kinds.iter().chain(&states).all(|kind| seen.get(kind).is_some_and(|n| *n > 2)), "{seen:?}");
}
