//! `stopgap hub token create`: on the hub's own machine, for whoever can read its data anyway.

use jiff::{SignedDuration, Timestamp};
use stopgap_hub::people::issue::{self, Maker, Wanted};
use stopgap_hub::people::{Role, Scope};

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
    /// What of the API it reaches: servers, or servers:read; several times. Without one, all that its role may
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<Scope>,
    /// What it is for; the audit log names it so. Without it, the role and the time
    #[arg(long, value_name = "TEXT")]
    label: Option<String>,
    /// How long it works (90d, 12h); without it, until it is removed
    #[arg(long, value_name = "DURATION", value_parser = system::lasting)]
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
        // Whoever is at this machine is none of the accounts.
        let maker = Maker { name: system::user(), owner: String::new() };
        let wanted = Wanted { label, role: args.role, scopes: args.scopes, expires_at: expires };
        let (_, secret) = issue::token(&mut change, &maker, wanted, now).await?;
        change.commit().await?;
        db.close().await;
        output::line(secret)?;
        Ok(Code::Done)
    })
}
