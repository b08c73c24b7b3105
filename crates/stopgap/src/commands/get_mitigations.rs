//! `stopgap get-mitigations`: the columns that Exchange's Get-Mitigations.ps1 prints.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context;
use stopgap_agent::cycle::Mode;

use super::local;
use crate::exit::{Code, Failure, Outcome};
use crate::output;

const COLUMNS: [&str; 5] = ["Server", "ID", "Type", "Description", "Status"];

#[derive(clap::Args)]
pub struct Args {
    /// Only this server; without a hub there is only the one that you are on
    #[arg(long, value_name = "NAME")]
    identity: Option<String>,
    /// Write CSV to this file instead
    #[arg(long, value_name = "FILE")]
    export_csv: Option<PathBuf>,
}

pub fn run(args: Args, config: &Path) -> Outcome {
    let config = local::config(config)?;
    if let Some(other) = args.identity.filter(|name| !name.eq_ignore_ascii_case(&config.server)) {
        return Err(Failure::usage(format_args!(
            "`{other}` is not this server, which is `{}`",
            config.server
        ))
        .hint("run it on that server"));
    }
    let report = local::offline(&config, Mode::Plan)?.report;
    let rows = report.mitigations.iter().map(|mitigation| {
        vec![
            config.server.clone(),
            mitigation.id.to_string(),
            format!("{:?}", mitigation.action_type),
            mitigation.description.clone(),
            format!("{:?}", mitigation.status),
        ]
    });
    match args.export_csv {
        Some(path) => {
            let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
            output::csv(file, &COLUMNS, rows)?;
        }
        None => output::line(output::table(&COLUMNS, rows))?,
    }
    Ok(Code::Done)
}
