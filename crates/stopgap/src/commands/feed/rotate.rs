//! `stopgap feed rotate`.

use std::path::PathBuf;

use jiff::Timestamp;
use stopgap_publish::rotate::{Part, rotate};

use super::passphrase::PassphraseArgs;
use crate::exit::{Code, Outcome};
use crate::output;

#[derive(clap::Args)]
#[command(group = clap::ArgGroup::new("part").required(true))]
pub struct Args {
    /// The feed's folder
    dir: PathBuf,
    /// A new signing key
    #[arg(long, group = "part")]
    leaf: bool,
    /// A new intermediate, and signing key
    #[arg(long, group = "part")]
    intermediate: bool,
    /// A new root, and all below it
    #[arg(long, group = "part")]
    root: bool,
    /// How long subscribers who have the old root alone can follow (RFC 3339); default: a year
    #[arg(long, value_name = "TIME", requires = "root")]
    until: Option<Timestamp>,
    #[command(flatten)]
    passphrase: PassphraseArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: Args) -> Outcome {
    let part = match (args.intermediate, args.root) {
        (_, true) => Part::Root { until: args.until },
        (true, false) => Part::Intermediate,
        (false, false) => Part::Leaf,
    };
    let rotated = rotate(&args.dir, part, &mut args.passphrase.asking(), Timestamp::now())?;
    let dir = args.dir.display();
    if args.json {
        output::json(&rotated)?;
    } else {
        output::line(format_args!("new signing certificate, valid until {}", rotated.ends))?;
        output::line(format_args!("replaced signing certificate {}", rotated.replaced))?;
        if let Some(intermediate) = &rotated.replaced_intermediate {
            output::line(format_args!("replaced intermediate        {intermediate}"))?;
        }
        if let Some(fingerprint) = &rotated.root_fingerprint {
            output::line(format_args!("root fingerprint (SHA-256)   {fingerprint}"))?;
        }
        if let Some(fingerprint) = &rotated.card_fingerprint {
            output::line(format_args!("card fingerprint (SHA-256)   {fingerprint}"))?;
        }
        if let Some(until) = rotated.crossed_until {
            output::line(format_args!("the old root vouches until   {until}"))?;
        }
    }
    output::say(format_args!("next: stopgap feed renew {dir}"));
    if rotated.root_fingerprint.is_some() {
        output::say(format_args!("hand out {dir}/card.toml again, and keep {dir}/root.key.pem offline"));
    }
    Ok(Code::Done)
}
