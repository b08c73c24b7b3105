//! `stopgap feed assemble`.

use std::path::PathBuf;

use jiff::Timestamp;
use stopgap_publish::handover::{HandoverError, assemble};

use super::publish;
use crate::exit::{Failure, Outcome};

#[derive(clap::Args)]
pub struct Args {
    /// The feed's folder
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The signature that was made elsewhere: raw, DER or base64
    #[arg(long, value_name = "F.sig")]
    signature: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Outcome {
    match assemble(&args.dir, &args.signature, Timestamp::now()) {
        Ok(published) => publish::print(&published, args.json),
        Err(HandoverError::Release(error)) => Err(publish::failed(&args.dir, error)),
        Err(error) => Err(Failure::new(error)),
    }
}
