//! Services under a systemd that a test scripts: what is decided, and that a change that breaks anywhere goes back.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use stopgap_core::plan::{Change, Rendered, Wanted};
use stopgap_drivers::Driver;
use stopgap_drivers::host::{Command, Output};
use stopgap_drivers::systemd::{self, Settings, Systemd};
use stopgap_feed::document::{Action, ActionKind, Scope};
use stopgap_testkit::host::{FakeHost, Fault};

const FOLDER: &str = "/var/lib/stopgap/systemd";

/// What systemd knows of a unit, in the scripted one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Unit {
    runs: bool,
    /// Its own file is in `/etc/systemd/system`.
    own_file: bool,
    /// `property=unit`, as `systemctl show` has it.
    relations: Vec<String>,
}

type Units = Arc<Mutex<BTreeMap<String, Unit>>>;

fn unit(runs: bool, relations: &[&str]) -> Unit {
    Unit { runs, own_file: false, relations: relations.iter().map(|one| (*one).to_owned()).collect() }
}

fn mask(name: &str) -> String {
    format!("/etc/systemd/system/{name}")
}

/// A machine whose systemctl works on `units`; masks and drop-ins are files of the machine.
fn machine(units: &[(&str, Unit)]) -> (FakeHost, Units) {
    let units: BTreeMap<String, Unit> =
        units.iter().map(|(name, unit)| ((*name).to_owned(), unit.clone())).collect();
    let units = Arc::new(Mutex::new(units));
    let known = units.clone();
    let host = FakeHost::new().on_run(move |host, command| systemctl(host, &known, command));
    host.put("/run/systemd/system/x", "");
    host.put("/etc/systemd/system/x", "");
    for (name, unit) in units.lock().unwrap().iter().filter(|(_, unit)| unit.own_file) {
        assert!(unit.own_file);
        host.put(mask(name), "[Service]\n");
    }
    (host, units)
}

fn systemctl(host: &FakeHost, units: &Units, command: &Command) -> io::Result<Output> {
    let mut units = units.lock().unwrap();
    let words: Vec<&str> =
        command.args.iter().map(String::as_str).filter(|word| !word.starts_with("--")).collect();
    let masked =
        |name: &str| host.tree(mask(name)).values().any(|node| format!("{node:?}").contains("/dev/null"));
    let done = |text: String| Ok(Output { status: Some(0), stdout: text.into_bytes(), ..Output::default() });
    let no = |text: &str| Ok(Output { status: Some(1), stderr: text.into(), ..Output::default() });
    match words.as_slice() {
        ["show", names @ ..] => {
            let show = |name: &&str| {
                let Some(unit) = units.get(*name) else {
                    return format!(
                        "Id={name}\nNames={name}\nLoadState=not-found\nActiveState=inactive\nSubState=dead\n"
                    );
                };
                let (load, file) = if masked(name) { ("masked", "masked") } else { ("loaded", "enabled") };
                let (active, sub) = if unit.runs { ("active", "running") } else { ("inactive", "dead") };
                let fragment = if unit.own_file { mask(name) } else { format!("/lib/systemd/system/{name}") };
                let drop_in = format!("/etc/systemd/system/{name}.d/90-stopgap.conf");
                let drop_in = host.peek(&drop_in).map_or(String::new(), |_| drop_in);
                let relations = if masked(name) { String::new() } else { unit.relations.join("\n") };
                format!(
                    "Id={name}\nNames={name}\nLoadState={load}\nUnitFileState={file}\nActiveState={active}\n\
                     SubState={sub}\nFragmentPath={fragment}\nDropInPaths={drop_in}\n{relations}\n"
                )
            };
            done(names.iter().map(show).collect::<Vec<_>>().join("\n"))
        }
        ["stop", name] => {
            let bound: Vec<String> = units[*name]
                .relations
                .iter()
                .filter_map(|one| one.strip_prefix("BoundBy="))
                .map(str::to_owned)
                .collect();
            for name in bound.iter().map(String::as_str).chain([*name]) {
                units.get_mut(name).unwrap().runs = false;
            }
            done(String::new())
        }
        ["start", name] => {
            let condition = format!("/etc/systemd/system/{name}.d/90-stopgap.conf");
            if masked(name) {
                return no("Unit is masked.");
            }
            let starts = format!("TriggeredBy={name}");
            let served = units.values().any(|unit| unit.runs && unit.relations.contains(&starts));
            if name.ends_with(".socket") && served && !units[*name].runs {
                return no("Socket service already active, refusing.");
            }
            if host.peek(condition).is_none() {
                units.get_mut(*name).unwrap().runs = true;
            }
            done(String::new())
        }
        ["mask", name] => {
            host.link(mask(name), "/dev/null");
            done(String::new())
        }
        ["unmask", name] => {
            host.take(mask(name));
            done(String::new())
        }
        ["daemon-reload"] => done(String::new()),
        other => panic!("systemctl {other:?}"),
    }
}

