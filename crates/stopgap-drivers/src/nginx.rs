//! nginx: our rules as two files that the operator's hook includes.
//!
//! ```text
//!   http   { include <folder>/live/http*.conf;      maps: one variable says what becomes of a request
//!     server { include <folder>/live/server*.conf;  if that variable says so, return
//! ```
//!
//! Sites are server blocks, by their first name. nginx tests the staged files in a private mount
//! namespace before they are swapped in, and a reload has its workers replaced. Translating a rule
//! is the work of `stopgap_rules::translate`.

mod config;
mod hook;
mod place;
mod process;
mod sites;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;

use stopgap_core::observed::{Live, Observed};
use stopgap_core::plan::{Change, Rendered, Wanted};
use stopgap_core::proof::RefusalForm;
use stopgap_rules::translate::nginx::{NginxConfig, translate};
use stopgap_rules::translate::{CannotExpress, SiteRules};

use crate::driver::{Checked, Driver, DriverError};
use crate::hook::{Edit, Hooked, edit};
use crate::host::{Bind, Host};
use crate::render::{self, Translating};
use crate::server::{self, Server, Settings, Tested};
use crate::set::Sets;
use config::Config;

use hook::Hooks;

const HTTP: &str = "http.conf";
const SERVER: &str = "server.conf";

/// Debian's places below `root`; a root other than `/` is nginx's prefix, too.
pub fn settings(name: &str, folder: PathBuf, root: PathBuf) -> Settings {
    Settings::at(name, folder, root, "/usr/sbin/nginx", "etc/nginx/nginx.conf")
}

/// The driver of one nginx.
#[derive(Debug, Clone)]
pub struct Nginx {
    settings: Settings,
    sets: Sets,
}

impl Nginx {
    /// A driver for the nginx of `settings`.
    pub fn new(settings: Settings) -> Nginx {
        let sets = Sets {
            folder: settings.folder.clone(),
            files: &[HTTP, SERVER],
            keep_folder: false,
            at_all_times: false,
        };
        Nginx { settings, sets }
    }

    fn configuration(&self, host: &dyn Host) -> Result<Config, DriverError> {
        let dump = process::dump(&self.settings, host, None).or_else(|broken| {
            if !matches!(broken, DriverError::BrokenBefore { .. }) || !server::is_edited(self, host)? {
                return Err(broken);
            }
            server::without_ours(self, host, |bind| process::dump(&self.settings, host, Some(bind)))?
                .map_err(|_| broken)
        })?;
        Config::read(config::split_dump(&dump))
            .map_err(|e| self.settings.error(format!("cannot follow its configuration: {e}")))
    }

    fn master(&self, host: &dyn Host, config: &Config) -> io::Result<Option<u32>> {
        let named = config.main().into_iter().find(|d| d.name == "pid").and_then(|d| d.args.first());
        let pid_file = match named {
            Some(path) => Some(self.settings.root.join(path)),
            None => process::built_in_pid_file(&self.settings, host),
        };
        pid_file.map_or(Ok(None), |path| process::master(&self.settings, host, &path))
    }
}

impl Hooked for Nginx {
    fn hook_lines(&self) -> Vec<(String, String)> {
        let hooks = Hooks::new(&self.settings.folder);
        let http = "In http (a file such as /etc/nginx/conf.d/stopgap.conf)".to_owned();
        vec![
            (http, hooks.conf_d()),
            ("In each server block".to_owned(), format!("    {}\n", hooks.server_line())),
        ]
    }

    fn hook_edits(&self, host: &dyn Host) -> Result<Vec<Edit>, DriverError> {
        place::place(&self.settings, host, &self.configuration(host)?)
    }

    fn unhook_edits(&self, host: &dyn Host) -> Result<Vec<Edit>, DriverError> {
        let (config, folder) = (self.configuration(host)?, &self.settings.folder);
        let files = config.files.iter().map(|file| file.path.as_str());
        edit::cut(host, files, &Hooks::new(folder).conf_d(), folder)
    }

    fn edit(&self, host: &dyn Host, edits: &[Edit]) -> Result<(), DriverError> {
        edit::make(self, host, edits)
    }
}

impl Server for Nginx {
    fn settings(&self) -> &Settings {
        &self.settings
    }

    fn sets(&self) -> &Sets {
        &self.sets
    }

    fn test(&self, host: &dyn Host, bind: Option<Bind>) -> Tested {
        process::test(&self.settings, host, bind)
    }

    fn reload(&self, host: &dyn Host) -> Result<(), DriverError> {
        let config = self.configuration(host)?;
        let unknown = |e| self.settings.not_taken(format!("it cannot be told whether nginx runs: {e}"));
        match self.master(host, &config).map_err(unknown)? {
            Some(master) => process::reload(&self.settings, host, master),
            None => {
                tracing::warn!(
                    target = self.settings.name,
                    "nginx does not run; it reads the rules at its start"
                );
                Ok(())
            }
        }
    }
}

impl Translating for Nginx {
    type Config = NginxConfig;

    const ABORT: RefusalForm = RefusalForm::Close;

    fn names(&self, sites: &[String]) -> Vec<String> {
        sites.iter().flat_map(|site| sites::server_names(site)).collect()
    }

    fn translate(&self, rules: &[SiteRules]) -> Result<NginxConfig, CannotExpress> {
        translate(rules)
    }

    fn files(&self, config: &NginxConfig) -> BTreeMap<String, String> {
        let header = render::header(self, "nginx");
        let file = |(name, text): (&str, &String)| (name.to_owned(), format!("{header}{text}"));
        [(HTTP, &config.http), (SERVER, &config.server)].map(file).into()
    }
}

impl Driver for Nginx {
    fn target(&self) -> &str {
        &self.settings.name
    }

    fn cannot_observe(&self) -> Option<&'static str> {
        None
    }

    fn observe(&self, host: &dyn Host) -> Result<Observed, DriverError> {
        let config = self.configuration(host)?;
        let found = sites::sites(&config, &Hooks::new(&self.settings.folder), &self.settings);
        let mut warnings = found.warnings;
        match self.master(host, &config) {
            Err(e) => warnings.push(format!("it cannot be told whether nginx runs: {e}")),
            Ok(None) => warnings.push("nginx does not run; it reads the rules at its start".to_owned()),
            Ok(Some(master)) => {
                warnings.extend(render::still_by_older_rules("worker", process::ending(host, master)));
            }
        }
        let live = self.sets.observe(host)?;
        Ok(Observed {
            target: self.settings.name.clone(),
            live,
            sites: found.sites,
            warnings,
            lacks: BTreeMap::new(),
            files: BTreeMap::new(),
        })
    }

    fn live(&self, host: &dyn Host) -> Option<Live> {
        self.sets.observe(host).ok()
    }

    fn render(&self, wanted: &[Wanted], observed: &Observed) -> Rendered {
        render::render(self, wanted, observed, false)
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
