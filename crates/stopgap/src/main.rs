//! The `stopgap` binary: one file a command, each of which reads its arguments, calls a library
//! and prints. Names, JSON and exit codes are API.

#[cfg(feature = "agent")]
mod ask;
mod commands;
#[cfg(feature = "demo")]
mod demo;
mod exit;
mod output;
mod system;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = commands::Cli::parse();
    // Two libraries of the tree could bring a provider; there is one, and it is chosen here.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match std::panic::catch_unwind(|| commands::run(cli)) {
        Ok(Ok(code)) => code.into(),
        Ok(Err(failure)) => {
            output::failure(&failure);
            failure.code.into()
        }
        Err(_) => exit::Code::Bug.into(),
    }
}