fn driver() -> Systemd {
    let (name, folder) = ("systemd".to_owned(), FOLDER.into());
    Systemd::new(Settings {
        name,
        folder,
        never_touch: Vec::new(),
        max_stopped: 5,
        stop_within: systemd::JOB,
    })
}

fn wanted(action: &str, names: &[&str]) -> Wanted {
    Wanted {
        observe: false,
        key: format!("example:{}", action.split('.').next().unwrap()).parse().unwrap(),
        digest: "0".repeat(64),
        action: Action {
            id: action.parse().unwrap(),
            description: String::new(),
            scope: Scope::Server,
            target: None,
            platform: None,
            kind: ActionKind::Service { names: names.iter().map(|name| (*name).to_owned()).collect() },
        },
        probes: Vec::new(),
        sites: None,
    }
}

fn render(host: &FakeHost, wanted: &[Wanted]) -> Rendered {
    let observed = driver().observe(host).unwrap();
    let looked = driver().look(host, wanted, &observed).unwrap();
    driver().render(wanted, &looked)
}

fn apply(host: &FakeHost, wanted: &[Wanted]) -> Change {
    let change = render(host, wanted).change.unwrap();
    driver().check(host, &change).unwrap();
    driver().apply(host, &change).unwrap();
    driver().settle(host, &change).unwrap();
    assert_eq!(render(host, wanted).change, None);
    change
}

/// A service with a socket, what is bound to it, and one whose own file is in `/etc`.
fn printing() -> (FakeHost, Units) {
    let own = Unit { own_file: true, ..unit(true, &[]) };
    machine(&[
        ("print.service", unit(true, &["TriggeredBy=print.socket", "BoundBy=browse.service"])),
        // A service may require its own socket.
        ("print.socket", unit(true, &["RequiredBy=print.service"])),
        ("browse.service", unit(true, &[])),
        ("own.service", own),
    ])
}

#[test]
fn a_change_that_breaks_anywhere_goes_back_to_where_it_came_from() {
    let all = [wanted("P1.1", &["cupsd", "print"]), wanted("P1.2", &["own"])];
    let count = {
        let (host, _) = printing();
        let change = render(&host, &all).change.unwrap();
        host.set_fault(None);
        driver().apply(&host, &change).unwrap();
        host.operations().len()
    };
    let mut broken = 0;
    for fault in (0..count).flat_map(|n| [Fault::Once(n), Fault::Crash(n)]) {
        for back in [false, true] {
            let (host, units) = printing();
            let (before, files) = (units.lock().unwrap().clone(), host.tree("/etc"));
            let mut change = render(&host, &all).change.unwrap();
            let (mut to, mut tree) = (before, files);
            if back {
                apply(&host, &all);
                change = render(&host, &[]).change.unwrap();
                (to, tree) = (units.lock().unwrap().clone(), host.tree("/etc"));
            }
            host.set_fault(Some(fault));
            let failed = driver().apply(&host, &change).is_err();
            host.set_fault(None);
            broken += usize::from(failed);
            driver().revert(&host, &change).unwrap();
            assert_eq!((units.lock().unwrap().clone(), host.tree("/etc")), (to, tree), "{fault:?} {back}");
            let live = driver().observe(&host).unwrap().live;
            assert_eq!((live.set.is_some(), live.foreign), (back, vec![]), "{fault:?}");
        }
    }
    assert!(broken > count, "{broken} of {count}");
}

#[test]
fn a_trigger_that_systemd_has_forgotten_stays_off_and_comes_back_with_its_service() {
    let (host, units) = printing();
    let before = units.lock().unwrap().clone();
    let all = [wanted("P1.1", &["print"])];
    let change = apply(&host, &all);
    let names: Vec<&str> = change.switches.iter().map(|switch| switch.name.as_str()).collect();
    assert_eq!(names, ["print.socket", "print.service"]);
    let notes = |verb: &str| {
        ["print.socket", "print.service"].map(|name| format!("{name}: this also {verb} browse.service"))
    };
    assert_eq!(change.notes, notes("stops"));
    let mut change = apply(&host, &[]);
    change.notes.reverse();
    assert_eq!(change.notes, notes("starts"));
    assert_eq!(*units.lock().unwrap(), before);
}

