//! docs/benchmarks.md: one marked section a benchmark, replaced as a whole by the run that made it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::tools::search_path;

/// A table in Markdown; the first row is the head.
pub fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cell = |row: &[String], column: usize| row.get(column).cloned().unwrap_or_default();
    let widths: Vec<usize> = (0..columns)
        .map(|column| rows.iter().map(|row| cell(row, column).chars().count()).max().unwrap_or(0).max(3))
        .collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let cells: Vec<String> = widths
            .iter()
            .enumerate()
            .map(|(column, width)| format!("{:<width$}", cell(row, column)))
            .collect();
        let _ = writeln!(text, "| {} |", cells.join(" | "));
        if number == 0 {
            let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            let _ = writeln!(text, "| {} |", rule.join(" | "));
        }
    }
    text
}

/// What was measured on: processor, kernel, and the versions of the peers.
pub fn machine(peers: &[(&str, &[&str])]) -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("an unknown processor", |(_, name)| name.trim());
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let mut text = format!("{model}, {cores} cores");
    for (program, arguments) in peers {
        let version =
            Command::new(program).env("PATH", search_path()).args(*arguments).output().ok().map(|done| {
                let said = if done.stdout.is_empty() { done.stderr } else { done.stdout };
                let said = String::from_utf8_lossy(&said);
                // wrk's version is followed by its build and its copyright.
                let line = said.lines().next().unwrap_or_default();
                line.split(" [").next().unwrap_or_default().trim().to_owned()
            });
        let _ = write!(text, "; {}", version.as_deref().unwrap_or(program));
    }
    text
}

/// Replaces the section `name` of the page.
pub fn write(page: &Path, name: &str, section: &str) -> Result<()> {
    let text = fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
    let text = replaced(&text, name, section)?;
    fs::write(page, text).with_context(|| format!("cannot write {}", page.display()))
}

fn replaced(text: &str, name: &str, section: &str) -> Result<String> {
    let (open, close) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->"));
    let parts = text.split_once(&open).and_then(|(before, rest)| Some((before, rest.split_once(&close)?.1)));
    let Some((before, after)) = parts else {
        bail!("the page has no section between {open:?} and {close:?}")
    };
    Ok(format!("{before}{open}{section}{close}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_named_section_is_replaced() {
        let page = "# Top\n<!-- a -->\nold\n<!-- end of a -->\nmiddle\n<!-- b -->\nb\n<!-- end of b -->\n";
        assert_eq!(replaced(page, "a", "new\n").unwrap(), page.replace("old", "new"));
        assert!(replaced(page, "c", "new\n").is_err());
    }

    #[test]
    fn a_table_lines_up() {
        let rows = [vec!["".into(), "CPU".into()], vec!["nginx".into(), "1".into()]];
        assert_eq!(table(&rows), "|       | CPU |\n| ----- | --- |\n| nginx | 1   |\n");
    }
}
