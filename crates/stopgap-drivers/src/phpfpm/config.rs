//! The files that php-fpm reads, as its own reader takes them: which pools there are, in which files, and where they
//! listen. What it answers is compared with `php-fpm -tt` before anything is changed, so a form that is not known here
//! is refused and never acted upon.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use stopgap_core::plan::sha256_hex;

use crate::hook::glob;
use crate::host::Host;

/// A file of more than this is no configuration of php-fpm.
const FILE_MAX: u64 = 4 << 20;
/// php-fpm's own bound.
const DEPTH_MAX: usize = 4;
/// A server with more files than this is not one that a person wrote.
const FILES_MAX: usize = 2_000;

/// What is read of the configuration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Config {
    /// The file with the number of the master process.
    pub pid: Option<PathBuf>,
    /// How long a reload waits for requests that are under way.
    pub control_timeout: Duration,
    /// In the order in which they are read first.
    pub pools: Vec<Pool>,
    /// By path.
    pub files: BTreeMap<PathBuf, PoolFile>,
    /// Of every include.
    pub patterns: Vec<String>,
    /// The names in the folders of these files, as paths.
    pub names: BTreeSet<PathBuf>,
}

/// A pool, which may stand in several files: php-fpm takes sections of one name, whatever its case, as one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pool {
    pub name: String,
    /// As written, with `$pool` replaced.
    pub listen: Option<String>,
    /// Its processes are started by the first request.
    pub on_demand: bool,
    pub files: Vec<PathBuf>,
}

/// A file with pools.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PoolFile {
    pub sha256: String,
    /// Why it cannot be moved aside for one of its pools alone.
    pub bound: Option<String>,
    pub sections: Vec<String>,
}

impl Config {
    pub(super) fn pool(&self, name: &str) -> Option<&Pool> {
        self.pools.iter().find(|pool| same(&pool.name, name))
    }

    /// A name beside `file` that nothing has and no include reads.
    pub(super) fn aside(&self, file: &Path) -> Option<PathBuf> {
        let name = file.file_name()?.to_str()?;
        let hidden = if name.starts_with('.') { "" } else { "." };
        let names = ["", hidden].into_iter().flat_map(|dot| {
            (1..100).map(move |n| {
                let number = if n == 1 { String::new() } else { format!("-{n}") };
                format!("{dot}{name}.stopgap{number}")
            })
        });
        names.map(|name| file.with_file_name(name)).find(|path| {
            let text = path.to_string_lossy();
            !self.names.contains(path) && !self.patterns.iter().any(|pattern| glob(pattern, &text))
        })
    }
}

/// Names of pools are compared so by php-fpm.
pub(super) fn same(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b)
}

/// Reads the configuration, from its main file on.
pub(super) fn read(host: &dyn Host, main: &Path) -> io::Result<Config> {
    let mut reader = Reader { host, config: Config::default(), section: None, read: 0 };
    reader.file(main, 0)?;
    Ok(reader.config)
}

/// The main file with each include replaced by those of its files that `name` gives, by the name that it gives; a file
/// for which it gives none is left out. So php-fpm tests a folder as it will be, without its being so.
pub(super) fn as_it_will_be(
    host: &dyn Host,
    main: &Path,
    coming: &[(PathBuf, PathBuf)],
    name: impl Fn(&Path) -> Option<PathBuf>,
) -> io::Result<String> {
    let text = text(host, main)?.0;
    let mut out = String::new();
    for line in text.lines() {
        let Some(("include", pattern)) = setting(line) else {
            out.push_str(line);
            out.push('\n');
            continue;
        };
        let mut files: Vec<(PathBuf, PathBuf)> = matches(host, &pattern)?
            .into_iter()
            .filter_map(|file| Some((file.clone(), name(&file)?)))
            .collect();
        files.extend(coming.iter().filter(|(to, _)| glob(&pattern, &to.to_string_lossy())).cloned());
        files.sort();
        for (_, file) in files {
            out.push_str(&format!("include={}\n", file.display()));
        }
    }
    Ok(out)
}

struct Reader<'a> {
    host: &'a dyn Host,
    config: Config,
    section: Option<String>,
    read: usize,
}

