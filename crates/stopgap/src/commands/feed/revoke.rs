//! `stopgap feed revoke`.

use std::path::PathBuf;

use jiff::Timestamp;
use stopgap_publish::pki::Reason;
use stopgap_publish::revoke::revoke;

use super::passphrase::PassphraseArgs;
use crate::exit::{Code, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// The feed's folder
    dir: PathBuf,
    /// A certificate file, or the serial number (hexadecimal) of one of this feed's certificates
    certificate: String,
    /// Why
    #[arg(long, value_enum, default_value = "unspecified")]
    reason: Why,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum Why {
    Unspecified,
    KeyCompromise,
    CaCompromise,
    Superseded,
    CessationOfOperation,
}

pub fn run(args: Args) -> Outcome {
    let reason = match args.reason {
        Why::Unspecified => Reason::Unspecified,
        Why::KeyCompromise => Reason::KeyCompromise,
        Why::CaCompromise => Reason::CaCompromise,
        Why::Superseded => Reason::Superseded,
        Why::CessationOfOperation => Reason::CessationOfOperation,
    };
    let mut ask = args.passphrase.asking();
    let revoked = revoke(&args.dir, &args.certificate, reason, &mut ask, Timestamp::now())?;
    if args.json {
        output::json(&revoked)?;
    } else {
        output::line(format_args!("{} ({}) is revoked", revoked.subject, revoked.serial))?;
        output::line(format_args!("list  {}", revoked.list.display()))?;
    }
    let dir = args.dir.display();
    if !revoked.names_list {
        output::say(format_args!(
            "warning: this certificate names no list, so a server hears of it only where {} stands in `crls` of its trust file; for the others the key stays good until they have a card with another root: stopgap feed rotate {dir} --root",
            revoked.list.display()
        ));
    }
    if revoked.in_use {
        output::say(format_args!(
            "warning: the feed still signs with it; next: stopgap feed rotate {dir} --leaf (or --intermediate), stopgap feed renew {dir}"
        ));
    }
    Ok(Code::Done)
}
