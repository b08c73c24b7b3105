//! Apache httpd: our rules as a file for the server level, and one for each site that has rules of its own.
//!
//! ```text
//!   IncludeOptional <folder>/live/server*.conf           the rules of every site: virtual hosts inherit them
//!   <VirtualHost …>
//!     IncludeOptional <folder>/live/site-<name>.conf     all rules of this site, where some are not for every site
//! ```
//!
//! Sites are virtual hosts, by their `ServerName`. Apache tests the staged files in a private mount namespace
//! before they are swapped in, and a graceful restart has its workers replaced. Translating a rule is the work of
//! `stopgap_rules::translate`.

mod config;
mod dump;
mod hook;
mod process;
mod sites;

use std::collections::BTreeMap;
use std::path::PathBuf;

use stopgap_core::observed::{Live, Observed, lack_at};
use stopgap_core::plan::{Change, Rendered, Wanted};
use stopgap_core::proof::RefusalForm;
use stopgap_rules::RuleSet;
use stopgap_rules::translate::apache::{ApacheConfig, translate};
use stopgap_rules::translate::{CannotExpress, SiteRules};

use crate::driver::{Checked, Driver, DriverError, io_error};
use crate::hook::{Edit, Hooked, edit};
use crate::host::{Bind, Host};
use crate::render::{self, Piece, Translating};
use crate::server::{self, Server, Settings, Tested};
use crate::set::Sets;
use config::{Config, Misread};
use dump::Dump;

use hook::Hooks;

const SERVER: &str = "server.conf";

/// A configuration file above this is none.
const FILE_MAX: u64 = 4 << 20;

/// Debian's places below `root`; below a root other than `/`, the folder of the configuration is Apache's
/// `ServerRoot` where it says no other.
pub fn settings(name: &str, folder: PathBuf, root: PathBuf) -> Settings {
    Settings::at(name, folder, root, "/usr/sbin/apache2", "etc/apache2/apache2.conf")
}

/// The driver of one Apache httpd.
#[derive(Debug, Clone)]
pub struct Apache {
    settings: Settings,
    sets: Sets,
}

impl Apache {
    /// A driver for the Apache of `settings`.
    pub fn new(settings: Settings) -> Apache {
        let sets = Sets {
            folder: settings.folder.clone(),
            files: &[SERVER],
            keep_folder: false,
            at_all_times: false,
        };
        Apache { settings, sets }
    }

    fn configuration(&self, host: &dyn Host) -> Result<(Dump, Config), DriverError> {
        let dump = process::dump(&self.settings, host, None).or_else(|broken| {
            if !matches!(broken, DriverError::BrokenBefore { .. }) || !server::is_edited(self, host)? {
                return Err(broken);
            }
            server::without_ours(self, host, |bind| process::dump(&self.settings, host, Some(bind)))?
                .map_err(|_| broken)
        })?;
        let text = |path: &str| {
            let path = PathBuf::from(path);
            // What of ours stands there tells nothing of the sites.
            if path.starts_with(&self.settings.folder) {
                return Ok(String::new());
            }
            let bytes = host.read(&path, FILE_MAX).map_err(io_error("cannot read", &path))?;
            Ok(String::from_utf8(bytes)
                .unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()))
        };
        let config = Config::read(&dump, text).map_err(|e| match e {
            Unread::Io(error) => error,
            Unread::Text(error) => self.settings.error(format!("cannot follow its configuration: {error}")),
        })?;
        Ok((dump, config))
    }
}

enum Unread {
    Io(DriverError),
    Text(Misread),
}

impl From<DriverError> for Unread {
    fn from(error: DriverError) -> Unread {
        Unread::Io(error)
    }
}

impl From<Misread> for Unread {
    fn from(error: Misread) -> Unread {
        Unread::Text(error)
    }
}

impl Hooked for Apache {
    fn hook_lines(&self) -> Vec<(String, String)> {
        let hooks = Hooks::new(&self.settings.folder);
        let server = "At the server level (a file such as /etc/apache2/conf-enabled/stopgap.conf), for the rules \
                      of every site";
        let site = "In each virtual host that is to have rules of its own, with its ServerName";
        vec![
            (server.to_owned(), format!("{}\n", hooks.server_line())),
            (site.to_owned(), format!("    {}\n", hooks.site_line("www.example.org"))),
        ]
    }

    fn hook_edits(&self, host: &dyn Host) -> Result<Vec<Edit>, DriverError> {
        let (dump, config) = self.configuration(host)?;
        hook::place(&self.settings, host, &config, &dump)
    }

