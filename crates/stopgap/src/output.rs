//! The one place that talks to the user: data to stdout, words to stderr, color on a terminal only.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::exit::Failure;

/// Prints a line of data.
pub fn line(text: impl Display) -> io::Result<()> {
    let text = text.to_string();
    forgive_closed_pipe(writeln!(anstream::stdout(), "{}", shown(&text)))
}

/// Prints text that has a form of its own, such as CSV: into a file or a pipe as it is, on a terminal as that may have it.
pub fn text(text: impl Display) -> io::Result<()> {
    let text = text.to_string();
    let text = if io::stdout().is_terminal() { shown(&text) } else { Cow::Borrowed(text.as_str()) };
    forgive_closed_pipe(write!(anstream::stdout(), "{text}").and_then(|()| anstream::stdout().flush()))
}

/// Prints a value as JSON, human-readable.
pub fn json(value: &impl Serialize) -> io::Result<()> {
    line(serde_json::to_string_pretty(value)?)
}

/// Says something that is no data.
pub fn say(text: impl Display) {
    let text = text.to_string();
    // There is nobody left to tell where stderr is closed.
    let _ = writeln!(anstream::stderr(), "{}", shown(&text));
}

/// Writes over the line that was written this way before; an empty one clears it. For a terminal alone.
#[cfg_attr(not(feature = "agent"), allow(dead_code))]
pub fn over(text: impl Display) {
    let mut stderr = anstream::stderr().lock();
    let _ = write!(stderr, "\r\x1b[K{text}").and_then(|()| stderr.flush());
}

/// Says why a command failed: what was tried, the causes, what to do.
pub fn failure(failure: &Failure) {
    say(format_args!("error: {}", failure.error));
    for cause in failure.error.chain().skip(1) {
        say(format_args!("  cause: {cause}"));
    }
    if let Some(hint) = &failure.hint {
        say(format_args!("hint: {hint}"));
    }
}

/// Text as a terminal may have it. Reasons, names, rules and requests were written by others: what would move the
/// cursor, change a color or turn the direction of reading is shown as its number, so that nobody writes a line
/// over another.
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(moves) {
        return Cow::Borrowed(text);
    }
    let mut safe = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if moves(c) { safe.extend(c.escape_unicode()) } else { safe.push(c) }
    }
    Cow::Owned(safe)
}

/// Control characters other than the end of a line and the tabulator, the marks of direction (Unicode's
/// Bidi_Control), and the two other ends of a line.
fn moves(c: char) -> bool {
    let mark =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    mark || c.is_control() && c != '\n' && c != '\t'
}

/// A table for people, as wide as the terminal.
#[cfg_attr(not(feature = "agent"), allow(dead_code))]
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.iter().copied());
    for row in rows {
        // Before the table measures them.
        table.add_row(row.iter().map(|cell| shown(cell).into_owned()));
    }
    table
}

/// Writes rows as CSV. A cell that a spreadsheet would take for a formula is preceded by a quote.
#[cfg_attr(not(feature = "agent"), allow(dead_code))]
pub fn csv(to: impl Write, header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> csv::Result<()> {
    let mut writer = csv::Writer::from_writer(to);
    writer.write_record(header)?;
    for row in rows {
        writer.write_record(row.iter().map(|cell| inert(cell)))?;
    }
    writer.flush()?;
    Ok(())
}

fn inert(cell: &str) -> String {
    match cell.chars().next() {
        Some('=' | '+' | '-' | '@' | '\t' | '\r') => format!("'{cell}"),
        _ => cell.to_owned(),
    }
}

/// `stopgap status | head` is no error.
fn forgive_closed_pipe(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_moves_no_cursor_and_turns_no_text() {
        assert_eq!(shown("M1\u{1b}[2J\rfine\u{9b}1m"), "M1\\u{1b}[2J\\u{d}fine\\u{9b}1m");
        assert_eq!(shown("a\u{202e}b\u{2066}c"), "a\\u{202e}b\\u{2066}c");
        assert!(matches!(shown("two lines\n\tand letters: ä, 中, שלום"), Cow::Borrowed(_)));
        let table = table(&["REASON"], [vec!["\u{1b}]0;title\u{7}".to_owned()]]).to_string();
        assert!(table.contains("\\u{1b}]0;title\\u{7}") && !table.contains('\u{1b}'), "{table}");
    }

    #[test]
    fn a_cell_is_never_a_formula() {
        let mut bytes = Vec::new();
        let rows = [vec!["=cmd|' /C calc'!A0".to_owned(), "a,b".to_owned()]];
        csv(&mut bytes, &["Server", "ID"], rows).unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), "Server,ID\n'=cmd|' /C calc'!A0,\"a,b\"\n");
    }
}
