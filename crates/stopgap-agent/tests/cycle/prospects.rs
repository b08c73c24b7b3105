//! What waits says what would be done, and that is what is done once it is let in.

use stopgap_agent::cycle::{Done, Mode, Prospect};
use stopgap_agent::operator::Pause;
use stopgap_core::plan::Step;
use stopgap_core::policy::{Approval, Approved};
use stopgap_feed::document::Wave;

use crate::feed::document;
use crate::world::World;

fn prospect(done: &Done, id: &str) -> Option<Prospect> {
    done.prospects.get(&format!("example:{id}").parse().unwrap()).cloned()
}

fn approve(world: &World, id: &str) {
    let key = format!("example:{id}").parse().unwrap();
    let digest = world.cycle(Mode::Plan).unwrap().selection.get(&key).unwrap().digest.clone();
    let (at, by) = (world.now, "alice".into());
    world.operator(|operator| operator.approve(Approved { key, digest, at, by, reason: None }));
}

/// The steps that were foretold for `id`, which are those of the plan now.
fn comes_true(world: &World, foretold: Prospect) {
    let planned: Vec<Step> = world.cycle(Mode::Plan).unwrap().plan.steps();
    assert!(!planned.is_empty());
    assert_eq!(foretold, Prospect { steps: planned, cannot: Vec::new() });
    let done = world.apply();
    assert!(done.prospects.is_empty(), "{:?}", done.prospects);
}

#[test]
fn what_would_be_done_is_what_is_done_once_it_is_approved() {
    let mut world = World::new();
    world.config.approval = Approval::Required;
    for (serial, revision) in [(1, 1), (2, 2)] {
        // The second time an earlier revision is in force already.
        world.publish(document(&format!("{serial} PING1 M1(revision={revision})"), world.now));
        let before = world.files();
        let foretold = prospect(&world.cycle(Mode::Plan).unwrap(), "M1").unwrap();
        assert_eq!(world.files(), before, "nothing is written for it");
        assert_eq!(prospect(&world.apply(), "M1").unwrap(), foretold);
        approve(&world, "M1");
        comes_true(&world, foretold);
    }
}

#[test]
fn each_of_two_that_wait_is_foretold_without_the_other() {
    let mut world = World::new();
    world.config.approval = Approval::Required;
    world.publish(document("1 PING1 M1 M2", world.now));
    let done = world.apply();
    let (one, other) = (prospect(&done, "M1").unwrap(), prospect(&done, "M2").unwrap());
    assert_ne!(one, other);
    approve(&world, "M2");
    let planned = world.cycle(Mode::Plan).unwrap();
    assert_eq!(planned.plan.steps(), other.steps);
}

#[test]
fn what_waits_for_its_ring_is_foretold_and_what_is_blocked_is_not() {
    let mut world = World::new();
    world.config.rings =
        vec![Wave { percent: 0, after_seconds: 0 }, Wave { percent: 100, after_seconds: 3_600 }];
    world.publish(document("1 PING1 M1 M2", world.now));
    world.operator(|operator| {
        operator.block("M2".parse().unwrap(), stopgap_agent::operator::Terms::default());
    });
    let done = world.apply();
    let foretold = prospect(&done, "M1").unwrap();
    assert_eq!(prospect(&done, "M2"), None);
    world.wait(jiff::SignedDuration::from_hours(2));
    comes_true(&world, foretold);
}

#[test]
fn what_a_pause_holds_is_foretold_and_what_is_in_force_is_not() {
    let mut world = World::new();
    world.publish(document("1 PING1 M1", world.now));
    world.apply();
    let until = world.now + jiff::SignedDuration::from_hours(2);
    let pause = Pause { until, since: world.now, by: "alice".into(), reason: None };
    world.operator(|operator| operator.pause = Some(pause));
    world.publish(document("2 PING1 M1 M2", world.now));
    let done = world.apply();
    assert_eq!(prospect(&done, "M1"), None);
    let foretold = prospect(&done, "M2").unwrap();
    world.operator(|operator| operator.pause = None);
    comes_true(&world, foretold);
}
