//! Pools of php-fpm: taken out of service, one at a time, while the others keep serving.
//!
//! The file of the pool is renamed to a name beside it that no include reads, and php-fpm reads its files anew. A rename
//! keeps octets, mode, owner and a link as they are, so the way back is exact whatever anybody does to other pools
//! in the meantime. A pool that has no file of its own is refused, with the reason. php-fpm does not start without a
//! pool: with the last one its unit is stopped and kept from starting, as [`crate::systemd`] does it.
//!
//! There is nothing to probe: in force is that no file has the pool and no process serves it. What sites send their
//! requests there, the web servers know and we do not.

mod act;
mod config;
mod decide;
mod process;
mod record;

use std::path::PathBuf;

use stopgap_core::observed::{Hook, Live, Observed};
use stopgap_core::plan::{Change, Rendered, Wanted};

use crate::driver::{Checked, Driver, DriverError, io_error};
use crate::host::Host;
use crate::server;
use crate::set::Sets;
use crate::set::record::RECORD;
use crate::switched;
use crate::systemd;
use act::Way;
use decide::Seen;

/// What was found out of php-fpm stands under this name in [`Observed::files`].
const SEEN: &str = "php-fpm";

/// So many pools may be out of service at once, where nobody says otherwise.
pub const MAX_STOPPED: usize = 5;

/// Where a php-fpm is, and what of it is ours to take out of service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Its program and main configuration file; `listeners` are not used.
    pub server: server::Settings,
    /// Why it is not known which php-fpm is meant; then nothing is observed, and this is said.
    pub unclear: Option<String>,
    /// Pools that are never taken out of service: names, `*` at the end for all that begin so.
    pub never_touch: Vec<String>,
    /// How many pools may be out of service at once because of mitigations.
    pub max_stopped: usize,
}

/// Where Debian has php-fpm of a version such as `8.2`.
pub fn settings(name: &str, folder: PathBuf, root: PathBuf, version: &str) -> Settings {
    let (binary, config) =
        (format!("/usr/sbin/php-fpm{version}"), format!("etc/php/{version}/fpm/php-fpm.conf"));
    Settings {
        server: server::Settings::at(name, folder, root, &binary, &config),
        unclear: None,
        never_touch: Vec::new(),
        max_stopped: MAX_STOPPED,
    }
}

/// The driver of one php-fpm.
#[derive(Debug, Clone)]
pub struct Phpfpm {
    settings: Settings,
    sets: Sets,
}

impl Phpfpm {
    /// A driver of the pools of `settings`.
    pub fn new(settings: Settings) -> Phpfpm {
        let sets = Sets {
            folder: settings.server.folder.clone(),
            files: &[RECORD],
            keep_folder: false,
            at_all_times: false,
        };
        Phpfpm { settings, sets }
    }

    fn see(&self, host: &dyn Host, live: &Live) -> Result<Seen, DriverError> {
        let server = &self.settings.server;
        if let Some(why) = &self.settings.unclear {
            return Err(server.error(why.clone()));
        }
        let config = config::read(host, &server.config).map_err(|e| server.broken(e.to_string()))?;
        let record = self.sets.record(host, live, (&server.name, "pools"))?;
        let mut seen = Seen { record, ..Seen::default() };
        // One that is taken for ended would be rendered without its unit.
        seen.master =
            process::master(server, host, &config).map_err(|e| server.error(process::unknown(&e)))?;
        if let Some(running) = seen.master.and_then(|master| process::Running::of(host, master)) {
            let serves = |entry: &&record::Entry| {
                let listen = entry.listen.as_deref();
                running.serves(&entry.pool, listen, process::is_taken(&config, &entry.pool, listen))
            };
            seen.serves = seen.record.pools.iter().filter(serves).map(|entry| entry.pool.clone()).collect();
        }
        for one in seen.record.pools.iter().flat_map(|entry| &entry.moves) {
            if host.kind(&one.from).map_err(io_error("cannot look at", &one.from))?.is_some() {
                seen.there.insert(one.from.clone());
            }
            if host.kind(&one.aside).map_err(io_error("cannot look at", &one.aside))?.is_some() {
                // A link whose file is gone is there all the same.
                let digest = config::digest(host, &one.aside).unwrap_or_default();
                seen.aside.insert(one.aside.clone(), digest);
            }
        }
        if live.set.is_none() {
            // A copy that is left over says what we did, and not that it still stands.
            let aside = &seen.aside;
            seen.record.pools.retain(|entry| entry.moves.iter().any(|one| aside.contains_key(&one.aside)));
            seen.record.unit = seen.record.unit.filter(|_| !seen.record.pools.is_empty());
        }
        if let Some(unit) = &seen.record.unit {
            let off = systemd::is_off(host, unit);
            seen.unit_is_back = !off.map_err(|e| server.error(format!("systemd does not answer: {e}")))?;
        }
        seen.config = config;
        Ok(seen)
    }

