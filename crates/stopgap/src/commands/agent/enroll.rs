//! `stopgap agent enroll`: this server joins an organization.

use std::path::{Path, PathBuf};

use stopgap_agent::hub::{self, Address, EnrollError, Token};

use super::super::local;
use crate::exit::{Code, Failure, Outcome};
use crate::{output, system};

#[derive(clap::Args)]
pub struct Args {
    /// The hub's address, such as https://hub.example.org
    #[arg(long, value_name = "URL")]
    hub: Address,
    /// The file with the enrollment token, or - for standard input
    #[arg(long, value_name = "FILE")]
    token_file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// A token is a line.
const MAX_BYTES: u64 = 4096;

pub fn run(args: Args, path: &Path) -> Outcome {
    let config = local::config(path)?;
    let token = token(&args.token_file)?;
    let joined = system::runtime()?.block_on(hub::enroll(&config, args.hub, &token)).map_err(|error| {
        let again = matches!(error, EnrollError::Already { .. });
        let failure = Failure::new(error);
        if again { failure.hint("`stopgap agent leave` leaves it; what is in force stays") } else { failure }
    })?;
    let enrollment = &joined.enrollment;
    if args.json {
        output::json(&serde_json::json!({
            "hub": enrollment.hub,
            "server": enrollment.server,
            "settings": joined.said.as_ref().ok().map(|said| &said.settings.version),
        }))?;
    } else {
        output::line(format_args!(
            "{} belongs to {} now, as {}",
            config.server, enrollment.hub, enrollment.server
        ))?;
    }
    if let Err(error) = &joined.said {
        output::say(format_args!("warning: what the organization wants could not be asked yet: {error}"));
    }
    Ok(Code::Done)
}

fn token(file: &Path) -> Result<Token, Failure> {
    use std::io::Read as _;
    let read = |mut from: Box<dyn std::io::Read>| {
        let mut text = String::new();
        from.by_ref().take(MAX_BYTES).read_to_string(&mut text).map(|_| text)
    };
    let text = if file == Path::new("-") {
        read(Box::new(std::io::stdin()))
    } else {
        std::fs::File::open(file).and_then(|file| read(Box::new(file)))
    };
    let text = text.map_err(|error| {
        Failure::new(
            anyhow::Error::new(error).context(format!("cannot read the token in {}", file.display())),
        )
    })?;
    text.parse().map_err(Failure::usage)
}
