//! Every wait for the disk is left out, one at a time, and something breaks.

use std::collections::BTreeMap;

use stopgap_testkit::fire::disks;

use crate::machines::Kind;
use crate::power::{Recorded, point};
use crate::story::{stories, whole};

/// Without these (kinds of calls and files, `TARGET` for each target) nothing broke in any state of any story, and why they stay.
const IDLE: [(&str, &str); 9] = [
    ("sync folder /data/TARGET/staged/sets/ID", STAGED),
    ("sync folder /data/feeds", FEED),
    ("sync folder /etc/systemd/system/m2.service.d", CONDITION),
    ("write /data/TARGET/..record.json.stopgap-new", COPY),
    ("write /data/TARGET/staged/php-fpm.conf", STAGED),
    ("write /data/TARGET/staged/sets/ID/http.conf", STAGED),
    ("write /data/TARGET/staged/sets/ID/manifest.json", STAGED),
    ("write /data/TARGET/staged/sets/ID/server.conf", STAGED),
    ("write /data/feeds/.example.xml.stopgap-new", FEED),
];
const CONDITION: &str = "lost, the unit starts with the machine, and the next cycle takes it off again";
const COPY: &str =
    "torn, it is written anew by the next cycle; read where somebody has removed what is live by hand";
const STAGED: &str = "for the server's own test, and never live; made by the call that makes what is";
const FEED: &str = "every story fetches it again; without a network it is what the agent goes by, and its serial what keeps \
                    an older one out";

/// What became of leaving a wait out.
#[derive(Default)]
struct Left {
    /// So many times in all stories.
    times: usize,
    states: usize,
    /// The first state that broke.
    breaks: Option<String>,
}

#[test]
fn a_wait_for_the_disk_that_is_left_out_breaks_something() {
    let mut waits = BTreeMap::<String, Left>::new();
    let idle = |point: &str| IDLE.iter().any(|(known, _)| *known == point);
    for (story, kind) in stories() {
        let recorded = Recorded::of(story, kind);
        let sound = disks(&recorded.start, &recorded.ops, None);
        for (number, op) in recorded.ops.iter().enumerate().filter(|(_, op)| op.syncs()) {
            let point = named(kind, &point(op));
            let left = waits.entry(point.clone()).or_default();
            left.times += 1;
            if left.breaks.is_some() || (!whole() && idle(&point)) {
                continue;
            }
            let found = disks(&recorded.start, &recorded.ops, Some(number));
            for disk in found.difference(&sound) {
                left.states += 1;
                if let Err(why) = recorded.judge(disk.iter().cloned().collect()) {
                    let why = why.lines().next().unwrap_or_default();
                    left.breaks = Some(format!("{}: {why:.100}", story.name));
                    break;
                }
            }
        }
    }
    for (point, Left { times, states, breaks }) in &waits {
        let breaks = breaks.as_deref().unwrap_or("nothing breaks");
        println!("{times:4} {point}: {states} states; {breaks}");
    }
    if std::env::var_os("STOPGAP_FIRE_ONLY").is_some() {
        println!("not judged: a wait that one story does not need another may");
        return;
    }
    let unknown: Vec<&String> =
        waits.iter().filter(|(point, left)| left.breaks.is_none() && !idle(point)).map(|(p, _)| p).collect();
    assert!(unknown.is_empty(), "nothing breaks without {unknown:#?}");
    let needed = |point: &&str| waits.get(*point).is_none_or(|left| left.breaks.is_some());
    let stale: Vec<&str> = IDLE.iter().map(|(point, _)| *point).filter(needed).collect();
    assert!(!whole() || stale.is_empty(), "it is needed, or made no more: {stale:#?}");
}

/// With what all targets have in common under one name.
fn named(kind: Kind, point: &str) -> String {
    let own = format!("/data/{}", kind.name());
    point.replace(&own, "/data/TARGET")
}
