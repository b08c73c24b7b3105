//! A systemd with a few units: `m1` with its socket, `m1old`, `m2`, whose own file is where its mask would be, and `watch`.
//!
//! What `systemctl` orders is done, or refused, at once; what it writes itself is on the disk then.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use stopgap_drivers::host::{Command, Output};
use stopgap_testkit::fire::Tree;
use stopgap_testkit::host::{FakeHost, Node};

use super::{Memory, lines};

const UNITS: [&str; 5] = ["m1.service", "m1.socket", "m1old.service", "m2.service", "watch.service"];
const OWN_FILE: &str = "m2.service";

pub(super) fn machine() -> (FakeHost, Memory) {
    let memory = Memory::default();
    let running = memory.clone();
    let host = FakeHost::new().on_run(move |host, command| systemctl(host, &running, command));
    host.put("/run/systemd/system/x", "");
    host.put(file(OWN_FILE), "[Service]\n");
    (host, memory)
}

/// The units that start with the machine.
pub(super) fn rules(disk: &Tree) -> String {
    let shown = |unit: &&str| {
        let masked = matches!(disk.get(Path::new(&file(unit))), Some(Node::Link(_)));
        let condition = disk.get(Path::new(&drop_in(unit)));
        match condition {
            _ if masked => None,
            None => Some((*unit).to_owned()),
            Some(node) if *node == whole() => None,
            // systemd reads a file that is torn, too, and what it makes of it nobody knows.
            Some(_) => Some(format!("{unit} with a torn condition")),
        }
    };
    lines(UNITS.iter().filter_map(shown))
}

fn file(unit: &str) -> String {
    format!("/etc/systemd/system/{unit}")
}

fn drop_in(unit: &str) -> String {
    format!("/etc/systemd/system/{unit}.d/90-stopgap.conf")
}

/// What the driver writes there.
fn whole() -> Node {
    let text = "# The Stopgap agent keeps this unit from starting: `stopgap status` says why.\n\
                [Unit]\nConditionPathExists=!/\n";
    Node::File(text.into())
}

fn systemctl(host: &FakeHost, memory: &Memory, command: &Command) -> io::Result<Output> {
    let mut memory = memory.lock().unwrap();
    let mut running: BTreeSet<String> = memory.lines().map(str::to_owned).collect();
    let words: Vec<&str> =
        command.args.iter().map(String::as_str).filter(|word| !word.starts_with("--")).collect();
    let disk = host.tree("/etc/systemd/system");
    let masked = |unit: &str| matches!(disk.get(Path::new(&file(unit))), Some(Node::Link(_)));
    let mut said = String::new();
    match words.as_slice() {
        ["show", units @ ..] => {
            let show = |unit: &&str| {
                let (load, enabled) = match (UNITS.contains(unit), masked(unit)) {
                    (false, _) => ("not-found", ""),
                    (true, true) => ("masked", "masked"),
                    (true, false) => ("loaded", "enabled"),
                };
                let active = if running.contains(*unit) { "active" } else { "inactive" };
                let fragment =
                    if *unit == OWN_FILE { file(unit) } else { format!("/lib/systemd/system/{unit}") };
                let drop_in = disk.contains_key(Path::new(&drop_in(unit))).then(|| drop_in(unit));
                let by = if *unit == "m1.service" && !masked(unit) { "m1.socket" } else { "" };
                format!(
                    "Id={unit}\nNames={unit}\nLoadState={load}\nUnitFileState={enabled}\nActiveState={active}\n\
                     FragmentPath={fragment}\nDropInPaths={}\nTriggeredBy={by}\n",
                    drop_in.unwrap_or_default()
                )
            };
            said = units.iter().map(show).collect::<Vec<_>>().join("\n");
        }
        ["stop", unit] => drop(running.remove(*unit)),
        ["start", unit] if rules(&host.tree("/")).lines().any(|one| one == *unit) => {
            running.insert((*unit).to_owned());
        }
        ["start", _] => (),
        ["mask", unit] => host.link(file(unit), "/dev/null"),
        ["unmask", unit] => host.take(file(unit)),
        ["daemon-reload"] => (),
        other => panic!("systemctl {other:?}"),
    }
    *memory = lines(running.into_iter());
    Ok(Output { status: Some(0), stdout: said.into(), ..Output::default() })
}
