//! `stopgap feed import FILE…`.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use stopgap_agent::feeds::carry::{self, CarryError};
use stopgap_agent::fetch::Fetcher;
use stopgap_feed::FeedName;

use super::super::local;
use crate::exit::{Code, Failure, Outcome};
use crate::{output, system};

#[derive(clap::Args)]
pub struct Args {
    /// A document, or a folder of documents; co-signatures and revocation lists lie beside it
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// For this feed only; else for the one that believes it
    #[arg(long, value_name = "NAME")]
    feed: Option<FeedName>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args, path: &Path) -> Outcome {
    let config = local::config(path)?;
    if let Some(name) = &args.feed {
        super::trust::named(&config, name)?;
    }
    let fetcher = Fetcher::new(&config.network)?;
    let only = args.feed.as_ref();
    let import = carry::import(&config, &fetcher, only, &args.files, Timestamp::now());
    let imported = match system::runtime()?.block_on(import) {
        Ok(imported) => imported,
        Err(CarryError::Refused { refusals }) if args.json => {
            let all: Vec<_> = refusals
                .iter()
                .map(|refused| {
                    serde_json::json!({ "feed": refused.feed, "error": refused.code, "message": refused.message })
                })
                .collect();
            output::json(&serde_json::json!({ "imported": false, "refusals": all }))?;
            return Ok(Code::NotTrusted);
        }
        Err(error @ CarryError::Refused { .. }) => {
            return Err(Failure::new(error)
                .code(Code::NotTrusted)
                .hint("nothing was changed: what was trusted before goes on counting"));
        }
        Err(error) => return Err(error.into()),
    };
    local::tell_events(&config, &imported.done);
    if args.json {
        output::json(&serde_json::json!({
            "imported": true, "feed": imported.feed, "serial": imported.serial, "report": imported.done.report,
        }))?;
    } else {
        let serial = imported.serial.map_or("without serial".to_owned(), |serial| format!("serial {serial}"));
        output::say(format_args!("{} only: feed {}, {serial}, imported", config.server, imported.feed));
        local::print_report(&imported.done.report)?;
    }
    Ok(local::code(&imported.done))
}
