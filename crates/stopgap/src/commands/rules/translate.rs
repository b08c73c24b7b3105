//! `stopgap rules translate FILE --to nginx|apache|haproxy|iis`.

use std::path::PathBuf;

use anyhow::Context;
use stopgap_rules::translate::{apache, haproxy, iis, nginx};

use crate::exit::{Code, Failure, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// One <rewrite>, one <rules>, or a web.config
    file: PathBuf,
    /// The server whose configuration is wanted
    #[arg(long, value_enum)]
    to: Server,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Server {
    Nginx,
    Apache,
    Haproxy,
    Iis,
}

pub fn run(args: Args) -> Outcome {
    let rules = super::load(&args.file)?;
    let (translated, server) = match args.to {
        Server::Nginx => (nginx::translate_one(&rules), "nginx"),
        Server::Apache => (apache::translate_one(&rules), "Apache"),
        Server::Haproxy => (haproxy::translate_one(&rules), "HAProxy"),
        Server::Iis => (iis::translate_one(&rules), "IIS"),
    };
    let translated = translated
        .with_context(|| format!("{} has no exact form on {server}", args.file.display()))
        .map_err(|error| Failure { error, hint: None, code: Code::Wanting })?;
    output::text(translated)?;
    Ok(Code::Done)
}
