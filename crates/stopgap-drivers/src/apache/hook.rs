//! The hook: what makes Apache read our rules, placed by the operator.
//!
//! One line at the server level, for the rules of every site, and in each virtual host one for the rules that are
//! not for every site. Apache accepts that neither finds a file: before the first change and after the last nothing
//! of ours has to be there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use stopgap_core::plan::sha256_hex;

use super::config::{Config, Directive};
use super::dump::Dump;
use crate::driver::DriverError;
use crate::hook::edit::{self, Edit, Insertion};
use crate::hook::glob;
use crate::hook::markers::{BEGIN, END};
use crate::host::Host;
use crate::server::Settings;
use crate::set::LIVE;

/// The name of the file in `conf-enabled` or `conf.d`.
const CONF_FILE: &str = "stopgap.conf";

/// Folders whose files stand at the server level: Debian's, and everybody else's.
const CONF_FOLDERS: [&str; 2] = ["conf-enabled", "conf.d"];

/// A longer name is that of no virtual host that a client can name.
const NAME_MAX: usize = 200;

/// The lines for one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hooks {
    live: PathBuf,
}

/// The file with the rules of one site alone.
pub(super) fn site_file(site: &str) -> String {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    let name: String = site
        .bytes()
        .map(|b| if plain(char::from(b)) { char::from(b).to_string() } else { format!("_{b:02x}") })
        .collect();
    let name = if name.len() > NAME_MAX { sha256_hex(site.as_bytes()) } else { name };
    format!("site-{name}.conf")
}

impl Hooks {
    pub(super) fn new(folder: &Path) -> Hooks {
        Hooks { live: folder.join(LIVE) }
    }

    pub(super) fn server_line(&self) -> String {
        // A pattern, so that Apache of any age accepts that there is no such file.
        self.line("server*.conf")
    }

    pub(super) fn site_line(&self, site: &str) -> String {
        self.line(&site_file(site))
    }

    /// Whether one of the directives is that line.
    pub(super) fn is_in(&self, directives: &[&Directive], line: &str) -> bool {
        let includes = directives.iter().filter(|d| matches!(d.name.as_str(), "include" | "includeoptional"));
        includes.filter_map(|d| d.args.first()).any(|path| include(path) == line)
    }

    fn line(&self, file: &str) -> String {
        include(&self.live.join(file).to_string_lossy())
    }

    /// A file of its own at the server level.
    fn conf(&self, lines: &[String]) -> String {
        let lines: String = lines.iter().map(|line| format!("{line}\n")).collect();
        format!("{BEGIN}\n# Rules of the Stopgap agent; does nothing while there are none.\n{lines}{END}\n")
    }
}

fn include(path: &str) -> String {
    let plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-*+@,=".contains(&b));
    if plain {
        format!("IncludeOptional {path}")
    } else {
        format!("IncludeOptional \"{}\"", path.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

/// The edits that place the hook where it lacks.
pub(super) fn place(
    settings: &Settings,
    host: &dyn Host,
    config: &Config,
    dump: &Dump,
) -> Result<Vec<Edit>, DriverError> {
    let hooks = Hooks::new(&settings.folder);
    let mut edits = Vec::new();
    let mut insertions: BTreeMap<&str, Insertion> = BTreeMap::new();
    let lacking = lacking_at_server_level(&hooks, config, dump);
    if !lacking.is_empty() {
        match conf_file(config, dump) {
            Some(path) => {
                // Other lines of ours may stand there already.
                let after = Some(hooks.conf(&at_server_level(&hooks, config, dump)));
                edits.push(Edit { before: edit::read(host, &path)?, path, after });
            }
            None => {
                let main = config.files.first().into_iter();
                insertions.extend(main.map(|file| {
                    let places = vec![(file.text.len(), lacking.join("\n"))];
                    (file.path.as_str(), Insertion { path: &file.path, text: &file.text, places })
                }));
            }
        }
    }
    for found in &dump.hosts {
        let line = hooks.site_line(&super::sites::name(found, config));
        for section in config.virtual_hosts(&found.path, found.line) {
            let Some(file) = config.files.get(section.file) else { continue };
            if !hooks.is_in(&config.inside(section), &line) {
                let new = || Insertion { path: &file.path, text: &file.text, places: Vec::new() };
                let places = &mut insertions.entry(&file.path).or_insert_with(new).places;
                places.push((section.end, line.clone()));
            }
        }
    }
    for insertion in insertions.into_values() {
        edits.push(insertion.edit(settings, host)?);
    }
    Ok(edits)
}

/// The edits that cut the hook out again.
pub(super) fn cut(
    settings: &Settings,
    host: &dyn Host,
    config: &Config,
    dump: &Dump,
) -> Result<Vec<Edit>, DriverError> {
    let hooks = Hooks::new(&settings.folder);
    let own = hooks.conf(&at_server_level(&hooks, config, dump));
    edit::cut(host, config.files.iter().map(|file| file.path.as_str()), &own, &settings.folder)
}

fn lacking_at_server_level(hooks: &Hooks, config: &Config, dump: &Dump) -> Vec<String> {
    let level = config.server_level();
    at_server_level(hooks, config, dump).into_iter().filter(|line| !hooks.is_in(&level, line)).collect()
}

/// A server without virtual hosts is one site, and reads the rules of that site, too, at its server level.
fn at_server_level(hooks: &Hooks, config: &Config, dump: &Dump) -> Vec<String> {
    let own = dump.hosts.is_empty().then(|| hooks.site_line(&super::sites::main_name(config)));
    [hooks.server_line()].into_iter().chain(own).collect()
}

/// A file of our own, where the configuration includes a folder for such.
fn conf_file(config: &Config, dump: &Dump) -> Option<PathBuf> {
    let level = config.server_level();
    let includes = level.iter().filter(|d| matches!(d.name.as_str(), "include" | "includeoptional"));
    let patterns =
        includes.filter_map(|d| d.args.first()).map(|arg| dump.server_root.join(config.value(arg)));
    let files = patterns.filter_map(|pattern| {
        let folder =
            pattern.parent().filter(|folder| CONF_FOLDERS.iter().any(|name| folder.ends_with(name)))?;
        let file = folder.join(CONF_FILE);
        glob(&pattern.to_string_lossy(), &file.to_string_lossy()).then_some(file)
    });
    files.into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_site_s_file_has_a_plain_name_of_its_own() {
        assert_eq!(site_file("www.example.org"), "site-www.example.org.conf");
        assert_eq!(site_file("../a_b"), "site-.._2fa_5fb.conf");
        assert_eq!(site_file(&"a".repeat(300)).len(), "site-.conf".len() + 64);
        assert_ne!(site_file("a_5f"), site_file("a_"));
    }

    // This server's paths are those of Unix.
    #[cfg(unix)] // paths as such a server has them
    #[test]
    fn a_path_with_odd_characters_is_quoted() {
        assert_eq!(
            Hooks::new("/var/lib/stopgap/apache".as_ref()).site_line("a.example"),
            "IncludeOptional /var/lib/stopgap/apache/live/site-a.example.conf"
        );
        assert_eq!(
            Hooks::new("/a b\"c".as_ref()).server_line(),
            "IncludeOptional \"/a b\\\"c/live/server*.conf\""
        );
    }
}
