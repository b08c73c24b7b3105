//! HAProxy: our rules as two maps that the operator's hook asks.
//!
//! ```text
//!   frontend …
//!     http-request set-var(txn.stopgap) …,map_reg(<folder>/live/rules.map) if …   the hook, the same for all rules
//!     http-request reject if { var(txn.stopgap) -m str abort }  …
//! ```
//!
//! Sites are frontends in HTTP mode. HAProxy reads the maps when it starts; new rules are brought into the running
//! process through its stats socket, where there is one of level admin, and by a reload where not. What it holds is
//! read back over the same socket. The maps must be there at all times: without rules they are empty.
//! Translating a rule is the work of `stopgap_rules::translate`.

mod config;
mod runtime;
mod sites;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use stopgap_core::observed::{Hook, Live, Observed};
use stopgap_core::plan::{Change, Rendered, Wanted};
use stopgap_core::proof::RefusalForm;
use stopgap_rules::translate::haproxy::{HaproxyConfig, translate};
use stopgap_rules::translate::{CannotExpress, SiteRules};

use crate::driver::{Checked, Driver, DriverError, io_error};
use crate::hook::{Edit, Hooked, edit, insert, remove};
use crate::host::{Bind, Host};
use crate::render::{self, OBSERVING, Translating};
use crate::server::{self, Server, Settings, Tested};
use crate::set::{LIVE, NONE, Sets};
use config::Section;
use runtime::{NotPut, Shown};

const MAP: &str = "rules.map";
/// As `stopgap_rules` names it.
const GATE: &str = "rules.map.gate";

/// A configuration above this is none.
const FILE_MAX: u64 = 4 << 20;

/// No map comes near: the longest feed is smaller.
const MAP_MAX: u64 = 32 << 20;

/// Debian's places below `root`.
pub fn settings(name: &str, folder: PathBuf, root: PathBuf) -> Settings {
    Settings::at(name, folder, root, "/usr/sbin/haproxy", "etc/haproxy/haproxy.cfg")
}

/// The driver of one HAProxy.
#[derive(Debug, Clone)]
pub struct Haproxy {
    settings: Settings,
    sets: Sets,
    /// The stats socket; `None`: as configured.
    socket: Option<PathBuf>,
}

/// The configuration, read.
struct Read {
    text: String,
    sections: Vec<Section>,
}

impl Haproxy {
    /// A driver for the HAProxy of `settings`. `socket`: its stats socket, where it is not the one that its
    /// configuration names.
    pub fn new(settings: Settings, socket: Option<PathBuf>) -> Haproxy {
        let folder = settings.folder.clone();
        let sets = Sets { folder, files: &[MAP, GATE], keep_folder: true, at_all_times: true };
        Haproxy { settings, sets, socket }
    }

    fn configuration(&self, host: &dyn Host) -> Result<Read, DriverError> {
        let path = &self.settings.config;
        let bytes = host.read(path, FILE_MAX).map_err(io_error("cannot read", path))?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        Ok(Read { sections: config::sections(&text), text })
    }

    /// The map's file, as the hook names it.
    fn map(&self) -> String {
        self.settings.folder.join(LIVE).join(MAP).to_string_lossy().into_owned()
    }

    fn hook(&self) -> Result<String, DriverError> {
        HaproxyConfig::hook(&self.map()).map_err(|why| self.settings.error(why))
    }

    /// Today's hook, and those of earlier versions, which refuse as it does.
    fn hooks(&self) -> Result<Vec<String>, DriverError> {
        let earlier = HaproxyConfig::earlier_hooks(&self.map()).map_err(|why| self.settings.error(why))?;
        Ok([vec![self.hook()?], earlier].concat())
    }

    fn socket(&self, read: &Read) -> Option<PathBuf> {
        self.socket.clone().or_else(|| config::sockets(&read.sections).into_iter().next())
    }

    /// The rules that HAProxy would read now.
    fn on_disk(&self, host: &dyn Host) -> Result<HaproxyConfig, DriverError> {
        let text = |name: &str| {
            let path = self.settings.folder.join(LIVE).join(name);
            match host.read(&path, MAP_MAX) {
                Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
                Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(String::new()),
                Err(e) => Err(io_error("cannot read", &path)(e)),
            }
        };
        Ok(runtime::of_files(&text(MAP)?, &text(GATE)?))
    }

    /// The process that a reload is asked of; `None`: HAProxy does not run.
    fn master(&self, host: &dyn Host, read: &Read, socket: Option<&Path>) -> io::Result<Option<u32>> {
        let global = read.sections.iter().filter(|section| section.kind == "global");
        let named = global.filter_map(|global| global.last("pidfile")?.first()).next_back();
        let pid_file = runtime::pid_file(&self.settings, named.map(String::as_str));
        let parent = socket.map_or(Ok(None), |socket| runtime::parent(&self.settings, host, socket));
        if let Ok(Some(parent)) = parent {
            return Ok(Some(parent));
        }
        match runtime::in_file(&self.settings, host, &pid_file)? {
            Some(master) => Ok(Some(master)),
            // One that answers, and whose parent cannot be seen, is not one that does not run.
            None => parent,
        }
    }