#[test]
fn what_stopped_along_and_is_then_wanted_off_itself_still_comes_back_running() {
    let (host, units) = printing();
    let before = units.lock().unwrap().clone();
    apply(&host, &[wanted("P1.1", &["print"])]);
    let both = [wanted("P1.1", &["print"]), wanted("P2.1", &["browse"])];
    apply(&host, &both);
    apply(&host, &[wanted("P2.1", &["browse"])]);
    assert!(units.lock().unwrap()["print.service"].runs && !units.lock().unwrap()["browse.service"].runs);
    apply(&host, &[]);
    assert_eq!(*units.lock().unwrap(), before);
}

#[test]
fn a_server_without_systemd_and_one_whose_systemd_is_silent_refuse_and_change_nothing() {
    let (host, _) = printing();
    let all = [wanted("P1.1", &["print"])];
    let observed = driver().observe(&host).unwrap();
    let silent = FakeHost::new();
    silent.put("/run/systemd/system/x", "");
    let looked = driver().look(&silent, &all, &observed).unwrap();
    let rendered = driver().render(&all, &looked);
    assert_eq!(rendered.change, None);
    assert!(rendered.refused[0].1.starts_with("systemd does not answer: "), "{rendered:?}");
    let none = FakeHost::new();
    let observed = driver().observe(&none).unwrap();
    assert_eq!(driver().look(&none, &all, &observed), None);
    assert_eq!(driver().render(&all, &observed).refused[0].1, "systemd does not run this server");
}

/// What stands in `live` is lost or damaged by somebody: a unit that we had masked is not taken for one that was
/// masked before us, which would keep it off for ever.
#[test]
fn a_lost_or_damaged_record_does_not_keep_a_unit_off_for_ever() {
    let all = [wanted("P1.1", &["print"]), wanted("P1.2", &["own"])];
    let lost = |host: &FakeHost| host.take(format!("{FOLDER}/live"));
    let gone = |host: &FakeHost| {
        let id = driver().observe(host).unwrap().live.set.unwrap();
        host.take(format!("{FOLDER}/sets/{id}"));
    };
    let damaged = |host: &FakeHost| {
        let id = driver().observe(host).unwrap().live.set.unwrap();
        host.put(format!("{FOLDER}/sets/{id}/record.json"), "{}");
    };
    for (which, harm) in [&lost as &dyn Fn(&FakeHost), &gone, &damaged].into_iter().enumerate() {
        for repaired_first in [true, false] {
            let (host, units) = printing();
            let (before, etc) = (units.lock().unwrap().clone(), host.tree("/etc"));
            apply(&host, &all);
            harm(&host);
            if repaired_first {
                let change = apply(&host, &all);
                assert_eq!(change.switches, [], "{which}: all of it is off still");
            }
            apply(&host, &[]);
            let found = (units.lock().unwrap().clone(), host.tree("/etc"));
            assert_eq!(found, (before, etc), "{which} {repaired_first}");
            assert!(host.peek(format!("{FOLDER}/.record.json")).is_none());
        }
    }
}

#[test]
fn without_any_record_nothing_is_changed_and_it_is_said() {
    let (host, units) = printing();
    apply(&host, &[wanted("P1.1", &["print"])]);
    let id = driver().observe(&host).unwrap().live.set.unwrap();
    host.put(format!("{FOLDER}/sets/{id}/record.json"), "nonsense");
    host.take(format!("{FOLDER}/.record.json"));
    let before = units.lock().unwrap().clone();
    let why = driver().observe(&host).unwrap_err().to_string();
    assert!(why.contains("record.json") && why.contains("not known"), "{why}");
    assert_eq!(*units.lock().unwrap(), before);
}

#[test]
fn a_copy_of_the_record_that_is_left_over_claims_no_unit_that_is_back() {
    let (host, units) = printing();
    apply(&host, &[wanted("P1.1", &["print"])]);
    let copy = host.peek(format!("{FOLDER}/.record.json")).unwrap();
    apply(&host, &[]);
    host.put(format!("{FOLDER}/.record.json"), copy);
    let observed = driver().observe(&host).unwrap();
    assert_eq!((observed.live.set, observed.live.foreign), (None, vec![]));
    assert_eq!(render(&host, &[]).change, None);
    assert!(units.lock().unwrap()["print.service"].runs);
}
