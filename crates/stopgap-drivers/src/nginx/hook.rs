//! The hook: what makes nginx read our rules, placed by the operator.
//!
//! Two includes: one in `http` (a file of conf.d), for maps, and one in each `server`. Both are
//! globs, since nginx accepts that a glob matches nothing: before the first change and after the
//! last nothing of ours has to be there. What we insert stands between markers, and is cut out
//! again to the byte.

use std::path::Path;

use super::config::{Config, Directive};
use crate::hook::markers::{BEGIN, END};

/// The name of the file in conf.d.
pub(super) const CONF_D_FILE: &str = "stopgap.conf";

/// The lines for one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hooks {
    http: String,
    server: String,
}

impl Hooks {
    pub(super) fn new(folder: &Path) -> Hooks {
        let glob = |name: &str| folder.join(crate::set::LIVE).join(name).to_string_lossy().into_owned();
        Hooks { http: glob("http*.conf"), server: glob("server*.conf") }
    }

    /// The line for `http`.
    pub(super) fn http_line(&self) -> String {
        include(&self.http)
    }

    /// The line for each `server`.
    pub(super) fn server_line(&self) -> String {
        include(&self.server)
    }

    /// The file in conf.d.
    pub(super) fn conf_d(&self) -> String {
        format!(
            "{BEGIN}\n# Rules of the Stopgap agent; does nothing while there are none.\n{}\n{END}\n",
            self.http_line()
        )
    }

    pub(super) fn is_http(&self, config: &Config, directive: &Directive) -> bool {
        config.pattern(directive).is_some_and(|pattern| pattern == self.http)
    }

    pub(super) fn is_server(&self, config: &Config, directive: &Directive) -> bool {
        config.pattern(directive).is_some_and(|pattern| pattern == self.server)
    }
}

fn include(path: &str) -> String {
    let plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-*+@,=".contains(&b));
    if plain {
        format!("include {path};")
    } else {
        format!("include \"{}\";", path.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

// This server's paths are those of Unix.
#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_odd_characters_is_quoted() {
        assert_eq!(
            Hooks::new("/var/lib/stopgap/nginx".as_ref()).server_line(),
            "include /var/lib/stopgap/nginx/live/server*.conf;"
        );
        assert_eq!(Hooks::new("/a b\"c".as_ref()).server_line(), "include \"/a b\\\"c/live/server*.conf\";");
    }
}
