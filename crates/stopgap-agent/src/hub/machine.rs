//! What tells this machine from its clones, and what its system calls itself.

use std::path::Path;

use stopgap_core::plan::sha256_hex;

/// systemd's and D-Bus's name of a machine (`machine-id`(5)): a clone that was prepared has another one.
const MACHINE_ID: [&str; 2] = ["/etc/machine-id", "/var/lib/dbus/machine-id"];
/// Both files are some lines long.
const MAX: u64 = 64 << 10;

/// SHA-256, in hex, of the machine's own name: the name itself is not to be shown to others, says its manual
/// page. Where it has none, of the server's name.
pub(super) fn identity(server: &str) -> String {
    let id = MACHINE_ID.iter().find_map(|path| read(Path::new(path)));
    sha256_hex(format!("stopgap machine {}", id.as_deref().unwrap_or(server)).as_bytes())
}

/// `linux Debian GNU/Linux 12 (bookworm)`, or the system's name alone.
pub(super) fn system() -> String {
    let os = std::env::consts::OS;
    let text = ["/etc/os-release", "/usr/lib/os-release"].iter().find_map(|path| read(Path::new(path)));
    let name = text.as_deref().and_then(pretty);
    name.map_or_else(|| os.to_owned(), |name| format!("{os} {name}"))
}

fn pretty(text: &str) -> Option<&str> {
    let value = text.lines().find_map(|line| line.trim().strip_prefix("PRETTY_NAME="))?;
    Some(value.trim().trim_matches(['"', '\''])).filter(|name| !name.is_empty() && name.len() < 200)
}

fn read(path: &Path) -> Option<String> {
    if std::fs::metadata(path).ok()?.len() > MAX {
        return None;
    }
    Some(std::fs::read_to_string(path).ok()?.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_own_name_is_not_shown() {
        let identity = identity("Server1");
        assert_eq!(identity.len(), 64);
        assert!(MACHINE_ID.iter().filter_map(|path| read(Path::new(path))).all(|id| !identity.contains(&id)));
    }

    #[test]
    fn a_system_is_called_what_it_calls_itself() {
        assert_eq!(pretty("ID=debian\nPRETTY_NAME=\"Debian 12\"\n"), Some("Debian 12"));
        assert_eq!(pretty("ID=debian\n"), None);
    }
}
