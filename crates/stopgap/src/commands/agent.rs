//! `stopgap agent`: the service and what it needs.

mod check;
mod hook;
mod run;

use std::path::Path;

use crate::exit::Outcome;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Run the service in the foreground
    Run(run::Args),
    /// Check whether this server is ready
    Check(check::Args),
    /// Print, or insert, what makes a web server read our rules
    Hook(hook::Args),
}

pub fn run(command: Command, config: &Path) -> Outcome {
    match command {
        Command::Run(args) => run::run(args, config),
        Command::Check(args) => check::run(args, config),
        Command::Hook(args) => hook::run(args, config),
    }
}
