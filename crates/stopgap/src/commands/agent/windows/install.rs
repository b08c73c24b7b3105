//! `stopgap agent install` on Windows: the program below `%ProgramFiles%`, where nobody but administrators writes, the
//! folders below `%ProgramData%`, a configuration to begin with, the service. Run again, it changes only what differs, and
//! never a configuration that is there.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use stopgap_agent::config::{default_path, program_data};
use stopgap_agent::windows::{SERVICE, events, folder, registration};
use stopgap_drivers::Machine;
use stopgap_drivers::host::replace;

use crate::exit::{Code, Failure, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// Register the service without starting it
    #[arg(long)]
    no_start: bool,
}

const CONFIG: &str = include_str!("../../../../../../packaging/windows/stopgap.toml");

pub fn run(args: Args, config: &Path) -> Outcome {
    if config != default_path() {
        return Err(Failure::usage(format_args!(
            "the service reads {}: put the configuration there",
            default_path().display()
        )));
    }
    let data = program_data();
    folder::make(&data)
        .with_context(|| format!("cannot make {} the administrators' alone", data.display()))?;
    for name in ["feeds.d", "targets.d", "facts.d", "Data", "Logs"] {
        let made = data.join(name);
        fs::create_dir_all(&made).with_context(|| format!("cannot create {}", made.display()))?;
    }
    if config.exists() {
        output::line(format_args!("kept       {}", config.display()))?;
    } else {
        replace(&Machine, config, CONFIG.as_bytes(), 0o644)
            .with_context(|| format!("cannot write {}", config.display()))?;
        output::line(format_args!("written    {}", config.display()))?;
    }
    let program = place()?;
    // What cannot be told to this Windows is no reason to be without the rest.
    for note in register(&program)? {
        output::say(format_args!("warning: {note}"));
    }
    if args.no_start {
        output::say("nothing was started: `sc.exe start StopgapMitigation` does");
    } else {
        registration::start().with_context(|| format!("cannot start {SERVICE}"))?;
        output::line(format_args!("started    {SERVICE}"))?;
    }
    output::say("next: `stopgap feed add`, a [[target]] in stopgap.toml, and `stopgap agent check`");
    Ok(Code::Done)
}

fn register(program: &Path) -> anyhow::Result<Vec<String>> {
    let arguments = ["agent", "run", "--service"].map(OsString::from);
    let mut notes = registration::register(program, &arguments)
        .with_context(|| format!("cannot register {SERVICE}: is this an administrator's prompt?"))?;
    output::line(format_args!("registered {SERVICE}"))?;
    notes.extend(events::register(program).err().map(|error| format!("the event source: {error}")));
    Ok(notes)
}

/// Where the program is put.
pub fn program() -> PathBuf {
    let set = std::env::var_os("ProgramFiles").map(PathBuf::from).filter(|path| path.is_absolute());
    set.unwrap_or_else(|| PathBuf::from("C:\\Program Files")).join("Stopgap").join("stopgap.exe")
}

/// Puts this program there. One that runs cannot be overwritten: its service is stopped before.
fn place() -> anyhow::Result<PathBuf> {
    let ourselves = std::env::current_exe().context("cannot tell where this program is")?;
    let program = program();
    let read = |path: &Path| fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    let same = ourselves == program
        || fs::read(&program).is_ok_and(|there| read(&ourselves).is_ok_and(|us| us == there));
    if !same {
        let octets = read(&ourselves)?;
        registration::stop().with_context(|| format!("cannot stop {SERVICE}"))?;
        if let Some(folder) = program.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
        }
        replace(&Machine, &program, &octets, 0o755)
            .with_context(|| format!("cannot write {}", program.display()))?;
    }
    output::line(format_args!("{} {}", if same { "unchanged " } else { "written   " }, program.display()))?;
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_to_begin_with_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("stopgap.toml");
        fs::write(&path, CONFIG).unwrap();
        let config = stopgap_agent::config::Config::load(&path, "server1").unwrap();
        assert_eq!(config.data, program_data().join("Data"));
        assert_eq!(config.targets.len(), 0);
    }
}
