//! `stopgap feed card`.

use std::path::PathBuf;

use stopgap_publish::card::{Changes, make};

use crate::exit::{Code, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// The feed's folder
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Where subscribers find the feed
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Where else; replaces the mirrors that the card has
    #[arg(long = "mirror", value_name = "URL")]
    mirrors: Vec<String>,
    /// Whom subscribers ask
    #[arg(long, value_name = "TEXT")]
    contact: Option<String>,
    /// Print the card itself
    #[arg(long)]
    print: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Outcome {
    let made = make(&args.dir, Changes { url: args.url, contact: args.contact, mirrors: args.mirrors })?;
    if args.json {
        output::json(&serde_json::json!({ "card": made.path, "card_fingerprint": made.fingerprint }))?;
    } else if args.print {
        output::text(&made.text)?;
    } else {
        output::line(format_args!("card for subscribers        {}", made.path.display()))?;
        output::line(format_args!("card fingerprint (SHA-256)  {}", made.fingerprint))?;
    }
    Ok(Code::Done)
}
