//! What Apache prints of its own configuration (`-t -D DUMP_…`), read.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// What matters of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Dump {
    /// In the order of inclusion; the first is the main one.
    pub files: Vec<Included>,
    /// Each address of each virtual host.
    pub hosts: Vec<Host>,
    /// Such as `ssl_module`.
    pub modules: BTreeSet<String>,
    /// `Define`d names, those of the command line among them.
    pub defines: BTreeMap<String, String>,
    /// What relative names are relative to.
    pub server_root: PathBuf,
    pub pid_file: Option<PathBuf>,
}

/// One file, as often as it is included.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Included {
    pub path: String,
    /// Which of the files includes it, and the line where that directive ends.
    pub parent: Option<(usize, usize)>,
}

/// A virtual host at one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    /// `*` or an address; an IPv6 address in brackets.
    pub ip: String,
    /// `None`: any.
    pub port: Option<u16>,
    /// Its `ServerName` as Apache has it.
    pub name: String,
    /// The file of its section, and the line where that begins. A macro's is no file.
    pub path: String,
    pub line: usize,
}

/// The arguments that make Apache print all of it.
pub(super) const ARGS: [&str; 9] =
    ["-t", "-D", "DUMP_VHOSTS", "-D", "DUMP_INCLUDES", "-D", "DUMP_RUN_CFG", "-D", "DUMP_MODULES"];

impl Dump {
    /// Reads what Apache printed. A line that is not known is passed over.
    pub(super) fn read(text: &str) -> Dump {
        let mut dump = Dump::default();
        // The files above the one that a line names, by their depth.
        let mut open: Vec<usize> = Vec::new();
        let mut address = None;
        let mut part = "";
        for line in text.lines() {
            let word = line.trim();
            if let heading @ ("Included configuration files:"
            | "VirtualHost configuration:"
            | "Loaded Modules:") = line
            {
                part = heading;
            } else if let Some(root) = line.strip_prefix("ServerRoot: ") {
                dump.server_root = root.trim_matches('"').into();
            } else if let Some(file) = line.strip_prefix("PidFile: ") {
                dump.pid_file = Some(file.trim_matches('"').into());
            } else if let Some(define) = line.strip_prefix("Define: ") {
                let (name, value) = define.split_once('=').unwrap_or((define, ""));
                dump.defines.insert(name.to_owned(), value.to_owned());
            } else if part.starts_with("Included") {
                let Some((at, path)) = word.strip_prefix('(').and_then(|rest| rest.split_once(") ")) else {
                    continue;
                };
                // Two blanks for each level.
                let depth = (line.len() - line.trim_start().len()) / 2;
                open.truncate(depth.saturating_sub(1));
                let parent = open.last().copied().zip(at.parse().ok());
                open.push(dump.files.len());
                dump.files.push(Included { path: path.to_owned(), parent });
            } else if part.starts_with("Loaded") {
                dump.modules.extend(word.split_whitespace().next().map(str::to_owned));
            } else if part.starts_with("VirtualHost") {
                let named = if line.starts_with(' ') {
                    // `port 80 namevhost NAME (PLACE)`; the default server is named once more with its port.
                    word.strip_prefix("port ").and_then(|rest| rest.split_once(" namevhost ")).map(|(_, n)| n)
                } else {
                    let (at, rest) = word.split_once(' ').unwrap_or((word, ""));
                    address = at.rsplit_once(':').map(|(ip, port)| (ip.to_owned(), port.parse().ok()));
                    Some(rest.trim()).filter(|rest| *rest != "is a NameVirtualHost")
                };
                let (Some(named), Some((ip, port))) = (named, &address) else { continue };
                let Some((name, place)) = named.split_once(" (") else { continue };
                let place = place.strip_suffix(')').unwrap_or(place);
                let Some((path, line)) = place.rsplit_once(':') else { continue };
                dump.hosts.push(Host {
                    ip: ip.clone(),
                    port: *port,
                    name: name.to_owned(),
                    path: path.to_owned(),
                    line: line.parse().unwrap_or_default(),
                });
            }
        }
        dump
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_apache_prints_is_read() {
        let dump = Dump::read(
            "Included configuration files:\n  (*) /e/apache2.conf\n    (14) /e/conf.d/a.conf\n      (1) /e/b.x\n    \
             (20) /e/c.conf\nVirtualHost configuration:\n[::1]:81               six.example (/e/c.conf:25)\n\
             10.1.1.1:*             localhost (/e/c.conf:28)\n*:80                   is a NameVirtualHost\n         \
             default server two.example (/e/c.conf:20)\n         port 80 namevhost two.example (/e/c.conf:20)\n                 \
             alias www.two.example\n         port 80 namevhost m1 (macro 'x' (defined on line 11 of \"/e/c.conf\") \
             used on line 16 of \"/e/c.conf\":1)\nServerRoot: \"/e\"\nPidFile: \"/run/a.pid\"\nDefine: X=1=2\n\
             Define: DUMP_VHOSTS\nUser: name=\"www-data\" id=33\nLoaded Modules:\n core_module (static)\n ssl_module (shared)\n",
        );
        let files: Vec<_> = dump.files.iter().map(|f| (f.path.as_str(), f.parent)).collect();
        assert_eq!(
            files,
            [
                ("/e/apache2.conf", None),
                ("/e/conf.d/a.conf", Some((0, 14))),
                ("/e/b.x", Some((1, 1))),
                ("/e/c.conf", Some((0, 20)))
            ]
        );
        let hosts: Vec<_> =
            dump.hosts.iter().map(|h| (h.ip.as_str(), h.port, h.name.as_str(), h.line)).collect();
        assert_eq!(
            hosts,
            [
                ("[::1]", Some(81), "six.example", 25),
                ("10.1.1.1", None, "localhost", 28),
                ("*", Some(80), "two.example", 20),
                ("*", Some(80), "m1", 1)
            ]
        );
        assert_eq!((dump.defines["X"].as_str(), dump.pid_file), ("1=2", Some("/run/a.pid".into())));
        assert!(dump.modules.contains("ssl_module"));
    }
}
