//! A version in a text file: the pattern's first group on the first line that it matches.

use std::io::Read as _;

use stopgap_core::facts::Found;
use stopgap_rules::pattern::{Budget, Pattern, PatternLimits};

use super::Opened;

/// A file that tells a version is some lines long; a changelog has some hundred kilobytes.
const LARGEST: u64 = 1 << 20;
/// Enough for a pattern that backtracks on every line of such a file, and some tenths of a second at most.
const STEPS: u64 = 4_000_000;
/// Versions in use are shorter.
const LONGEST: usize = 64;

pub(super) fn read(opened: &Opened, pattern: &str) -> Result<String, Found> {
    let shown = opened.path.display();
    let pattern = compile(pattern).map_err(Found::Unsupported)?;
    if opened.size > LARGEST {
        return Err(Found::Unreadable(format!("{shown} holds more than {LARGEST} bytes")));
    }
    let mut bytes = Vec::new();
    let read = (&opened.file).take(LARGEST).read_to_end(&mut bytes);
    read.map_err(|error| Found::Unreadable(format!("{shown}: {error}")))?;
    let text = String::from_utf8_lossy(&bytes);
    version(&text, &pattern).map_err(|why| Found::Unreadable(format!("{shown} {why}")))
}

/// The pattern as the rest of a feed's are: ECMAScript, whatever its case.
fn compile(pattern: &str) -> Result<Pattern, String> {
    Pattern::compile(pattern, true, &PatternLimits::for_version())
        .map_err(|error| format!("Detect: pattern: {error}"))
}

fn version(text: &str, pattern: &Pattern) -> Result<String, String> {
    let mut budget = Budget::new(STEPS);
    for line in text.trim_start_matches('\u{feff}').lines() {
        let captures = pattern.captures(line, &mut budget);
        let captures = captures.map_err(|_| "takes the pattern too many steps".to_owned())?;
        let Some(captures) = captures else { continue };
        let range = captures.get(1).cloned().flatten();
        let found = range.and_then(|range| line.get(range)).unwrap_or_default();
        // What is no version is not shown: it may be anything that stands in the file.
        return is_version(found)
            .then(|| found.to_owned())
            .ok_or_else(|| "holds something that is no version where the pattern looks for one".to_owned());
    }
    Err("holds no line that the pattern matches".to_owned())
}

/// What any scheme could take for a version.
pub(super) fn is_version(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_digit())
        && text.len() <= LONGEST
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".+-~:^_".contains(&b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, pattern: &str) -> Result<String, String> {
        version(text, &compile(pattern).unwrap())
    }

    #[test]
    fn the_first_line_that_matches_tells_the_version() {
        let pattern = "^version\\s*=\\s*\"?([0-9.]+)\"?$";
        for text in [
            "version=4.2.1",
            "name = x\nVersion = \"4.2.1\"\nversion=5\n",
            "\u{feff}version=4.2.1\r\nx\r\n",
            "\u{fffd}\nversion=4.2.1",
        ] {
            assert_eq!(found(text, pattern), Ok("4.2.1".into()), "{text:?}");
        }
        assert!(found("", pattern).unwrap_err().contains("no line"));
        assert!(found("# version=4", pattern).unwrap_err().contains("no line"));
    }

    #[test]
    fn what_is_no_version_does_not_come_out() {
        for (text, pattern) in [
            ("root:$6$secret$x:1", "^root:(.*)$"),
            ("password=hunter2", "^password=(.*)$"),
            ("-----BEGIN PRIVATE KEY-----", "(.+)"),
            ("x", "(y)?x"),
            ("1 2", "(.*)"),
            ("", "(.*)"),
        ] {
            let why = found(&format!("{text}\n"), pattern).unwrap_err();
            assert!(why.contains("no version where the pattern"), "{text}: {why}");
            assert!(text.len() < 4 || !why.contains(text), "{why}");
        }
        let long = format!("1{}", "0".repeat(64));
        assert!(found(&long, "(.*)").is_err());
    }

    #[test]
    fn a_pattern_that_backtracks_ends() {
        let text = format!("{}!\n", "a".repeat(20_000)).repeat(40);
        let why = found(&text, "^(?=((a*)*\\2)*b)(.)").unwrap_err();
        assert!(why.contains("steps") || why.contains("no line"), "{why}");
    }

    #[test]
    fn a_pattern_that_cannot_be_read_is_unsupported() {
        for bad in ["([0-9]", "(?<=a)(b)", "(?<v>[0-9]+)", &"(".repeat(20)] {
            assert!(compile(bad).is_err(), "{bad}");
        }
    }
}
