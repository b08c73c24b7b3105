//! `stopgap feed init`.

use std::path::PathBuf;

use jiff::Timestamp;
use stopgap_feed::FeedName;
use stopgap_publish::folder;

use crate::exit::{Code, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// The feed's folder
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The feed's name, which stands in every document
    #[arg(long)]
    name: FeedName,
    /// Whose name stands in the certificates; default: the feed's
    #[arg(long, value_name = "NAME")]
    organization: Option<String>,
    /// Start with the mitigations of this folder
    #[arg(long, value_name = "DIR")]
    from: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Outcome {
    let made = folder::init(
        &args.dir,
        &args.name,
        args.organization.as_deref(),
        args.from.as_deref(),
        Timestamp::now(),
    )?;
    if args.json {
        output::json(&serde_json::json!({
            "feed": args.name,
            "trust": made.trust,
            "root_fingerprint": made.root_fingerprint,
            "mitigations": made.mitigations,
        }))?;
        return Ok(Code::Done);
    }
    let dir = args.dir.display();
    output::line(format_args!("made the feed `{}` in {dir}", args.name))?;
    output::line(format_args!("root fingerprint (SHA-256)  {}", made.root_fingerprint))?;
    output::line(format_args!("trust file for subscribers  {}", made.trust.display()))?;
    output::say(format_args!("keep {dir}/root.key.pem offline: nobody needs it to release a feed"));
    output::say(format_args!(
        "next: stopgap feed new ID {dir}, stopgap feed publish {dir}, stopgap feed serve {dir}"
    ));
    Ok(Code::Done)
}
