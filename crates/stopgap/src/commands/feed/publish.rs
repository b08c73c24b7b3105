//! `stopgap feed publish`.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use stopgap_publish::key::Ask;
use stopgap_publish::release::{Published, ReleaseError, publish_asking};

use super::passphrase::PassphraseArgs;
use crate::exit::{Code, Failure, Outcome};
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

/// Releases a feed, and says what held it up.
pub(super) fn release(dir: &Path, ask: Ask<'_>, now: Timestamp) -> Result<Published, Failure> {
    publish_asking(dir, ask, now).map_err(|error| failed(dir, error))
}

/// What held a release up: each finding on a line of its own.
pub(super) fn failed(dir: &Path, error: ReleaseError) -> Failure {
    let hint = match &error {
        ReleaseError::Lint { findings } => {
            findings.iter().for_each(output::say);
            "mend what the linter found"
        }
        ReleaseError::Unproven { report } => {
            let broken = |broken: &stopgap_publish::prove::Broken| {
                output::say(format_args!("{}: {}", broken.action, broken.reason));
            };
            report.broken.iter().for_each(broken);
            report.failed().for_each(output::say);
            "`stopgap feed prove` runs the requests again"
        }
        _ => return Failure::new(error),
    };
    let error = anyhow::anyhow!("{} was not released", dir.display());
    Failure::new(error).hint(hint).code(Code::Wanting)
}

/// A release that was made.
pub(super) fn print(published: &Published, json: bool) -> Outcome {
    if json {
        output::json(published)?;
    } else {
        published.findings.iter().for_each(output::say);
        let (path, serial) = (published.path.display(), published.serial);
        output::line(format_args!("{path}: serial {serial}, valid until {}", published.expires))?;
    }
    Ok(Code::Done)
}

pub fn run(args: Args) -> Outcome {
    let published = release(&args.dir, &mut args.passphrase.asking(), Timestamp::now())?;
    print(&published, args.json)
}
