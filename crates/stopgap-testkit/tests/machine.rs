//! The machine with a systemd of its own: it starts, restarts and goes, and the one below notices nothing.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use std::fs;

use stopgap_testkit::machine::{Machine, Root};

const UNIT: &str = "[Service]\nType=exec\nExecStart=sleep infinity\n[Install]\nWantedBy=multi-user.target\n";

#[test]
fn a_machine_starts_restarts_and_goes() {
    let test = "a_machine_starts_restarts_and_goes";
    let Some(mut machine) = Machine::for_test(test, Root::Overlay) else { return };
    let boot = |machine: &Machine| machine.ok(&["systemctl", "show", "-P", "UserspaceTimestampMonotonic"]);
    assert_eq!(machine.ok(&["cat", "/proc/1/comm"]), "systemd\n");
    assert_eq!(machine.ok(&["systemctl", "is-active", "dbus.service"]), "active\n");

    machine.write("/etc/systemd/system/stays.service", UNIT, 0o644);
    machine.write("/run/goes", "", 0o644);
    machine.ok(&["systemctl", "daemon-reload"]);
    machine.ok(&["systemctl", "enable", "--now", "stays.service"]);
    let first = boot(&machine);
    machine.reboot();
    assert_ne!(boot(&machine), first, "another systemd");
    assert_eq!(machine.ok(&["systemctl", "is-active", "stays.service"]), "active\n");
    assert_eq!(machine.read("/run/goes"), None);

    machine.ok(&["systemctl", "disable", "stays.service"]);
    machine.crash();
    assert!(!machine.run(&["systemctl", "is-active", "stays.service"]).status.success());

    // Nothing of it is on the machine below, while it runs and after.
    assert!(!fs::exists("/etc/systemd/system/stays.service").unwrap());
    let marker = format!("stopgap-test-{}", std::process::id());
    // Of type exec: it has become that program when the command returns.
    machine.ok(&[
        "systemd-run",
        "-p",
        "Type=exec",
        "--unit",
        &marker,
        "sh",
        "-c",
        "sleep infinity; true",
        &marker,
    ]);
    assert!(runs(&marker));
    drop(machine);
    assert!(!runs(&marker));
}

/// Whether a process here has `word` among its arguments.
fn runs(word: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap().path().join("cmdline"));
    let mut arguments = processes.filter_map(|path| fs::read(path).ok());
    arguments.any(|arguments| arguments.split(|&b| b == 0).any(|argument| argument == word.as_bytes()))
}

#[test]
fn a_machine_cannot_reach_the_kernels_settings_or_the_network_below() {
    let test = "a_machine_cannot_reach_the_kernels_settings_or_the_network_below";
    let Some(machine) = Machine::for_test(test, Root::Overlay) else { return };
    assert!(!machine.run(&["sh", "-c", "echo 1 >/proc/sys/kernel/sysrq"]).status.success());
    let interfaces = machine.ok(&["cat", "/proc/net/dev"]);
    let names: Vec<&str> =
        interfaces.lines().skip(2).filter_map(|line| line.split(':').next()).map(str::trim).collect();
    assert_eq!(names, ["lo"]);
    // Systemd brings it up.
    assert_eq!(machine.ok(&["cat", "/sys/class/net/lo/flags"]).trim(), "0x9");
}