    /// What the running process holds, against what is live; what an operator should know.
    fn active(
        &self,
        host: &dyn Host,
        read: &Read,
        live: &Live,
    ) -> Result<(Option<bool>, Vec<String>), DriverError> {
        let socket = self.socket(read);
        let mut warnings = Vec::new();
        let master = match self.master(host, read, socket.as_deref()) {
            Ok(master) => master,
            Err(e) => {
                warnings.push(format!("it cannot be told whether HAProxy runs: {e}"));
                return self.shown(host, socket.as_deref(), live, warnings);
            }
        };
        let Some(master) = master else {
            let answers = socket.as_ref().map(|socket| host.converse(socket, "show info", runtime::ANSWER));
            if !matches!(answers, Some(Ok(_))) {
                warnings.push("HAProxy does not run; it reads the rules at its start".to_owned());
                return Ok((None, warnings));
            }
            return self.shown(host, socket.as_deref(), live, warnings);
        };
        let ending = runtime::ending(&self.settings, host, master);
        warnings.extend(render::still_by_older_rules("worker", ending));
        self.shown(host, socket.as_deref(), live, warnings)
    }

    fn shown(
        &self,
        host: &dyn Host,
        socket: Option<&Path>,
        live: &Live,
        mut warnings: Vec<String>,
    ) -> Result<(Option<bool>, Vec<String>), DriverError> {
        let Some(socket) = socket else {
            warnings.push(
                "HAProxy has no stats socket: rules come into force by a reload, and what it holds cannot be read"
                    .to_owned(),
            );
            return Ok((None, warnings));
        };
        let expected = match live.set {
            Some(_) => self.on_disk(host)?,
            None => HaproxyConfig::default(),
        };
        let active = match runtime::show(host, socket, &self.map(), &expected) {
            Ok(Shown::These) => Some(true),
            Ok(Shown::Others) => Some(false),
            Ok(Shown::NoHook) if live.set.is_none() => None,
            Ok(Shown::NoHook) => {
                warnings.push("the running HAProxy has not read the hook: reload it".to_owned());
                Some(false)
            }
            Err(e) => {
                warnings.push(format!("HAProxy does not answer on {}: {e}", socket.display()));
                None
            }
        };
        Ok((active, warnings))
    }

    /// By a new worker, which reads the files.
    fn restart(&self, host: &dyn Host, read: &Read, socket: Option<&Path>) -> Result<(), DriverError> {
        let unknown = |e| self.settings.not_taken(format!("it cannot be told whether HAProxy runs: {e}"));
        let Some(master) = self.master(host, read, socket).map_err(unknown)? else {
            tracing::warn!(
                target = self.settings.name,
                "HAProxy does not run; it reads the rules at its start"
            );
            return Ok(());
        };
        // It would keep its workers, and none of them the new rules.
        let tested = self.test(host, None).map_err(|e| self.settings.test_failed(e))?;
        tested.map_err(|message| self.settings.broken(message))?;
        runtime::reload(&self.settings, host, master)
    }
}

impl Server for Haproxy {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn sets(&self) -> &Sets {
        &self.sets
    }

    fn test(&self, host: &dyn Host, bind: Option<Bind>) -> Tested {
        runtime::test(&self.settings, host, bind)
    }

    fn reload(&self, host: &dyn Host) -> Result<(), DriverError> {
        let read = self.configuration(host)?;
        let Some(socket) = self.socket(&read) else { return self.restart(host, &read, None) };
        let (map, rules) = (self.map(), self.on_disk(host)?);
        match runtime::put(host, &socket, &map, &rules) {
            Ok(()) => match runtime::show(host, &socket, &map, &rules) {
                Ok(Shown::These) => Ok(()),
                // Such as those of a socket that takes entries and is not allowed to.
                Ok(_) => self.restart(host, &read, Some(&socket)),
                Err(e) => Err(self.settings.not_taken(format!("{}: {e}", socket.display()))),
            },
            // No such map, or no permission; or it does not run.
            Err(NotPut::Refused(why)) => {
                tracing::warn!(target = self.settings.name, "by a reload, since its socket answers: {why}");
                self.restart(host, &read, Some(&socket))
            }
            Err(NotPut::Io(e)) if runtime::does_not_listen(&e) => self.restart(host, &read, None),
            Err(NotPut::Io(e)) => Err(self.settings.not_taken(format!("{}: {e}", socket.display()))),
        }
    }
}

