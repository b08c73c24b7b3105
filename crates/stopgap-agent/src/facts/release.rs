//! Which distribution this is, in the words of vulnerability databases (OSV's ecosystems): `Debian:12`.
//!
//! Source: `os-release`(5), freedesktop.org.

use std::path::Path;

use stopgap_core::facts::Fact;

/// The file is some lines long.
const MAX: u64 = 64 * 1024;

/// Names that differ from os-release's `ID`, and whether a release is its major version alone.
const NAMES: &[(&str, &str, bool)] = &[
    ("debian", "Debian", true),
    ("ubuntu", "Ubuntu", false),
    ("rhel", "Red Hat", true),
    ("rocky", "Rocky Linux", true),
    ("almalinux", "AlmaLinux", true),
    ("fedora", "Fedora", true),
    ("opensuse-leap", "openSUSE:Leap", false),
    ("alpine", "Alpine", false),
];

/// `Debian:12`; nothing outside Linux; unknown where os-release cannot be read.
pub(super) fn ecosystem(root: &Path) -> Option<Fact> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let mut missing = Vec::new();
    // In this order, as the manual page has it.
    for name in ["etc/os-release", "usr/lib/os-release"] {
        match super::read(&root.join(name), MAX) {
            Ok(Some(text)) => return Some(of_text(&text)),
            Ok(None) => missing.push(name),
            Err(why) => return Some(Fact::Unknown(why)),
        }
    }
    Some(Fact::Unknown(format!("there is neither /{}", missing.join(" nor /"))))
}

fn of_text(text: &str) -> Fact {
    let field = |name: &str| {
        let value = text.lines().find_map(|line| line.trim().strip_prefix(name)?.strip_prefix('='))?;
        let value = value.trim();
        let quoted = |quote: char| value.strip_prefix(quote).and_then(|rest| rest.strip_suffix(quote));
        Some(quoted('"').or_else(|| quoted('\'')).unwrap_or(value).to_owned()).filter(|text| !text.is_empty())
    };
    let Some(id) = field("ID") else { return Fact::Unknown("os-release names no ID".into()) };
    let known = NAMES.iter().find(|(name, ..)| *name == id);
    let (name, major_only) = known.map_or((id.as_str(), false), |(_, name, major)| (*name, *major));
    Fact::Version(match field("VERSION_ID") {
        None => format!("{name} without a release number"),
        Some(release) if major_only => {
            format!("{name}:{}", release.split('.').next().unwrap_or(&release))
        }
        Some(release) => format!("{name}:{release}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_have_the_names_that_databases_use() {
        for (text, expected) in [
            ("ID=debian\nVERSION_ID=\"12\"\n", "Debian:12"),
            ("VERSION_ID='24.04'\nID=ubuntu\nID_LIKE=debian\n", "Ubuntu:24.04"),
            ("NAME=\"Rocky Linux\"\nID=\"rocky\"\nVERSION_ID=\"9.4\"\n", "Rocky Linux:9"),
            // Testing has no number yet, and counts as none that has.
            ("ID=debian\nVERSION_CODENAME=forky\n", "Debian without a release number"),
            ("ID=raspbian\nVERSION_ID=\"12\"\n", "raspbian:12"),
        ] {
            assert_eq!(of_text(text), Fact::Version(expected.into()), "{text}");
        }
        assert!(matches!(of_text("NAME=x\n"), Fact::Unknown(_)));
    }
}
