//! Where a rule stands and what it sees of a path. Names of folders are compared as IIS does: whole segments,
//! whatever their case.

use crate::model::Level;
use crate::pattern::same_letter;

/// What lies below the level, without a leading slash: what `match url` sees. Nothing where the path (decoded,
/// with its leading slash) lies elsewhere.
pub(super) fn below<'p>(path: &'p str, level: &Level) -> Option<&'p str> {
    if level.is_site() {
        return Some(path.strip_prefix('/').unwrap_or(path));
    }
    let mut rest = path.strip_prefix('/')?.chars();
    for wanted in level.path().chars() {
        rest.next().filter(|found| same_letter(*found, wanted))?;
    }
    let rest = rest.as_str();
    if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
}

/// What an address without a leading slash is relative to.
pub(super) fn root(level: &Level) -> String {
    if level.is_site() { "/".to_owned() } else { format!("/{}/", level.path()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_segments_whatever_their_case_are_a_level() {
        for (level, path, seen) in [
            ("", "/owa/x", Some("owa/x")),
            ("", "http://elsewhere/", Some("http://elsewhere/")),
            ("owa", "/owa", Some("")),
            ("owa", "/owa/", Some("")),
            ("/owa/", "/OWA/x/y", Some("x/y")),
            ("owa", "/owax", None),
            ("owa", "/ow", None),
            ("owa", "/x/owa", None),
            ("owa", "owa/x", None),
            ("owa/Calendar", "/OWA/calendar/x", Some("x")),
            ("owa/Calendar", "/owa", None),
            ("É", "/é/x", Some("x")),
            ("k", "/\u{212a}/x", None),
        ] {
            assert_eq!(below(path, &Level::new(level)), seen, "{level} {path}");
        }
    }
}
