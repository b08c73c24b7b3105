//! Application pools: lastingly out of service by two settings of `applicationHost.config`, and at run time by `appcmd`.
//!
//! ```text
//!   wanted, recorded --change--> applicationHost.config with the settings, switches, the record of what was
//!   switch --turn--> appcmd stop or start, and a look whether it did
//! ```
//!
//! Without `appcmd` (a copy of a server's files) the settings alone are made, and the plan says so. What a setting means
//! is `stopgap_iis::pools`'s.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use stopgap_core::plan::Switch;
use stopgap_iis::Document;
use stopgap_iis::pools::{self, appcmd};

use super::Settings;
use super::record::{Record, RecordedPool};
use super::tree::Files;
use crate::driver::DriverError;
use crate::host::{Command, Host, Kind};

/// The settings of a switch, as `applicationHost.config` and `appcmd` name them.
const AUTO_START: &str = "autoStart";
const START_MODE: &str = "startMode";
const STATE: &str = "state";

/// The program below the server's Windows folder.
pub(super) fn program(root: &Path) -> PathBuf {
    root.join("Windows/System32/inetsrv/appcmd.exe")
}

/// Asks for the state of every pool; nothing where there is no such program.
pub(super) fn ask(host: &dyn Host, root: &Path) -> Option<Result<Vec<u8>, String>> {
    let program = program(root);
    if !matches!(host.kind(&program), Ok(Some(Kind::File | Kind::Link))) {
        return None;
    }
    let answer = host.run(&Command::new(&program, &["list", "apppool", "/xml"]));
    Some(match answer {
        Ok(output) if output.success() => Ok(output.stdout),
        Ok(output) => {
            Err(format!("appcmd list apppool ended with {:?}: {}", output.status, said(&output.stdout)))
        }
        Err(e) => Err(format!("appcmd cannot be run: {e}")),
    })
}

/// What `appcmd list apppool /xml` says of each pool, by its name in lowercase.
fn states(files: &Files, root: &Path) -> BTreeMap<String, String> {
    let Some(Ok(octets)) = files.get(&program(root)) else { return BTreeMap::new() };
    let text = String::from_utf8_lossy(octets);
    let Ok(document) = roxmltree::Document::parse(text.trim_start_matches('\u{feff}')) else {
        return BTreeMap::new();
    };
    let pools = document.descendants().filter(|node| node.has_tag_name("APPPOOL"));
    pools
        .filter_map(|pool| {
            Some((pool.attribute("APPPOOL.NAME")?.to_lowercase(), pool.attribute("state")?.to_owned()))
        })
        .collect()
}

/// Pools that somebody has put back into service, as sentences.
pub(super) fn foreign(record: &Record, host: &Document, files: &Files, root: &Path) -> Vec<String> {
    let states = states(files, root);
    let mut found = Vec::new();
    for recorded in &record.pools {
        let name = &recorded.pool;
        match pools::take_out(host, name) {
            Ok(take_out) if take_out.edits.is_empty() => (),
            Ok(_) => found.push(format!(
                "application pool {name}: autoStart or startMode was changed since it was taken out of service"
            )),
            Err(e) => found.push(format!("application pool {name}: {e}")),
        }
        if states.get(&name.to_lowercase()).is_some_and(|state| runs(state)) {
            found.push(format!("application pool {name} was started by somebody"));
        }
    }
    found
}

/// Whether a recorded pool is out of service, as far as can be told.
pub(super) fn is_out(recorded: &RecordedPool, host: &Document, files: &Files, root: &Path) -> bool {
    let lastingly = pools::take_out(host, &recorded.pool).is_ok_and(|out| out.edits.is_empty());
    lastingly && !states(files, root).get(&recorded.pool.to_lowercase()).is_some_and(|state| runs(state))
}

fn runs(state: &str) -> bool {
    matches!(appcmd::state(state), Ok(appcmd::State::Started | appcmd::State::Starting))
}

/// What becomes of the pools.
#[derive(Default)]
pub(super) struct Changed {
    /// With the settings made.
    pub(super) document: Option<Document>,
    pub(super) switches: Vec<Switch>,
    pub(super) record: Vec<RecordedPool>,
    pub(super) notes: Vec<String>,
}

/// The first of these names that is a pool's, as the server writes it.
pub(super) fn named(host: &Document, names: &[String]) -> Result<String, String> {
    let pools = pools::pools(host).map_err(|e| e.to_string())?;
    let mut found = names.iter().filter_map(|name| pools.iter().find(|pool| same(&pool.name, name)));
    found
        .next()
        .map(|pool| pool.name.clone())
        .ok_or_else(|| format!("there is no application pool {}", names.join(" or ")))
}

