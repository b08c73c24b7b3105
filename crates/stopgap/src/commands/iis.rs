//! `stopgap iis`: IIS's configuration as it stands in files.

mod check;
pub mod disk;

use crate::exit::Outcome;

#[derive(clap::Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// Show the effective rewrite rules of every application, and what would break it
    Check(check::Args),
}

pub fn run(command: Command) -> Outcome {
    match command {
        Command::Check(args) => check::run(args),
    }
}
