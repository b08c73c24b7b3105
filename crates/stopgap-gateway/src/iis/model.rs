//! What the files say, made ready for requests: for each level its rules compiled, or why IIS answers with an error
//! there.

use std::collections::HashMap;
use std::sync::Arc;

use stopgap_iis::{
    CheckError, Code, Document, Environment, LevelReport, Report, Server, Tree, Violation, pools,
};
use stopgap_rules::RuleSet;

use crate::verdict::RuleBook;

/// One reading of the configuration.
#[derive(Default)]
pub(super) struct Model {
    /// Why no site starts.
    pub(super) dead: Option<String>,
    pub(super) server: Server,
    levels: HashMap<String, Level>,
    /// Segments of the deepest level's path.
    depth: usize,
    /// The application pools that do not start, by the applications in them, in lowercase.
    stopped: HashMap<String, String>,
    pub(super) notes: Vec<String>,
}

/// What IIS does for requests at a level.
pub(super) enum Level {
    Serves(Arc<RuleBook>),
    /// It answers 500; the text says which substatus and why.
    Broken(String),
    /// Nothing here can tell what it does.
    Unknown(String),
}

impl Model {
    /// Reads the files.
    pub(super) fn read(tree: &dyn Tree, environment: &Environment) -> Result<Model, CheckError> {
        let report = stopgap_iis::check(tree, environment)?;
        let mut model = Model { notes: report.notes.clone(), ..Model::default() };
        if let Some(fatal) = report.violations.iter().find(|violation| violation.status == "503") {
            model.dead = Some(told(fatal));
            return Ok(model);
        }
        model.stopped = stopped(tree, environment, &mut model.notes);
        model.levels = levels(&report);
        model.depth = model.levels.keys().map(|path| path.split('/').count()).max().unwrap_or(0);
        model.server = report.server;
        Ok(model)
    }

    /// A model of which nothing is known but that no site starts.
    pub(super) fn dead(why: String) -> Model {
        Model { dead: Some(why), ..Model::default() }
    }

    /// The level that a path below a site lies in; nothing where the site has no application for it.
    pub(super) fn level(&self, path: &str) -> Option<&Level> {
        let folded = path.trim_end_matches('/').to_lowercase();
        // Deeper than any level there is nothing to find.
        let ends = folded.match_indices('/').map(|(at, _)| at).take(self.depth).chain([folded.len()]);
        let ends: Vec<usize> = ends.collect();
        ends.iter().rev().find_map(|end| self.levels.get(folded.get(..*end)?))
    }

    /// The pool of an application, where it does not start.
    pub(super) fn stopped_pool(&self, application: &str) -> Option<&str> {
        self.stopped.get(&application.to_lowercase()).map(String::as_str)
    }
}

fn stopped(tree: &dyn Tree, environment: &Environment, notes: &mut Vec<String>) -> HashMap<String, String> {
    let path = format!("{}\\applicationHost.config", environment.configuration());
    let document = tree.read(&path).ok().flatten().and_then(|octets| Document::parse(&octets).ok());
    let pools = match document.as_ref().map(pools::pools) {
        None | Some(Err(pools::PoolError::NoPools)) => return HashMap::new(),
        Some(Ok(pools)) => pools,
        Some(Err(error)) => {
            notes.push(format!("no pool is taken for stopped: {error}"));
            return HashMap::new();
        }
    };
    let stopped = pools.into_iter().filter(|pool| pool.auto_start.eq_ignore_ascii_case("false"));
    let each = stopped.flat_map(|pool| {
        pool.applications.into_iter().map(move |application| (application.to_lowercase(), pool.name.clone()))
    });
    each.collect()
}

fn levels(report: &Report) -> HashMap<String, Level> {
    let mut levels = HashMap::new();
    // Most levels have what the one above them has.
    let mut books: HashMap<String, (RuleSet, Arc<RuleBook>)> = HashMap::new();
    for level in &report.levels {
        let path = level.path.to_lowercase();
        let made = if level.broken {
            Level::Broken(why(report, level))
        } else {
            let set = level.effective.rule_set();
            let above = path.rmatch_indices('/').filter_map(|(at, _)| books.get(path.get(..at)?)).next();
            match above.filter(|(other, _)| *other == set) {
                Some((_, book)) => Level::Serves(book.clone()),
                None => match RuleBook::of(&set) {
                    Ok(book) => {
                        let book = Arc::new(book);
                        books.insert(path.clone(), (set, book.clone()));
                        Level::Serves(book)
                    }
                    Err(error) => Level::Unknown(error.to_string()),
                },
            }
        };
        levels.insert(path, made);
    }
    levels
}

/// Why a level is broken: the first violation at it or above it.
fn why(report: &Report, level: &LevelReport) -> String {
    let here = level.path.to_lowercase();
    let holds = |violation: &&Violation| {
        let at = violation.level.to_lowercase();
        at.is_empty() || here.strip_prefix(&at).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    report.violations.iter().find(holds).map_or_else(|| "500.19".to_owned(), told)
}

/// A violation for people: what IIS would say and where the fault stands.
fn told(violation: &Violation) -> String {
    let Violation { code, level, file, place, status, message, key, .. } = violation;
    // These are no faults to IIS, for all that is known.
    let unknown = matches!(code, Code::UnknownLock | Code::TooMany | Code::Encrypted);
    let status = if unknown { "not modeled" } else { status };
    let mut text = format!("{status} {}\n{file}:{}:{}: {message}\n", code.word(), place.line, place.column);
    if let Some(key) = key {
        text.push_str(&format!("key: {key}\n"));
    }
    text.push_str(&format!("level: {}\n", if level.is_empty() { "the server" } else { level }));
    text
}