    fn hook(&self, seen: &Seen) -> Hook {
        match &seen.config.pid {
            Some(pid) if pid.is_absolute() => Hook::Present,
            _ => Hook::Missing(format!(
                "{} names no file for the number of its process: set `pid = /run/php/….pid` in [global]",
                self.settings.server.config.display()
            )),
        }
    }
}

/// What rendering knows of the pools.
fn facts(observed: &Observed) -> Seen {
    switched::seen(observed, SEEN)
}

impl Driver for Phpfpm {
    fn target(&self) -> &str {
        &self.settings.server.name
    }

    fn observe(&self, host: &dyn Host) -> Result<Observed, DriverError> {
        let mut live = self.sets.observe(host)?;
        let seen = self.see(host, &live)?;
        let found = decide::foreign(&seen);
        live.active = live.set.is_some().then_some(found.is_empty());
        live.foreign.extend(found);
        Ok(switched::observed(&self.settings.server.name, live, self.hook(&seen), SEEN, &seen))
    }

    fn live(&self, host: &dyn Host) -> Option<Live> {
        self.sets.observe(host).ok()
    }

    fn look(&self, host: &dyn Host, wanted: &[Wanted], observed: &Observed) -> Option<Observed> {
        let mut seen = facts(observed);
        if wanted.is_empty() || seen.record.unit.is_some() {
            return None;
        }
        let unit = process::unit(host, seen.master?)?;
        seen.unit = Some(systemd::taking_off(host, &unit, &self.settings.never_touch));
        let mut observed = observed.clone();
        switched::keep(&mut observed, SEEN, &seen);
        Some(observed)
    }

    fn render(&self, wanted: &[Wanted], observed: &Observed) -> Rendered {
        let render = || decide::render(&self.settings, wanted, observed);
        switched::hindered(wanted, observed, SEEN).unwrap_or_else(render)
    }

    fn check(&self, host: &dyn Host, change: &Change) -> Result<Checked, DriverError> {
        let staged = self.sets.stage(host, None)?;
        let checked = act::check(&self.settings.server, host, &staged, &change.switches);
        self.sets.unstage(host)?;
        checked.map(|()| Checked::Staged)
    }

    fn apply(&self, host: &dyn Host, change: &Change) -> Result<(), DriverError> {
        self.sets.swap(host, change)?;
        act::move_files(host, &change.switches, Way::Forward)?;
        self.follow(host, change, Way::Forward)
    }

    fn revert(&self, host: &dyn Host, change: &Change) -> Result<(), DriverError> {
        act::move_files(host, &change.switches, Way::Back)?;
        self.sets.restore(host, change)?;
        match self.follow(host, change, Way::Back) {
            Err(DriverError::BrokenBefore { target, message }) => Err(DriverError::NotTaken {
                target,
                message: format!("the files are as before, but its configuration is broken: {message}"),
            }),
            other => other,
        }
    }

    fn settle(&self, host: &dyn Host, change: &Change) -> Result<(), DriverError> {
        self.sets.keep_record(host, change)?;
        self.sets.settle(host, change)
    }
}

impl Phpfpm {
    fn follow(&self, host: &dyn Host, change: &Change, way: Way) -> Result<(), DriverError> {
        match change.switches.is_empty() {
            true => Ok(()),
            false => act::follow(&self.settings.server, host, &change.switches, way),
        }
    }
}
