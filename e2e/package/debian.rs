//! A clean Debian in a folder, and what is in it to the byte.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use stopgap_testkit::machine::Machine;

use crate::world::{World, run};

/// Made once and kept between runs; the name counts up when the line below changes.
const BASE: &str = "debian-12-nginx-1";
const PACKAGES: &str = "--include=systemd,systemd-sysv,dbus,nginx-light";

/// A copy of a clean Debian that is this world's own; `None`, said as a skipped test, where none can be made.
pub fn debian(test: &str, world: &World) -> Option<PathBuf> {
    let base = Path::new(env!("CARGO_TARGET_TMPDIR")).join(BASE);
    if !base.is_dir()
        && let Err(reason) = make(&base)
    {
        assert!(std::env::var("CI").as_deref() != Ok("true"), "{reason}: {test}");
        println!("skipped ({reason}): {test}");
        return None;
    }
    let copy = world.path("root");
    let mut cp = Command::new("cp");
    cp.args(["--archive", "--reflink=auto"]).arg(&base).arg(&copy);
    let ran = run(cp);
    assert_eq!(ran.code, 0, "{ran:#?}");
    Some(copy)
}

fn make(base: &Path) -> Result<(), String> {
    if !["/usr/sbin/debootstrap", "/sbin/debootstrap"].iter().any(|path| Path::new(path).exists()) {
        return Err("no debootstrap".into());
    }
    let new = base.with_extension("new");
    let _ = fs::remove_dir_all(&new);
    let mut debootstrap = Command::new("debootstrap");
    debootstrap.args(["--variant=minbase", PACKAGES, "bookworm"]).arg(&new);
    debootstrap.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let ran = run(debootstrap);
    if ran.code != 0 {
        return Err(format!("no Debian: debootstrap ended with {}: {}", ran.code, ran.stderr.trim()));
    }
    fs::rename(&new, base).map_err(|error| format!("no Debian: {error}"))
}

/// Every file of a machine: kind, mode, owner and, where it has one, digest or target.
pub type Files = BTreeMap<String, String>;

/// Reads it all, but for what is in memory or the kernel's.
pub fn files(machine: &Machine) -> Files {
    let mut files = Files::new();
    // `-xdev` leaves out /proc, /sys, /dev, /run and /tmp, which are mounts.
    for line in machine.ok(&["find", "/", "-xdev", "-printf", "%p\\t%y %m %U:%G %l\\n"]).lines() {
        let (path, kind) = line.split_once('\t').unwrap();
        files.insert(path.to_owned(), kind.to_owned());
    }
    let digests = machine.ok(&["find", "/", "-xdev", "-type", "f", "-exec", "sha256sum", "{}", "+"]);
    for line in digests.lines() {
        let (digest, path) = line.split_once("  ").unwrap();
        files.entry(path.to_owned()).or_default().push_str(digest);
    }
    files
}

/// What differs: `+` new, `-` gone, `~` another, then the path.
pub fn differing(before: &Files, after: &Files) -> Vec<String> {
    let mut differ = Vec::new();
    for (path, entry) in after {
        match before.get(path) {
            None => differ.push(format!("+{path}")),
            Some(old) if old != entry => differ.push(format!("~{path}")),
            Some(_) => {}
        }
    }
    differ.extend(before.keys().filter(|path| !after.contains_key(*path)).map(|path| format!("-{path}")));
    differ
}
