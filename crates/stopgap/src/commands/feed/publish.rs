//! `stopgap feed publish`.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use stopgap_publish::release::{Published, ReleaseError, publish};

use crate::exit::{Code, Failure, Outcome};
use crate::output;

#[derive(clap::Args)]
pub struct Args {
    /// The feed's folder
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Releases a feed, and says what held it up.
pub(super) fn release(dir: &Path, now: Timestamp) -> Result<Published, Failure> {
    match publish(dir, now) {
        Ok(published) => Ok(published),
        Err(ReleaseError::Lint { findings }) => {
            findings.iter().for_each(output::say);
            Err(Failure::new(anyhow::anyhow!("{} was not released", dir.display()))
                .hint("mend what the linter found")
                .code(Code::Wanting))
        }
        Err(ReleaseError::Unproven { report }) => {
            report
                .broken
                .iter()
                .for_each(|broken| output::say(format_args!("{}: {}", broken.action, broken.reason)));
            report.failed().for_each(output::say);
            Err(Failure::new(anyhow::anyhow!("{} was not released", dir.display()))
                .hint("`stopgap feed prove` runs the requests again")
                .code(Code::Wanting))
        }
        Err(error) => Err(error.into()),
    }
}

pub fn run(args: Args) -> Outcome {
    let published = release(&args.dir, Timestamp::now())?;
    if args.json {
        output::json(&published)?;
    } else {
        published.findings.iter().for_each(output::say);
        let (path, serial) = (published.path.display(), published.serial);
        output::line(format_args!("{path}: serial {serial}, valid until {}", published.expires))?;
    }
    Ok(Code::Done)
}
