//! `stopgap agent run`: the service, in the foreground.

use std::path::Path;

use stopgap_agent::{events, log, service};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use super::super::local;
use crate::exit::{Code, Failure, Outcome};
use crate::system;

#[derive(clap::Args)]
pub struct Args {
    /// The service control manager started this process
    #[cfg(windows)]
    #[arg(long, hide = true)]
    service: bool,
}

/// On Windows as a service where the registration says so, else as everywhere.
pub fn run(args: Args, path: &Path) -> Outcome {
    #[cfg(not(windows))]
    let Args {} = args;
    #[cfg(windows)]
    if args.service {
        use stopgap_agent::windows::run::as_service;
        let at = path.to_owned();
        let work = move |mut stop: tokio::sync::watch::Receiver<bool>| {
            let stopped = async move { drop(stop.wait_for(|asked| *asked).await) };
            serve(&at, false, stopped).map(drop).map_err(|failure| {
                open_the_log_all_the_same();
                format!("{:#}", failure.error)
            })
        };
        if as_service(Box::new(work))?.is_none() {
            return Ok(Code::Done);
        }
    }
    serve(path, true, system::stopped())
}

/// Of a service nobody reads the standard error. Where the configuration cannot be read, why not goes where the log would
/// be without one. Nothing happens where the log is open.
#[cfg(windows)]
fn open_the_log_all_the_same() {
    let daily = events::daily_log(&stopgap_agent::config::program_data().join("Logs")).ok();
    let daily = daily.map(|daily| fmt::layer().with_writer(daily).with_ansi(false).with_target(false));
    // It fails where there is one.
    let _ = tracing_subscriber::registry().with(log::machine()).with(daily).try_init();
}

/// `terminal`: somebody may read standard error.
fn serve(path: &Path, terminal: bool, stopped: impl Future<Output = ()> + 'static) -> Outcome {
    let config = local::config(path)?;
    let daily = events::daily_log(&config.logs).map_err(|message| Failure::new(anyhow::anyhow!(message)))?;
    let filter = || EnvFilter::try_from_env("STOPGAP_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // Under systemd standard error is the journal, which has every record with its fields already.
    let machine = log::machine().map(|layer| layer.with_filter(filter()));
    let terminal = (terminal && (machine.is_none() || !log::stderr_is_the_journal()))
        .then(|| fmt::layer().with_writer(std::io::stderr).with_target(false).with_filter(filter()));
    tracing_subscriber::registry()
        .with(machine)
        .with(terminal)
        .with(fmt::layer().with_writer(daily).with_ansi(false).with_target(false).with_filter(filter()))
        .init();
    let service = service::run(path.to_owned(), system::hostname(), Box::pin(stopped));
    system::runtime()?.block_on(service)?;
    Ok(Code::Done)
}
