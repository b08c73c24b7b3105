//! An application pool taken out of service, and put back: the two settings of `applicationHost.config` that keep
//! it from being started, what stood there before, and whom it stops.
//!
//! ```text
//!   take_out(document, pool) -> edits, what was there (for the journal), the applications that stop
//!   put_back(document, what was there) -> edits, and what is left because another hand has changed it
//! ```
//!
//! Settings outlive a restart of IIS and do not stop a pool that runs; stopping is [`appcmd`]'s. A service that
//! watches over Exchange would start the pool again, and is the mitigation's to stop first.
//!
//! Source of names and defaults: "Adding Application Pools `<add>`" and "Application Pool Defaults" in Microsoft's IIS
//! configuration reference. Not in here: running anything, and writing the file.

pub mod appcmd;

use std::fmt;

use crate::document::{Document, Edit, EditError, Element};
use crate::server::Server;
use crate::tree::Environment;

/// Whether IIS starts the pool when it starts itself.
const AUTO_START: &str = "autoStart";
/// Whether a pool runs before it is asked.
const START_MODE: &str = "startMode";

/// A setting of a pool, and what it is while the pool is out of service.
const OURS: [(&str, &str); 2] = [(AUTO_START, "false"), (START_MODE, "OnDemand")];

/// What IIS takes where neither the pool nor `applicationPoolDefaults` says anything.
const DEFAULTS: [(&str, &str); 2] = [(AUTO_START, "true"), (START_MODE, "OnDemand")];

/// A pool of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    /// As `applicationHost.config` writes it.
    pub name: String,
    /// Whether IIS starts it with itself: by its own word, that of the defaults, or IIS's own.
    pub auto_start: String,
    /// `OnDemand` or `AlwaysRunning`, by the same.
    pub start_mode: String,
    /// The applications in it, as `Default Web Site/owa`, in the file's order.
    pub applications: Vec<String>,
}

/// What a pool's element said before it was taken out of service; what the journal keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Before {
    /// The pool, as `applicationHost.config` writes it.
    pub pool: String,
    /// `autoStart` of the pool itself; nothing where it had none.
    pub auto_start: Option<String>,
    /// `startMode` of the pool itself; nothing where it had none.
    pub start_mode: Option<String>,
}

impl Before {
    fn of(&self, setting: &str) -> Option<&str> {
        if setting == AUTO_START { self.auto_start.as_deref() } else { self.start_mode.as_deref() }
    }
}

/// How a pool is taken out of service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakeOut {
    /// What was there.
    pub before: Before,
    /// The changes of `applicationHost.config`; none where the pool is out of service already.
    pub edits: Vec<Edit>,
    /// Everything that stops with it, as `Default Web Site/owa`.
    pub applications: Vec<String>,
}

impl TakeOut {
    /// What stops beside the application that is meant, in words for the plan; nothing where nothing else does.
    pub fn also_stops(&self, meant: &str) -> Option<String> {
        let meant = |path: &&String| !path.eq_ignore_ascii_case(meant);
        let others: Vec<&str> = self.applications.iter().filter(meant).map(String::as_str).collect();
        let (last, rest) = others.split_last()?;
        let list =
            if rest.is_empty() { (*last).to_owned() } else { format!("{} and {last}", rest.join(", ")) };
        Some(format!("this also stops {list}"))
    }
}

/// How a pool is put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PutBack {
    /// The changes of `applicationHost.config`.
    pub edits: Vec<Edit>,
    /// Settings that another hand has changed since: they stay.
    pub foreign: Vec<Foreign>,
    /// Whether IIS starts the pool by itself once this is done: then it may be started now.
    pub starts: bool,
}

/// A setting that is not what was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreign {
    /// The pool.
    pub pool: String,
    /// The attribute.
    pub setting: &'static str,
    /// What was written.
    pub written: &'static str,
    /// What stands there; nothing where the attribute is gone.
    pub found: Option<String>,
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Foreign { pool, setting, written, .. } = self;
        write!(f, "application pool {pool}: {setting} was set to {written} and ")?;
        match &self.found {
            Some(found) => write!(f, "is {found} now; it stays"),
            None => f.write_str("has been taken out since; it stays so"),
        }
    }
}

