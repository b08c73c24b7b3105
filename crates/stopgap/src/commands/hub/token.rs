//! `stopgap hub token create`: on the hub's own machine, for whoever can read its data anyway.

use jiff::{SignedDuration, Timestamp};
use stopgap_hub::people::{Role, issue};

use super::Place;
use crate::exit::{Code, Failure, Outcome};
use crate::{output, system};

#[derive(clap::Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// Make a token of the API and print it; it is shown this once
    Create(CreateArgs),
}

#[derive(clap::Args)]
pub struct CreateArgs {
    #[command(flatten)]
    place: Place,
    /// viewer, operator, administrator or auditor
    #[arg(long)]
    role: Role,
    /// What it is for; the audit log names it so. Without it, the role and the time
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// How long it works (90d, 12h); without it, until it is removed
    #[arg(long, value_name = "DURATION")]
    expires: Option<SignedDuration>,
}

pub fn run(command: Command) -> Outcome {
    let Command::Create(args) = command;
    let now = Timestamp::now();
    let expires = args.expires.map(|after| now.checked_add(after)).transpose();
    let expires = expires.map_err(|_| Failure::usage("--expires is too long"))?;
    if expires.is_some_and(|end| end <= now) {
        return Err(Failure::usage("--expires: expected a time to come, such as 90d"));
    }
    system::runtime()?.block_on(async {
        let db = args.place.open().await?;
        let mut change = db.begin().await?;
        let label = args.label.unwrap_or_else(|| format!("{} {now:.3}", args.role));
        let (_, secret) = issue::token(&mut change, &system::user(), &label, args.role, expires, now).await?;
        change.commit().await?;
        db.close().await;
        output::line(secret)?;
        Ok(Code::Done)
    })
}
