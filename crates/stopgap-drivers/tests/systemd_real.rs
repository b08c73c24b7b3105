//! Services on a machine with a systemd of its own: taken out of service with all that would start them again,
//! over a restart of the machine, and back to exactly what they were.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use stopgap_core::observed::Observed;
use stopgap_core::plan::{Change, Rendered, Wanted};
use stopgap_drivers::systemd::{self, Settings, Systemd};
use stopgap_drivers::{Driver, DriverError};
use stopgap_feed::document::{Action, ActionKind, Scope};
use stopgap_testkit::machine::{Machine, Root};

const FOLDER: &str = "/var/lib/stopgap/systemd";

fn driver() -> Systemd {
    driver_within(systemd::JOB)
}

/// Who waits so long at most for a unit to stop or to start.
fn driver_within(stop_within: Duration) -> Systemd {
    Systemd::new(Settings {
        name: "systemd".into(),
        folder: FOLDER.into(),
        never_touch: vec!["precious".into()],
        max_stopped: 3,
        stop_within,
    })
}

/// An action of `example:<mitigation>` that takes the first of `names` out of service.
fn wanted(action: &str, names: &[&str]) -> Wanted {
    let mitigation = action.split('.').next().unwrap();
    Wanted {
        observe: false,
        key: format!("example:{mitigation}").parse().unwrap(),
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

fn render(machine: &Machine, wanted: &[Wanted]) -> (Observed, Rendered) {
    let observed = driver().observe(machine).unwrap();
    let looked = driver().look(machine, wanted, &observed).unwrap();
    let rendered = driver().render(wanted, &looked);
    (observed, rendered)
}

/// A whole change, and that nothing is left to do after it.
fn carry_out(machine: &Machine, wanted: &[Wanted]) -> Change {
    let (_, rendered) = render(machine, wanted);
    assert_eq!(rendered.refused, []);
    let change = rendered.change.unwrap();
    driver().check(machine, &change).unwrap();
    driver().apply(machine, &change).unwrap();
    driver().settle(machine, &change).unwrap();
    let (observed, rendered) = render(machine, wanted);
    assert_eq!(observed.live.foreign, [""; 0]);
    assert_eq!(rendered.change, None);
    change
}

fn unit(machine: &Machine, name: &str, text: &str) {
    machine.write(&format!("/usr/lib/systemd/system/{name}"), text, 0o644);
}

/// What systemd says of a unit: enablement and state.
fn state(machine: &Machine, name: &str) -> String {
    let shown = machine.ok(&["systemctl", "show", "-p", "UnitFileState", "-p", "ActiveState", name]);
    let values: BTreeMap<&str, &str> = shown.lines().filter_map(|line| line.split_once('=')).collect();
    format!("{} {}", values["UnitFileState"], values["ActiveState"])
}

/// Every name below systemd's folder for the administrator, with what a link says.
fn tree(machine: &Machine) -> String {
    machine.ok(&["find", "/etc/systemd/system", "-mindepth", "1", "-printf", "%P %y %l %m\n"])
}

const RUNS: &str = "[Service]\nType=exec\nExecStart=sleep infinity\n[Install]\nWantedBy=multi-user.target\n";

/// A print service with a socket, a timer and a path that start it, and what needs it.
fn printing(machine: &Machine) {
    unit(machine, "print.service", RUNS);
    unit(machine, "print.socket", "[Socket]\nListenStream=/run/print\n[Install]\nWantedBy=sockets.target\n");
    unit(machine, "print.timer", "[Timer]\nOnCalendar=hourly\n[Install]\nWantedBy=timers.target\n");
    unit(machine, "print.path", "[Path]\nPathExists=/run/spool\n[Install]\nWantedBy=multi-user.target\n");
    unit(machine, "browse.service", &format!("[Unit]\nBindsTo=print.service\nAfter=print.service\n{RUNS}"));
    unit(machine, "scan.service", &format!("[Unit]\nPartOf=print.service\n{RUNS}"));
    machine.ok(&["systemctl", "daemon-reload"]);
    machine.ok(&[
        "systemctl",
        "enable",
        "--quiet",
        "print.socket",
        "print.timer",
        "print.path",
        "browse.service",
    ]);
    // The service itself is not enabled: its socket starts it.
    machine.ok(&["systemctl", "start", "print.socket", "print.timer", "print.path", "print.service"]);
    machine.ok(&["systemctl", "start", "browse.service", "scan.service"]);
}

const ALL: [&str; 6] =
    ["print.service", "print.socket", "print.timer", "print.path", "browse.service", "scan.service"];

fn states(machine: &Machine) -> Vec<String> {
    ALL.iter().map(|name| state(machine, name)).collect()
}

#[test]
fn a_service_with_all_that_starts_it_is_out_of_service_over_a_restart_and_comes_back_exactly() {
    let test = "a_service_with_all_that_starts_it_is_out_of_service_over_a_restart_and_comes_back_exactly";
    let Some(mut machine) = Machine::for_test(test, Root::Overlay) else { return };
    printing(&machine);
    let (before, files) = (states(&machine), tree(&machine));
    let all = [wanted("P1.1", &["cupsd", "print"])];

    let change = carry_out(&machine, &all);
    let names: Vec<&str> = change.switches.iter().map(|switch| switch.name.as_str()).collect();
    assert_eq!(names.last(), Some(&"print.service"), "what would start it goes first");
    assert_eq!(names.len(), 4);
    assert_eq!(change.switches[3].also, ["browse.service", "scan.service"]);
    assert!(
        change
            .steps()
            .iter()
            .any(|step| step.detail.contains("this also stops browse.service, scan.service"))
    );
    let off = ["masked inactive"; 4].map(str::to_owned);
    assert_eq!(states(&machine)[..4], off);
    assert_eq!(state(&machine, "browse.service"), "enabled inactive");
    assert!(!machine.run(&["systemctl", "start", "print.service"]).status.success());

    machine.reboot();
    assert_eq!(states(&machine)[..4], off);
    let (observed, _) = render(&machine, &all);
    assert_eq!((observed.live.active, observed.live.holds.len()), (Some(true), 1));

    let change = carry_out(&machine, &[]);
    assert!(change.switches.iter().all(|switch| !switch.off));
    assert_eq!(states(&machine), before);
    assert_eq!(tree(&machine), files);
    assert_eq!(driver().observe(&machine).unwrap().live.set, None);
    assert!(machine.read(&format!("{FOLDER}/live/record.json")).is_none());
    machine.reboot();
    let enabled = machine.ok(&["systemctl", "is-active", "print.socket", "print.timer", "browse.service"]);
    assert_eq!(enabled, "active\nactive\nactive\n");
}

#[test]
fn every_enablement_comes_back_as_it_was() {
    let test = "every_enablement_comes_back_as_it_was";
    let Some(mut machine) = Machine::for_test(test, Root::Overlay) else { return };
    let own = "/etc/systemd/system";
    unit(&machine, "enabled.service", RUNS);
    unit(&machine, "runtime.service", RUNS);
    unit(&machine, "static.service", "[Service]\nType=exec\nExecStart=sleep infinity\n");
    unit(&machine, "off.service", RUNS);
    unit(&machine, "masked.service", RUNS);
    unit(&machine, "hidden.service", RUNS);
    unit(&machine, "many@.service", RUNS);
    machine.write(&format!("{own}/written.service"), RUNS, 0o644);
    machine.write("/opt/linked.service", RUNS, 0o644);
    machine.ok(&["systemctl", "daemon-reload"]);
    machine.ok(&["systemctl", "enable", "--quiet", "enabled.service", "written.service", "many@one.service"]);
    machine.ok(&["systemctl", "enable", "--quiet", "--runtime", "runtime.service"]);
    machine.ok(&["systemctl", "link", "--quiet", "/opt/linked.service"]);
    machine.ok(&["systemctl", "mask", "--quiet", "masked.service"]);
    machine.ok(&["systemctl", "mask", "--quiet", "--runtime", "hidden.service"]);
    for name in ["enabled", "runtime", "static", "written", "linked", "many@one"] {
        machine.ok(&["systemctl", "start", name]);
    }
    let cases = [
        ("enabled", "enabled active"),
        ("runtime", "enabled-runtime active"),
        ("static", "static active"),
        ("off", "disabled inactive"),
        ("masked", "masked inactive"),
        ("hidden", "masked-runtime inactive"),
        ("written", "enabled active"),
        ("linked", "linked active"),
        ("many@one", "enabled active"),
    ];
    for (name, before) in cases {
        let files = tree(&machine);
        let name = format!("{name}.service");
        assert_eq!(state(&machine, &name), before, "{name}");
        let (observed, rendered) = render(&machine, &[wanted("E1.1", &[&name])]);
        assert_eq!((observed.live.set, rendered.refused), (None, vec![]), "{name}");
        carry_out(&machine, &[wanted("E1.1", &[&name])]);
        let started = machine.run(&["systemctl", "start", &name]);
        assert!(state(&machine, &name).ends_with(" inactive"), "{name} {started:?}");
        carry_out(&machine, &[]);
        assert_eq!(state(&machine, &name), before, "{name}");
        assert_eq!(tree(&machine), files, "{name}");
    }
    // The one whose own file is in /etc stays off over a restart, too.
    carry_out(&machine, &[wanted("E1.1", &["written"])]);
    machine.reboot();
    assert_eq!(state(&machine, "written.service"), "enabled inactive");
}

#[test]
fn who_starts_it_again_is_undone_in_the_next_cycle_and_the_last_mitigation_brings_it_back() {
    let test = "who_starts_it_again_is_undone_in_the_next_cycle_and_the_last_mitigation_brings_it_back";
    let Some(machine) = Machine::for_test(test, Root::Overlay) else { return };
    unit(&machine, "watcher.service", RUNS);
    unit(&machine, "one.service", RUNS);
    unit(&machine, "two.service", RUNS);
    machine.ok(&["systemctl", "daemon-reload"]);
    machine.ok(&["systemctl", "start", "watcher", "one", "two"]);
    let first = [wanted("A1.1", &["watcher"]), wanted("A1.2", &["one"])];
    let second = [wanted("B1.1", &["watcher"]), wanted("B1.2", &["two"])];
    let both = [first.clone(), second.clone()].concat();
    carry_out(&machine, &first);
    carry_out(&machine, &both);

    machine.ok(&["systemctl", "unmask", "--quiet", "one.service"]);
    machine.ok(&["systemctl", "start", "one.service"]);
    let (observed, _) = render(&machine, &both);
    let found =
        ["one.service was started again: it is active (running)", "one.service is not masked any more"];
    assert_eq!(observed.live.foreign, found);
    assert_eq!(observed.live.active, Some(false));
    let repair = carry_out(&machine, &both);
    assert_eq!((repair.puts_on, repair.takes_off), (vec![], vec![]));

    // Somebody wants it back at the same time as the mitigation leaves: it is theirs, and left.
    machine.ok(&["systemctl", "unmask", "--quiet", "one.service"]);
    carry_out(&machine, &second);
    assert_eq!(state(&machine, "one.service"), "static inactive".replace("static", "disabled"));
    assert_eq!(state(&machine, "watcher.service"), "masked inactive", "the other still needs it off");
    carry_out(&machine, &[]);
    assert_eq!(state(&machine, "watcher.service"), "disabled active");
    assert_eq!(state(&machine, "two.service"), "disabled active");
}

#[test]
fn what_is_protected_what_is_too_many_and_what_is_not_here_is_refused_by_name() {
    let test = "what_is_protected_what_is_too_many_and_what_is_not_here_is_refused_by_name";
    let Some(machine) = Machine::for_test(test, Root::Overlay) else { return };
    for name in ["a", "b", "c", "d", "precious", "base"] {
        unit(&machine, &format!("{name}.service"), RUNS);
    }
    unit(&machine, "needs.service", &format!("[Unit]\nRequires=base.service\nAfter=base.service\n{RUNS}"));
    unit(&machine, "stopgap-agent.service", &format!("[Unit]\nRequires=needs.service\n{RUNS}"));
    machine.ok(&["systemctl", "daemon-reload"]);
    machine.ok(&["systemctl", "start", "a", "stopgap-agent.service"]);
    let why = |names: &[&str]| render(&machine, &[wanted("R1.1", names)]).1.refused[0].1.clone();
    assert_eq!(why(&["dbus"]), "dbus.service is protected: the system's message bus");
    assert_eq!(why(&["systemd-journald"]), "systemd-journald.service is protected: a part of systemd");
    assert_eq!(why(&["precious"]), "precious.service is in `never_touch` of this target (`precious`)");
    assert_eq!(why(&["cupsd", "cups-nowhere"]), "no unit here is named cupsd or cups-nowhere");
    assert_eq!(why(&["*"]), "no unit here is named *");
    let far = "stopgap-agent.service cannot do without base.service, and stopgap-agent.service is protected: \
               Stopgap itself";
    assert_eq!(why(&["base"]), far);
    let many: Vec<Wanted> =
        ["a", "b", "c", "d"].iter().zip(1..).map(|(name, n)| wanted(&format!("R2.{n}"), &[name])).collect();
    let (_, rendered) = render(&machine, &many);
    let far = "d.service would be service number 4 out of service, and `max_stopped` of this target is 3";
    assert_eq!(rendered.refused.iter().map(|(_, why)| why.as_str()).collect::<Vec<_>>(), [far]);
    assert_eq!(rendered.change.unwrap().switches.len(), 3);
    assert_eq!(state(&machine, "a.service"), "disabled active", "nothing of it was done");
}

#[test]
fn a_change_that_was_interrupted_or_failed_goes_back_whatever_part_of_it_happened() {
    let test = "a_change_that_was_interrupted_or_failed_goes_back_whatever_part_of_it_happened";
    let Some(machine) = Machine::for_test(test, Root::Overlay) else { return };
    printing(&machine);
    let (before, files) = (states(&machine), tree(&machine));
    let change = render(&machine, &[wanted("P1.1", &["print"])]).1.change.unwrap();
    // Nothing of it; one unit that was stopped and not yet masked; all of it.
    driver().revert(&machine, &change).unwrap();
    assert_eq!(states(&machine), before);
    for switch in &change.switches {
        machine.ok(&["systemctl", "stop", &switch.name]);
        driver().revert(&machine, &change).unwrap();
        assert_eq!(states(&machine), before, "{} alone was stopped", switch.name);
    }
    driver().apply(&machine, &change).unwrap();
    driver().revert(&machine, &change).unwrap();
    assert_eq!((states(&machine), tree(&machine)), (before, files));
    assert_eq!(driver().observe(&machine).unwrap().live.set, None);
    // One that was made between plan and apply is not covered.
    machine.ok(&["systemctl", "disable", "--quiet", "print.timer"]);
    assert!(matches!(driver().check(&machine, &change), Err(DriverError::ChangedUnderUs { .. })));
}

#[test]
fn a_service_that_takes_longer_to_stop_than_it_may_goes_back_into_service() {
    let test = "a_service_that_takes_longer_to_stop_than_it_may_goes_back_into_service";
    let Some(machine) = Machine::for_test(test, Root::Overlay) else { return };
    let slow =
        "[Service]\nType=exec\nExecStart=sh -c 'trap : TERM; while :; do sleep 1; done'\nTimeoutStopSec=8\n";
    unit(&machine, "slow.service", slow);
    machine.ok(&["systemctl", "daemon-reload"]);
    machine.ok(&["systemctl", "start", "slow"]);
    let (_, rendered) = render(&machine, &[wanted("S1.1", &["slow"])]);
    let change = rendered.change.unwrap();
    let driver = driver_within(Duration::from_secs(1));
    driver.check(&machine, &change).unwrap();
    let error = driver.apply(&machine, &change).unwrap_err().to_string();
    assert!(error.contains("slow.service does not stop"), "{error}");
    driver.revert(&machine, &change).unwrap();
    // Its start waits in systemd for the stop that had begun, which nobody waits for here any longer.
    for _ in 0..600 {
        if state(&machine, "slow.service") == "static active" {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(state(&machine, "slow.service"), "static active");
    assert_eq!(driver.observe(&machine).unwrap().live.set, None);
}

#[test]
fn a_service_that_does_not_listen_to_sigterm_ends_when_systemd_kills_it() {
    let test = "a_service_that_does_not_listen_to_sigterm_ends_when_systemd_kills_it";
    let Some(machine) = Machine::for_test(test, Root::Overlay) else { return };
    let deaf = "[Service]\nType=exec\nExecStart=sh -c 'trap : TERM; while :; do sleep 1; done'\nTimeoutStopSec=2\n\
                Restart=always\n";
    unit(&machine, "deaf.service", deaf);
    machine.ok(&["systemctl", "daemon-reload"]);
    machine.ok(&["systemctl", "start", "deaf"]);
    carry_out(&machine, &[wanted("D1.1", &["deaf"])]);
    assert_eq!(state(&machine, "deaf.service"), "masked failed");
    carry_out(&machine, &[]);
    assert_eq!(state(&machine, "deaf.service"), "static active");
    assert!(!machine.below(Path::new(FOLDER)).exists());
}

#[test]
fn the_bus_suffices_and_where_there_is_none_systemctl_does() {
    let test = "the_bus_suffices_and_where_there_is_none_systemctl_does";
    let Some(machine) = Machine::for_test(test, Root::Overlay) else { return };
    printing(&machine);
    let (before, files) = (states(&machine), tree(&machine));
    let by_hand = "systemctl --version >/dev/null && mv /usr/bin/systemctl /usr/bin/systemctl.away";
    let all = [wanted("P1.1", &["print"])];
    machine.ok(&["sh", "-c", by_hand]);
    let by_bus = render(&machine, &all).1.change.unwrap();
    carry_out(&machine, &all);
    carry_out(&machine, &[]);
    machine.ok(&["mv", "/usr/bin/systemctl.away", "/usr/bin/systemctl"]);
    assert_eq!((states(&machine), tree(&machine)), (before.clone(), files.clone()));

    machine.ok(&["systemctl", "stop", "dbus.socket", "dbus.service"]);
    assert_eq!(render(&machine, &all).1.change.unwrap(), by_bus, "both show the same");
    carry_out(&machine, &all);
    assert_eq!(state(&machine, "print.service"), "masked inactive");
    carry_out(&machine, &[]);
    assert_eq!((states(&machine), tree(&machine)), (before, files));
}

#[test]
fn a_service_that_does_not_start_again_does_not_keep_its_mitigation() {
    let test = "a_service_that_does_not_start_again_does_not_keep_its_mitigation";
    let Some(machine) = Machine::for_test(test, Root::Overlay) else { return };
    unit(
        &machine,
        "fragile.service",
        "[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=test -e /run/whole\n",
    );
    machine.write("/run/whole", "", 0o644);
    machine.ok(&["systemctl", "daemon-reload"]);
    machine.ok(&["systemctl", "start", "fragile"]);
    carry_out(&machine, &[wanted("F1.1", &["fragile"])]);
    machine.ok(&["rm", "/run/whole"]);
    carry_out(&machine, &[]);
    assert_eq!(state(&machine, "fragile.service"), "static failed");
}