/// Puts back what nobody wants out of service any more, and takes out what is wanted: name to the actions that want it.
pub(super) fn change(
    host: &Document,
    recorded: &[RecordedPool],
    wanted: &BTreeMap<String, Vec<String>>,
    files: &Files,
    root: &Path,
) -> Result<Changed, String> {
    let states = states(files, root);
    let state = |pool: &str| states.get(&pool.to_lowercase()).map(String::as_str);
    let mut changed = Changed::default();
    let mut document = host.clone();
    for old in recorded.iter().filter(|old| !wanted.keys().any(|name| same(name, &old.pool))) {
        let back = pools::put_back(&document, &old.before()).map_err(|e| e.to_string())?;
        changed.notes.extend(back.foreign.iter().map(ToString::to_string));
        document = document.with(&back.edits).map_err(|e| e.to_string())?;
        let start =
            old.ran == Some(true) && back.starts && state(&old.pool).is_some_and(|state| !runs(state));
        if !back.edits.is_empty() || start {
            let (before, after) = (settings(host, &old.pool), settings(&document, &old.pool));
            let (before, after) = (with(before, state(&old.pool)), with(after, start.then_some("Started")));
            let also = applications(host, &old.pool);
            changed.switches.push(Switch { name: old.pool.clone(), off: false, before, after, also });
        }
    }
    for (name, by) in wanted {
        let old = recorded.iter().find(|old| same(name, &old.pool));
        let out = pools::take_out(&document, name).map_err(|e| e.to_string())?;
        let before = settings(&document, name);
        document = document.with(&out.edits).map_err(|e| e.to_string())?;
        let stop = state(name).is_some_and(runs);
        if !out.edits.is_empty() || stop {
            let after = with(settings(&document, name), stop.then_some("Stopped"));
            changed.switches.push(Switch {
                name: name.clone(),
                off: true,
                before: with(before, state(name)),
                after,
                also: out.applications.clone(),
            });
            if state(name).is_none() {
                changed.notes.push(not_at_run_time(files, root, name));
            }
        }
        changed.record.push(RecordedPool {
            pool: name.clone(),
            auto_start: old.map_or(out.before.auto_start, |old| old.auto_start.clone()),
            start_mode: old.map_or(out.before.start_mode, |old| old.start_mode.clone()),
            ran: old.map_or(state(name).map(runs), |old| old.ran),
            by: by.clone(),
        });
    }
    changed.document = (document.text() != host.text()).then_some(document);
    Ok(changed)
}

fn not_at_run_time(files: &Files, root: &Path, name: &str) -> String {
    let why = match files.get(&program(root)) {
        None => format!("there is no {}", program(root).display()),
        Some(Err(why)) => why.clone(),
        Some(Ok(_)) => "appcmd does not name it".to_owned(),
    };
    format!(
        "application pool {name} is set not to start, and is not stopped now ({why}): stop it, or restart IIS"
    )
}

fn applications(host: &Document, name: &str) -> Vec<String> {
    let pools = pools::pools(host).unwrap_or_default();
    pools.into_iter().find(|pool| same(&pool.name, name)).map(|pool| pool.applications).unwrap_or_default()
}

/// As IIS takes them.
fn settings(host: &Document, name: &str) -> BTreeMap<String, String> {
    let pools = pools::pools(host).unwrap_or_default();
    let pool = pools.into_iter().find(|pool| same(&pool.name, name));
    pool.into_iter()
        .flat_map(|pool| [(AUTO_START.to_owned(), pool.auto_start), (START_MODE.to_owned(), pool.start_mode)])
        .collect()
}

fn with(mut settings: BTreeMap<String, String>, state: Option<&str>) -> BTreeMap<String, String> {
    settings.extend(state.map(|state| (STATE.to_owned(), state.to_owned())));
    settings
}

/// Carries the run-time part of a switch out.
pub(super) fn turn(settings: &Settings, host: &dyn Host, switch: &Switch) -> Result<(), DriverError> {
    match switch.after.contains_key(STATE) {
        true => bring(settings, host, &switch.name, !switch.off),
        false => Ok(()),
    }
}

/// Takes the run-time part of a switch back, whatever part of it was carried out.
pub(super) fn turn_back(settings: &Settings, host: &dyn Host, switch: &Switch) -> Result<(), DriverError> {
    match switch.after.contains_key(STATE) {
        true => bring(settings, host, &switch.name, switch.off),
        false => Ok(()),
    }
}

fn bring(settings: &Settings, host: &dyn Host, pool: &str, up: bool) -> Result<(), DriverError> {
    let runs = |answer: &str| appcmd::state(answer).map(|state| (state, runs(answer)));
    let is = |(_, runs): (appcmd::State, bool)| runs == up;
    let now = run(settings, host, appcmd::Command::State, pool)?;
    if runs(&now).is_ok_and(is) {
        return Ok(());
    }
    let command = if up { appcmd::Command::Start } else { appcmd::Command::Stop };
    let said = run(settings, host, command, pool)?;
    let after = run(settings, host, appcmd::Command::State, pool)?;
    match runs(&after) {
        Ok(found) if is(found) => Ok(()),
        found => {
            let found = found.map_or_else(|e| e.to_string(), |(state, _)| format!("{state:?}"));
            let wanted = if up { "started" } else { "stopped" };
            let said = appcmd::refusal(&said).map_or(said, |e| e.to_string());
            Err(settings
                .not_taken(format!("application pool {pool} was not {wanted}: it is {found}; {said}")))
        }
    }
}

/// What `appcmd` says, whatever it ends with: its state is asked after each command.
fn run(
    settings: &Settings,
    host: &dyn Host,
    command: appcmd::Command,
    pool: &str,
) -> Result<String, DriverError> {
    let arguments = appcmd::arguments(command, pool).map_err(|e| settings.error(e.to_string()))?;
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let program = program(&settings.root);
    let output = host
        .run(&Command::new(&program, &arguments))
        .map_err(|e| settings.error(format!("cannot run {}: {e}", program.display())))?;
    Ok(said(&output.stdout))
}

fn said(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).trim().chars().take(300).collect()
}

fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}
