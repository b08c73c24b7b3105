//! `stopgap gateway run`: the reverse proxy alone.

use std::net::SocketAddr;
use std::path::PathBuf;

use stopgap_gateway::{Gateway, Settings, Upstream};
use tracing_subscriber::EnvFilter;

use crate::exit::{Code, Outcome};
use crate::{output, system};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Run the reverse proxy in the foreground
    Run(RunArgs),
}

#[derive(clap::Args)]
pub struct RunArgs {
    /// Listen here; may be given several times
    #[arg(long, required = true, value_name = "ADDRESS:PORT")]
    listen: Vec<SocketAddr>,
    /// Forward to this server
    #[arg(long, value_name = "URL")]
    upstream: Upstream,
    /// Read the rules from this file; a missing file is no rules
    #[arg(long, value_name = "FILE", default_value = "/var/lib/stopgap/gateway/live/rules.xml")]
    rules: PathBuf,
    /// Take `activate` and `status` on this local socket
    #[arg(long, value_name = "SOCKET", default_value = "/var/lib/stopgap/gateway/control.sock")]
    control: PathBuf,
}

pub fn run(command: Command) -> Outcome {
    let Command::Run(args) = command;
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(EnvFilter::try_from_env("STOPGAP_LOG").unwrap_or_else(|_| EnvFilter::new("info")))
        .init();
    let settings = Settings::new(args.listen, args.upstream, args.rules, args.control);
    system::wide_runtime()?.block_on(async {
        let gateway = Gateway::bind(settings).await?;
        for address in gateway.local_addrs() {
            output::say(format_args!("listening on http://{address}"));
        }
        gateway.run(system::stopped()).await;
        Ok(Code::Done)
    })
}
