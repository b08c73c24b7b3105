//! `cargo xtask bench`: Stopgap beside its peers, both in the same run, so that the ratio holds on
//! a noisy machine. Nothing here passes or fails by a time.

mod apache;
mod cpu;
mod fleet;
mod gateway;
mod haproxy;
mod idle;
mod iis;
mod load;
mod nginx;
mod replay;
mod report;
mod rules;
mod verify;

use std::path::PathBuf;

use anyhow::Result;

use crate::cargo::{cargo, root, succeed, target_directory};
use crate::{dist, tools};

/// The command's options.
#[derive(clap::Args)]
pub struct Options {
    /// What to measure
    #[arg(value_enum, default_value = "all")]
    what: What,
    /// idle: how long nothing is done; fewer than ten are scaled, and the page says so
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=60))]
    minutes: u32,
    /// Measure this program as the one that is shipped, which `cargo xtask dist` has left, instead of building it
    #[arg(long, value_name = "FILE")]
    binary: Option<PathBuf>,
    /// fleet: measure this part alone, and leave the page as it is
    #[arg(long)]
    only: Option<fleet::Part>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// Verifying Microsoft's real document, against xmlsec1
    Verify,
    /// CPU time per request of the gateway, against nginx, HAProxy and Apache as reverse proxies
    Gateway,
    /// The rule engine, against PCRE2 rule by rule and libmodsecurity
    Rules,
    /// A real Exchange server's configuration: read, edited, checked
    Iis,
    /// The agent with nothing to do, beside CrowdSec's
    Idle,
    /// `plan --replay` of a million lines by all shipped mitigations
    Replay,
    /// One hub and ten thousand simulated agents
    Fleet,
    /// All of them
    All,
}

/// Where a benchmark finds and leaves things.
struct Bench {
    /// The binary that is measured.
    stopgap: PathBuf,
    /// The same as it is shipped; there where that is measured.
    dist: PathBuf,
    /// A folder of this run's own.
    scratch: PathBuf,
}

/// Runs what was asked for. Always true: a measurement that could be made passes.
pub fn run(options: &Options) -> Result<bool> {
    equip()?;
    let target = target_directory()?;
    let bench = Bench {
        stopgap: target.join("release/stopgap"),
        dist: options.binary.clone().unwrap_or_else(|| target.join("dist/stopgap")),
        scratch: target.join("bench"),
    };
    std::fs::create_dir_all(&bench.scratch)?;
    let shipped = matches!(options.what, What::Gateway | What::Idle | What::Replay | What::All);
    if shipped && options.binary.is_none() {
        // The peers are the distribution's optimized builds, and what is shipped is what stays in memory.
        dist::program()?;
    }

    let page = root().join("docs/benchmarks.md");
    if matches!(options.what, What::Verify | What::All) {
        succeed(cargo().args(["build", "--release", "--package", "stopgap"]))?;
        let section = verify::run(&bench)?;
        println!("\n{section}");
        report::write(&page, "verify", &section)?;
    }
    if matches!(options.what, What::Gateway | What::All) {
        let section = gateway::run(&bench)?;
        println!("\n{section}");
        report::write(&page, "gateway", &section)?;
    }
    if matches!(options.what, What::Rules | What::All) {
        let section = rules::run(&bench)?;
        println!("\n{section}");
        report::write(&page, "rules", &section)?;
    }
    if matches!(options.what, What::Iis | What::All) {
        let section = iis::run(&bench)?;
        println!("\n{section}");
        report::write(&page, "iis", &section)?;
    }
    if matches!(options.what, What::Idle | What::All) {
        let section = idle::run(&bench, options.minutes)?;
        println!("\n{section}");
        report::write(&page, "idle", &section)?;
    }
    if matches!(options.what, What::Replay | What::All) {
        let section = replay::run(&bench)?;
        println!("\n{section}");
        report::write(&page, "replay", &section)?;
    }
    if matches!(options.what, What::Fleet | What::All) {
        let what =
            ["--package", "stopgap", "--package", "xtask", "--bin", "stopgap", "--example", "fleet-agents"];
        succeed(cargo().args(["build", "--release"]).args(what))?;
        let section = fleet::run(&bench, options.only)?;
        println!("\n{section}");
        if options.only.is_some() {
            return Ok(true);
        }
        report::write(&page, "fleet", &section)?;
    }
    println!("written to {}", page.display());
    Ok(true)
}

fn equip() -> Result<()> {
    let wanted: Vec<tools::Tool> = tools::TESTS
        .iter()
        .filter(|tool| ["apache2", "haproxy", "nginx", "wrk", "xmlsec1"].contains(&tool.name))
        .chain(tools::BENCHMARKS)
        .copied()
        .collect();
    tools::require(&wanted, "measure")
}
