//! A whole server: every level, what its rewrite configuration comes to, and every fault that IIS would answer
//! with an error.

mod levels;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;

use crate::effective::{Effective, Found, Link, Merged, merge};
use crate::file::{self, ConfigFile};
use crate::section::{Declaration, Section, declarations};
use crate::server::Server;
use crate::tree::{Environment, Tree, folded, prefixes};
use crate::violation::{Code, Violation};

/// What was found on a server.
#[derive(Debug, Default)]
pub struct Report {
    /// Its sites; none where `applicationHost.config` cannot be read.
    pub server: Server,
    /// The server itself, then sites with their applications and virtual directories in the order of
    /// `applicationHost.config`, then folders and locations that have rules of their own.
    pub levels: Vec<LevelReport>,
    /// In the order of the levels.
    pub violations: Vec<Violation>,
    /// What was not looked at, in words.
    pub notes: Vec<String>,
}

/// One level.
#[derive(Debug)]
pub struct LevelReport {
    /// Its name: empty for the server, `Default Web Site/owa`.
    pub path: String,
    /// What it is.
    pub kind: LevelKind,
    /// The files that it is merged from and that are there, the server's own first.
    pub files: Vec<String>,
    /// What they come to, were there no violation.
    pub effective: Effective,
    /// Whether a violation stands at the level or above it: IIS answers with its status there, and with nothing else.
    pub broken: bool,
    /// Whether the rules, or the violations, depend on the order in which IIS merges a `<location>` that an outer
    /// file has for a level below and the files in between. Microsoft's documentation leaves it open; what is
    /// reported goes level by level.
    pub order_matters: bool,
}

/// What a level is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LevelKind {
    /// All sites.
    Server,
    /// A site's own application, or one below it.
    Application,
    /// A virtual directory that is no application.
    VirtualDirectory,
    /// A folder with a file, or a path that a `<location>` names.
    Folder,
}

/// There is nothing to check.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// No `applicationHost.config`.
    #[error("there is no {path}; expected a drive C: of a server with IIS")]
    NoServer {
        /// Where it was looked for.
        path: String,
    },
    /// Shared configuration is enabled.
    #[error("{file} sends IIS to {path:?}: the configuration of this server is kept there, and not here")]
    Shared {
        /// `redirection.config`.
        file: String,
        /// The folder that it names.
        path: String,
    },
}

/// Checks a server.
///
/// # Errors
/// [`CheckError`] where the files are not those that the server reads. Whatever is wrong in them is no error but
/// a [`Violation`].
pub fn check(tree: &dyn Tree, environment: &Environment) -> Result<Report, CheckError> {
    let folder = environment.configuration();
    shared(tree, &folder)?;
    let path = format!("{folder}\\applicationHost.config");
    let Some(host) = file::read(tree, &path) else { return Err(CheckError::NoServer { path }) };
    let Some(document) = &host.document else {
        let unread = host.faults.into_iter().map(|fault| Violation {
            code: fault.code,
            application: String::new(),
            level: String::new(),
            file: host.path.clone(),
            place: fault.place,
            // Nothing starts without it.
            status: "503",
            message: fault.message,
            key: fault.key,
        });
        return Ok(Report { violations: unread.collect(), ..Report::default() });
    };
    let server = Server::of(document, environment);
    let declared = declarations(document.root());
    let mut checker = Checker { tree, server: &server, declared, host: &host, files: HashMap::new() };
    let mut notes = server.notes.clone();
    let (levels, violations) = checker.run(&mut notes);
    Ok(Report { levels, violations, notes, server })
}

/// IIS reads `redirection.config` first, and where that says so nothing else of this folder.
fn shared(tree: &dyn Tree, folder: &str) -> Result<(), CheckError> {
    let path = format!("{folder}\\redirection.config");
    let document = file::read(tree, &path).and_then(|file| file.document);
    let root = document.as_ref().map(crate::document::Document::root);
    let redirection = root.and_then(|root| root.child("configurationRedirection"));
    let value = |name: &str| redirection.and_then(|redirection| redirection.attribute(name));
    if value("enabled").is_some_and(|enabled| enabled.eq_ignore_ascii_case("true")) {
        let to = value("path").unwrap_or_default().into_owned();
        return Err(CheckError::Shared { file: path, path: to });
    }
    Ok(())
}

