//! The one place that talks to the user: data to stdout, words to stderr, color on a terminal only.

use std::fmt::Display;
use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::exit::Failure;

/// Prints a line of data.
pub fn line(text: impl Display) -> io::Result<()> {
    forgive_closed_pipe(writeln!(anstream::stdout(), "{text}"))
}

/// Prints text as it is.
pub fn text(text: impl Display) -> io::Result<()> {
    forgive_closed_pipe(write!(anstream::stdout(), "{text}").and_then(|()| anstream::stdout().flush()))
}

/// Prints a value as JSON, human-readable.
pub fn json(value: &impl Serialize) -> io::Result<()> {
    line(serde_json::to_string_pretty(value)?)
}

/// Says something that is no data.
pub fn say(text: impl Display) {
    // There is nobody left to tell where stderr is closed.
    let _ = writeln!(anstream::stderr(), "{text}");
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

/// A table for people, as wide as the terminal.
#[cfg_attr(not(feature = "agent"), allow(dead_code))]
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.iter().copied());
    for row in rows {
        table.add_row(row);
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
    fn a_cell_is_never_a_formula() {
        let mut bytes = Vec::new();
        let rows = [vec!["=cmd|' /C calc'!A0".to_owned(), "a,b".to_owned()]];
        csv(&mut bytes, &["Server", "ID"], rows).unwrap();
        assert_eq!(String::from_utf8(bytes).unwrap(), "Server,ID\n'=cmd|' /C calc'!A0,\"a,b\"\n");
    }
}
