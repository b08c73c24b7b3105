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
mod edit;
mod hook;
mod server;
mod sites;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use stopgap_core::observed::{Hook, Listener, Live, Observed};
use stopgap_core::plan::{Change, Rendered, Wanted};
use stopgap_rules::translate::SiteRules;
use stopgap_rules::translate::nginx::translate;

use crate::driver::{Checked, Driver, DriverError};
use crate::host::{Bind, Host};
use crate::render::{self, Piece};
use crate::set::{LIVE, Sets};
use config::Config;
use server::TestError;

pub use edit::Edit;
pub use hook::{Hooks, hook_lines, insert, remove};

const HTTP: &str = "http.conf";
const SERVER: &str = "server.conf";

/// Where an nginx is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The target's name.
    pub name: String,
    /// The folder of its sets: `data/<target>`.
    pub folder: PathBuf,
    /// `/`, or a tree laid out as the server's file system; then it is nginx's prefix, too.
    pub root: PathBuf,
    /// The program.
    pub binary: PathBuf,
    /// Its main configuration file.
    pub config: PathBuf,
    /// Where probes go; empty: as bound. A host that is an address is replaced by the site's name.
    pub listeners: Vec<Listener>,
}

impl Settings {
    /// Debian's places below `root`.
    pub fn new(name: &str, folder: PathBuf, root: PathBuf) -> Settings {
        Settings {
            name: name.to_owned(),
            folder,
            binary: "/usr/sbin/nginx".into(),
            config: root.join("etc/nginx/nginx.conf"),
            root,
            listeners: Vec::new(),
        }
    }

    fn error(&self, message: String) -> DriverError {
        DriverError::Settings { target: self.name.clone(), message }
    }

    fn cannot_run(&self, error: std::io::Error) -> DriverError {
        self.error(format!("cannot run {}: {error}; is nginx installed there?", self.binary.display()))
    }
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
        let sets = Sets { folder: settings.folder.clone(), files: &[HTTP, SERVER], keep_folder: false };
        Nginx { settings, sets }
    }

    /// The edits that place the hook where it lacks. Nothing is changed.
    pub fn hook_edits(&self, host: &dyn Host) -> Result<Vec<Edit>, DriverError> {
        edit::place(&self.settings, host, &self.configuration(host)?)
    }

    /// The edits that cut the hook out again, to the byte.
    pub fn unhook_edits(&self, host: &dyn Host) -> Result<Vec<Edit>, DriverError> {
        edit::cut(&self.settings, host, &self.configuration(host)?)
    }

    /// Makes the edits and has nginx test the result; where it is rejected, every file is put back.
    pub fn edit(&self, host: &dyn Host, edits: &[Edit]) -> Result<(), DriverError> {
        edit::make(&self.settings, host, edits)
    }

    fn configuration(&self, host: &dyn Host) -> Result<Config, DriverError> {
        let dump = server::dump(&self.settings, host, None).or_else(|broken| {
            if !matches!(broken, DriverError::BrokenBefore { .. }) || !self.is_edited(host)? {
                return Err(broken);
            }
            // Somebody may have broken a file of ours, which is for us to repair.
            self.without_ours(host, |bind| server::dump(&self.settings, host, Some(bind)))?
                .map_err(|_| broken)
        })?;
        Config::read(config::split_dump(&dump))
            .map_err(|e| self.settings.error(format!("cannot follow its configuration: {e}")))
    }

    fn is_edited(&self, host: &dyn Host) -> Result<bool, DriverError> {
        Ok(!self.sets.observe(host)?.foreign.is_empty())
    }

    /// Does `work` with an empty folder to lay over ours.
    fn without_ours<T>(&self, host: &dyn Host, work: impl FnOnce(Bind) -> T) -> Result<T, DriverError> {
        let staged = self.sets.stage(host, None)?;
        let done = work(Bind { staged, live: self.settings.folder.clone() });
        self.sets.unstage(host)?;
        Ok(done)
    }

    fn master(&self, host: &dyn Host, config: &Config) -> Option<u32> {
        let named = config.main().into_iter().find(|d| d.name == "pid").and_then(|d| d.args.first());
        let pid_file = match named {
            Some(path) => Some(self.settings.root.join(path)),
            None => server::built_in_pid_file(&self.settings, host),
        };
        server::master(&self.settings, host, &pid_file?)
    }

    /// Has nginx take what is live. One that does not run reads it when it starts.
    fn reload(&self, host: &dyn Host) -> Result<(), DriverError> {
        let config = self.configuration(host)?;
        match self.master(host, &config) {
            Some(master) => server::reload(&self.settings, host, master),
            None => {
                tracing::warn!(
                    target = self.settings.name,
                    "nginx does not run; it reads the rules at its start"
                );
                Ok(())
            }
        }
    }

    fn test(&self, host: &dyn Host, bind: Option<Bind>) -> Result<Result<(), String>, TestError> {
        server::test(&self.settings, host, bind)
    }

    /// Without a mount namespace: swapped, tested, restored. The journal already holds the change.
    fn test_swapped(&self, host: &dyn Host, change: &Change) -> Result<Result<(), String>, DriverError> {
        let tested = self.sets.swap(host, change).map(|()| self.test(host, None));
        self.sets.restore(host, change)?;
        tested?.map_err(|e| self.test_failed(e))
    }

    fn test_failed(&self, error: TestError) -> DriverError {
        match error {
            TestError::Other(e) => self.settings.cannot_run(e),
            TestError::Forbidden => self.settings.cannot_run(std::io::ErrorKind::PermissionDenied.into()),
        }
    }
}

