//! The project's chores, one module each: `cargo xtask test`, `bench`, `equivalence`, `dist` and `fuzz`. Nothing
//! here is shipped, and nothing here knows the product's crates.

// A chore talks to the person who started it.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod agent_only;
mod bench;
mod cargo;
mod dist;
mod equivalence;
mod fuzz;
mod protected;
mod server;
mod tally;
mod test;
mod tools;
mod windows;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "The project's chores", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Install what the tests need where that is allowed, run every test, say what was skipped and why
    ///
    /// Packages are installed as root or with a passwordless sudo, from Debian. With CI=true a skip is
    /// a failure, but for tests of the corpus where that folder is absent.
    Test(test::Options),
    /// Measure Stopgap against its peers in one run, print the table and write it to docs/benchmarks.md
    Bench(bench::Options),
    /// Compare a million verdicts of every server with the engine's and write docs/rules/equivalence.md
    Equivalence(equivalence::Options),
    /// Build the Debian package (program, unit, configuration, manual pages, completions), or the zip for Windows
    Dist(dist::Options),
    /// Fuzz what comes from outside, on stable Rust: fuzz/
    Fuzz(fuzz::Options),
}

fn main() -> ExitCode {
    let done = match Cli::parse().chore {
        Chore::Test(options) => test::run(&options),
        Chore::Bench(options) => bench::run(&options),
        Chore::Equivalence(options) => equivalence::run(&options),
        Chore::Dist(options) => dist::run(&options),
        Chore::Fuzz(options) => fuzz::run(&options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
