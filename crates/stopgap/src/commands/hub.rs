//! `stopgap hub`: the organization's hub, run here, and what is done beside it on its own machine.

mod backup;
mod enrollment;
mod run;
mod test_notification;
mod token;
mod user;

use std::path::PathBuf;

use stopgap_hub::db::Db;
use stopgap_hub::problem::Problem;
use stopgap_hub::{events, log};
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, fmt};

use crate::exit::{Code, Failure, Outcome};

#[derive(clap::Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// Run the hub in the foreground
    Run(run::Args),
    /// Make tokens of the API
    #[command(subcommand)]
    Token(token::Command),
    /// Make accounts
    #[command(subcommand)]
    User(user::Command),
    /// Make tokens with which servers join
    #[command(subcommand)]
    Enrollment(enrollment::Command),
    /// Send a test message to everybody who is told of what happens
    TestNotification(test_notification::Args),
    /// Write a backup of a hub, also while it runs
    Backup(backup::BackupArgs),
    /// Bring a backup into an empty data folder
    Restore(backup::RestoreArgs),
}

pub fn run(command: Command) -> Outcome {
    // A problem names the hub's log for what it does not tell: here that is the terminal.
    let runs = matches!(command, Command::Run(_));
    let level = if runs { "info" } else { "error" };
    let filter = || EnvFilter::try_from_env("STOPGAP_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    // Under systemd standard error is the journal, which has every record with its fields already.
    let machine = runs.then(|| log::machine(events::IDENTIFIER)).flatten();
    let terminal = (machine.is_none() || !log::stderr_is_the_journal())
        .then(|| fmt::layer().with_writer(std::io::stderr).with_filter(filter()));
    let machine = machine.map(|layer| layer.with_filter(filter()));
    tracing_subscriber::registry().with(machine).with(terminal).init();
    match command {
        Command::Run(args) => run::run(args),
        Command::Token(command) => token::run(command),
        Command::User(command) => user::run(command),
        Command::Enrollment(command) => enrollment::run(command),
        Command::TestNotification(args) => test_notification::run(args),
        Command::Backup(args) => backup::backup(args),
        Command::Restore(args) => backup::restore(args),
    }
}

/// Where the hub keeps what it knows.
#[derive(clap::Args)]
pub struct Place {
    /// The hub's data folder
    #[arg(long, value_name = "DIR", default_value = "/var/lib/stopgap-hub")]
    data: PathBuf,
    /// Keep everything in this PostgreSQL, and not in a file of the data folder. A URL with a password is
    /// better said in STOPGAP_HUB_DATABASE, which other users of the machine do not see
    #[arg(long, value_name = "URL")]
    database: Option<String>,
}

impl Place {
    fn database(&self) -> Option<String> {
        self.database.clone().or_else(|| std::env::var("STOPGAP_HUB_DATABASE").ok())
    }

    async fn open(&self) -> Result<Db, Failure> {
        Db::open(&self.data, self.database().as_deref()).await.map_err(|error| {
            Failure::new(
                anyhow::Error::new(error)
                    .context(format!("cannot open the hub's data in {}", self.data.display())),
            )
        })
    }
}

/// A refusal of the hub's own rules, as a failure of the command.
fn refused(problem: Problem) -> Failure {
    Failure::new(anyhow::anyhow!("{}", problem.detail)).code(if problem.status == 422 {
        Code::Usage
    } else {
        Code::Failed
    })
}
