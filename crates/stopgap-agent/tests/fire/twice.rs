//! The agent is killed, the next one does its work, and the power goes then: what the next one found need not have been on
//! the disk.

use stopgap_testkit::fire::{Op, Tree, disks_after};

use crate::power::{Recorded, end, shown};
use crate::story::{stories, whole};

/// Of so many calls, the agent is killed after one in the quick share, and of so many disks one is looked at.
const SHARE: (usize, usize) = (7, 23);

#[test]
fn after_a_kill_and_then_a_power_cut_a_server_is_as_before_or_as_after() {
    let (calls, states) = if whole() { (1, 5) } else { SHARE };
    let (mut kills, mut count) = (0, 0);
    for (story, kind) in stories() {
        let end = end(story, kind);
        let ops = Recorded::of(story, kind).ops;
        let changes = |done: &usize| !matches!(ops.get(done - 1), Some(Op::Outside(_, None)));
        for done in (1..ops.len()).filter(changes).step_by(calls) {
            let two = Recorded::of_two(story, kind, done, end.clone());
            kills += 1;
            // Every disk of one kill in a place that moves, so that the share is of all of them.
            let found = disks_after(&two.start, &two.ops, done, None);
            for (at, disk) in found.into_iter().enumerate() {
                // The first is the one that has lost the most.
                if at > 0 && at % states != done % states {
                    continue;
                }
                let disk: Tree = disk.into_iter().collect();
                count += 1;
                if let Err(why) = two.judge(disk.clone()) {
                    panic!(
                        "{kind:?}, {}: killed after {:?}: {why}\nwith {}",
                        story.name,
                        ops[done - 1].words(),
                        shown(&disk)
                    );
                }
            }
        }
    }
    println!("killed {kills} times, {count} disks after it");
}
