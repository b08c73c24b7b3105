//! What is interrupted: a state to start from, and a cycle after it.

use crate::machines::{KINDS, Kind};
use crate::world::World;

pub struct Story {
    pub name: &'static str,
    /// What the feed said before; empty: no agent has ever run here.
    start: &'static str,
    /// What it says now.
    then: &'static str,
    /// Rules that its server may read on the way, before and after included.
    states: usize,
    /// The same where units are taken out one by one: `m1` with its socket.
    units: usize,
    /// The same where pools are.
    pools: usize,
}

const STORIES: [Story; 6] = [
    Story { name: "first apply", start: "", then: "1 PING1 M1", states: 2, units: 3, pools: 2 },
    Story { name: "second mitigation", start: "1 M1", then: "2 M1 M2", states: 2, units: 2, pools: 2 },
    Story { name: "new revision", start: "1 M1(weak) M2", then: "2 M1 M2", states: 2, units: 4, pools: 3 },
    Story { name: "take-off", start: "1 M1", then: "2 -M1", states: 2, units: 3, pools: 2 },
    // A unit whose own file is where its mask would be.
    Story { name: "the condition leaves", start: "1 M2", then: "2 -M2", states: 0, units: 2, pools: 0 },
    Story { name: "harm, reverted", start: "1 M1", then: "2 M1 M2(harmful)", states: 2, units: 0, pools: 0 },
];

impl Story {
    pub fn states(&self, kind: Kind) -> usize {
        match kind {
            Kind::Systemd => self.units,
            Kind::Phpfpm => self.pools,
            _ => self.states,
        }
    }

    /// Some are of one kind of target, and where there is nothing to probe, nothing shows harm.
    fn is_told_of(&self, kind: Kind) -> bool {
        self.states(kind) > 0
    }

    pub fn told(&self, kind: Kind) -> World {
        let mut world = World::new(kind);
        if !self.start.is_empty() {
            world.bring(self.start);
        }
        world.publish(self.then);
        world.wait();
        world
    }
}

/// Every story on every kind of target; `STOPGAP_FIRE_ONLY` names what to run of them, such as `Iis, take-off`.
pub fn stories() -> impl Iterator<Item = (&'static Story, Kind)> {
    let only = std::env::var("STOPGAP_FIRE_ONLY").unwrap_or_default();
    let all = STORIES.iter().flat_map(|story| KINDS.map(|kind| (story, kind)));
    let all = all.filter(|(story, kind)| story.is_told_of(*kind));
    all.filter(move |(story, kind)| format!("{kind:?}, {}", story.name).contains(&only))
}

/// Whether the whole is asked for.
pub fn whole() -> bool {
    std::env::var("STOPGAP_FIRE").is_ok_and(|share| share == "all")
}
