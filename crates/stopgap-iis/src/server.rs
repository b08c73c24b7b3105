//! `applicationHost.config`: sites, their bindings, applications and virtual directories, and which folder a
//! path is served from.
//!
//! Not in here: what a folder's configuration says, application pools, and other protocols than HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;

use stopgap_rules::parse::Place;

use crate::document::{Document, Element};
use crate::tree::{Environment, folded, join, url, within};

/// The sites of a server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Server {
    /// In the file's order.
    pub sites: Vec<Site>,
    /// What could not be understood, in words: a path on a share, a variable that nobody set.
    pub notes: Vec<String>,
}

/// `<site>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Site {
    /// Its name, such as `Default Web Site`.
    pub name: String,
    /// Its number, as written.
    pub id: String,
    /// In the file's order.
    pub bindings: Vec<Binding>,
    /// In the file's order; that of the site itself has the path `/`.
    pub applications: Vec<Application>,
    /// Where it stands in `applicationHost.config`.
    pub place: Place,
}

/// `<binding>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// `http`, `https`, or one that is not HTTP.
    pub protocol: String,
    /// `address:port:host` for HTTP, as written.
    pub information: String,
}

/// `<application>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Application {
    /// The level's name: site and path, `Default Web Site/owa`.
    pub path: String,
    /// Its application pool, by its own word or that of the defaults.
    pub pool: Option<String>,
    /// Whether it reads any `web.config`: its pool may say `enableConfigurationOverride="false"`.
    pub reads_files: bool,
    /// In the file's order; that of the application itself has its path.
    pub directories: Vec<VirtualDirectory>,
}

/// `<virtualDirectory>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VirtualDirectory {
    /// The level's name: site, application and path.
    pub path: String,
    /// Its folder, variables resolved; nothing where it is not on a drive of this server.
    pub folder: Option<Arc<str>>,
    /// Whether IIS looks for files below the folder itself (`allowSubDirConfig`).
    pub sub_folders: bool,
}

impl Server {
    /// Reads the sites of an `applicationHost.config`.
    pub fn of(host: &Document, environment: &Environment) -> Server {
        let mut server = Server::default();
        let host = host.root();
        let deaf = Deaf::of(host);
        let all = host.named("system.applicationHost").flat_map(|group| group.named("sites"));
        for sites in all {
            if sites.attribute("configSource").is_some() {
                server
                    .notes
                    .push("the sites are kept in another file (configSource), which is not read".to_owned());
            }
            for site in sites.named("site") {
                let Some(name) = site.attribute("name") else { continue };
                let defaults = Defaults { scopes: [site, sites] };
                let applications = site.named("application").filter_map(|application| {
                    defaults.application(&name, application, (environment, &deaf), &mut server.notes)
                });
                let applications = applications.collect();
                let bindings = site.named("bindings").flat_map(|bindings| bindings.named("binding"));
                server.sites.push(Site {
                    applications,
                    bindings: bindings
                        .map(|binding| Binding {
                            protocol: binding.attribute("protocol").unwrap_or_default().into_owned(),
                            information: binding
                                .attribute("bindingInformation")
                                .unwrap_or_default()
                                .into_owned(),
                        })
                        .collect(),
                    id: site.attribute("id").unwrap_or_default().into_owned(),
                    name: url(&name),
                    place: site.place(),
                });
            }
        }
        server
    }

    /// Every application, in the file's order.
    pub fn applications(&self) -> impl Iterator<Item = &Application> {
        self.sites.iter().flat_map(|site| &site.applications)
    }

    /// The application that answers for a level, such as `Default Web Site/owa/auth`.
    pub fn application(&self, level: &str) -> Option<&Application> {
        let level = folded(level);
        self.applications()
            .filter(|application| within(&level, &folded(&application.path)))
            .max_by_key(|application| application.path.len())
    }

    /// The virtual directory that a level lies in, and what of its path lies below it.
    pub fn directory(&self, level: &str) -> Option<(&VirtualDirectory, String)> {
        let below = folded(level);
        let directory = self
            .application(level)?
            .directories
            .iter()
            .filter(|directory| within(&below, &folded(&directory.path)))
            .max_by_key(|directory| directory.path.len())?;
        // Segment by segment, since folding can change a name's length.
        let skipped = crate::tree::depth(&directory.path);
        Some((directory, level.split('/').skip(skipped).collect::<Vec<_>>().join("/")))
    }

    /// The folder whose `web.config` IIS reads for a level; nothing where it reads none.
    pub fn folder(&self, level: &str) -> Option<String> {
        let (directory, below) = self.directory(level)?;
        let folder = directory.folder.as_ref()?;
        match below.is_empty() {
            true => Some(folder.to_string()),
            false if directory.sub_folders => Some(format!("{folder}\\{}", below.replace('/', "\\"))),
            false => None,
        }
    }
}

/// The pools whose applications ignore every `web.config`, by name in lowercase.
struct Deaf {
    named: BTreeMap<String, bool>,
    others: bool,
}

impl Deaf {
    fn of(host: Element) -> Deaf {
        const WORD: &str = "enableConfigurationOverride";
        let is = |element: Element| element.attribute(WORD).map(|value| value.eq_ignore_ascii_case("false"));
        let groups = host.named("system.applicationHost").flat_map(|group| group.named("applicationPools"));
        let mut deaf = Deaf { named: BTreeMap::new(), others: false };
        for pools in groups {
            deaf.others |= pools.child("applicationPoolDefaults").and_then(is).unwrap_or(false);
            for pool in pools.named("add") {
                if let Some((name, is)) = pool.attribute("name").zip(is(pool)) {
                    deaf.named.insert(folded(&name), is);
                }
            }
        }
        deaf
    }

    fn holds(&self, pool: &str) -> bool {
        self.named.get(&folded(pool)).copied().unwrap_or(self.others)
    }
}

/// `applicationDefaults` and `virtualDirectoryDefaults`, the nearer ones first.
struct Defaults<'d> {
    scopes: [Element<'d>; 2],
}

impl Defaults<'_> {
    fn of(&self, element: Element, defaults: &'static str, attribute: &str) -> Option<String> {
        let own = element.attribute(attribute).map(|value| value.into_owned());
        own.or_else(|| {
            let mut near = self.scopes.iter().filter_map(|scope| scope.child(defaults)?.attribute(attribute));
            near.next().map(|value| value.into_owned())
        })
    }

    fn application(
        &self,
        site: &str,
        application: Element,
        (environment, deaf): (&Environment, &Deaf),
        notes: &mut Vec<String>,
    ) -> Option<Application> {
        let path = join(&url(site), &url(&application.attribute("path")?));
        let directories = application.named("virtualDirectory").filter_map(|directory| {
            let path = join(&path, &url(&directory.attribute("path")?));
            let sub = self.of(directory, "virtualDirectoryDefaults", "allowSubDirConfig");
            let folder = environment.path(&directory.attribute("physicalPath")?);
            let folder =
                folder.map_err(|why| notes.push(format!("{path}: {why}; its files are not read"))).ok();
            let sub_folders = sub.is_none_or(|value| !value.eq_ignore_ascii_case("false"));
            Some(VirtualDirectory { path, folder: folder.map(Into::into), sub_folders })
        });
        let directories = directories.collect();
        let pool = self.of(application, "applicationDefaults", "applicationPool");
        Some(Application {
            reads_files: !pool.as_deref().is_some_and(|pool| deaf.holds(pool)),
            pool,
            directories,
            path,
        })
    }
}
