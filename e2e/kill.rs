//! `kill -9` at any point of a change: what is live is one state or the other, and the next cycle
//! brings the one that is wanted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::proxies::{APACHE, HAPROXY, Kind, Server};
use crate::world::*;

/// What the server reads: the files behind the live link; `None` where there is no link.
type Live = Option<BTreeMap<PathBuf, Vec<u8>>>;

/// A server on which M1 is put on and taken off by turns.
struct Stage<'a> {
    world: &'a World,
    /// The folder of the target's sets.
    folder: PathBuf,
    target: &'static str,
    address: std::net::SocketAddr,
    /// What M1 makes of an attack here.
    refused: Seen,
    /// With M1 in force.
    on: Live,
    /// How long a whole `apply` takes here.
    usual: Duration,
}

/// What kills met.
#[derive(Debug, Default)]
struct Met {
    kills: u32,
    /// The change was journaled and had no end.
    midway: u32,
    /// Live was already the new state.
    swapped: u32,
}

impl<'a> Stage<'a> {
    fn set(world: &'a World, target: &'static str, table: &str, address: std::net::SocketAddr) -> Stage<'a> {
        let publisher = world.publisher();
        publisher.write_m1(3);
        publisher.publish();
        world.config(&format!("soak = \"0s\"\n{}{table}", publisher.table()));
        world.exchange(VULNERABLE);
        let folder = world.data().join(target);
        Stage { world, folder, target, address, refused: Seen::Closed, on: None, usual: Duration::ZERO }
    }

    /// Learns both states and the usual duration from changes that nobody interrupts.
    fn rehearse(&mut self) {
        self.want(true);
        self.world.ok(&["apply"]);
        self.on = live(&self.folder);
        assert!(self.on.is_some());
        let times = [false, true, false].map(|on| {
            self.want(on);
            let start = Instant::now();
            self.world.ok(&["apply"]);
            start.elapsed()
        });
        assert_eq!(live(&self.folder), None);
        self.usual = times.into_iter().max().unwrap();
    }

    fn want(&self, on: bool) {
        self.world.exchange(if on { VULNERABLE } else { FIXED });
    }

    /// Kills `count` changes, on and off by turns, at evenly spread moments; the last ones a quarter later than a
    /// change usually takes, since its end is where servers differ.
    fn kill_changes(&self, count: u32, start: impl Fn(&World) -> Process) -> Met {
        let mut met = Met::default();
        for turn in 0..count {
            let on = turn % 2 == 0;
            self.want(on);
            let process = start(self.world);
            let moment = self.usual * turn * 5 / (count * 4);
            std::thread::sleep(moment);
            process.kill();
            met.kills += 1;
            met.midway += u32::from(self.pending());
            let place = format!("turn {turn}, killed after {moment:?}");
            let found = live(&self.folder);
            assert!(found.is_none() || found == self.on, "{place}: half a state is live: {found:?}");
            met.swapped += u32::from(found.is_some() == on);
            assert_eq!(ask(self.address, BENIGN), Seen::Status(200), "{place}");
            let attack = ask(self.address, ATTACK);
            assert!([Seen::Status(200), self.refused].contains(&attack), "{place}: {attack:?}");
            self.ledger();
            self.finish(on, &place);
        }
        met
    }

    /// The next cycle brings what is wanted, and nothing is left open.
    fn finish(&self, on: bool, place: &str) {
        let ran = self.world.stopgap(&["apply"]);
        assert_eq!(ran.code, 0, "{place}: {ran:#?}");
        assert_eq!(live(&self.folder), if on { self.on.clone() } else { None }, "{place}: {ran:#?}");
        assert!(!self.pending(), "{place}: a change is pending: {ran:#?}");
        let expected = if on { self.refused } else { Seen::Status(200) };
        assert_eq!(ask(self.address, ATTACK), expected, "{place}: {ran:#?}");
        assert_eq!(ask(self.address, BENIGN), Seen::Status(200), "{place}: {ran:#?}");
        let m1 = self.world.mitigation("M1");
        let status = if on { "Applied" } else { "NotApplicable" };
        assert_eq!(
            (&m1["status"], &m1["in_force"]),
            (&status.into(), &on.into()),
            "{place}: {m1:#}\n{ran:#?}"
        );
        let holds = self.ledger()["targets"][self.target]["holds"].as_array().map_or(0, Vec::len);
        assert_eq!(holds, usize::from(on), "{place}: the ledger agrees");
    }

    /// The ledger, which is whole at any moment.
    fn ledger(&self) -> Value {
        serde_json::from_slice(&fs::read(self.world.data().join("ledger.json")).unwrap()).unwrap()
    }

    /// Whether the journal holds a change without an end. Its last line may be torn; no other.
    fn pending(&self) -> bool {
        let text = fs::read_to_string(self.world.data().join("journal.jsonl")).unwrap();
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        let last = whole.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).next_back();
        last.is_some_and(|line| line["event"] == "begin")
    }
}

fn live(folder: &Path) -> Live {
    let link = folder.join("live");
    // Where HAProxy finds empty files.
    fs::read_link(&link).ok().filter(|to| to != Path::new("none"))?;
    // A link to nothing is half a state: it is listed as an empty set, which no state is.
    let entries = fs::read_dir(&link).into_iter().flatten();
    Some(
        entries
            .map(|entry| {
                let path = entry.unwrap().path();
                (path.file_name().unwrap().into(), fs::read(&path).unwrap())
            })
            .collect(),
    )
}

fn apply(world: &World) -> Process {
    Process::start(world.command(&["apply"]).stderr(Stdio::null()))
}

