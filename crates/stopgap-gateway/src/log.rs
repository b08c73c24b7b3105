//! Text from outside, made fit for a log line: bounded, one line, visible ASCII.

use std::fmt;

/// Characters of a target that are printed.
const SHOWN: usize = 300;

/// Shows the beginning of a text, with everything that is not visible ASCII escaped.
pub(crate) fn printable(text: &str) -> impl fmt::Display {
    Printable(text)
}

struct Printable<'a>(&'a str);

impl fmt::Display for Printable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut characters = self.0.chars();
        for character in characters.by_ref().take(SHOWN) {
            if character.is_ascii_graphic() || character == ' ' {
                fmt::Write::write_char(f, character)?;
            } else {
                write!(f, "{}", character.escape_default())?;
            }
        }
        match characters.count() {
            0 => Ok(()),
            more => write!(f, "... ({more} more)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_line_stays_one_line_and_bounded() {
        assert_eq!(printable("/a b\r\nc\u{1b}[0m\u{202e}").to_string(), "/a b\\r\\nc\\u{1b}[0m\\u{202e}");
        assert_eq!(printable(&"x".repeat(1000)).to_string(), format!("{}... (700 more)", "x".repeat(300)));
    }
}
