//! `stopgap feed renew`.

use std::path::PathBuf;

use jiff::Timestamp;
use stopgap_publish::release::renew;
use stopgap_publish::revoke::renew_lists;

use super::passphrase::PassphraseArgs;
use super::publish;
use crate::exit::Outcome;
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// The feed's folder
    #[arg(default_value = ".")]
    dir: PathBuf,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Outcome {
    let now = Timestamp::now();
    let mut ask = args.passphrase.asking();
    let published = renew(&args.dir, &mut ask, now).map_err(|error| publish::failed(&args.dir, error))?;
    // The release first, and said: where a list cannot be made, the feed goes on.
    let done = publish::print(&published, args.json)?;
    let lists = renew_lists(&args.dir, &mut ask, now)?;
    for list in &lists.written {
        output::say(format_args!("{}: made again", list.display()));
    }
    for missed in &lists.missed {
        output::say(format_args!("warning: {missed}"));
    }
    Ok(done)
}
