//! An operator's word: what it takes off leaves the books, too, so that nobody is told that it stays.

use jiff::SignedDuration;
use stopgap_agent::operator::{Pause, Terms};

use crate::feed::document;
use crate::world::World;

fn in_force() -> World {
    let mut world = World::new();
    world.publish(document("1 M1", world.now));
    world.apply();
    assert!(world.rules_on_disk().is_some());
    world
}

fn taken_off(world: &World) {
    world.operator(|operator| {
        operator.block("M1".parse().unwrap(), Terms { take_off: true, ..Terms::default() });
    });
    world.apply();
    assert_eq!(world.rules_on_disk(), None);
    assert_eq!(world.ledger().mitigations.into_keys().collect::<Vec<_>>(), []);
}

#[test]
fn what_is_taken_off_in_a_pause_leaves_the_ledger() {
    let world = in_force();
    let until = world.now + SignedDuration::from_hours(1);
    world.operator(|operator| {
        operator.pause = Some(Pause { until, since: world.now, by: "root".into(), reason: None });
    });
    taken_off(&world);
}

#[test]
fn what_is_taken_off_a_contested_target_leaves_the_ledger() {
    let mut world = in_force();
    for _ in 0..3 {
        world.host.put(world.rules_file(), "<rewrite><rules/></rewrite>");
        world.wait(SignedDuration::from_mins(1));
        world.apply();
    }
    assert!(world.ledger().contested("gateway").is_some());
    taken_off(&world);
}
