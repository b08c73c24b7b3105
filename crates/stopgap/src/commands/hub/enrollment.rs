//! `stopgap hub enrollment create`: a token with which servers join.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use stopgap_hub::people::issue::{self, Enrolling};

use super::Place;
use crate::exit::{Code, Failure, Outcome};
use crate::{output, system};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Make an enrollment token and print it; it is shown this once
    Create(CreateArgs),
}

#[derive(clap::Args)]
pub struct CreateArgs {
    #[command(flatten)]
    place: Place,
    /// How many servers may join with it
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    uses: u32,
    /// How long it works
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = system::lasting)]
    expires: SignedDuration,
    /// Label them; may be given several times
    #[arg(long = "label", value_name = "KEY=VALUE")]
    labels: Vec<String>,
}

pub fn run(command: Command) -> Outcome {
    let Command::Create(args) = command;
    let now = Timestamp::now();
    if !args.expires.is_positive() {
        return Err(Failure::usage("--expires: expected a time to come, such as 24h"));
    }
    let expires = now.checked_add(args.expires).map_err(|_| Failure::usage("--expires is too long"))?;
    let labels: BTreeMap<String, String> =
        args.labels.iter().map(|text| label(text)).collect::<Result<_, _>>()?;
    stopgap_hub::api::servers::labels(&labels).map_err(super::refused)?;
    system::runtime()?.block_on(async {
        let db = args.place.open().await?;
        let pin = db.pin().await?;
        let mut change = db.begin().await?;
        let wanted = Enrolling { uses: args.uses, expires, labels, pin };
        let (_, told) = issue::enrollment(&mut change, &system::user(), wanted, now).await?;
        change.commit().await?;
        db.close().await;
        output::line(told)?;
        Ok(Code::Done)
    })
}

fn label(text: &str) -> Result<(String, String), Failure> {
    let pair = text.split_once('=').filter(|(key, _)| !key.is_empty());
    let (key, value) =
        pair.ok_or_else(|| Failure::usage(format_args!("--label {text:?}; expected KEY=VALUE")))?;
    Ok((key.to_owned(), value.to_owned()))
}