impl Reader<'_> {
    fn file(&mut self, path: &Path, depth: usize) -> io::Result<()> {
        self.read += 1;
        if depth > DEPTH_MAX || self.read > FILES_MAX {
            return Err(io::Error::other(format!("{}: more includes than php-fpm reads", path.display())));
        }
        let (text, sha256) = text(self.host, path)?;
        let mut file = PoolFile { sha256, ..PoolFile::default() };
        let mut begun = false;
        for line in text.lines() {
            if let Some(name) = section(line) {
                begun = true;
                self.open(path, &mut file, name);
            } else if let Some((key, value)) = setting(line) {
                if !begun && depth > 0 {
                    file.bound = Some("it has settings before its first section".to_owned());
                }
                self.set(key, &value, depth)?;
            }
        }
        file.bound = match depth {
            0 => Some("it is the main file".to_owned()),
            1 => file.bound,
            _ => Some("it is included by the file of another pool".to_owned()),
        };
        self.config.files.insert(path.to_owned(), file);
        Ok(())
    }

    fn open(&mut self, path: &Path, file: &mut PoolFile, name: &str) {
        self.section = Some(name.to_owned());
        if same(name, "global") {
            file.bound = Some("it has settings for all pools (`[global]`)".to_owned());
            return;
        }
        if !file.sections.iter().any(|known| same(known, name)) {
            file.sections.push(name.to_owned());
        }
        let pools = &mut self.config.pools;
        let at = pools.iter().position(|pool| same(&pool.name, name)).unwrap_or(pools.len());
        if at == pools.len() {
            pools.push(Pool { name: name.to_owned(), ..Pool::default() });
        }
        if let Some(pool) = pools.get_mut(at).filter(|pool| !pool.files.contains(&path.to_owned())) {
            pool.files.push(path.to_owned());
        }
    }

    fn set(&mut self, key: &str, value: &str, depth: usize) -> io::Result<()> {
        let section = self.section.clone();
        let pool = section
            .as_ref()
            .and_then(|name| self.config.pools.iter_mut().find(|pool| same(&pool.name, name)));
        match (key, pool) {
            ("include", _) => {
                self.config.patterns.push(value.to_owned());
                if let Some(folder) = Path::new(value).parent().filter(|folder| folder.is_absolute()) {
                    let names = listed(self.host, folder)?;
                    self.config.names.extend(names.into_iter().map(|name| folder.join(name)));
                }
                for file in matches(self.host, value)? {
                    self.file(&file, depth + 1)?;
                }
            }
            ("listen", Some(pool)) => pool.listen = Some(value.replace("$pool", &pool.name)),
            ("pm", Some(pool)) => pool.on_demand = value == "ondemand",
            ("pid", None) => self.config.pid = Some(PathBuf::from(value)),
            ("process_control_timeout", None) => self.config.control_timeout = duration(value),
            _ => (),
        }
        Ok(())
    }
}

fn text(host: &dyn Host, path: &Path) -> io::Result<(String, String)> {
    let octets = host
        .read(path, FILE_MAX)
        .map_err(|e| io::Error::new(e.kind(), format!("cannot read {}: {e}", path.display())))?;
    Ok((String::from_utf8_lossy(&octets).into_owned(), sha256_hex(&octets)))
}

/// SHA-256 of a file in hex, links followed.
pub(super) fn digest(host: &dyn Host, path: &Path) -> io::Result<String> {
    text(host, path).map(|(_, sha256)| sha256)
}

/// The files that an include names, as glob(3) sorts them.
fn matches(host: &dyn Host, pattern: &str) -> io::Result<Vec<PathBuf>> {
    let path = Path::new(pattern);
    let folder = path.parent().filter(|folder| folder.is_absolute());
    let wild = |text: &str| text.contains(['*', '?', '[', '{']);
    let (Some(folder), Some(name)) = (folder, path.file_name().and_then(|name| name.to_str())) else {
        return Err(io::Error::other(format!("include={pattern}: expected an absolute path")));
    };
    if wild(&folder.to_string_lossy()) || name.contains('{') {
        return Err(io::Error::other(format!(
            "include={pattern}: expected `*`, `?` and `[…]` in its last part only"
        )));
    }
    let names = listed(host, folder)?;
    let files = names.into_iter().map(|name| folder.join(name));
    Ok(files.filter(|file| glob(pattern, &file.to_string_lossy())).collect())
}

fn listed(host: &dyn Host, folder: &Path) -> io::Result<Vec<String>> {
    match host.list(folder) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        names => names,
    }
}

/// `[www]`.
fn section(line: &str) -> Option<&str> {
    Some(line.trim_start().strip_prefix('[')?.split_once(']')?.0.trim())
}

/// `key = value ; a comment`.
fn setting(line: &str) -> Option<(&str, String)> {
    let line = line.trim();
    if line.starts_with([';', '[']) {
        return None;
    }
    let (key, value) = line.split_once('=')?;
    let value = value.trim();
    let value = match value.chars().next() {
        Some(quote @ ('"' | '\'')) => {
            value.trim_start_matches(quote).split(quote).next().unwrap_or_default().to_owned()
        }
        _ => value.split(';').next().unwrap_or_default().trim().to_owned(),
    };
    Some((key.trim(), value))
}

/// `10`, `10s`, `5m`, `1h`, `1d`.
fn duration(text: &str) -> Duration {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match text.get(digits.len()..).unwrap_or_default().trim() {
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => 1,
    };
    Duration::from_secs(digits.parse::<u64>().unwrap_or_default().saturating_mul(unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_php_reads_them() {
        assert_eq!(section(" [www] ; a pool"), Some("www"));
        assert_eq!(section(";[www]"), None);
        assert_eq!(setting("listen = /run/$pool.sock ; here"), Some(("listen", "/run/$pool.sock".into())));
        assert_eq!(setting("pm=\"ondemand\""), Some(("pm", "ondemand".into())));
        assert_eq!(setting("; pid = /x"), None);
        assert_eq!(duration("2m"), Duration::from_secs(120));
        assert_eq!(duration("10"), Duration::from_secs(10));
        assert_eq!(duration(""), Duration::ZERO);
    }

    // This server's paths are those of Unix.
    #[cfg(unix)] // paths as such a server has them
    #[test]
    fn a_name_aside_is_free_and_read_by_no_include() {
        let mut config = Config { patterns: vec!["/p/*.conf".into()], ..Config::default() };
        let aside = |config: &Config| config.aside(Path::new("/p/www.conf"));
        assert_eq!(aside(&config), Some("/p/www.conf.stopgap".into()));
        config.names.insert("/p/www.conf.stopgap".into());
        assert_eq!(aside(&config), Some("/p/www.conf.stopgap-2".into()));
        config.patterns.push("/p/*".into());
        assert_eq!(aside(&config), Some("/p/.www.conf.stopgap".into()));
        config.patterns.push("/p/.*".into());
        assert_eq!(aside(&config), None);
    }
}
