//! `stopgap gateway run`: the reverse proxy alone, or a model of an IIS server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;

use stopgap_gateway::iis::{Iis, IisError, IisSettings};
use stopgap_gateway::{Gateway, Limits, Settings, Upstream};
use stopgap_iis::Environment;
use tracing_subscriber::EnvFilter;

use super::iis::disk::Disk;
use crate::exit::{Code, Failure, Outcome};
use crate::{output, system};

#[derive(clap::Subcommand)]
#[command(defer = true)]
pub enum Command {
    /// Run the reverse proxy in the foreground
    Run(RunArgs),
}

#[derive(clap::Args)]
pub struct RunArgs {
    /// Listen here; may be given several times. With --iis: where a site is served, such as "Default Web
    /// Site=127.0.0.1:8080", instead of its bindings
    #[arg(long, required_unless_present = "iis", value_name = "[SITE=]ADDRESS:PORT")]
    listen: Vec<Listen>,
    /// Forward to this server
    #[arg(long, required_unless_present = "iis", value_name = "URL")]
    upstream: Option<Upstream>,
    /// Read the rules from this file; a missing file is no rules
    #[arg(long, value_name = "FILE", default_value = "/var/lib/stopgap/gateway/live/rules.xml")]
    rules: PathBuf,
    /// Take `activate` and `status` on this local socket
    #[arg(long, value_name = "SOCKET", default_value = "/var/lib/stopgap/gateway/control.sock")]
    control: PathBuf,
    /// Serve the IIS configuration of this folder, which stands for a drive C:, with stand-ins for the
    /// applications (modeled, not run on IIS)
    #[arg(long, value_name = "DIR", conflicts_with_all = ["upstream", "rules", "control"])]
    iis: Option<PathBuf>,
}

/// `SITE=ADDRESS:PORT`, or an address alone.
#[derive(Debug, Clone)]
struct Listen {
    site: Option<String>,
    address: SocketAddr,
}

impl FromStr for Listen {
    type Err = String;

    fn from_str(text: &str) -> Result<Listen, String> {
        let (site, address) = match text.rsplit_once('=') {
            Some((site, address)) => (Some(site.to_owned()), address),
            None => (None, text),
        };
        let address = address.parse().map_err(|_| format!("{address:?}; expected ADDRESS:PORT"))?;
        Ok(Listen { site, address })
    }
}

pub fn run(command: Command) -> Outcome {
    let Command::Run(args) = command;
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(EnvFilter::try_from_env("STOPGAP_LOG").unwrap_or_else(|_| EnvFilter::new("info")))
        .init();
    if let Some(folder) = args.iis {
        return iis(folder, args.listen);
    }
    let Some(upstream) = args.upstream else {
        return Err(Failure::usage("--upstream is missing"));
    };
    if let Some(site) = args.listen.iter().find_map(|listen| listen.site.as_ref()) {
        return Err(Failure::usage(format_args!("--listen names the site {site:?}, and there is no --iis")));
    }
    let listen = args.listen.into_iter().map(|listen| listen.address).collect();
    let settings = Settings::new(listen, upstream, args.rules, args.control);
    system::wide_runtime()?.block_on(async {
        let gateway = Gateway::bind(settings).await?;
        for address in gateway.local_addrs() {
            output::say(format_args!("listening on http://{address}"));
        }
        ready();
        gateway.run(system::stopped()).await;
        Ok(Code::Done)
    })
}

/// Tells systemd, where that started it, that clients are taken. One that does not listen is no reason to stop.
fn ready() {
    #[cfg(target_os = "linux")]
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Ready]);
}

fn iis(folder: PathBuf, listen: Vec<Listen>) -> Outcome {
    let named = listen.into_iter().map(|Listen { site, address }| {
        let bare =
            || Failure::usage(format_args!("--listen {address} names no site; expected SITE={address}"));
        Ok((site.ok_or_else(bare)?, address))
    });
    let listen = named.collect::<Result<Vec<_>, Failure>>()?;
    let drive = folder.clone();
    let settings = IisSettings {
        files: Arc::new(move || Box::new(Disk::new(&drive))),
        environment: Environment::windows(),
        folder: folder.clone(),
        listen,
        limits: Limits::default(),
    };
    system::wide_runtime()?.block_on(async {
        let iis = Iis::bind(settings).await.map_err(|error| {
            let hint = match &error {
                IisError::Check(_) => {
                    "DIR stands for the drive C:, so that DIR/Windows/System32/inetsrv/config is there"
                }
                _ => "--listen SITE=ADDRESS:PORT says where a site is served instead of its bindings",
            };
            Failure::new(anyhow::Error::new(error).context(format!("cannot serve {}", folder.display())))
                .hint(hint)
        })?;
        for note in iis.notes() {
            output::say(format_args!("note: {note}"));
        }
        for served in iis.served() {
            let host =
                if served.host.is_empty() { String::new() } else { format!(" (Host: {})", served.host) };
            output::say(format_args!("{}: http://{}{host}", served.site, served.address));
        }
        output::say("modeled, not run on IIS");
        iis.run(system::stopped()).await;
        Ok(Code::Done)
    })
}
