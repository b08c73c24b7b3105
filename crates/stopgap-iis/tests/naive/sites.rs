//! Sites, applications, virtual directories and section definitions of applicationHost.config, and the chain of
//! files that a URL level is made of.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::El;
use super::{HOST, is_true, under};

pub struct Server {
    /// Application by its URL (`Site`, `Site/app`), with the name of its pool.
    applications: BTreeMap<String, String>,
    /// URL of a virtual directory's root, its folder, and `allowSubDirConfig`.
    folders: Vec<(String, String, bool)>,
    /// Pools with `enableConfigurationOverride="false"`, whose applications read no web.config.
    deaf: BTreeSet<String>,
    pub definitions: BTreeMap<String, Definition>,
}

/// D, "Additional Schema Information in <configSections>".
pub struct Definition {
    /// `overrideModeDefault`: whether files below may use the section.
    pub allow: bool,
    allow_definition: String,
}

impl Definition {
    /// Whether a file of the level `at` may have the section for the level `target`. AppHostOnly: "valid at server
    /// level only" (ksingla, "How configuration system merges sections"); the others go by files (D).
    pub fn allowed_in(&self, server: &Server, at: &str, target: &str) -> bool {
        match self.allow_definition.as_str() {
            "AppHostOnly" => target.is_empty(),
            "MachineOnly" | "MachineToWebRoot" | "MachineToRootWeb" => at.is_empty(),
            "MachineToApplication" => {
                at.is_empty() || server.applications.keys().any(|app| app.eq_ignore_ascii_case(at))
            }
            _ => true,
        }
    }
}

impl Server {
    pub fn of(host: &El) -> Server {
        let mut server = Server {
            applications: BTreeMap::new(),
            folders: vec![],
            deaf: BTreeSet::new(),
            definitions: BTreeMap::new(),
        };
        for group in host.all(&["configSections", "sectionGroup"]) {
            for rewrite in group.all(&["sectionGroup"]) {
                if group.attr("name") != Some("system.webServer") || rewrite.attr("name") != Some("rewrite") {
                    continue;
                }
                for section in rewrite.all(&["section"]) {
                    let definition = Definition {
                        allow: section.attr("overrideModeDefault") != Some("Deny"),
                        allow_definition: section.attr("allowDefinition").unwrap_or("Everywhere").to_owned(),
                    };
                    server
                        .definitions
                        .insert(section.attr("name").unwrap_or_default().to_owned(), definition);
                }
            }
        }
        for pool in host.all(&["system.applicationHost", "applicationPools", "add"]) {
            if pool.attr("enableConfigurationOverride").is_some_and(|v| !is_true(v)) {
                server.deaf.insert(pool.attr("name").unwrap_or_default().to_lowercase());
            }
        }
        let sites = host.all(&["system.applicationHost", "sites"]);
        let attribute_of = |els: &[&El], element: &str, attribute: &str| {
            let mut defaults =
                els.iter().filter_map(|el| el.child(element)).filter_map(|el| el.attr(attribute));
            defaults.next_back().map(str::to_owned)
        };
        for site in host.all(&["system.applicationHost", "sites", "site"]) {
            let name = site.attr("name").unwrap_or_default();
            let mut nearer = sites.clone();
            nearer.push(site);
            for application in site.all(&["application"]) {
                let url = join(name, application.attr("path").unwrap_or("/"));
                let pool = application.attr("applicationPool").map(str::to_owned);
                let pool = pool.or_else(|| attribute_of(&nearer, "applicationDefaults", "applicationPool"));
                server
                    .applications
                    .insert(url.clone(), pool.unwrap_or("DefaultAppPool".into()).to_lowercase());
                nearer.push(application);
                for directory in application.all(&["virtualDirectory"]) {
                    let sub = directory.attr("allowSubDirConfig").map(str::to_owned);
                    let sub = sub
                        .or_else(|| attribute_of(&nearer, "virtualDirectoryDefaults", "allowSubDirConfig"));
                    server.folders.push((
                        join(&url, directory.attr("path").unwrap_or("/")),
                        on_drive(directory.attr("physicalPath").unwrap_or_default()),
                        sub.is_none_or(|v| is_true(&v)),
                    ));
                }
                nearer.pop();
            }
        }
        server
    }

    /// The server, every application, every virtual directory, and every folder below one that has a file.
    pub fn levels(&self, files: &BTreeMap<String, String>) -> BTreeSet<String> {
        let mut levels: BTreeSet<String> = self.applications.keys().cloned().chain([String::new()]).collect();
        for (url, root, _) in &self.folders {
            levels.insert(url.clone());
            let folders = files.keys().filter_map(|file| file.strip_suffix("/web.config"));
            for folder in folders.filter(|folder| folder.len() > root.len() && under(folder, root)) {
                let level = format!("{url}{}", &folder[root.len()..]);
                if self.folder(&level).is_some_and(|own| own.eq_ignore_ascii_case(folder)) {
                    levels.insert(level);
                }
            }
        }
        levels
    }

    pub fn has_site(&self, level: &str) -> bool {
        self.applications.keys().any(|app| under(level, app))
    }

    /// The innermost application that a level belongs to.
    pub fn application(&self, level: &str) -> Option<&String> {
        self.applications.keys().filter(|app| under(level, app)).max_by_key(|app| app.len())
    }

    /// The files of a level, from the server down: each with the level that it is read for.
    pub fn chain(&self, files: &BTreeMap<String, String>, level: &str) -> Vec<(String, String)> {
        let mut chain = vec![(String::new(), HOST.to_owned())];
        if self.application(level).is_some_and(|app| self.deaf.contains(&self.applications[app])) {
            return chain;
        }
        let parts: Vec<&str> = level.split('/').filter(|part| !part.is_empty()).collect();
        for n in 1..=parts.len() {
            let at = parts[..n].join("/");
            let Some(folder) = self.folder(&at) else { continue };
            let wanted = format!("{folder}/web.config");
            if let Some(file) = files.keys().find(|file| file.eq_ignore_ascii_case(&wanted)) {
                chain.push((at, file.clone()));
            }
        }
        chain
    }

    /// The folder of a level that may have a web.config.
    fn folder(&self, level: &str) -> Option<String> {
        let app = self.application(level)?;
        // The innermost virtual directory of that very application.
        let mine = |url: &str| under(level, url) && self.application(url) == Some(app);
        let (url, folder, sub) =
            self.folders.iter().filter(|(url, ..)| mine(url)).max_by_key(|(url, ..)| url.len())?;
        let rest = &level[url.len()..];
        if !rest.is_empty() && !sub {
            return None;
        }
        Some(format!("{folder}{rest}"))
    }
}

fn join(base: &str, path: &str) -> String {
    format!("{base}/{}", path.trim_matches('/')).trim_end_matches('/').to_owned()
}

/// `%SystemDrive%\inetpub\wwwroot` as a path of the map.
fn on_drive(path: &str) -> String {
    let mut path = path.replace('\\', "/");
    for (variable, value) in
        [("%systemdrive%", "C:"), ("%windir%", "C:/Windows"), ("%systemroot%", "C:/Windows")]
    {
        if let Some(n) = path.to_lowercase().find(variable) {
            path.replace_range(n..n + variable.len(), value);
        }
    }
    let path = path.trim_end_matches('/').to_owned();
    path.strip_prefix("C:/").or(path.strip_prefix("c:/")).map_or(path.clone(), str::to_owned)
}
