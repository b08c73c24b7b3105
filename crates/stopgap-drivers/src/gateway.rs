//! The embedded gateway: one rules file, and a control socket over which the process says which
//! rules are in force.
//!
//! The process is started with `--rules <folder>/live/rules.xml`. A change swaps the set and has
//! the gateway read it; the answer names the SHA-256 of the octets in force, and what it names is
//! what counts. Protocol: one JSON object a line, `{"command":"activate"}` or
//! `{"command":"status"}`, answered with `{"active":"<sha256>","error":null,…}`.

mod xml;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use stopgap_core::observed::{Hook, Listener, Observed, Site};
use stopgap_core::plan::{Change, Rendered, Wanted, sha256_hex};
use stopgap_rules::{Engine, EngineLimits, RuleSet};

use crate::driver::{Checked, Driver, DriverError, io_error};
use crate::host::{Bounds, Host};
use crate::render::{self, OBSERVING, Piece};
use crate::set::{LIVE, Sets};

/// The one file of a set, beside its manifest.
pub const RULES: &str = "rules.xml";

/// The gateway compiles up to 10,000 rules before it answers.
const CONTROL: Bounds = Bounds { octets: 1 << 20, time: Duration::from_secs(30) };

/// The gateway reads no larger file.
const RULES_MAX: u64 = 16 << 20;

/// Where a gateway is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The target's name.
    pub name: String,
    /// The folder of its sets: `data/<target>`.
    pub folder: PathBuf,
    /// Its control socket; by default [`Settings::default_control`].
    pub control: PathBuf,
    /// Where probes go.
    pub listeners: Vec<Listener>,
    /// The name of its one site.
    pub site: String,
}

impl Settings {
    /// `control.sock` in the target's folder.
    pub fn default_control(folder: &Path) -> PathBuf {
        folder.join("control.sock")
    }
}

/// The driver of one gateway.
#[derive(Debug, Clone)]
pub struct Gateway {
    settings: Settings,
    sets: Sets,
}

impl Gateway {
    /// A driver for the gateway of `settings`.
    pub fn new(settings: Settings) -> Gateway {
        // The socket lives in the folder by default, and so does what makes it writable for the
        // gateway's user.
        let sets =
            Sets { folder: settings.folder.clone(), files: &[RULES], keep_folder: true, at_all_times: false };
        Gateway { settings, sets }
    }

    /// Has the gateway read the live file, and requires that it uses it. One that does not run
    /// reads it when it starts.
    fn activate(&self, host: &dyn Host) -> Result<(), DriverError> {
        let expected = self.on_disk(host)?;
        let not_taken =
            |message: String| DriverError::NotTaken { target: self.settings.name.clone(), message };
        match self.ask(host, "activate") {
            Ok(Answer { error: Some(error), .. }) => Err(not_taken(error)),
            Ok(Answer { active: Some(active), .. }) if active == expected => Ok(()),
            Ok(Answer { active, .. }) => {
                let active = active.unwrap_or_else(|| "nothing".into());
                Err(not_taken(format!("it uses the rules with SHA-256 {active}, expected {expected}")))
            }
            Err(e) if does_not_run(&e) => {
                tracing::warn!(
                    target = self.settings.name,
                    "the gateway does not run; it reads the rules at its start"
                );
                Ok(())
            }
            Err(e) => Err(not_taken(format!("{}: {e}", self.settings.control.display()))),
        }
    }

