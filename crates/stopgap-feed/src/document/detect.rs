//! `Detect`: where the version of a product is found that no agent knows.
//!
//! What can be named is bounded here: packages, one value below `HKLM`, and files by a path that is whole and
//! leads upwards nowhere. Not in here: what may be read of them, and how, which is the agent's part.

use roxmltree::Node;

use super::Detect;
use super::element::{attribute, child_elements, unknown, unknown_attributes};

/// `Detect` elements of one product: a vendor installs in some ways, not in many.
pub(super) const MAX: usize = 16;

/// The characters of a path, a key or a pattern. Longer ones exist and are not met.
const LONGEST: usize = 512;

/// Reads one element; what is wrong with it is noted.
pub(super) fn read(node: Node<'_, '_>, notes: &mut Vec<String>) -> Option<Detect> {
    for child in child_elements(node, notes) {
        notes.push(unknown(child));
    }
    let kind = attribute(node, "kind").unwrap_or_default();
    let known: &[&str] = match kind {
        "dpkg" | "rpm" => &["kind", "package"],
        "file" => &["kind", "path", "pattern"],
        "registry" => &["kind", "key", "value"],
        "pe" => &["kind", "path"],
        _ => {
            notes.push(wrong("kind", "dpkg, rpm, file, registry or pe", kind));
            return None;
        }
    };
    notes.extend(unknown_attributes(node, known));
    let mut value = |name: &str, expected: &str, holds: fn(&str) -> bool| {
        let text = attribute(node, name).unwrap_or_default();
        let held = text.chars().count() <= LONGEST && holds(text);
        if !held {
            notes.push(wrong(name, expected, text));
        }
        held.then(|| text.to_owned())
    };
    match kind {
        "dpkg" => Some(Detect::Dpkg { package: value("package", "the name of a package", is_dpkg)? }),
        "rpm" => Some(Detect::Rpm { package: value("package", "the name of a package", is_rpm)? }),
        "file" => {
            let path = value("path", PATH, is_path);
            let pattern = value("pattern", "a pattern of at most 512 characters with a group", has_group);
            Some(Detect::File { path: path?, pattern: pattern? })
        }
        "registry" => {
            let key = value("key", "a key such as HKLM\\SOFTWARE\\Vendor\\Product", is_key);
            let name = value("value", "the name of a value", is_printable);
            Some(Detect::Registry { key: key?, value: name? })
        }
        _ => Some(Detect::Pe { path: value("path", PATH, is_path)? }),
    }
}

fn wrong(name: &str, expected: &str, found: &str) -> String {
    let found: String = found.chars().take(80).collect();
    format!("Detect: {name}: expected {expected}, found `{found}`")
}

/// Debian Policy, section 5.6.7.
fn is_dpkg(text: &str) -> bool {
    text.len() >= 2
        && text.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+.-".contains(&b))
}

/// What rpm takes as a name; the hyphen in front would be an option to its own command.
fn is_rpm(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphanumeric() || first == '_')
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b))
}

const PATH: &str = "an absolute path such as /opt/x/VERSION or C:\\x\\version.txt, without `.` and `..`";

/// `/opt/x/VERSION` or `C:\x\version.txt`. No share: a feed sends no server into a network. No second colon:
/// an alternate stream is another file.
fn is_path(text: &str) -> bool {
    let is_name = |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['/', '\\', ':']);
    let rest = |text: &str, by: char| text.split(by).all(is_name);
    let drive = text.split_once(":\\").filter(|(drive, _)| {
        drive.len() == 1 && drive.starts_with(|letter: char| letter.is_ascii_alphabetic())
    });
    let whole = match (text.strip_prefix('/'), drive) {
        (Some(below), _) => rest(below, '/'),
        (None, Some((_, below))) => rest(below, '\\'),
        (None, None) => false,
    };
    whole && is_printable(text)
}

fn is_key(text: &str) -> bool {
    let below = text.strip_prefix("HKLM\\");
    below.is_some_and(|below| below.split('\\').all(|part| !part.is_empty())) && is_printable(text)
}

fn is_printable(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_control)
}

fn has_group(text: &str) -> bool {
    is_printable(text) && text.contains('(')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_whole_and_leads_nowhere_else() {
        for good in ["/opt/x/VERSION", "/a", "/opt/x y/..version", "C:\\x\\version.txt", "d:\\a b"] {
            assert!(is_path(good), "{good}");
        }
        for bad in [
            "",
            "/",
            "VERSION",
            "opt/x",
            "//server/x",
            "/opt//x",
            "/opt/x/",
            "/opt/./x",
            "/opt/../etc/shadow",
            "/..",
            "/a\\..\\b",
            "/a\nb",
            "/a\0b",
            "C:",
            "C:\\",
            "C:x",
            "C:/x",
            "CD:\\x",
            "C:\\x\\..\\y",
            "C:\\x/../y",
            "C:\\x:stream",
            "\\\\server\\share\\x",
            "\\\\?\\C:\\x",
            "~/x",
            "\u{e9}:\\x",
        ] {
            assert!(!is_path(bad), "{bad:?}");
        }
    }

    #[test]
    fn names_of_packages_and_keys_are_no_options_and_no_paths() {
        assert!(is_dpkg("libnginx-mod-http2") && is_dpkg("g++"));
        assert!(is_rpm("java-1.8.0-openjdk") && is_rpm("mod_ssl"));
        for bad in ["", "a", "-a", "--all", "a b", "a/b", "A\u{301}", "Nginx", "a:amd64", "a*"] {
            assert!(!is_dpkg(bad), "{bad}");
        }
        for bad in ["", "-a", "--eval", "a b", "a/b", "a*", "%{x}"] {
            assert!(!is_rpm(bad), "{bad}");
        }
        assert!(is_key("HKLM\\SOFTWARE\\Vendor X\\Product"));
        for bad in ["", "HKLM", "HKLM\\", "HKCU\\Software\\x", "HKLM\\a\\\\b", "HKLM\\a\\", "HKLM\\a\n"] {
            assert!(!is_key(bad), "{bad:?}");
        }
    }
}
