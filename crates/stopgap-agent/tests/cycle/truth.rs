//! What a plan prints is what apply does: in made-up situations, the printed steps and the files that differ
//! before and after. `STOPGAP_TRUTH_SEEDS` makes more of them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use jiff::SignedDuration;
use stopgap_agent::cycle::Mode;
use stopgap_agent::operator::Terms;
use stopgap_core::plan::{Step, StepKind};
use stopgap_testkit::host::Node;

use crate::feed::document;
use crate::world::{LIVE, World};

const FOLDER: &str = "/data/gateway";
const SEEDS: u64 = 60;
const SITUATIONS: u64 = 6;

/// Files and links: folders come and go with what is in them.
type Files = BTreeMap<PathBuf, Node>;

fn files(world: &World) -> Files {
    let mut tree = world.host.tree(FOLDER);
    tree.retain(|_, node| !matches!(node, Node::Folder));
    tree
}

/// Something happens: a release, an operator's word, time, somebody else's hand.
fn happen(world: &mut World, random: &mut fastrand::Rng, serial: u64) {
    match random.u8(0..9) {
        0..4 => {
            let mut words = format!("{serial} PING1");
            for id in ["M1", "M2", "M3"] {
                match random.u8(0..6) {
                    0 => words.push_str(&format!(" -{id}")),
                    1 => {}
                    revision => words.push_str(&format!(" {id}(revision={revision})")),
                }
            }
            world.publish(document(&words, world.now));
        }
        4 => world.operator(|operator| {
            let terms = Terms { take_off: random.bool(), ..Terms::default() };
            operator.block("M1".parse().unwrap(), terms);
        }),
        5 => world.operator(|operator| {
            operator.unblock(&"M1".parse().unwrap());
        }),
        6 if world.host.peek(Path::new(LIVE).join("rules.xml")).is_some() => world.host.take(LIVE),
        7 if world.rules_on_disk().is_some() => {
            world.host.put(world.rules_file(), "<rewrite><rules/></rewrite>");
        }
        _ => world.wait(SignedDuration::from_mins(random.i64(1..90))),
    }
}

/// Whether a step says that this path changes.
fn says(step: &Step, path: &Path) -> bool {
    match step.kind {
        StepKind::Write | StepKind::Swap => Path::new(&step.path) == path,
        StepKind::Remove => path.starts_with(&step.path),
        _ => false,
    }
}

#[test]
fn what_a_plan_prints_is_what_differs_after_it() {
    let seeds = std::env::var("STOPGAP_TRUTH_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let (mut changes, mut calm) = (0, 0);
    for seed in 0..seeds {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut world = World::new();
        for situation in 0..SITUATIONS {
            happen(&mut world, &mut random, seed * SITUATIONS + situation + 1);
            let place = format!("seed {seed}, situation {situation}");
            let steps = world.cycle(Mode::Plan).unwrap().plan.steps();
            let before = files(&world);
            let done = world.apply();
            assert!(!done.reverted, "{place}: {:#?}", done.events);
            let after = files(&world);
            assert_eq!(done.plan.steps(), steps, "{place}: apply makes no other plan");
            compare(&steps, &before, &after, &place);
            if steps.is_empty() { calm += 1 } else { changes += 1 }
        }
    }
    assert!(changes > seeds && calm > seeds / 2, "{changes} changes, {calm} times nothing to do");
    println!("{changes} plans and what they did, {calm} times nothing to do and nothing done");
}

fn compare(steps: &[Step], before: &Files, after: &Files, place: &str) {
    let mut paths: Vec<&PathBuf> = before.keys().chain(after.keys()).collect();
    paths.sort();
    paths.dedup();
    let live_after = after.get(Path::new(LIVE));
    for path in paths.into_iter().filter(|path| before.get(*path) != after.get(*path)) {
        // A set whose link somebody removed by hand goes with the next change; no change knows it as its own.
        let orphan = !before.contains_key(Path::new(LIVE)) && !after.contains_key(path);
        // What somebody edited is put aside, and kept until the next change.
        let aside = path.to_string_lossy().contains(".edited-");
        let said = steps.iter().any(|step| says(step, path));
        assert!(
            said || ((orphan || aside) && !steps.is_empty()),
            "{place}: nobody said that {} changes: {steps:#?}",
            path.display()
        );
    }
    for step in steps {
        let path = Path::new(&step.path);
        match step.kind {
            StepKind::Write => match after.get(path) {
                Some(Node::File(bytes)) => {
                    assert_eq!(step.detail, format!("{} bytes", bytes.len()), "{place}: {step:?}");
                }
                other => panic!("{place}: {step:?} was not done: {other:?}"),
            },
            StepKind::Swap => assert!(matches!(live_after, Some(Node::Link(_))), "{place}: {step:?}"),
            StepKind::Remove => {
                let left = after.keys().find(|left| left.starts_with(path));
                assert_eq!(left, None, "{place}: {step:?}");
            }
            _ => {}
        }
    }
}