    /// SHA-256 of what the gateway would read now.
    fn on_disk(&self, host: &dyn Host) -> Result<String, DriverError> {
        let path = self.settings.folder.join(LIVE).join(RULES);
        match host.read(&path, RULES_MAX) {
            Ok(bytes) => Ok(sha256_hex(&bytes)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(sha256_hex(b"")),
            Err(e) => Err(io_error("cannot read", &path)(e)),
        }
    }

    fn ask(&self, host: &dyn Host, command: &str) -> io::Result<Answer> {
        let line = format!("{{\"command\":\"{command}\"}}");
        let answer = host.control(&self.settings.control, &line, CONTROL)?;
        serde_json::from_str(&answer).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
    }

    fn io_missing(&self) -> String {
        format!("the gateway does not answer on {}: start it", self.settings.control.display())
    }
}

#[derive(Deserialize)]
struct Answer {
    active: Option<String>,
    error: Option<String>,
    /// Connections that earlier rules still serve; the second step is done when there is none.
    #[serde(default)]
    older_connections: usize,
    /// It knows rules that are only observed; an older one would refuse by them.
    #[serde(default)]
    observes: bool,
}

fn does_not_run(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

impl Driver for Gateway {
    fn target(&self) -> &str {
        &self.settings.name
    }

    fn cannot_observe(&self) -> Option<&'static str> {
        None
    }

    fn observe(&self, host: &dyn Host) -> Result<Observed, DriverError> {
        let mut live = self.sets.observe(host)?;
        let mut warnings = Vec::new();
        let mut hook = Hook::Present;
        let mut lacks = BTreeMap::new();
        let expected = self.on_disk(host)?;
        match self.ask(host, "status") {
            Ok(answer) => {
                live.active = Some(answer.active.as_ref() == Some(&expected));
                if let Some(error) = answer.error {
                    warnings.push(format!("the gateway could not read its rules: {error}"));
                }
                warnings.extend(render::still_by_older_rules("connection", answer.older_connections));
                if !answer.observes {
                    let why =
                        "the gateway that runs is of an earlier version, which would refuse: restart it";
                    lacks.insert(OBSERVING.to_owned(), why.to_owned());
                }
            }
            Err(e) => {
                live.active = Some(false);
                warnings.push(format!("{} ({e})", self.io_missing()));
                hook = Hook::Missing(self.io_missing());
            }
        }
        let site =
            Site { name: self.settings.site.clone(), hook, listeners: self.settings.listeners.clone() };
        Ok(Observed {
            target: self.settings.name.clone(),
            live,
            sites: vec![site],
            warnings,
            lacks,
            files: BTreeMap::new(),
        })
    }

    fn render(&self, wanted: &[Wanted], observed: &Observed) -> Rendered {
        let mut rendered = Rendered { change: None, placements: Vec::new(), refused: Vec::new() };
        let mut document = xml::Document::default();
        let mut holds = Vec::new();
        // There is one site: an action that is for none of this target's is not for it.
        let is_for_us = |wanted: &&Wanted| wanted.sites.as_ref().is_none_or(|sites| !sites.is_empty());
        for wanted in render::in_order(wanted).into_iter().filter(is_for_us) {
            let added = Piece::read(wanted).and_then(|piece| {
                piece.check_observing(observed)?;
                document.add(&piece).map(|()| piece)
            });
            match added {
                Err(why) => rendered.refused.push((render::action_ref(wanted), why)),
                Ok(piece) => {
                    let sites = piece.covered(observed);
                    rendered.placements.extend(piece.placements(&sites));
                    // Not the covered ones: a gateway that is started later reads this same file.
                    holds.push(piece.hold(vec![self.settings.site.clone()]));
                }
            }
        }
        let runs = observed.sites.iter().any(|site| site.hook == Hook::Present);
        let unused = observed.live.active == Some(false) && runs;
        let files = BTreeMap::from([(RULES.to_owned(), document.finish(&self.settings.folder.join(LIVE)))]);
        rendered.change =
            render::change(self.target(), &self.settings.folder, &observed.live, unused, files, holds);
        rendered
    }

    fn check(&self, _: &dyn Host, change: &Change) -> Result<Checked, DriverError> {
        let rejected =
            |message: String| DriverError::Rejected { target: self.settings.name.clone(), message };
        if let Some(set) = &change.after {
            let text = set.files.get(RULES).ok_or_else(|| rejected(format!("the set has no {RULES}")))?;
            let rules = RuleSet::parse(text).map_err(|e| rejected(format!("{RULES}: {e}")))?;
            Engine::compile(&rules, &EngineLimits::default())
                .map_err(|e| rejected(format!("{RULES}: {e}")))?;
        }
        // The gateway compiles the file beside the one in force, and keeps that where it fails.
        Ok(Checked::ByServer)
    }

    fn apply(&self, host: &dyn Host, change: &Change) -> Result<(), DriverError> {
        self.sets.swap(host, change)?;
        self.activate(host)
    }

    fn revert(&self, host: &dyn Host, change: &Change) -> Result<(), DriverError> {
        self.sets.restore(host, change)?;
        self.activate(host)
    }

    fn settle(&self, host: &dyn Host, change: &Change) -> Result<(), DriverError> {
        self.sets.settle(host, change)
    }
}
