//! `stopgap hub backup` and `hub restore`.

use std::path::PathBuf;

use stopgap_hub::backup;

use crate::exit::{Code, Failure, Outcome};
use crate::{output, system};

#[derive(clap::Args)]
pub struct BackupArgs {
    /// Write the backup to this new folder
    to: PathBuf,
    /// The hub's data folder
    #[arg(long, value_name = "DIR", default_value = "/var/lib/stopgap-hub")]
    data: PathBuf,
}

#[derive(clap::Args)]
pub struct RestoreArgs {
    /// The backup
    from: PathBuf,
    /// The hub's data folder; it must hold no hub
    #[arg(long, value_name = "DIR", default_value = "/var/lib/stopgap-hub")]
    data: PathBuf,
}

pub fn backup(args: BackupArgs) -> Outcome {
    let done = system::runtime()?.block_on(backup::backup(&args.data, &args.to));
    done.map_err(|error| {
        Failure::new(error)
            .hint("a hub on PostgreSQL is backed up with pg_dump, and its folder `ca` beside it")
    })?;
    output::say(format_args!("{}: a backup, with the keys of the hub's authority", args.to.display()));
    Ok(Code::Done)
}

pub fn restore(args: RestoreArgs) -> Outcome {
    system::runtime()?.block_on(backup::restore(&args.from, &args.data))?;
    output::say(format_args!("{}: restored", args.data.display()));
    Ok(Code::Done)
}
