//! `stopgap hub user add`: the first account, on the hub's own machine.

use std::io::{IsTerminal, Read};

use anyhow::Context;
use jiff::Timestamp;
use stopgap_hub::people::{Passwords, Role, accounts};

use super::{Place, refused};
use crate::exit::{Code, Failure, Outcome};
use crate::{output, system};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Make an account for the console; the password is asked for, or read from the standard input
    Add(AddArgs),
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

pub fn run(command: Command) -> Outcome {
    let Command::Add(args) = command;
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
