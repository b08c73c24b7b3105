//! `stopgap diagnostics show`: what is sent to publishers, exactly.

use std::path::Path;

use stopgap_agent::cycle::Mode;
use stopgap_agent::diagnostics::documents;

use super::local;
use crate::exit::{Code, Outcome};
use crate::output;

#[derive(clap::Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// Print what this server sends to the publishers of its feeds once a day, where DataCollectionEnabled
    Show(ShowArgs),
}

#[derive(clap::Args)]
pub struct ShowArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(command: Command, config: &Path) -> Outcome {
    let Command::Show(args) = command;
    let config = local::config(config)?;
    let done = local::offline(&config, Mode::Plan)?;
    let all = documents(&config, &done.report);
    let enabled = config.data_collection_enabled;
    if args.json {
        let documents: Vec<_> = all
            .iter()
            .map(|(url, document)| serde_json::json!({"to": without_password(url), "document": document}))
            .collect();
        output::json(&serde_json::json!({"data_collection_enabled": enabled, "diagnostics": documents}))?;
        return Ok(Code::Done);
    }
    let what = if enabled { "once a day this is sent:" } else { "nothing is sent; this would be:" };
    output::line(format_args!("DataCollectionEnabled: {enabled}; {what}"))?;
    for (url, document) in all {
        let text = serde_json::to_string_pretty(&document).unwrap_or_default();
        output::line(format_args!("\nPOST {}\n{text}", without_password(&url)))?;
    }
    Ok(Code::Done)
}

fn without_password(url: &impl std::fmt::Display) -> String {
    let url = url.to_string();
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if at > scheme => {
            let (scheme, rest) = (url.get(..scheme + 3), url.get(at + 1..));
            format!("{}{}", scheme.unwrap_or_default(), rest.unwrap_or_default())
        }
        _ => url,
    }
}
