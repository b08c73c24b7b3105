//! `stopgap rules check FILE`.

use std::path::PathBuf;

use crate::exit::{Code, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// One <rewrite>, one <rules>, or a web.config
    file: PathBuf,
}

pub fn run(args: Args) -> Outcome {
    let rules = super::load(&args.file)?;
    let engine = super::compile(&rules, &args.file)?;
    output::line(format_args!("{}: {} rules, all of them compile", args.file.display(), engine.len()))?;
    Ok(Code::Done)
}
