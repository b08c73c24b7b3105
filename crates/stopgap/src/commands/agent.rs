//! `stopgap agent`: the service and what it needs.

mod check;
mod enroll;
mod hook;
#[cfg(unix)]
mod install;
#[cfg(windows)]
#[path = "agent/windows/install.rs"]
mod install;
mod leave;
mod remains;
mod run;
#[cfg(unix)]
mod uninstall;
#[cfg(windows)]
#[path = "agent/windows/uninstall.rs"]
mod uninstall;

use std::path::Path;

use crate::exit::Outcome;

#[derive(clap::Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// Run the service in the foreground
    Run(run::Args),
    /// Register the service, and start it, on a machine without a package
    Install(install::Args),
    /// Stop and unregister the service; what is in force stays, or is taken off
    Uninstall(uninstall::Args),
    /// Join an organization
    Enroll(enroll::Args),
    /// Leave the organization; what is in force stays
    Leave(leave::Args),
    /// Check whether this server is ready
    Check(check::Args),
    /// Print, or insert, what makes a web server read our rules
    Hook(hook::Args),
}

pub fn run(command: Command, config: &Path) -> Outcome {
    match command {
        Command::Run(args) => run::run(args, config),
        #[cfg(unix)]
        Command::Install(args) => install::run(args),
        #[cfg(windows)]
        Command::Install(args) => install::run(args, config),
        Command::Uninstall(args) => uninstall::run(args, config),
        Command::Enroll(args) => enroll::run(args, config),
        Command::Leave(args) => leave::run(args, config),
        Command::Check(args) => check::run(args, config),
        Command::Hook(args) => hook::run(args, config),
    }
}