    fn unhook_edits(&self, host: &dyn Host) -> Result<Vec<Edit>, DriverError> {
        let (dump, config) = self.configuration(host)?;
        hook::cut(&self.settings, host, &config, &dump)
    }

    fn edit(&self, host: &dyn Host, edits: &[Edit]) -> Result<(), DriverError> {
        edit::make(self, host, edits)
    }
}

impl Server for Apache {
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
        let dump = process::dump(&self.settings, host, None)?;
        let unknown = |e| self.settings.not_taken(format!("it cannot be told whether Apache runs: {e}"));
        let Some(master) = process::master(&self.settings, host, &dump).map_err(unknown)? else {
            tracing::warn!(
                target = self.settings.name,
                "Apache does not run; it reads the rules at its start"
            );
            return Ok(());
        };
        // With a configuration that it rejects, a restart ends it; what it prints of itself does not ask its modules.
        let tested = self.test(host, None).map_err(|e| self.settings.test_failed(e))?;
        tested.map_err(|message| self.settings.broken(message))?;
        process::reload(&self.settings, host, master)
    }
}

impl Translating for Apache {
    type Config = ApacheConfig;

    /// Apache cannot close a connection without an answer.
    const ABORT: RefusalForm = RefusalForm::Status(403);

    fn sites(&self, piece: &Piece, observed: &Observed) -> Result<Vec<String>, String> {
        let missing = |(module, _): &(&str, &str)| observed.lacks.get(*module);
        let needed = MODULES.iter().filter(|(module, _)| needs(&piece.rules, module));
        if let Some(why) = needed.filter_map(missing).next() {
            return Err(why.clone());
        }
        let mut sites = piece.covered(observed);
        if piece.wanted.sites.is_none() {
            return Ok(sites);
        }
        let lacks = |site: &String| observed.lacks.get(&lack_at(site));
        let why = sites.iter().find_map(lacks).cloned();
        sites.retain(|site| lacks(site).is_none());
        match (sites.is_empty(), why) {
            (true, Some(why)) => {
                Err(format!("it is not for every site, and {why}; `stopgap agent hook` shows what to place"))
            }
            _ => Ok(sites),
        }
    }

    fn names(&self, sites: &[String]) -> Vec<String> {
        sites.to_vec()
    }

    fn translate(&self, rules: &[SiteRules]) -> Result<ApacheConfig, CannotExpress> {
        translate(rules)
    }

    fn files(&self, config: &ApacheConfig) -> BTreeMap<String, String> {
        let header = render::header(self, "Apache");
        let sites = config.sites.iter().map(|(name, text)| (hook::site_file(name), text));
        let all = [(SERVER.to_owned(), &config.server)].into_iter().chain(sites);
        all.map(|(name, text)| (name, format!("{header}{text}"))).collect()
    }
}

impl Driver for Apache {
    fn target(&self) -> &str {
        &self.settings.name
    }

    fn cannot_observe(&self) -> Option<&'static str> {
        None
    }

    fn observe(&self, host: &dyn Host) -> Result<Observed, DriverError> {
        let (dump, config) = self.configuration(host)?;
        let mut found = sites::sites(&config, &dump, &self.settings);
        match process::master(&self.settings, host, &dump) {
            Err(e) => found.warnings.push(format!("it cannot be told whether Apache runs: {e}")),
            Ok(None) => {
                found.warnings.push("Apache does not run; it reads the rules at its start".to_owned());
            }
            Ok(Some(master)) => {
                let ending = process::ending(&self.settings, host, master);
                found.warnings.extend(render::still_by_older_rules("worker", ending));
            }
        }
        for (module, why) in MODULES {
            if !config.has_module(module) {
                found.lacks.insert(module.to_owned(), why.to_owned());
            }
        }
        let live = self.sets.observe(host)?;
        Ok(Observed {
            target: self.settings.name.clone(),
            live,
            sites: found.sites,
            warnings: found.warnings,
            lacks: found.lacks,
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

/// Modules that rules need, and what to do where one is missing.
const MODULES: [(&str, &str); 3] = [
    ("setenvif_module", "Apache has no mod_setenvif: `a2enmod setenvif` adds it"),
    ("alias_module", "Apache has no mod_alias: `a2enmod alias` adds it"),
    (HEADERS, "Apache has no mod_headers, which changes responses: `a2enmod headers` adds it"),
];
const HEADERS: &str = "headers_module";

fn needs(rules: &RuleSet, module: &str) -> bool {
    module != HEADERS || rules.outbound.iter().any(|rule| rule.enabled)
}
