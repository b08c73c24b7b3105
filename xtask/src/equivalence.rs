//! `cargo xtask equivalence`: one rule, every server, the same verdict, a million times; then many changes of
//! rules in a row. The work is that of the test program `servers` (e2e/servers), which every run of the tests
//! makes a slice of; this makes it long and writes docs/rules/equivalence.md.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::cargo::{cargo, root, target_directory};
use crate::tools;

/// The command's options.
#[derive(clap::Args)]
pub struct Options {
    /// Verdicts to compare, of all servers together; 0 leaves this part and its section as they are
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    verdicts: u64,
    /// Changes of rules in a row, for each server; 0 leaves this part and its section as they are
    #[arg(long, value_name = "N", default_value_t = 0)]
    reloads: u64,
    /// Where the requests and the generated rule sets come from; the same again for the same number
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Generated rule sets, beside the catalogue and M1's revisions
    #[arg(long, value_name = "N", default_value_t = 16)]
    generated: u64,
}

/// The programs that must be there, each with the argument that makes it tell its version.
const SERVERS: [(&str, &str); 3] = [("nginx", "-v"), ("apache2", "-v"), ("haproxy", "-v")];

/// Whether every verdict was the same, and no server grew.
pub fn run(options: &Options) -> Result<bool> {
    let needed = |tool: &&tools::Tool| SERVERS.iter().any(|(name, _)| *name == tool.name);
    let needed: Vec<tools::Tool> = tools::TESTS.iter().filter(needed).copied().collect();
    tools::require(&needed, "compare")?;
    let page = root().join("docs/rules/equivalence.md");
    let report = target_directory()?.join("equivalence.md");
    let mut passed = true;
    if options.verdicts > 0 {
        passed &= part(options, "verdicts", "every_server", &report, &page)?;
    }
    if options.reloads > 0 {
        passed &= part(options, "reloads", "many_changes", &report, &page)?;
    }
    Ok(passed)
}

/// Runs the tests of this name; where they pass, their report becomes the section `name` of the page.
fn part(options: &Options, name: &str, tests: &str, report: &Path, page: &Path) -> Result<bool> {
    let _ = fs::remove_file(report);
    let started = Instant::now();
    let status = cargo()
        .args(["test", "--release", "--package", "stopgap", "--test", "servers", "--"])
        .args([tests, "--nocapture", "--test-threads", "1"])
        // Nothing may be left out here.
        .env("CI", "true")
        .env("PATH", tools::search_path())
        .env("STOPGAP_EQUIVALENCE_VERDICTS", options.verdicts.to_string())
        .env("STOPGAP_EQUIVALENCE_RELOADS", options.reloads.to_string())
        .env("STOPGAP_EQUIVALENCE_SEED", options.seed.to_string())
        .env("STOPGAP_EQUIVALENCE_GENERATED", options.generated.to_string())
        .env("STOPGAP_EQUIVALENCE_REPORT", report)
        .status()
        .context("cannot start cargo test")?;
    if !status.success() {
        println!("{name}: the page is left as it is");
        return Ok(false);
    }
    let said = fs::read_to_string(report).with_context(|| format!("no report in {}", report.display()))?;
    let flag = if name == "verdicts" { options.verdicts } else { options.reloads };
    let section = format!(
        "{said}\nMade by `cargo xtask equivalence --{name} {flag} --seed {} --generated {}` in {} s, building included; {}.\n",
        options.seed,
        options.generated,
        started.elapsed().as_secs(),
        versions().join("; "),
    );
    let text = fs::read_to_string(page).with_context(|| format!("cannot read {}", page.display()))?;
    fs::write(page, replaced(&text, name, &section)?)?;
    println!("written to {}", page.display());
    Ok(true)
}

fn versions() -> Vec<String> {
    let version = |(program, argument): (&str, &str)| {
        let done = Command::new(program).arg(argument).env("PATH", tools::search_path()).output().ok()?;
        let said = [done.stdout, done.stderr].concat();
        let line = String::from_utf8_lossy(&said).lines().next()?.to_owned();
        Some(line.split(" 20").next().unwrap_or_default().trim_start_matches("Server version: ").to_owned())
    };
    SERVERS.into_iter().filter_map(version).collect()
}

/// The page with another section of this name.
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
    fn the_page_has_both_sections() {
        let page = fs::read_to_string(root().join("docs/rules/equivalence.md")).unwrap();
        for name in ["verdicts", "reloads"] {
            assert!(replaced(&page, name, "new\n").unwrap().contains(&format!("<!-- {name} -->\nnew\n")));
        }
        assert!(replaced(&page, "nothing", "").is_err());
    }
}