impl Driver for Nginx {
    fn target(&self) -> &str {
        &self.settings.name
    }

    fn observe(&self, host: &dyn Host) -> Result<Observed, DriverError> {
        let config = self.configuration(host)?;
        let found = sites::sites(&config, &Hooks::new(&self.settings.folder), &self.settings.listeners);
        let mut warnings = found.warnings;
        if self.master(host, &config).is_none() {
            warnings.push("nginx does not run; it reads the rules at its start".to_owned());
        }
        let live = self.sets.observe(host)?;
        Ok(Observed { target: self.settings.name.clone(), live, sites: found.sites, warnings })
    }

    fn live(&self, host: &dyn Host) -> Option<Live> {
        self.sets.observe(host).ok()
    }

    fn render(&self, wanted: &[Wanted], observed: &Observed) -> Rendered {
        let mut rendered = Rendered { change: None, placements: Vec::new(), refused: Vec::new() };
        let (mut rules, mut holds) = (Vec::new(), Vec::new());
        let hooked = observed.sites.iter().any(|site| site.hook == Hook::Present);
        for wanted in render::in_order(wanted) {
            let piece = if hooked { Piece::read(wanted) } else { Err(no_hook(observed)) };
            let translated = piece.and_then(|piece| {
                let rules = site_rules(&piece);
                // Alone first: one that nginx cannot be told must not keep the others from it.
                translate(std::slice::from_ref(&rules))
                    .map(|_| (piece, rules))
                    .map_err(|e| render::with_causes(&e))
            });
            match translated {
                Err(why) => rendered.refused.push((render::action_ref(wanted), why)),
                Ok((piece, site_rules)) => {
                    let sites = piece.covered(observed);
                    rendered.placements.extend(piece.placements(&sites));
                    holds.push(piece.hold(sites));
                    rules.push(site_rules);
                }
            }
        }
        // What is too much together is taken back from the end.
        let config = loop {
            let why = match translate(&rules) {
                Ok(config) => break config,
                Err(e) => format!("together with the others: {e}"),
            };
            let (Some(last), Some(_)) = (holds.pop(), rules.pop()) else { return rendered };
            let what = render::held(&last);
            rendered.placements.retain(|placement| placement.what != what);
            rendered.refused.push((what, why));
        };
        let files = files(&self.settings.folder.join(LIVE), &config.http, &config.server);
        rendered.change =
            render::change(self.target(), &self.settings.folder, &observed.live, false, files, holds);
        rendered
    }

    fn check(&self, host: &dyn Host, change: &Change) -> Result<Checked, DriverError> {
        let target = || self.settings.name.clone();
        let mut before = self.test(host, None);
        if matches!(before, Ok(Err(_))) && self.is_edited(host)? {
            // As in `configuration`; where that cannot be seen, the first answer holds.
            match self.without_ours(host, |bind| self.test(host, Some(bind)))? {
                Err(TestError::Forbidden) => (),
                tested => before = tested,
            }
        }
        if let Err(message) = before.map_err(|e| self.test_failed(e))? {
            return Err(DriverError::BrokenBefore { target: target(), message });
        }
        let staged = self.sets.stage(host, change.after.as_ref())?;
        let tested = self.test(host, Some(Bind { staged, live: self.settings.folder.clone() }));
        self.sets.unstage(host)?;
        let (tested, checked) = match tested {
            Ok(tested) => (tested, Checked::Staged),
            Err(TestError::Forbidden) => (self.test_swapped(host, change)?, Checked::SwappedAndRestored),
            Err(other) => return Err(self.test_failed(other)),
        };
        tested.map(|()| checked).map_err(|message| DriverError::Rejected { target: target(), message })
    }

    fn apply(&self, host: &dyn Host, change: &Change) -> Result<(), DriverError> {
        self.sets.swap(host, change)?;
        self.reload(host)
    }

    fn revert(&self, host: &dyn Host, change: &Change) -> Result<(), DriverError> {
        self.sets.restore(host, change)?;
        // With a configuration that somebody broke there is no reload: the files are back, and
        // nginx keeps serving by what it holds until they repair it.
        match self.reload(host) {
            Err(DriverError::BrokenBefore { target, message }) => Err(DriverError::NotTaken {
                target,
                message: format!("the files are as before, but its configuration is broken: {message}"),
            }),
            other => other,
        }
    }

    fn settle(&self, host: &dyn Host, change: &Change) -> Result<(), DriverError> {
        self.sets.settle(host, change)
    }
}

fn no_hook(observed: &Observed) -> String {
    let why = observed.sites.iter().find_map(|site| match &site.hook {
        Hook::Missing(why) => Some(why.as_str()),
        Hook::Present => None,
    });
    format!(
        "no site reads our rules ({}); `stopgap agent hook` shows what to place",
        why.unwrap_or("there is none")
    )
}

fn site_rules(piece: &Piece) -> SiteRules {
    let names = |sites: &Vec<String>| sites.iter().flat_map(|site| sites::server_names(site)).collect();
    SiteRules {
        marker: piece.marker(),
        sites: piece.wanted.sites.as_ref().map(names),
        rules: piece.rules.clone(),
    }
}

fn files(live: &Path, http: &str, server: &str) -> BTreeMap<String, String> {
    let header = format!(
        "# The Stopgap agent writes this file and removes it; edits are reported and undone.\n\
         # To take the rules off by hand: remove {} and reload nginx.\n",
        live.display()
    );
    [(HTTP, http), (SERVER, server)].map(|(name, text)| (name.to_owned(), format!("{header}{text}"))).into()
}
