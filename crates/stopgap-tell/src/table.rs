//! Tables for spreadsheets.

/// A table as comma-separated values. A spreadsheet takes a cell that begins with one of a few letters for a
/// formula and runs it: such a cell gets an apostrophe in front, which a spreadsheet shows as text (OWASP, CSV
/// injection).
pub fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> Vec<u8> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    let mut written = writer.write_record(header);
    for row in rows {
        written = written.and_then(|()| writer.write_record(row.into_iter().map(guarded)));
    }
    written.ok().and_then(|()| writer.into_inner().ok()).unwrap_or_default()
}

fn guarded(cell: String) -> String {
    if cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { format!("'{cell}") } else { cell }
}
