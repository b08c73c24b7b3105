//! `stopgap rules translate FILE --to nginx`.

use std::path::PathBuf;

use anyhow::Context;
use stopgap_rules::translate::nginx;

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
}

pub fn run(args: Args) -> Outcome {
    let rules = super::load(&args.file)?;
    let Server::Nginx = args.to;
    let translated = nginx::translate_one(&rules)
        .with_context(|| format!("{} has no exact form on nginx", args.file.display()))
        .map_err(|error| Failure { error, hint: None, code: Code::Wanting })?;
    output::text(translated)?;
    Ok(Code::Done)
}
