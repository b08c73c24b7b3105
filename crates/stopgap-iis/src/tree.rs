//! Where files come from, and Windows' words for paths. No file is opened here.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// The files of a server. Paths are Windows' own, `C:\Windows\System32`, without a slash at the end, and are
/// compared ignoring case.
pub trait Tree {
    /// The bytes of a file; nothing where there is none.
    ///
    /// # Errors
    /// Why a file that may be there cannot be read, in words.
    fn read(&self, path: &str) -> Result<Option<Cow<'_, [u8]>>, String>;

    /// The names of the folders directly in a folder; none where it cannot be listed.
    fn folders(&self, path: &str) -> Vec<String>;
}

/// Files in memory.
#[derive(Debug, Clone, Default)]
pub struct MemoryTree {
    files: BTreeMap<String, Vec<u8>>,
    folders: BTreeMap<String, BTreeSet<String>>,
}

impl MemoryTree {
    /// Puts a file there, in place of one that is there.
    pub fn insert(&mut self, path: &str, bytes: impl Into<Vec<u8>>) {
        let key = key(path);
        let mut below: &str = &key;
        while let Some((folder, name)) = below.rsplit_once('\\') {
            if below.len() < key.len() {
                self.folders.entry(folder.to_owned()).or_default().insert(name.to_owned());
            }
            below = folder;
        }
        self.files.insert(key, bytes.into());
    }

    /// A file's bytes.
    pub fn get(&self, path: &str) -> Option<&[u8]> {
        self.files.get(&key(path)).map(Vec::as_slice)
    }
}

fn key(path: &str) -> String {
    path.trim_end_matches('\\').to_lowercase()
}

impl Tree for MemoryTree {
    fn read(&self, path: &str) -> Result<Option<Cow<'_, [u8]>>, String> {
        Ok(self.get(path).map(Cow::Borrowed))
    }

    fn folders(&self, path: &str) -> Vec<String> {
        self.folders.get(&key(path)).into_iter().flatten().cloned().collect()
    }
}

/// What `%Name%` stands for in a configured path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// That of Windows on drive C, as Setup makes it.
    pub fn windows() -> Environment {
        Environment::default()
            .with("SystemDrive", "C:")
            .with("SystemRoot", r"C:\Windows")
            .with("windir", r"C:\Windows")
            .with("ProgramFiles", r"C:\Program Files")
            .with("ProgramFiles(x86)", r"C:\Program Files (x86)")
            .with("ProgramData", r"C:\ProgramData")
            .with("ExchangeInstallPath", r"C:\Program Files\Microsoft\Exchange Server\V15\")
    }

    /// The same with one more variable, or another value. Names are compared ignoring case.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Environment {
        self.0.insert(name.to_lowercase(), value.to_owned());
        self
    }

    /// The folder of `applicationHost.config`.
    pub fn configuration(&self) -> String {
        let windows = self.0.get("windir").map_or(r"C:\Windows", String::as_str);
        format!(r"{windows}\System32\inetsrv\config")
    }

    /// A configured path as an absolute one.
    ///
    /// # Errors
    /// Why it is none, in words: a variable that nobody set, a share, a path without a drive.
    pub fn path(&self, configured: &str) -> Result<String, String> {
        let mut expanded = String::with_capacity(configured.len());
        let mut rest = configured;
        while let Some((before, after)) = rest.split_once('%') {
            let (name, tail) =
                after.split_once('%').ok_or_else(|| format!("a % of {configured:?} is not closed"))?;
            let value = self.0.get(&name.to_lowercase());
            expanded.push_str(before);
            expanded.push_str(
                value.ok_or_else(|| format!("the variable %{name}% of {configured:?} is not set"))?,
            );
            rest = tail;
        }
        expanded.push_str(rest);
        let path = expanded.replace('/', "\\");
        let path = path.strip_prefix(r"\\?\").unwrap_or(&path);
        let mut parts = path.split('\\').filter(|part| !part.is_empty() && *part != ".");
        let drive = parts.next().filter(|_| !path.starts_with('\\')).unwrap_or("");
        if !matches!(drive.as_bytes(), [letter, b':'] if letter.is_ascii_alphabetic()) {
            return Err(format!("{configured:?} is not on a drive of this server"));
        }
        let mut folders: Vec<&str> = Vec::new();
        for part in parts {
            match part {
                ".." => _ = folders.pop(),
                _ => folders.push(part),
            }
        }
        Ok(std::iter::once(drive).chain(folders).collect::<Vec<_>>().join("\\"))
    }
}

impl Default for Environment {
    /// No variables.
    fn default() -> Self {
        Environment(BTreeMap::new())
    }
}

/// A URL path as its level is named: no slashes at its ends, none doubled, forward ones.
pub(crate) fn url(path: &str) -> String {
    let parts = path.split(['/', '\\']).filter(|part| !part.is_empty() && *part != ".");
    parts.collect::<Vec<_>>().join("/")
}

/// The same, to compare by.
pub(crate) fn folded(url: &str) -> String {
    url.to_lowercase()
}

/// One path below another.
pub(crate) fn join(base: &str, below: &str) -> String {
    match (base.is_empty(), below.is_empty()) {
        (_, true) => base.to_owned(),
        (true, false) => below.to_owned(),
        (false, false) => format!("{base}/{below}"),
    }
}

/// How many segments a path has; the server has none.
pub(crate) fn depth(url: &str) -> usize {
    url.split('/').filter(|part| !part.is_empty()).count()
}

/// Whether a path lies at or below another; both folded.
pub(crate) fn within(inner: &str, outer: &str) -> bool {
    outer.is_empty() || inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The path itself, and each above it but the server, parents first.
pub(crate) fn prefixes(url: &str) -> impl Iterator<Item = &str> {
    let inner = url.match_indices('/').filter_map(|(at, _)| url.get(..at));
    inner.chain((!url.is_empty()).then_some(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configured_paths_become_absolute() {
        let windows = Environment::windows();
        let path = |text| windows.path(text);
        assert_eq!(path(r"%SystemDrive%\inetpub\wwwroot"), Ok(r"C:\inetpub\wwwroot".to_owned()));
        assert_eq!(
            path(r"%WINDIR%/System32\.\x\..\RpcProxy\"),
            Ok(r"C:\Windows\System32\RpcProxy".to_owned())
        );
        assert_eq!(path(r"\\?\C:\a"), Ok(r"C:\a".to_owned()));
        assert_eq!(path(r"%ExchangeInstallPath%ClientAccess").unwrap(), {
            r"C:\Program Files\Microsoft\Exchange Server\V15\ClientAccess"
        });
        assert!(path(r"\\share\folder").unwrap_err().contains("not on a drive"));
        assert!(path(r"%Nobody%\x").unwrap_err().contains("%Nobody%"));
        assert!(path("%open").unwrap_err().contains("not closed"));
        assert!(path("relative").unwrap_err().contains("not on a drive"));
    }

    #[test]
    fn levels_contain_by_segments() {
        assert!(within("site/owa/x", "site/owa") && within("site", "") && within("site", "site"));
        assert!(!within("site/owax", "site/owa"));
        assert_eq!(prefixes("a/b/c").collect::<Vec<_>>(), ["a", "a/b", "a/b/c"]);
        assert_eq!(prefixes("").count(), 0);
        assert_eq!(url("/a//b\\./c/"), "a/b/c");
    }
}
