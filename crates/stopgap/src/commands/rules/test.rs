//! `stopgap rules test FILE --request FILE`.

use std::path::PathBuf;

use anyhow::Context;
use stopgap_rules::{Connection, Outcome as Action, Request};

use crate::exit::{Code, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// One <rewrite>, one <rules>, or a web.config
    file: PathBuf,
    /// A raw request head
    #[arg(long, value_name = "FILE")]
    request: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Outcome {
    let rules = super::load(&args.file)?;
    let engine = super::compile(&rules, &args.file)?;
    let raw =
        std::fs::read(&args.request).with_context(|| format!("cannot read {}", args.request.display()))?;
    let request = Request::parse_head(&raw, &Connection::default())
        .with_context(|| format!("{} is not a request head", args.request.display()))?;
    let verdict = engine.evaluate(&request);
    if args.json {
        output::json(&verdict)?;
        return Ok(Code::Done);
    }
    let rule = verdict.rule.as_deref().map(|rule| format!(" by `{rule}`")).unwrap_or_default();
    match verdict.action {
        Action::None => output::line(format_args!("passes{rule}"))?,
        Action::AbortRequest => output::line(format_args!("refused{rule}: the connection is closed"))?,
        Action::CustomResponse => {
            output::line(format_args!("refused{rule}: status {}", verdict.status.unwrap_or_default()))?;
        }
        Action::Redirect => {
            let url = verdict.url.as_deref().unwrap_or_default();
            output::line(format_args!(
                "redirected{rule}: status {} to {url}",
                verdict.status.unwrap_or_default()
            ))?;
        }
        Action::Rewrite => {
            output::line(format_args!("rewritten{rule}: to {}", verdict.url.as_deref().unwrap_or_default()))?;
        }
    }
    for (name, value) in &verdict.headers {
        output::line(format_args!("sets {name} = {value}"))?;
    }
    Ok(Code::Done)
}
