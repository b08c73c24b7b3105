//! The process dies, or one operation fails, at every operation of a cycle in turn.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use stopgap_agent::cycle::Mode;
use stopgap_agent::journal::{Event, Journal};
use stopgap_agent::operator::Terms;
use stopgap_core::observed::Hold;
use stopgap_core::report::Status;
use stopgap_testkit::host::Fault;

use crate::feed::document;
use crate::world::World;

/// A state to start from and what then happens: what is interrupted is the cycle after it.
struct Story {
    start: fn(&mut World),
    then: fn(&mut World),
    /// How many different rules are live during it, before and after included.
    states: usize,
}

const FIRST: Story =
    Story { start: |_| (), then: |world| world.publish(document("1 PING1 M1 M2", world.now)), states: 2 };
const REVISION: Story = Story {
    start: |world| bring(world, "1 M1(revision=1) M2"),
    then: |world| world.publish(document("2 M1(revision=2) M2", world.now)),
    states: 2,
};
const LAST_LEAVES: Story = Story {
    start: |world| bring(world, "1 M1"),
    then: |world| world.publish(document("2 -M1", world.now)),
    states: 2,
};
const REPAIR: Story = Story {
    start: |world| bring(world, "1 M1 M2"),
    then: |world| world.host.put(world.rules_file(), "<rewrite><rules/></rewrite>"),
    states: 2,
};
/// Seen at its end, M1 alone is live, as at its start.
const HARM: Story = Story {
    start: |world| bring(world, "1 M1"),
    then: |world| world.publish(document("2 M1 M2(harmful)", world.now)),
    states: 2,
};

fn bring(world: &mut World, words: &str) {
    world.publish(document(words, world.now));
    assert!(!world.apply().failed);
}

impl Story {
    fn told(&self) -> World {
        let mut world = World::new();
        (self.start)(&mut world);
        (self.then)(&mut world);
        world
    }

    /// The operations of its cycle that are worth a fault, and where it ends when nothing goes wrong.
    fn calm(&self) -> (Vec<usize>, Reached) {
        let world = self.told();
        world.host.set_fault(None);
        let _ = world.apply();
        let operations = world.host.operations();
        assert!(operations.len() > 40, "{operations:?}");
        // A probe that is asked again and again: what follows is the same whichever of them it hits.
        let probe = |at: usize| operations.get(at).is_some_and(|words| words.starts_with("exchange with"));
        let again = |at: &usize| *at > 0 && probe(at - 1) && probe(*at) && probe(at + 1);
        let points = (0..=operations.len()).filter(|at| !again(at)).collect();
        world.apply();
        (points, Reached::of(&world))
    }

    fn crash_everywhere(&self) {
        let (points, expected) = self.calm();
        let mut states = vec![self.told().rules_on_disk()];
        for at in points {
            let mut world = self.told();
            world.host.set_fault(Some(Fault::Crash(at)));
            let _ = world.cycle(Mode::Apply);
            world.host.set_fault(None);
            let live = world.rules_on_disk();
            if !states.contains(&live) {
                states.push(live);
            }

            world.wait(SignedDuration::from_secs(1));
            let done = world.apply();
            if done.reverted {
                world.apply();
            }
            assert_eq!(Reached::of(&world), expected, "a crash at operation {at}: {:#?}", done.events);
        }
        assert_eq!(states.len(), self.states, "the live rules are never half a state");
    }

    fn fail_everywhere(&self) {
        let (points, mut expected) = self.calm();
        expected.forgive_unproven();
        for at in points {
            let world = self.told();
            world.host.set_fault(Some(Fault::Once(at)));
            let _ = world.cycle(Mode::Apply);
            let failed = world.host.operations().get(at).cloned();
            world.host.set_fault(None);
            let done: Vec<_> = (0..2).map(|_| world.apply().events).collect();
            let mut reached = Reached::of(&world);
            reached.forgive_unproven();
            assert_eq!(reached, expected, "operation {at} fails, {failed:?}: {done:#?}");
        }
    }
}

#[test]
fn a_first_apply_survives_a_crash_at_every_operation() {
    FIRST.crash_everywhere();
}

#[test]
fn a_new_revision_survives_a_crash_at_every_operation() {
    REVISION.crash_everywhere();
}

#[test]
fn taking_the_last_one_off_survives_a_crash_at_every_operation() {
    LAST_LEAVES.crash_everywhere();
}

