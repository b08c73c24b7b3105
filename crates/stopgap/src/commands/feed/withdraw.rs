//! `stopgap feed withdraw`.

use std::path::PathBuf;

use jiff::Timestamp;
use stopgap_feed::Id;
use stopgap_publish::withdraw::{WithdrawError, withdraw};

use super::passphrase::PassphraseArgs;
use super::publish;
use crate::exit::{Failure, Outcome};

#[derive(clap::Args)]
pub struct Args {
    /// The feed's folder
    dir: PathBuf,
    /// The mitigation
    id: Id,
    /// Why, for the people whose servers have it
    #[arg(long, value_name = "TEXT")]
    reason: String,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Outcome {
    let asked = withdraw(&args.dir, &args.id, &args.reason, &mut args.passphrase.asking(), Timestamp::now());
    match asked {
        Ok(published) => publish::print(&published, args.json),
        Err(WithdrawError::Release(error)) => Err(publish::failed(&args.dir, error)),
        Err(error) => Err(Failure::new(error)),
    }
}
