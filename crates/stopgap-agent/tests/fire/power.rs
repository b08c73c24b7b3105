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
    start: Tree,
    pub ops: Vec<Op>,
    /// Where it ends when nothing goes wrong.
    end: Reached,
    /// The rules that its server may read.
    allowed: BTreeSet<String>,
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
        assert_eq!(allowed.len(), story.states, "{} on {kind:?}", story.name);
        let mut calm = story.told(kind);
        calm.cycle(&calm.host, Mode::Apply).unwrap();
        let end = Reached::after(&mut calm).unwrap();
        let back = kind.rules(&start) == kind.rules(&calm.host.tree("/"));
        assert_eq!(back, story.name.contains("reverted"), "{} on {kind:?}", story.name);
        Recorded { world, start, ops, end, allowed }
    }

    /// What is wrong after the power came back with this disk.
    fn judge(&self, disk: Tree) -> Result<(), String> {
        let rules = self.world.kind.rules(&disk);
        if !self.allowed.contains(&rules) {
            return Err(format!("the server starts with {rules:?}"));
        }
        let mut world = self.world.on(&disk);
        Reached::after(&mut world)?.compare(&self.end)
    }
}

/// Of so many disks, one is in the quick share.
const SHARE: usize = 4;

/// A path without what differs from set to set.
fn class(path: &str) -> String {
    let hex = |word: &&str| word.len() > 40 && word.chars().all(|c| c.is_ascii_hexdigit());
    path.split('/').map(|word| if hex(&word) { "ID" } else { word }).collect::<Vec<_>>().join("/")
}

fn point(op: &Op) -> String {
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

fn shown(disk: &Tree) -> String {
    let lines = disk.iter().filter(|(path, _)| path.starts_with("/data") || path.starts_with("/c"));
    lines.map(|(path, node)| format!("\n  {} {:.100}", path.display(), format!("{node:?}"))).collect()
}

#[test]
fn a_wait_for_the_disk_that_is_left_out_breaks_something() {
    let one =
        |(story, kind): &(&Story, Kind)| whole() || (*kind, story.name) == (Kind::Gateway, "first apply");
    let mut needed = BTreeMap::<String, bool>::new();
    for (story, kind) in stories().filter(one) {
        let recorded = Recorded::of(story, kind);
        let sound = disks(&recorded.start, &recorded.ops, None);
        for (number, op) in recorded.ops.iter().enumerate().filter(|(_, op)| op.syncs()) {
            let point = format!("{kind:?}: {}", point(op));
            let asked = whole() || point.ends_with("rules.xml");
            if !asked || needed.get(&point) == Some(&true) {
                continue;
            }
            let found = disks(&recorded.start, &recorded.ops, Some(number));
            let breaks =
                found.difference(&sound).any(|disk| recorded.judge(disk.iter().cloned().collect()).is_err());
            *needed.entry(point).or_default() |= breaks;
        }
    }
    let idle: Vec<&String> = needed.iter().filter(|(_, breaks)| !**breaks).map(|(point, _)| point).collect();
    assert!(needed.iter().any(|(point, breaks)| point.ends_with("rules.xml") && *breaks), "{needed:#?}");
    println!("{} kinds of waits for the disk; nothing breaks without: {idle:#?}", needed.len());
}
