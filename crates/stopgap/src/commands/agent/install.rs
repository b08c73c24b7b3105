//! `stopgap agent install`: the service on a machine that has no package of ours. It writes what the package
//! would: the program, the unit, a configuration to begin with, the folders. Run again, it changes only what
//! differs, and never a configuration that is there.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Context;
use stopgap_drivers::Machine;
use stopgap_drivers::host::replace;

use crate::exit::{Code, Failure, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// Write into this tree instead of `/`, and start nothing
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
}

/// The unit as the package has it; only the path of the program differs here.
const UNIT: &str = include_str!("../../../../../packaging/stopgap.service");
const CONFIG: &str = include_str!("../../../../../packaging/stopgap.toml");
/// Where the package has its program, as the unit names it.
const PACKAGED: &str = "/usr/bin/stopgap";

/// Where this command puts the program: what is not from a package is in `/usr/local`.
pub const PROGRAM: &str = "usr/local/bin/stopgap";
/// The unit, where an administrator's are.
pub const UNIT_FILE: &str = "etc/systemd/system/stopgap.service";
/// What enables it.
pub const ENABLED: &str = "etc/systemd/system/multi-user.target.wants/stopgap.service";
/// Where a package's unit may be.
pub const PACKAGE_UNITS: [&str; 2] =
    ["usr/lib/systemd/system/stopgap.service", "lib/systemd/system/stopgap.service"];
const CONFIG_FILE: &str = "etc/stopgap/stopgap.toml";
const FOLDERS: [(&str, u32); 5] = [
    ("etc/stopgap/feeds.d", 0o755),
    ("etc/stopgap/targets.d", 0o755),
    ("etc/stopgap/facts.d", 0o755),
    ("var/lib/stopgap", 0o755),
    ("var/log/stopgap", 0o750),
];

pub fn run(args: Args) -> Outcome {
    let root = args.root.as_path();
    if let Some(unit) = PACKAGE_UNITS.iter().map(|unit| root.join(unit)).find(|unit| unit.exists()) {
        return Err(Failure::new(anyhow::anyhow!("a package has installed {}", unit.display()))
            .hint("the package looks after the service: `apt-get install --reinstall stopgap`"));
    }
    for (folder, mode) in FOLDERS {
        make_folder(&root.join(folder), mode)?;
    }
    let ourselves = std::env::current_exe().context("cannot tell where this program is")?;
    let program = fs::read(&ourselves).with_context(|| format!("cannot read {}", ourselves.display()))?;
    place(&root.join(PROGRAM), &program, 0o755)?;
    place(&root.join(UNIT_FILE), unit().as_bytes(), 0o644)?;
    let config = root.join(CONFIG_FILE);
    if config.exists() {
        output::line(format_args!("kept       {}", config.display()))?;
    } else {
        place(&config, CONFIG.as_bytes(), 0o644)?;
    }
    if root != Path::new("/") {
        enable(root)?;
        output::say("nothing was started: the service starts with the next boot of that tree");
    } else if Path::new("/run/systemd/system").is_dir() {
        systemctl(&["daemon-reload"])?;
        systemctl(&["enable", "--quiet", "stopgap.service"])?;
        // A running service goes on with the program that it was started from.
        systemctl(&["restart", "stopgap.service"])?;
        output::line("started    stopgap.service")?;
    } else {
        enable(root)?;
        output::say(
            "no systemd runs here: start `stopgap agent run` by what starts services on this machine",
        );
    }
    output::say("next: `stopgap feed add`, a [[target]] in stopgap.toml, and `stopgap agent check`");
    Ok(Code::Done)
}

/// The unit for the program's place here.
pub fn unit() -> String {
    UNIT.replace(PACKAGED, &format!("/{PROGRAM}"))
}

/// Runs systemctl; its own words are the cause where it fails.
pub fn systemctl(args: &[&str]) -> anyhow::Result<()> {
    let done = Command::new("systemctl").args(args).output().context("cannot start systemctl")?;
    let said = String::from_utf8_lossy(&done.stderr);
    anyhow::ensure!(done.status.success(), "systemctl {}: {}", args.join(" "), said.trim());
    Ok(())
}

fn enable(root: &Path) -> anyhow::Result<()> {
    let link = root.join(ENABLED);
    if let Some(folder) = link.parent() {
        make_folder(folder, 0o755)?;
    }
    match std::os::unix::fs::symlink(format!("/{UNIT_FILE}"), &link) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("cannot link {}", link.display()))
        }
        _ => Ok(()),
    }
}

fn make_folder(folder: &Path, mode: u32) -> anyhow::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    fs::set_permissions(folder, fs::Permissions::from_mode(mode))
        .with_context(|| format!("cannot set the mode of {}", folder.display()))
}

/// Makes the file what it should be, in one step, and says what was done.
fn place(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let same = fs::read(path).is_ok_and(|found| found == bytes)
        && fs::metadata(path).is_ok_and(|found| found.mode() & 0o7777 == mode);
    if !same {
        if let Some(folder) = path.parent() {
            make_folder(folder, 0o755)?;
        }
        replace(&Machine, path, bytes, mode).with_context(|| format!("cannot write {}", path.display()))?;
    }
    output::line(format_args!("{} {}", if same { "unchanged " } else { "written   " }, path.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_starts_the_program_that_was_installed() {
        assert!(UNIT.contains("ExecStart=/usr/bin/stopgap agent run\n"));
        assert!(unit().contains("ExecStart=/usr/local/bin/stopgap agent run\n"));
    }

    #[test]
    fn the_configuration_to_begin_with_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stopgap.toml");
        // As it stands, and with every line that is only an example.
        let all: String = CONFIG
            .lines()
            .map(|line| {
                line.strip_prefix("# ")
                    .filter(|line| line.contains(" = ") || line.starts_with('['))
                    .unwrap_or(line)
            })
            .collect::<Vec<_>>()
            .join("\n");
        for text in [CONFIG, &all] {
            fs::write(&path, text).unwrap();
            let config = stopgap_agent::config::Config::load(&path, "server1").unwrap();
            assert_eq!(config.data, Path::new("/var/lib/stopgap"));
            assert_eq!(config.metrics.is_some(), text != CONFIG);
            assert_eq!(config.targets.len(), usize::from(text != CONFIG));
        }
    }
}
