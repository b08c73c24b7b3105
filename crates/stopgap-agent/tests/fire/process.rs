//! The agent dies, or a call is refused, and the machine goes on.

use std::io;

use stopgap_agent::cycle::Mode;
use stopgap_testkit::host::Fault;

use crate::machines::Kind;
use crate::reached::Reached;
use crate::story::{Story, stories, whole};

/// The calls of the story's cycle that are worth a fault, and where it ends when nothing goes wrong.
fn calm(story: &Story, kind: Kind) -> (Vec<usize>, Vec<String>, Reached) {
    let mut world = story.told(kind);
    world.host.set_fault(None);
    let _ = world.cycle(&world.host, Mode::Apply).unwrap();
    let calls = world.host.operations();
    // A probe that is asked again and again: what follows is the same whichever of them it hits.
    let probe = |at: usize| calls.get(at).is_some_and(|words| words.starts_with("exchange with"));
    let again = |at: &usize| *at > 0 && probe(at - 1) && probe(*at) && probe(at + 1);
    let points = (0..calls.len()).filter(|at| !again(at)).collect();
    let end = Reached::after(&mut world).unwrap();
    (points, calls, end)
}

/// Of so many calls, one is in the quick share.
fn share() -> usize {
    if whole() { 1 } else { 5 }
}

#[test]
fn an_agent_that_is_killed_at_any_call_leaves_nothing_half() {
    let mut count = 0;
    for (story, kind) in stories() {
        let (points, calls, end) = calm(story, kind);
        for at in points.into_iter().step_by(share()) {
            let mut world = story.told(kind);
            world.host.set_fault(Some(Fault::Crash(at)));
            let _ = world.cycle(&world.host, Mode::Apply);
            world.host.set_fault(None);
            let reached = Reached::after(&mut world).and_then(|reached| reached.compare(&end));
            if let Err(why) = reached {
                panic!("{kind:?}, {}: killed at {at}, {}:\n{why}", story.name, calls[at]);
            }
            count += 1;
        }
    }
    println!("killed {count} times");
}

#[test]
fn a_call_that_is_refused_once_is_made_good() {
    let mut count = 0;
    for (story, kind) in stories() {
        let (points, calls, end) = calm(story, kind);
        for error in [io::ErrorKind::Other, io::ErrorKind::StorageFull] {
            for at in points.iter().step_by(share()) {
                // Without a baseline no harm can be seen: the rule stays, unproven.
                // Nor where what is in force cannot be read at that moment; whether a later cycle should look
                // for the harm again is not decided.
                let blind = ["exchange with", "control "].iter().any(|call| calls[*at].starts_with(call));
                if story.name.contains("harm") && blind {
                    continue;
                }
                // A service that may start again and does not is its owner's matter: told in the log, and no
                // reason to try again.
                if calls[*at].contains("systemctl") && calls[*at].contains(" start -- ") {
                    continue;
                }
                let mut world = story.told(kind);
                world.host.fail_as(error);
                world.host.set_fault(Some(Fault::Once(*at)));
                let _ = world.cycle(&world.host, Mode::Apply);
                world.host.set_fault(None);
                let reached = Reached::after(&mut world);
                let same = reached.and_then(|reached| reached.forgiving().compare(&end.clone().forgiving()));
                if let Err(why) = same {
                    panic!("{kind:?}, {}: {error} at {at}, {}:\n{why}", story.name, calls[*at]);
                }
                count += 1;
            }
        }
    }
    println!("refused {count} times");
}
