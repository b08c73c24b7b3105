//! The power goes.

use std::collections::{BTreeMap, BTreeSet};

use stopgap_agent::cycle::Mode;
use stopgap_testkit::fire::{BOUND, Op, Recorder, Tree, disks, seen};

use crate::machines::Kind;
use crate::reached::Reached;
use crate::story::{Story, stories, whole};
use crate::world::World;

/// A story whose cycle was recorded.
pub struct Recorded {
    pub world: World,
    pub start: Tree,
    pub ops: Vec<Op>,
    /// Where it ends when nothing goes wrong.
    end: Reached,
    /// The rules that its server may read.
    allowed: BTreeSet<String>,
    /// The agent died in it once already: the next death may be blamed on what it was to put on.
    killed: bool,
}

impl Recorded {
    pub fn of(story: &Story, kind: Kind) -> Recorded {
        let world = story.told(kind);
        let start = world.host.tree("/");
        let ops = {
            let recorder = Recorder::new(&world.host);
            let _ = world.cycle(&recorder, Mode::Apply).unwrap();
            recorder.ops()
        };
        let seen = seen(&start, &ops);
        assert_eq!(seen.last(), Some(&world.host.tree("/")), "the model sees what the machine does");
        let allowed: BTreeSet<String> = seen.iter().map(|tree| kind.rules(tree)).collect();
        assert_eq!(allowed.len(), story.states(kind), "{} on {kind:?}", story.name);
        let end = end(story, kind);
        Recorded { world, start, ops, end, allowed, killed: false }
    }

    /// The agent is killed after the first `done` calls, and the next one does its work.
    pub fn of_two(story: &Story, kind: Kind, done: usize, end: Reached) -> Recorded {
        let mut world = story.told(kind);
        let start = world.host.tree("/");
        let killed = Recorder::killed_after(&world.host, done);
        let _ = world.cycle(&killed, Mode::Apply);
        let mut ops = killed.ops();
        assert_eq!(ops.len(), done);
        world.wait();
        let next = Recorder::new(&world.host);
        world.cycle(&next, Mode::Apply).unwrap();
        ops.extend(next.ops());
        let allowed = seen(&start, &ops).iter().map(|tree| kind.rules(tree)).collect();
        Recorded { world, start, ops, end, allowed, killed: true }
    }

    /// What is wrong after the power came back with this disk.
    pub fn judge(&self, disk: Tree) -> Result<(), String> {
        let rules = self.world.kind.rules(&disk);
        if !self.allowed.contains(&rules) {
            return Err(format!("the server starts with {rules:?}"));
        }
        let mut world = self.world.on(&disk);
        let mut reached = Reached::after(&mut world)?;
        if self.killed && world.retry() {
            reached = Reached::after(&mut world)?;
        }
        reached.compare(&self.end)
    }
}

/// Where a story ends when nothing goes wrong.
pub fn end(story: &Story, kind: Kind) -> Reached {
    let mut calm = story.told(kind);
    let start = calm.host.tree("/");
    calm.cycle(&calm.host, Mode::Apply).unwrap();
    let end = Reached::after(&mut calm).unwrap();
    let back = kind.rules(&start) == kind.rules(&calm.host.tree("/"));
    assert_eq!(back, story.name.contains("reverted"), "{} on {kind:?}", story.name);
    end
}

/// Of so many disks, one is in the quick share.
const SHARE: usize = 4;

/// A path without what differs from set to set.
fn class(path: &str) -> String {
    let hex = |word: &&str| word.len() > 40 && word.chars().all(|c| c.is_ascii_hexdigit());
    if path == "/" { path } else { path.trim_end_matches('/') }
        .split('/')
        .map(|word| if hex(&word) { "ID" } else { word })
        .collect::<Vec<_>>()
        .join("/")
}

pub fn point(op: &Op) -> String {
    let (kind, path) = op.words();
    format!("{kind} {}", class(&path))
}

#[test]
fn after_a_power_cut_anywhere_a_server_is_as_before_or_as_after() {
    let (mut points, mut count) = (BTreeMap::<String, usize>::new(), 0);
    for (story, kind) in stories() {
        let recorded = Recorded::of(story, kind);
        for op in &recorded.ops {
            *points.entry(point(op)).or_default() += 1;
        }
        let found = disks(&recorded.start, &recorded.ops, None);
        let share = if whole() { 1 } else { SHARE };
        println!("{kind:?}, {}: {} calls, {} disks", story.name, recorded.ops.len(), found.len());
        count += found.len().div_ceil(share);
        for disk in found.into_iter().step_by(share) {
            let disk: Tree = disk.into_iter().collect();
            if let Err(why) = recorded.judge(disk.clone()) {
                panic!("{kind:?}, {}: {why}\nwith the disk {}", story.name, shown(&disk));
            }
        }
    }
    for (point, times) in &points {
        println!("{times:5} {point}");
    }
    println!("{} points, {count} disks (every set of up to {BOUND} lost names)", points.len());
}

pub fn shown(disk: &Tree) -> String {
    let lines = disk.iter().filter(|(path, _)| path.starts_with("/data") || path.starts_with("/c"));
    lines.map(|(path, node)| format!("\n  {} {:.100}", path.display(), format!("{node:?}"))).collect()
}