impl Hooked for Haproxy {
    fn hook_lines(&self) -> Vec<(String, String)> {
        let hook = self.hook().unwrap_or_else(|e| format!("{e}\n"));
        let lines: String = hook.lines().map(|line| format!("    {line}\n")).collect();
        let folder = self.settings.folder.display();
        vec![
            (
                "Once, since HAProxy needs the files at all times".to_owned(),
                format!(
                    "    mkdir -p {folder}/none\n    touch {folder}/none/{MAP} {folder}/none/{GATE}\n    \
                     ln -s none {folder}/{LIVE}\n"
                ),
            ),
            ("In each frontend in HTTP mode, before any other http-request line".to_owned(), lines),
        ]
    }

    fn hook_edits(&self, host: &dyn Host) -> Result<Vec<Edit>, DriverError> {
        let (text, hook, hooks) = (self.configuration(host)?.text, self.hook()?, self.hooks()?);
        // What we placed earlier may be of another version; what the operator placed stays.
        let bare = remove(&text);
        let sections = config::sections(&bare);
        let lacks = |frontend: &&Section| sites::missing(frontend, &sections, &hooks).is_err();
        let places: Vec<usize> = sites::frontends(&sections).filter(lacks).map(|f| f.end).collect();
        let after = insert(&bare, &hook, &places);
        if after == text {
            return Ok(Vec::new());
        }
        let path = edit::follow(host, &self.settings.config)?;
        Ok(vec![Edit { path, before: Some(text), after: Some(after) }])
    }

    fn unhook_edits(&self, host: &dyn Host) -> Result<Vec<Edit>, DriverError> {
        let path = self.settings.config.to_string_lossy();
        edit::cut(host, [path.as_ref()].into_iter(), "", &self.settings.folder)
    }

    fn edit(&self, host: &dyn Host, edits: &[Edit]) -> Result<(), DriverError> {
        // The hook names files that must be there.
        self.sets.prepare(host)?;
        let made = edit::make(self, host, edits);
        let text = self.configuration(host)?.text;
        if !text.contains(&self.map()) {
            self.sets.unprepare(host)?;
        }
        made
    }

    fn after_insert(&self) -> Option<&'static str> {
        Some("reload HAProxy once, so that it reads the hook")
    }
}

impl Translating for Haproxy {
    type Config = HaproxyConfig;

    const ABORT: RefusalForm = RefusalForm::Close;

    fn names(&self, sites: &[String]) -> Vec<String> {
        sites.to_vec()
    }

    fn translate(&self, rules: &[SiteRules]) -> Result<HaproxyConfig, CannotExpress> {
        translate(rules)
    }

    fn files(&self, config: &HaproxyConfig) -> BTreeMap<String, String> {
        let header = render::header(self, "HAProxy");
        let file = |(name, text): (&str, String)| (name.to_owned(), format!("{header}{text}"));
        [(MAP, config.map()), (GATE, config.gate())].map(file).into()
    }
}

impl Driver for Haproxy {
    fn target(&self) -> &str {
        &self.settings.name
    }

    fn cannot_observe(&self) -> Option<&'static str> {
        None
    }

    fn observe(&self, host: &dyn Host) -> Result<Observed, DriverError> {
        let (read, hooks) = (self.configuration(host)?, self.hooks()?);
        let found = sites::sites(&read.sections, &hooks, &self.settings);
        let mut live = self.sets.observe(host)?;
        let (active, mut warnings) = self.active(host, &read, &live)?;
        live.active = active;
        let link = self.settings.folder.join(LIVE);
        let missing = host.kind(&link).map_err(io_error("cannot look at", &link))?.is_none();
        if missing && found.sites.iter().any(|site| site.hook == Hook::Present) {
            warnings.push(format!(
                "{} is missing, which the hook names: HAProxy will not start; `stopgap agent hook {} --insert` \
                 makes it",
                link.display(),
                self.settings.name
            ));
        }
        Ok(Observed {
            target: self.settings.name.clone(),
            live,
            sites: found.sites,
            warnings: [found.warnings, warnings].concat(),
            lacks: found.earlier.map(|why| (OBSERVING.to_owned(), why)).into_iter().collect(),
            files: BTreeMap::new(),
        })
    }

    fn live(&self, host: &dyn Host) -> Option<Live> {
        self.sets.observe(host).ok()
    }

    fn render(&self, wanted: &[Wanted], observed: &Observed) -> Rendered {
        let mut rendered = render::render(self, wanted, observed, observed.live.active == Some(false));
        if let Some(change) = rendered.change.as_mut().filter(|change| change.after.is_none()) {
            change.rest = Some(NONE.to_owned());
        }
        rendered
    }

    fn check(&self, host: &dyn Host, change: &Change) -> Result<Checked, DriverError> {
        server::check(self, host, change)
    }

    fn apply(&self, host: &dyn Host, change: &Change) -> Result<(), DriverError> {
        self.sets.swap(host, change)?;
        self.reload(host)
    }

    fn revert(&self, host: &dyn Host, change: &Change) -> Result<(), DriverError> {
        server::revert(self, host, change)
    }

    fn settle(&self, host: &dyn Host, change: &Change) -> Result<(), DriverError> {
        self.sets.settle(host, change)
    }
}
