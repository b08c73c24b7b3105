//! IIS's configuration: a real Exchange server's largest file read and edited, and the whole server checked.

use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{Bench, report};
use crate::cargo::{cargo, corpus, output, succeed};

/// The section of the page.
pub fn run(bench: &Bench) -> Result<String> {
    let Some(corpus) = corpus() else { bail!("this benchmark reads the corpus: set STOPGAP_CORPUS") };
    let drive = bench.scratch.join("iis-drive");
    let mut lay_out = Command::new("python3");
    lay_out.arg(corpus.join("lay-out-exchange")).arg(corpus.join("iis-exchange2016")).arg(&drive);
    succeed(lay_out.stdout(std::process::Stdio::null()))?;
    let mut alone = cargo();
    alone.args(["run", "--quiet", "--release", "--package", "xtask", "--example", "iis-in-process", "--"]);
    let printed = output(alone.arg(&drive))?;
    let of = |name: &str| -> Result<&str> {
        let line = printed.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.with_context(|| format!("iis-in-process printed no {name}"))
    };
    let (octets, levels) = (of("octets")?, of("levels")?);
    let mut rows = vec![vec!["median of 51 runs".into(), "CPU time".into()]];
    for (what, name) in [
        (format!("`Document::parse`, {octets} octets"), "parse"),
        ("the same, a rule put in, and the bytes again, checked".to_owned(), "edit"),
        (format!("`check`: {levels} levels, files in memory"), "check"),
    ] {
        rows.push(vec![what, format!("{} ms", of(name)?)]);
    }
    Ok(format!("{}\nMade by `cargo xtask bench iis`. {}.\n", report::table(&rows), report::machine(&[])))
}
