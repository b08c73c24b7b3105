//! What several mitigations take out of service comes back with the last of them.

use crate::machines::Kind;
use crate::world::World;

/// The units that run, and those that will after a restart.
fn running(world: &World) -> [String; 2] {
    let names = |text: String| text.lines().collect::<Vec<_>>().join(" ").replace(".service", "");
    [world.memory.lock().unwrap().clone(), world.kind.rules(&world.host.tree("/"))].map(names)
}

#[test]
fn a_watcher_comes_back_with_the_last_mitigation_that_needs_it_off() {
    let orders = [["2 -M1 M2(first=watch)", "3 -M1 -M2"], ["2 M1(first=watch) -M2", "3 -M1 -M2"]];
    for ([one, none], left) in orders.into_iter().zip(["m1 m1.socket m1old", "m1old m2"]) {
        let mut world = World::new(Kind::Systemd);
        let before = running(&world);
        world.bring("1 M1(first=watch) M2(first=watch)");
        assert_eq!(running(&world), ["m1old", "m1old"]);
        for (words, expected) in [(one, left), (none, before[0].as_str())] {
            world.wait();
            world.bring(words);
            assert_eq!(running(&world), [expected, expected], "{words}");
        }
        assert_eq!(before[0], "m1 m1.socket m1old m2 watch");
    }
}