struct Checker<'a> {
    tree: &'a dyn Tree,
    server: &'a Server,
    declared: BTreeMap<Section, Declaration>,
    host: &'a ConfigFile,
    /// Each file is read once, however many levels it is for.
    files: HashMap<String, Option<Rc<ConfigFile>>>,
}

/// What names a fault: the level that the part is for, file, place, code, message.
type Identity = (String, String, u32, u32, Code, String);

fn identity(found: &Found) -> Identity {
    let Found { fault, file, at } = found;
    (folded(at), file.to_string(), fault.place.line, fault.place.column, fault.code, fault.message.clone())
}

impl Checker<'_> {
    fn run(&mut self, notes: &mut Vec<String>) -> (Vec<LevelReport>, Vec<Violation>) {
        let levels = levels::find(self, notes);
        let mut reports = Vec::new();
        for (path, kind) in levels {
            let way = self.way(&path);
            let links: Vec<Link> = std::iter::once(Link { base: String::new(), file: self.host })
                .chain(way.iter().map(|(base, file)| Link { base: base.clone(), file }))
                .collect();
            let Merged { effective, found, order_matters } =
                merge(self.server, &self.declared, &links, &path);
            if order_matters {
                notes.push(format!(
                    "{path}: its rules depend on the order in which IIS merges a <location> of an outer file and the \
                     files in between; they are told level by level, and Microsoft does not say that it is so"
                ));
            }
            let files = links.iter().map(|link| link.file.path.to_string()).collect();
            let own = kind != LevelKind::Folder || levels::has_own(&links, &path);
            reports.push((
                LevelReport { path, kind, files, effective, broken: false, order_matters },
                found,
                own,
            ));
        }
        let seen: HashMap<String, HashSet<Identity>> = reports
            .iter()
            .map(|(report, found, _)| (folded(&report.path), found.iter().map(identity).collect()))
            .collect();
        let mut violations = Vec::new();
        for (report, found, _) in &reports {
            let here = folded(&report.path);
            let above: Vec<_> = std::iter::once("")
                .chain(prefixes(&here))
                .filter(|path| *path != here)
                .filter_map(|path| seen.get(path))
                .collect();
            let mut told = HashSet::new();
            for one in found {
                // What a parent has already is told there, once.
                let identity = identity(one);
                if above.iter().any(|seen| seen.contains(&identity)) || !told.insert(identity) {
                    continue;
                }
                let application = self.server.application(&report.path);
                violations.push(Violation {
                    code: one.fault.code,
                    application: application.map(|application| application.path.clone()).unwrap_or_default(),
                    level: report.path.clone(),
                    file: one.file.clone(),
                    place: one.fault.place,
                    status: one.fault.status,
                    message: one.fault.message.clone(),
                    key: one.fault.key.clone(),
                });
            }
        }
        let at: HashSet<String> = violations.iter().map(|violation| folded(&violation.level)).collect();
        let levels = reports.into_iter().filter(|(.., own)| *own).map(|(report, ..)| {
            let here = folded(&report.path);
            let broken = at.contains("") || prefixes(&here).any(|path| at.contains(path));
            LevelReport { broken, ..report }
        });
        (levels.collect(), violations)
    }

    /// The files on the way to a level, below the server's own.
    fn way(&mut self, level: &str) -> Vec<(String, Rc<ConfigFile>)> {
        if self.server.application(level).is_some_and(|application| !application.reads_files) {
            return Vec::new();
        }
        prefixes(level).filter_map(|prefix| Some((prefix.to_owned(), self.file(prefix)?))).collect()
    }

    /// The `web.config` of a level.
    fn file(&mut self, level: &str) -> Option<Rc<ConfigFile>> {
        let path = format!("{}\\web.config", self.server.folder(level)?);
        let tree = self.tree;
        self.files.entry(folded(&path)).or_insert_with(|| file::read(tree, &path).map(Rc::new)).clone()
    }
}