#[test]
fn a_repair_survives_a_crash_at_every_operation() {
    REPAIR.crash_everywhere();
}

#[test]
fn a_harmful_rule_survives_a_crash_at_every_operation() {
    HARM.crash_everywhere();
}

#[test]
fn an_operation_that_fails_once_is_made_good_by_the_next_cycles() {
    FIRST.fail_everywhere();
    REVISION.fail_everywhere();
}

/// A cycle that dies right after it began a change.
fn die(world: &World) {
    let begun = || {
        let lines = Journal::new(&world.home, &world.host).lines().unwrap();
        lines.iter().filter(|line| matches!(line.what, Event::Begin { .. })).count()
    };
    let before = begun();
    for at in 0.. {
        world.host.set_fault(Some(Fault::Crash(at)));
        let _ = world.cycle(Mode::Apply);
        world.host.set_fault(None);
        if begun() > before {
            return;
        }
    }
}

fn why(world: &World, id: &str) -> (Status, String) {
    let report = world.cycle(Mode::Plan).unwrap().report;
    let mitigation = report.mitigations.into_iter().find(|m| m.id.to_string() == id).unwrap();
    (mitigation.status, mitigation.reason.unwrap_or_default())
}

#[test]
fn what_killed_the_agent_twice_is_skipped_until_somebody_says_retry() {
    let mut world = World::new();
    bring(&mut world, "1 M1");
    world.publish(document("2 M1 M2", world.now));
    die(&world);
    world.wait(SignedDuration::from_secs(1));
    die(&world);
    world.wait(SignedDuration::from_secs(1));
    let done = world.apply();
    assert!(done.plan.is_empty() && done.failed, "{:#?}", done.events);
    let (status, reason) = why(&world, "M2");
    assert_eq!(status, Status::Failed);
    assert!(reason.starts_with("skipped after the agent died while applying it"), "{reason}");
    assert!(reason.ends_with("`stopgap retry M2` tries it again"), "{reason}");
    assert!(world.refuses("/m1") && !world.refuses("/m2"), "what was in force stays");
    let mut ledger = world.ledger();
    assert!(stopgap_agent::operator::retry(&mut ledger, "M2"));
    world.home.save_ledger(&world.host, &ledger).unwrap();
    assert!(!world.apply().failed);
    assert!(world.refuses("/m2"));
    assert!(world.ledger().failures.is_empty(), "a success is the end of the count");
}

#[test]
fn a_target_on_which_taking_off_kills_the_agent_twice_is_left_until_somebody_says_retry() {
    let mut world = World::new();
    bring(&mut world, "1 M1");
    world.operator(|operator| {
        operator.block("M1".parse().unwrap(), Terms { take_off: true, ..Terms::default() });
    });
    for _ in 0..2 {
        die(&world);
        world.wait(SignedDuration::from_secs(1));
    }
    let done = world.apply();
    assert!(done.plan.is_empty() && done.failed, "{:#?}", done.events);
    let said: Vec<String> = done.events.iter().map(|event| event.to_string()).collect();
    assert!(said.iter().any(|text| text.contains("`stopgap retry gateway` tries it again")), "{said:#?}");
    assert!(
        said.iter().any(|text| text.contains("example:M1 stays on gateway until")),
        "how by hand: {said:#?}"
    );
    assert!(world.refuses("/m1"), "what was in force stays");
    assert!(world.apply().plan.is_empty(), "and it is not tried by itself");
    let mut ledger = world.ledger();
    assert!(stopgap_agent::operator::retry(&mut ledger, "gateway"));
    world.home.save_ledger(&world.host, &ledger).unwrap();
    assert!(!world.apply().failed);
    assert!(!world.refuses("/m1"));
    assert!(world.ledger().targets["gateway"].deaths.is_empty());
}

#[test]
fn a_change_that_waits_to_be_taken_back_is_booked_as_a_death_once() {
    let mut waits = 0;
    for at in 0..80 {
        let world = FIRST.told();
        die(&world);
        world.host.set_fault(Some(Fault::Once(at)));
        let done = world.cycle(Mode::Apply);
        world.host.set_fault(None);
        let Ok(done) = done else { continue };
        if done.events.iter().any(|event| format!("{event:?}").contains("cannot be taken back")) {
            let pending = Journal::new(&world.home, &world.host).pending().unwrap();
            assert!(pending.iter().all(|open| !open.died), "operation {at}: {pending:#?}");
            waits += 1;
        }
    }
    assert!(waits > 0);
}

