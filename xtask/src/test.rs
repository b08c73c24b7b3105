//! `cargo xtask test`: set up, run everything, tell what was skipped.

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::agent_only;
use crate::cargo::{self, cargo};
use crate::tally::Tally;
use crate::tools::{self, Tool};
use crate::windows::{self, World};

/// The command's options.
#[derive(clap::Args)]
pub struct Options {
    /// Install nothing
    #[arg(long)]
    quick: bool,
    /// Test what is built for Windows, under Wine, and nothing else
    #[arg(long, conflicts_with = "package")]
    windows: bool,
    /// Test these packages only, and leave the agent-only build out
    #[arg(short, long, value_name = "NAME")]
    package: Vec<String>,
    /// Handed to the test programs: a part of a test's name, or `--test-threads 1`
    #[arg(last = true)]
    arguments: Vec<String>,
}

impl Options {
    fn everything(&self) -> bool {
        self.package.is_empty() && self.arguments.is_empty()
    }
}

/// Whether everything passed.
pub fn run(options: &Options) -> Result<bool> {
    let ci = env::var("CI").is_ok_and(|value| value == "true");
    let mut tally = Tally::default();
    let equipped = step("set-up", || set_up(options, ci))?;
    if options.everything() && !options.windows {
        // First, since the tests then put the whole binary back where this one stood.
        let built = step("agent-only build", agent_only::check);
        if let Err(error) = &built {
            println!("    {error:#}");
        }
        tally.check(built.is_ok());
    }
    if !options.windows {
        step("tests", || tests(options, &mut tally))?;
    } else if equipped {
        let world = step("a Windows of its own", World::new)?;
        step("tests", || run_tests(windows::tests(&world), options, &mut tally))?;
    }

    let skipped = tally.skipped();
    if !skipped.is_empty() {
        println!("\nSkipped:\n{skipped}");
    }
    let excused = !ci || !tally.skipped_without_excuse();
    if !excused {
        println!("CI=true: only tests of the absent corpus may be skipped");
    }
    println!("\n{}", tally.summary());
    Ok(equipped && excused && tally.failed() == 0)
}

fn step<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    println!("\n==> {name}");
    let started = Instant::now();
    let done = work();
    let failed = if done.is_err() { "FAILED, " } else { "" };
    println!("==> {name}: {failed}{} s", started.elapsed().as_secs());
    done
}

/// Whether the tests can run as they are meant to here: with `ci`, no tool may be missing.
fn set_up(options: &Options, ci: bool) -> Result<bool> {
    let wanted: &[Tool] = if options.windows { tools::WINDOWS } else { tools::TESTS };
    let mut missing = tools::missing(wanted);
    if !missing.is_empty() && !options.quick {
        tools::install(&missing);
        missing = tools::missing(wanted);
    }
    let library = !options.windows || windows::has_library(!options.quick)?;
    if !library {
        println!("    no library of Rust's for {}: `rustup target add {0}`", windows::TARGET);
    }
    if cargo::corpus().is_none() {
        println!("    no corpus (STOPGAP_CORPUS): its tests will be skipped");
    }
    for tool in &missing {
        let then = if ci { "CI=true: a failure" } else { "its tests will be skipped" };
        println!("    no {} (package {}; {}): {then}", tool.name, tool.package, tool.purpose);
    }
    // Without Wine there is nothing to skip: none of these tests can be built or run.
    Ok(missing.is_empty() && library || !ci && !options.windows)
}

fn tests(options: &Options, tally: &mut Tally) -> Result<()> {
    let mut command = cargo();
    command.args(["test", "--release", "--no-fail-fast"]);
    if options.package.is_empty() {
        command.arg("--workspace");
    }
    for package in &options.package {
        command.args(["--package", package]);
    }
    run_tests(command, options, tally)
}

fn run_tests(mut command: Command, options: &Options, tally: &mut Tally) -> Result<()> {
    command.args(["--", "--show-output"]).args(&options.arguments);
    command.env("PATH", tools::search_path());
    let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo test")?;
    let output = child.stdout.take().context("cargo test has no output")?;
    for line in BufReader::new(output).split(b'\n') {
        // A test may print anything; the rest of the output must not be lost over it.
        let line = line.context("cannot read the output of cargo test")?;
        let line = String::from_utf8_lossy(&line);
        if tally.line(&line) {
            println!("{line}");
        }
    }
    let status = child.wait().context("cannot wait for cargo test")?;
    if !status.success() && tally.failed() == 0 {
        // A test program that did not build, or died before its closing line.
        println!("    cargo test ended with {status}");
        tally.check(false);
    }
    Ok(())
}