/// Why a pool cannot be taken out of service or put back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PoolError {
    /// The file lists no pools.
    #[error("applicationHost.config has no system.applicationHost/applicationPools")]
    NoPools,
    /// The list of pools stands in another file.
    #[error("the application pools stand in {0:?} (configSource), which is not edited; set the pool by hand")]
    Elsewhere(String),
    /// No pool of this name.
    #[error("there is no application pool {name:?}; there are: {}", .known.join(", "))]
    NoPool {
        /// The name that was asked for.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// Two pools of one name, which IIS refuses itself.
    #[error("there are two application pools {0:?}; IIS reads no such file")]
    Twice(String),
    /// The edit could not be made.
    #[error(transparent)]
    Edit(#[from] EditError),
}

/// Every pool of a server, with what runs in it.
///
/// # Errors
/// [`PoolError::NoPools`] and [`PoolError::Elsewhere`].
pub fn pools(host: &Document) -> Result<Vec<Pool>, PoolError> {
    let list = list(host)?;
    let defaults = list.child("applicationPoolDefaults");
    // Folders do not matter here, so neither do the variables in them.
    let server = Server::of(host, &Environment::windows());
    let pool = |element: Element<'_>| {
        let name = element.attribute("name")?.into_owned();
        let effective = |setting: &str| {
            let own = element.attribute(setting).or_else(|| defaults?.attribute(setting));
            let known =
                DEFAULTS.into_iter().find(|(name, _)| *name == setting).map_or("", |(_, value)| value);
            own.map_or_else(|| known.to_owned(), std::borrow::Cow::into_owned)
        };
        let mine = |pool: &Option<String>| pool.as_ref().is_some_and(|pool| same(pool, &name));
        let applications = server.applications().filter(|a| mine(&a.pool)).map(|a| a.path.clone()).collect();
        Some(Pool {
            auto_start: effective(AUTO_START),
            start_mode: effective(START_MODE),
            applications,
            name,
        })
    };
    Ok(list.named("add").filter_map(pool).collect())
}

/// Takes a pool out of service: `autoStart="false"` and `startMode="OnDemand"` on the pool itself, whatever the
/// defaults say, since those can change.
///
/// # Errors
/// [`PoolError`].
pub fn take_out(host: &Document, name: &str) -> Result<TakeOut, PoolError> {
    let element = find(host, name)?;
    let own = |setting: &str| element.attribute(setting).map(std::borrow::Cow::into_owned);
    let name = element.attribute("name").unwrap_or_default().into_owned();
    let mut edits = Vec::new();
    for (setting, ours) in OURS {
        if !own(setting).is_some_and(|found| same(&found, ours)) {
            edits.push(host.set_attribute(element.id(), setting, ours)?);
        }
    }
    let all = pools(host)?;
    let applications = all.into_iter().find(|pool| same(&pool.name, &name)).map(|pool| pool.applications);
    Ok(TakeOut {
        before: Before { pool: name, auto_start: own(AUTO_START), start_mode: own(START_MODE) },
        edits,
        applications: applications.unwrap_or_default(),
    })
}

/// Puts a pool back: each setting becomes what it was, or goes where there was none, while it is still the one that
/// [`take_out`] wrote. A pool that is gone has nothing to be put back.
///
/// # Errors
/// [`PoolError`], but for a pool that is gone.
pub fn put_back(host: &Document, before: &Before) -> Result<PutBack, PoolError> {
    let element = match find(host, &before.pool) {
        Ok(element) => element,
        Err(PoolError::NoPool { .. }) => {
            return Ok(PutBack { edits: Vec::new(), foreign: Vec::new(), starts: false });
        }
        Err(error) => return Err(error),
    };
    let (mut edits, mut foreign) = (Vec::new(), Vec::new());
    for (setting, ours) in OURS {
        let found = element.attribute(setting).map(std::borrow::Cow::into_owned);
        if !found.as_ref().is_some_and(|found| same(found, ours)) {
            let pool = before.pool.clone();
            // What stands there is what stood there: somebody has put it back already.
            if found.as_deref() != before.of(setting) {
                foreign.push(Foreign { pool, setting, written: ours, found });
            }
            continue;
        }
        match before.of(setting) {
            Some(value) if same(value, ours) => {}
            Some(value) => edits.push(host.set_attribute(element.id(), setting, value)?),
            None => edits.extend(host.remove_attribute(element.id(), setting)),
        }
    }
    let after = pools(&host.with(&edits)?)?;
    let starts = after.iter().any(|pool| same(&pool.name, &before.pool) && same(&pool.auto_start, "true"));
    Ok(PutBack { edits, foreign, starts })
}

fn list(host: &Document) -> Result<Element<'_>, PoolError> {
    let lists = host.root().named("system.applicationHost").flat_map(|group| group.named("applicationPools"));
    let list = { lists }.next().ok_or(PoolError::NoPools)?;
    match list.attribute("configSource") {
        Some(file) => Err(PoolError::Elsewhere(file.into_owned())),
        None => Ok(list),
    }
}

fn find<'d>(host: &'d Document, name: &str) -> Result<Element<'d>, PoolError> {
    let list = list(host)?;
    let named = |element: &Element<'_>| element.attribute("name").is_some_and(|found| same(&found, name));
    let mut found = list.named("add").filter(named);
    match (found.next(), found.next()) {
        (Some(element), None) => Ok(element),
        (Some(_), Some(_)) => Err(PoolError::Twice(name.to_owned())),
        (None, _) => {
            let names = list.named("add").filter_map(|add| add.attribute("name"));
            Err(PoolError::NoPool {
                name: name.to_owned(),
                known: names.map(std::borrow::Cow::into_owned).collect(),
            })
        }
    }
}

/// Names of pools and words of settings are the same in any case.
fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}
