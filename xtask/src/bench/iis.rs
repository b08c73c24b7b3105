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
    let (octets, levels, all) = (of("octets")?, of("levels")?, of("all-octets")?);
    let number = |name: &str| -> Result<f64> { Ok(of(name)?.parse()?) };
    let mut rows = vec![vec!["median of 51 runs".into(), "CPU time".into(), "to plain parsing".into()]];
    for (what, name, to) in [
        (format!("plain parsing by `roxmltree`, {octets} octets"), "plain-largest", "plain-largest"),
        (format!("the same, all files, {all} octets"), "plain", "plain"),
        (format!("`Document::parse`, {octets} octets"), "parse", "plain-largest"),
        ("the same, a rule put in, and the bytes again, checked".to_owned(), "edit", "plain-largest"),
        (format!("`check`: {levels} levels, files in memory"), "check", "plain"),
        ("check and plan: `place` of M1 and M2, files in memory".to_owned(), "place", "plain"),
    ] {
        rows.push(vec![what, format!("{} ms", of(name)?), format!("{:.2}", number(name)? / number(to)?)]);
    }
    Ok(format!("{}\nMade by `cargo xtask bench iis`. {}.\n", report::table(&rows), report::machine(&[])))
}
