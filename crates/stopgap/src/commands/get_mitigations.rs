//! `stopgap get-mitigations`: the columns that Exchange's Get-Mitigations.ps1 prints.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::Context;
use stopgap_agent::cycle::Mode;

use super::local;
#[cfg(feature = "hub")]
use super::remote::at;
use crate::exit::{Code, Failure, Outcome};
use crate::output;

const COLUMNS: [&str; 5] = ["Server", "ID", "Type", "Description", "Status"];

#[derive(clap::Args)]
pub struct Args {
    /// Only this server; without a hub (STOPGAP_HUB) there is only the one that you are on
    #[arg(long, value_name = "NAME")]
    identity: Option<String>,
    /// Write CSV to this file instead
    #[arg(long, value_name = "FILE")]
    export_csv: Option<PathBuf>,
}

pub fn run(args: Args, config: &Path) -> Outcome {
    #[cfg(feature = "hub")]
    if let Some(remote) = super::remote::Remote::named()? {
        let rows = crate::system::runtime()?.block_on(of_all(&remote, args.identity.as_deref()))?;
        return print(args.export_csv, rows.into_iter());
    }
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
    print(args.export_csv, rows)
}

/// Every server's, as the hub has them.
#[cfg(feature = "hub")]
async fn of_all(remote: &super::remote::Remote, identity: Option<&str>) -> Result<Vec<Vec<String>>, Failure> {
    let servers = match identity {
        Some(name) => {
            let mitigations = remote.get(&["servers", name, "mitigations"]).await?;
            vec![serde_json::json!({"server": name, "mitigations": mitigations})]
        }
        None => remote.all(&["mitigations", "by-server"], &[]).await?,
    };
    let rows = servers.iter().flat_map(|server| {
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        let of = at(server, "mitigations").as_array().into_iter().flatten();
        of.map(move |one| {
            vec![
                text(at(server, "server")),
                text(at(one, "id")),
                text(at(one, "type")),
                text(at(one, "description")),
                text(at(one, "status")),
            ]
        })
    });
    Ok(rows.collect())
}

fn print(export_csv: Option<PathBuf>, rows: impl Iterator<Item = Vec<String>>) -> Outcome {
    match export_csv {
        Some(path) => {
            let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
            output::csv(file, &COLUMNS, rows)?;
        }
        None => output::line(output::table(&COLUMNS, rows))?,
    }
    Ok(Code::Done)
}