/// What `before` began, such as draining, does not last for as long as a change cannot be taken back.
#[test]
fn the_hook_after_a_change_runs_once_although_the_change_waits_to_be_taken_back() {
    let mut waited = false;
    for at in (0..80).step_by(3) {
        let mut world = FIRST.told();
        die(&world);
        world.config.hooks.after = vec!["/hooks/undrain".into()];
        world.host.set_fault(Some(Fault::Once(at)));
        let done = world.cycle(Mode::Apply);
        let calls = world.host.operations();
        world.host.set_fault(None);
        let Ok(done) = done else { continue };
        if done.events.iter().any(|event| format!("{event:?}").contains("cannot be taken back")) {
            let after = |calls: &[String]| calls.iter().filter(|call| call.contains("WHEN=after")).count();
            assert_eq!(after(&calls), 1, "operation {at}: {calls:#?}");
            world.wait(SignedDuration::from_secs(1));
            world.apply();
            assert!(after(&world.host.operations()) > 0, "and again when it is taken back");
            waited = true;
            break;
        }
    }
    assert!(waited);
}

#[test]
fn of_several_that_came_with_two_deaths_each_is_tried_alone() {
    let mut world = World::new();
    world.publish(document("1 M1 M2", world.now));
    for _ in 0..2 {
        die(&world);
        world.wait(SignedDuration::from_secs(1));
    }
    let done = world.apply();
    assert_eq!(done.plan.changes[0].puts_on.len(), 1, "{:#?}", done.events);
    assert_eq!(
        done.due,
        Some(world.now + SignedDuration::from_secs(1)),
        "the next one does not wait for the hour"
    );
    world.wait(SignedDuration::from_secs(1));
    die(&world);
    world.wait(SignedDuration::from_secs(1));
    world.apply();
    let refused = [world.refuses("/m1"), world.refuses("/m2")];
    assert_eq!(refused, [true, false], "the one that kills is skipped, the other is in force");
}

#[test]
fn an_error_is_no_death() {
    for at in 0..200 {
        let mut world = World::new();
        world.publish(document("1 M1", world.now));
        world.host.set_fault(Some(Fault::Once(at)));
        let _ = world.cycle(Mode::Apply);
        world.host.set_fault(None);
        let pending = Journal::new(&world.home, &world.host).pending().unwrap();
        assert!(pending.iter().all(|open| !open.died), "operation {at} fails: {pending:#?}");
        if world.host.operations().len() < at {
            break;
        }
    }
}

/// Where a server is, whatever happened on the way.
#[derive(Debug, PartialEq)]
struct Reached {
    statuses: BTreeMap<String, (Status, bool)>,
    refused: Vec<bool>,
    in_ledger: Vec<String>,
    holds: Vec<(String, String)>,
    files: Vec<String>,
    pending: usize,
}

impl Reached {
    /// A baseline that could not be seen cannot prove anything later.
    fn forgive_unproven(&mut self) {
        for (status, _) in self.statuses.values_mut() {
            if *status == Status::Unproven {
                *status = Status::Applied;
            }
        }
    }

    fn of(world: &World) -> Reached {
        let report = world.cycle(Mode::Plan).unwrap().report;
        assert_eq!(report.steps.map(|steps| steps.len()), Some(0), "nothing is left to do");
        let ledger = world.ledger();
        let left = &ledger.targets["gateway"];
        let manifest = world.host.peek("/data/gateway/live/manifest.json");
        let on_disk: Vec<Hold> =
            manifest.map(|text| serde_json::from_slice(&text).unwrap()).unwrap_or_default();
        assert_eq!(left.holds, on_disk, "the ledger and the live set agree");
        assert!(!left.undone && left.given_up.is_none());
        Reached {
            statuses: report.mitigations.iter().map(|m| (m.id.to_string(), (m.status, m.in_force))).collect(),
            refused: ["/m1", "/m2", "/"].map(|path| world.refuses(path)).to_vec(),
            in_ledger: ledger.mitigations.keys().map(ToString::to_string).collect(),
            holds: left.holds.iter().map(|hold| (hold.action.to_string(), hold.digest.clone())).collect(),
            files: world.files().keys().map(|path| path.display().to_string()).collect(),
            pending: Journal::new(&world.home, &world.host).pending().unwrap().len(),
        }
    }
}
