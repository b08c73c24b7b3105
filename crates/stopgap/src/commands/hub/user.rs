//! `stopgap hub user`: the first account, and a way in for one time, on the hub's own machine.

use std::io::{IsTerminal, Read};

use anyhow::Context;
use jiff::{SignedDuration, Timestamp};
use stopgap_hub::people::{Passwords, Role, accounts};

use super::{Place, refused};
use crate::exit::{Code, Failure, Outcome};
use crate::{output, system};

/// Where `stopgap hub run` listens when nothing else is said.
const NEAR: &str = "http://127.0.0.1:8790";

#[derive(clap::Subcommand)]
pub enum Command {
    /// Make an account for the console; the password is asked for, or read from the standard input
    Add(AddArgs),
    /// Print an address that signs somebody in once, without a password; it is shown this once
    Link(LinkArgs),
}

#[derive(clap::Args)]
pub struct AddArgs {
    #[command(flatten)]
    place: Place,
    /// Its name
    name: String,
    /// viewer, operator, administrator or auditor
    #[arg(long, default_value = "administrator")]
    role: Role,
}

#[derive(clap::Args)]
pub struct LinkArgs {
    #[command(flatten)]
    place: Place,
    /// Whose account it is
    name: String,
    /// How long it works, up to 24h
    #[arg(long, value_name = "DURATION", default_value = "15m")]
    expires: SignedDuration,
    /// The hub's address in a browser; without it STOPGAP_HUB, or where `hub run` listens by itself
    #[arg(long, value_name = "URL")]
    hub: Option<String>,
}

pub fn run(command: Command) -> Outcome {
    match command {
        Command::Add(args) => add(args),
        Command::Link(args) => link(args),
    }
}

fn link(args: LinkArgs) -> Outcome {
    let now = Timestamp::now();
    system::runtime()?.block_on(async {
        let db = args.place.open().await?;
        let mut change = db.begin().await?;
        let secret = accounts::link(&mut change, &system::user(), &args.name, now, args.expires).await;
        let secret = secret.map_err(refused)?;
        change.commit().await?;
        db.close().await;
        let hub = args.hub.or_else(|| std::env::var("STOPGAP_HUB").ok()).unwrap_or_else(|| NEAR.into());
        output::line(format_args!("{}/sign-in/{secret}", hub.trim_end_matches('/')))?;
        Ok(Code::Done)
    })
}

fn add(args: AddArgs) -> Outcome {
    let password = password()?;
    let now = Timestamp::now();
    system::runtime()?.block_on(async {
        let kept = Passwords::default().hash(&password).await.map_err(refused)?;
        let db = args.place.open().await?;
        let mut change = db.begin().await?;
        let user = accounts::add(&mut change, &system::user(), &args.name, args.role, &kept, now).await;
        let user = user.map_err(refused)?;
        change.commit().await?;
        db.close().await;
        output::say(format_args!("{} may sign in, as {}", user.name, user.role));
        Ok(Code::Done)
    })
}

fn password() -> Result<String, Failure> {
    if std::io::stdin().is_terminal() {
        let first = rpassword::prompt_password("password: ").context("cannot ask for a password")?;
        if rpassword::prompt_password("once more: ").context("cannot ask for a password")? != first {
            return Err(Failure::usage("the two passwords differ"));
        }
        return Ok(first);
    }
    let mut text = String::new();
    // More than any password: the rest of a file that was meant for something else is not read.
    std::io::stdin()
        .take(4096)
        .read_to_string(&mut text)
        .context("cannot read a password from the standard input")?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}