#[test]
fn apply_is_killed_in_front_of_a_gateway() {
    let (world, origin) = (World::new(), Origin::start());
    let gateway = world.gateway(origin.address);
    let mut stage = Stage::set(&world, "gateway", &gateway.target(), gateway.address);
    stage.rehearse();
    let met = stage.kill_changes(48, apply);
    println!("gateway, apply within {:?}: {met:?}", stage.usual);
    assert!(met.midway > 0 && met.swapped > 0, "kills met the change: {met:?}");

    // Nothing is left of 48 interrupted changes but what the gateway itself needs.
    stage.want(false);
    world.ok(&["apply"]);
    let left: Vec<PathBuf> = snapshot(&stage.folder, &["control.sock"]).into_keys().collect();
    assert_eq!(left, [""; 0].map(PathBuf::from));
}

#[test]
fn the_agent_is_killed_in_front_of_a_gateway() {
    let (world, origin) = (World::new(), Origin::start());
    let gateway = world.gateway(origin.address);
    let mut stage = Stage::set(&world, "gateway", &gateway.target(), gateway.address);
    stage.rehearse();
    let met = stage.kill_changes(16, World::agent);
    println!("gateway, agent within {:?}: {met:?}", stage.usual);
    assert!(met.midway > 0 || met.swapped > 0, "kills met the change: {met:?}");

    // The service, too, goes on by itself.
    stage.want(true);
    let mut agent = world.agent();
    wait_until("M1 is in force", || ask(stage.address, ATTACK) == Seen::Closed);
    world.await_status("M1", "Applied");
    assert!(agent.runs());
    assert!(agent.terminate().success());
    stage.finish(true, "after the service");
}

#[test]
fn apply_is_killed_in_front_of_nginx() {
    if !nginx_is_here("apply_is_killed_in_front_of_nginx") {
        return;
    }
    let (world, origin) = (World::new(), Origin::start());
    let nginx = Nginx::start(&world, &["mail.example.org"], origin.address);
    let address = nginx.address("mail.example.org");
    let mut stage = Stage::set(&world, "nginx", &nginx.target(&["mail.example.org"]), address);
    world.ok(&["agent", "hook", "nginx", "--insert"]);
    let before = snapshot(&nginx.folder, &["run"]);
    stage.rehearse();
    let met = stage.kill_changes(24, apply);
    println!("nginx, apply within {:?}: {met:?}", stage.usual);
    assert!(met.midway > 0 && met.swapped > 0, "kills met the change: {met:?}");
    let tested = run(nginx.command(&["-t", "-q"]));
    assert_eq!(tested.code, 0, "{tested:#?}");

    stage.want(false);
    world.ok(&["apply"]);
    assert_eq!(snapshot(&nginx.folder, &["run"]), before);
    assert!(!stage.folder.exists(), "{:?}", snapshot(&stage.folder, &[]));
}

#[test]
fn apply_is_killed_in_front_of_apache() {
    apply_is_killed(&APACHE, "apply_is_killed_in_front_of_apache");
}

#[test]
fn apply_is_killed_in_front_of_haproxy() {
    apply_is_killed(&HAPROXY, "apply_is_killed_in_front_of_haproxy");
}

fn apply_is_killed(kind: &'static Kind, test: &str) {
    if !kind.is_here(test) {
        return;
    }
    let (world, origin) = (World::new(), Origin::start());
    let server = Server::start(&world, kind, origin.address);
    let mut stage = Stage::set(&world, kind.name, &server.target(kind), server.address);
    stage.refused = kind.refused;
    world.ok(&["agent", "hook", kind.name, "--insert"]);
    let (before, data) = (server.files(), snapshot(&stage.folder, &[]));
    stage.rehearse();
    let met = stage.kill_changes(16, apply);
    println!("{}, apply within {:?}: {met:?}", kind.name, stage.usual);
    assert!(met.midway > 0 && met.swapped > 0, "kills met the change: {met:?}");

    stage.want(false);
    world.ok(&["apply"]);
    assert_eq!((server.files(), snapshot(&stage.folder, &[])), (before, data));
}

/// A revision replaces another, and is killed: the attack that both refuse never passes.
#[test]
fn a_replacement_is_killed_in_front_of_a_gateway() {
    let (world, origin) = (World::new(), Origin::start());
    let gateway = world.gateway(origin.address);
    let publisher = world.publisher();
    world.config(&format!("{}{}", publisher.table(), gateway.target()));
    world.exchange(VULNERABLE);
    let folder = world.data().join("gateway");
    let release = |revision: usize| {
        publisher.write_m1(revision);
        publisher.publish();
    };
    let mut usual = Duration::ZERO;
    let mut states: Vec<Live> = [0, 3, 0, 3]
        .map(|revision| {
            release(revision);
            let start = Instant::now();
            world.ok(&["apply"]);
            usual = usual.max(start.elapsed());
            live(&folder)
        })
        .into();
    assert_eq!(states[..2], states[2..], "a revision is always the same set");
    states.truncate(2);

    const KILLS: u32 = 24;
    for turn in 0..KILLS {
        let next = usize::try_from(turn % 2).unwrap();
        release([0, 3][next]);
        let process = apply(&world);
        std::thread::sleep(usual * turn / KILLS);
        process.kill();
        let place = format!("turn {turn}, killed after {:?}", usual * turn / KILLS);
        assert!(states.contains(&live(&folder)), "{place}: half a state is live");
        assert_eq!(ask(gateway.address, ATTACK), Seen::Closed, "{place}");
        let ran = world.stopgap(&["apply"]);
        assert_eq!(ran.code, 0, "{place}: {ran:#?}");
        assert_eq!(live(&folder), states[next], "{place}: {ran:#?}");
        assert_eq!(ask(gateway.address, ATTACK), Seen::Closed, "{place}");
        let m1 = world.mitigation("M1");
        assert_eq!(m1["status"], "Applied", "{place}: {m1:#}");
    }
}
