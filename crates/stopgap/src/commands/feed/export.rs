//! `stopgap feed export NAME DIR`.

use std::path::{Path, PathBuf};

use stopgap_agent::feeds::carry;
use stopgap_feed::FeedName;

use super::super::local;
use crate::exit::{Code, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// The feed
    name: FeedName,
    /// Write the document, its co-signatures and revocation lists here
    dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args, path: &Path) -> Outcome {
    let config = local::config(path)?;
    let feed = super::trust::named(&config, &args.name)?;
    let exported = carry::export(&config, feed, &args.dir)?;
    if args.json {
        output::json(&serde_json::json!({
            "feed": args.name, "serial": exported.serial, "expires": exported.expires, "files": exported.files,
        }))?;
        return Ok(Code::Done);
    }
    for file in &exported.files {
        output::line(file.display())?;
    }
    if let Some(expires) = exported.expires {
        output::say(format_args!("it can be imported until {expires}"));
    }
    Ok(Code::Done)
}
