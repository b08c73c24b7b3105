//! `stopgap hub run`.

use std::net::SocketAddr;
use std::path::PathBuf;

use stopgap_hub::{Bounds, Hub, Settings, TlsFiles};

use super::Place;
use crate::exit::{Code, Outcome};
use crate::{output, system};

#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
    /// Listen here; on an address that others can reach, always over TLS
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8790")]
    listen: SocketAddr,
    /// Serve over TLS, with this certificate and its intermediates
    #[arg(long, value_name = "CHAIN.pem", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The key of that certificate
    #[arg(long, value_name = "KEY.pem", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// A name under which the hub is reached, for the certificate that it makes for itself; may be given several times
    #[arg(long = "name", value_name = "HOST", conflicts_with = "tls_cert")]
    names: Vec<String>,
    /// Connections at a time; agents hold one each. Further ones wait
    #[arg(long, value_name = "NUMBER", default_value_t = Bounds::default().connections)]
    connections: usize,
    /// Connections of one address at a time; behind a load balancer, as many as there are in all
    #[arg(long, value_name = "NUMBER", default_value_t = Bounds::default().per_address)]
    connections_per_address: usize,
}

pub fn run(args: Args) -> Outcome {
    let files = args.tls_cert.zip(args.tls_key);
    let settings = Settings {
        database: args.place.database(),
        data: args.place.data,
        listen: args.listen,
        names: names(args.names, args.listen),
        tls: files.map(|(certificates, key)| TlsFiles { certificates, key }),
        bounds: Bounds {
            connections: args.connections,
            per_address: args.connections_per_address,
            ..Bounds::default()
        },
    };
    let files = system::raise_open_files();
    // Beside connections: the database, the listener, what is read meanwhile.
    if files.is_some_and(|files| files < settings.bounds.connections as u64 + 100) {
        tracing::warn!(
            limit = files,
            connections = settings.bounds.connections,
            "this process may open fewer files than connections are allowed: raise its limit (LimitNOFILE= of a unit)"
        );
    }
    system::wide_runtime()?.block_on(async {
        let hub = Hub::bind(settings).await?;
        output::say(format_args!("the hub listens on {}", hub.url()));
        hub.run(system::stopped()).await;
        Ok(Code::Done)
    })
}

/// Others reach this machine by its name, where nothing else was said; a loopback address nobody else reaches.
fn names(said: Vec<String>, listen: SocketAddr) -> Vec<String> {
    if said.is_empty() && !listen.ip().is_loopback() { vec![system::hostname()] } else { said }
}
